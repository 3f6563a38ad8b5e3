//! Resumption, where it is configured: who may resume, for how long, and that every session is judged again.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{Issuer, KeyPair};
use rustls::HandshakeKind;
use rustls::pki_types::ServerName;
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::client::Raw;
use crate::support::gateway::base;
use crate::support::pki::{authority_params, client_under};
use crate::support::wire::soon;
use crate::support::{Client, Crl, Gateway, Pki, RawAnswer, Upstream, Version, gateway};

const BOTH: [Version; 2] = [Version::Tls12, Version::Tls13];
const HOUR: Duration = Duration::from_secs(3600);

/// A client that keeps its sessions, and comes again with them.
struct Returning(TlsConnector);

impl Returning {
    fn new(client: &Client, version: Version) -> Self {
        Self(TlsConnector::from(Arc::new(client.clone().only(version).config(&["http/1.1"]))))
    }

    /// GET /x on a new connection, and whether that resumed a session.
    async fn get(&self, address: SocketAddr) -> (bool, RawAnswer) {
        let socket = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut raw = Raw::new(soon(self.0.connect(name, socket)).await.unwrap());
        raw.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let answer = raw.answer().await;
        (raw.stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed), answer)
    }

    /// Whether it gets no answer, since its handshake fails.
    async fn is_refused(&self, address: SocketAddr) -> bool {
        let socket = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let Ok(stream) = soon(self.0.connect(name, socket)).await else { return true };
        // Over TLS 1.3 that shows only now.
        Raw::new(stream).is_closed().await
    }

    /// The same: whether it resumed, the status, and the reason of a refusal.
    async fn outcome(&self, address: SocketAddr) -> (bool, u16, Option<String>) {
        let (resumed, answer) = self.get(address).await;
        let reason = (answer.status == 403).then(|| answer.json()["reason"].as_str().unwrap().to_owned());
        (resumed, answer.status, reason)
    }
}

const LET_IN: (bool, u16, Option<String>) = (false, 200, None);
const RESUMED: (bool, u16, Option<String>) = (true, 200, None);

fn refused(reason: &str) -> (bool, u16, Option<String>) {
    (false, 403, Some(reason.to_owned()))
}

/// A configuration with resumption, and with this in `[tls.tickets]`.
fn configuration(pki: &Pki, upstream: &Upstream, tickets: &str) -> String {
    let text = base(pki).replace("[tls]\n", "[tls]\nresumption = \"on\"\n");
    format!("{text}[tls.tickets]\n{tickets}\n{}", gateway::upstream("api", upstream.address))
}

async fn started() -> (Pki, Upstream, Gateway) {
    let (pki, upstream) = (Pki::new(), Upstream::echo().await);
    let gateway = Gateway::start_with(&configuration(&pki, &upstream, "")).await;
    (pki, upstream, gateway)
}

fn client_of(pki: &Pki, gateway: &Gateway) -> Client {
    Client::new(pki, gateway.address).with(&pki.client("client-1"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_resumed_with_the_client_it_was_made_with() {
    let (pki, upstream, gateway) = started().await;
    for version in BOTH {
        let client = Returning::new(&client_of(&pki, &gateway), version);
        for resumed in [false, true, true, true] {
            let (was_resumed, answer) = client.get(gateway.address).await;
            assert_eq!((was_resumed, answer.status), (resumed, 200), "{version:?}");
            let id = answer.header("x-request-id").unwrap();
            let line = gateway.logged("request", |line| line["request_id"] == id).await;
            assert_eq!((&line["tls_resumed"], &line["client_verify"]), (&resumed.into(), &"SUCCESS".into()));
            assert_eq!(line["client_subject"], "CN=client-1");
        }
        // Who had no certificate has none when coming back, and is not taken for anybody else.
        let stranger = Returning::new(&Client::new(&pki, gateway.address), version);
        for resumed in [false, true] {
            let expected = (resumed, 403, Some("certificate_missing".to_owned()));
            assert_eq!(stranger.outcome(gateway.address).await, expected, "{version:?}");
        }
    }
    assert_eq!(upstream.seen().len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_after_its_full_handshake_a_session_ends_however_often_it_was_resumed() {
    for version in BOTH {
        let (pki, _upstream, gateway) = started().await;
        let client = Returning::new(&client_of(&pki, &gateway), version);
        assert_eq!(client.outcome(gateway.address).await, LET_IN);
        // Each resumption brings a new ticket; the day begins only once. Keys are changed every twelve hours.
        for _ in 0..4 {
            gateway.clock.advance(5 * HOUR);
            assert_eq!(client.outcome(gateway.address).await, RESUMED, "{version:?}");
        }
        gateway.clock.advance(5 * HOUR);
        assert_eq!(client.outcome(gateway.address).await, LET_IN, "{version:?}: 25 hours");
        assert_eq!(client.outcome(gateway.address).await, RESUMED, "{version:?}: and so on");
        // Nobody came while both keys had their time.
        gateway.clock.advance(24 * HOUR);
        assert_eq!(client.outcome(gateway.address).await, LET_IN, "{version:?}: a day without a visit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_the_certificate() {
    for version in BOTH {
        let (pki, _upstream, gateway) = started().await;
        let short = pki.spoiled(|params| params.not_after = OffsetDateTime::now_utc() + 2 * HOUR);
        let client = Returning::new(&Client::new(&pki, gateway.address).with(&short), version);
        assert_eq!(client.outcome(gateway.address).await, LET_IN);
        assert_eq!(client.outcome(gateway.address).await, RESUMED);
        gateway.clock.advance(3 * HOUR);
        // In full, so that a client that was given another certificate meanwhile can show it.
        assert_eq!(client.outcome(gateway.address).await, refused("expired"), "{version:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_client_is_judged_like_any_other() {
    for version in BOTH {
        let (pki, _upstream, gateway) = started().await;
        // The client's own certificate lives on, but the one above it ends: its ticket is still opened.
        let key = KeyPair::generate().unwrap();
        let mut params = authority_params("short-lived", None);
        params.not_after = OffsetDateTime::now_utc() + 2 * HOUR;
        let above = params.signed_by(&key, &pki.issuer()).unwrap().der().clone();
        let mut identity = client_under(&Issuer::new(params, key), "below");
        identity.chain.push(above);
        let client = Returning::new(&Client::new(&pki, gateway.address).with(&identity), version);
        assert_eq!(client.outcome(gateway.address).await, LET_IN);
        assert_eq!(client.outcome(gateway.address).await, RESUMED);
        gateway.clock.advance(3 * HOUR);
        let expected = (true, 403, Some("expired".to_owned()));
        assert_eq!(client.outcome(gateway.address).await, expected, "{version:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_revoked_meanwhile_is_refused_when_it_resumes() {
    for version in BOTH {
        let (pki, _upstream, gateway) = started().await;
        let (list, text) = (pki.path("test.crl"), gateway.configuration());
        let with_list = text.replace("[client_auth]\n", &format!("[client_auth]\ncrl = {list:?}\n"));
        let client = Returning::new(&client_of(&pki, &gateway), version);
        assert_eq!(client.outcome(gateway.address).await, LET_IN);
        std::fs::write(&list, Crl::new().pem(&pki.issuer())).unwrap();
        gateway.reload_with(&with_list).await.unwrap();
        assert_eq!(client.outcome(gateway.address).await, LET_IN, "{version:?}: lists are asked now");
        // Another list of the same issuer leaves the session what it is.
        std::fs::write(&list, Crl::new().pem(&pki.issuer())).unwrap();
        gateway.control.reload().await.unwrap();
        assert_eq!(client.outcome(gateway.address).await, RESUMED, "{version:?}");
        std::fs::write(&list, Crl::new().revoking_client(&pki.client("client-1")).pem(&pki.issuer())).unwrap();
        gateway.control.reload().await.unwrap();
        assert_eq!(client.outcome(gateway.address).await, (true, 403, Some("revoked".to_owned())), "{version:?}");
        // And where bad certificates are rejected, it does not get so far.
        std::fs::write(&list, Crl::new().pem(&pki.issuer())).unwrap();
        let rejecting = with_list.replace("[client_auth]\n", "[client_auth]\ninvalid = \"reject\"\n");
        gateway.reload_with(&rejecting).await.unwrap();
        assert_eq!(client.outcome(gateway.address).await, LET_IN, "{version:?}");
        assert_eq!(client.outcome(gateway.address).await, RESUMED, "{version:?}");
        std::fs::write(&list, Crl::new().revoking_client(&pki.client("client-1")).pem(&pki.issuer())).unwrap();
        gateway.control.reload().await.unwrap();
        assert!(client.is_refused(gateway.address).await, "{version:?}");
        gateway.logged("handshake", |line| line["reason"] == "revoked").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_a_certificate_is_none_where_one_is_required() {
    for version in BOTH {
        let (pki, _upstream, gateway) = started().await;
        let text = gateway.configuration();
        let stranger = Returning::new(&Client::new(&pki, gateway.address), version);
        for resumed in [false, true] {
            assert_eq!(stranger.outcome(gateway.address).await.0, resumed);
        }
        let required = text.replace("[client_auth]\n", "[client_auth]\nmode = \"required\"\n");
        gateway.reload_with(&required).await.unwrap();
        assert!(stranger.is_refused(gateway.address).await, "{version:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_good_for_those_who_trust_the_same() {
    for version in BOTH {
        let (pki, upstream, gateway) = started().await;
        let (text, other) = (gateway.configuration(), Pki::new());
        let [mine, theirs] = [&pki, &other].map(|pki| format!("{:?}", pki.path("ca.crt")));
        let ca = format!("ca = [{mine}]");
        let client = Returning::new(&client_of(&pki, &gateway), version);
        assert_eq!(client.outcome(gateway.address).await, LET_IN);
        // A reload that changes nothing of it.
        gateway.reload_with(&format!("{text}keepalive_idle = \"1s\"\n")).await.unwrap();
        assert_eq!(client.outcome(gateway.address).await, RESUMED, "{version:?}");
        // The authority is gone.
        gateway.reload_with(&text.replace(&ca, &format!("ca = [{theirs}]"))).await.unwrap();
        assert_eq!(client.outcome(gateway.address).await, refused("unknown_issuer"), "{version:?}");
        // It is back, with another.
        gateway.reload_with(&text.replace(&ca, &format!("ca = [{mine}, {theirs}]"))).await.unwrap();
        assert_eq!(client.outcome(gateway.address).await, LET_IN, "{version:?}");
        // The order is no change, nor is the file.
        std::fs::copy(pki.path("ca.crt"), other.path("copy.crt")).unwrap();
        let copied = format!("{:?}", other.path("copy.crt"));
        gateway.reload_with(&text.replace(&ca, &format!("ca = [{theirs}, {copied}]"))).await.unwrap();
        assert_eq!(client.outcome(gateway.address).await, RESUMED, "{version:?}");
        // Something else is asked of chains.
        gateway.reload_with(&text.replace(&ca, &format!("{ca}\nmax_chain_depth = 1"))).await.unwrap();
        assert_eq!(client.outcome(gateway.address).await, LET_IN, "{version:?}");
        drop(upstream);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_one_profile_is_none_of_another() {
    for version in BOTH {
        let (pki, _upstream, gateway) = started().await;
        let text = gateway.configuration();
        let [certificate, key] = ["server.crt", "server.key"].map(|file| pki.path(file));
        let profile = |client_auth: &str| {
            format!(
                "{text}[[tls.sni]]\nnames = \"localhost\"\ncertificate = {certificate:?}\nprivate_key = {key:?}\n{client_auth}\n"
            )
        };
        let client = Returning::new(&client_of(&pki, &gateway), version);
        assert_eq!(client.outcome(gateway.address).await, LET_IN);
        // The same name, the same certificates, the same trust: and another profile.
        gateway.reload_with(&profile("")).await.unwrap();
        assert_eq!(client.outcome(gateway.address).await, LET_IN, "{version:?}");
        assert_eq!(client.outcome(gateway.address).await, RESUMED, "{version:?}");
        // A session made where nobody asks for a certificate is none where somebody does, and the other way round.
        gateway.reload_with(&profile("client_auth = { mode = \"off\" }")).await.unwrap();
        assert_eq!(client.outcome(gateway.address).await, refused("certificate_missing"), "{version:?}");
        assert!(client.outcome(gateway.address).await.0, "{version:?}");
        gateway.reload_with(&profile("")).await.unwrap();
        assert_eq!(client.outcome(gateway.address).await, LET_IN, "{version:?}");
        // Without resumption no ticket is good for anything, nor are there new ones.
        gateway.reload_with(&profile("").replace("resumption = \"on\"\n", "")).await.unwrap();
        assert_eq!(client.outcome(gateway.address).await, LET_IN, "{version:?}");
        assert_eq!(client.outcome(gateway.address).await, LET_IN, "{version:?}");
    }
}

fn write_key(folder: &Path, name: &str, byte: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, byte.repeat(32)).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    format!("{path:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_share_a_key_resume_each_others_sessions() {
    let (pki, upstream, folder) = (Pki::new(), Upstream::echo().await, tempfile::tempdir().unwrap());
    let [old, new] = [("old", "1f"), ("new", "2e")].map(|(name, byte)| write_key(folder.path(), name, byte));
    let replica = async |tickets: &str| Gateway::start_with(&configuration(&pki, &upstream, tickets)).await;
    let (one, two) = (replica(&format!("key = {old}")).await, replica(&format!("key = [{new}, {old}]")).await);
    let (three, alone) = (replica(&format!("key = [{new}]")).await, replica("").await);
    let other = Pki::new();
    let text = configuration(&pki, &upstream, &format!("key = {old}"));
    let trusts_more = text.replace("ca = [", &format!("ca = [{:?}, ", other.path("ca.crt")));
    let trusts_more = Gateway::start_with(&trusts_more).await;
    for version in BOTH {
        let client = client_of(&pki, &one);
        let comes = async |from: &Gateway, to: &Gateway| {
            let client = Returning::new(&client, version);
            assert_eq!(client.outcome(from.address).await, LET_IN, "{version:?}");
            client.outcome(to.address).await
        };
        assert_eq!(comes(&one, &two).await, RESUMED, "{version:?}: the second key opens");
        assert_eq!(comes(&two, &three).await, RESUMED, "{version:?}: the first key seals");
        assert_eq!(comes(&two, &one).await, LET_IN, "{version:?}: a key that is not known yet");
        assert_eq!(comes(&one, &three).await, LET_IN, "{version:?}: a key that is known no more");
        assert_eq!(comes(&one, &alone).await, LET_IN, "{version:?}: keys of its own");
        assert_eq!(comes(&alone, &one).await, LET_IN, "{version:?}");
        assert_eq!(comes(&one, &trusts_more).await, LET_IN, "{version:?}: whose trust differs");
        // The day is counted from the full handshake, wherever that was, and whoever resumed since.
        let client = Returning::new(&client, version);
        assert_eq!(client.outcome(one.address).await, LET_IN);
        assert_eq!(client.outcome(two.address).await, RESUMED);
        three.clock.advance(20 * HOUR);
        assert_eq!(client.outcome(three.address).await, RESUMED);
        three.clock.advance(5 * HOUR);
        assert_eq!(client.outcome(three.address).await, LET_IN, "{version:?}");
        // Back to the others' time.
        three.clock.retreat(25 * HOUR);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_ticket_key_is_told_before_anything_is_served() {
    let (pki, upstream, folder) = (Pki::new(), Upstream::echo().await, tempfile::tempdir().unwrap());
    let short = write_key(folder.path(), "short", "f");
    for (key, expected) in
        [(short.as_str(), "a ticket key is 32 random bytes in base64 or hex"), ("\"no/such\"", "no file")]
    {
        let text = configuration(&pki, &upstream, &format!("key = {key}"));
        let problems = Gateway::try_start_with(&text).await.err().unwrap();
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{problems:?}");
    }
}
