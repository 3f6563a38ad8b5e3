//! Files that change are noticed without a signal, whichever way they change.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use mtls_gateway::pki::{Overwrite, ServerRequest, parse_server_name};
use tokio::time::sleep;

use crate::support::binary::Binary;
use crate::support::gateway::{self, base};
use crate::support::websocket::{by_hand, open, text};
use crate::support::wire::{Wire, h2, h2_request, soon};
use crate::support::{Client, Crl, Gateway, Identity, Pki, Upstream, eventually};

/// From the file's change to the end of what the client had open.
const BOUND: Duration = Duration::from_secs(2);

fn configuration(pki: &Pki, upstream: &Upstream, client_auth: &str) -> String {
    let base = base(pki).replace("[drain]", &format!("{client_auth}\n[drain]"));
    format!("{base}{}", gateway::upstream("api", upstream.address))
}

async fn reason(client: &Client) -> Option<String> {
    let answer = client.get("/x").await;
    (answer.status == 403).then(|| answer.json()["reason"].as_str().unwrap().to_owned())
}

/// Whether a client's certificate is refused, or let in, before `BOUND` is over.
async fn becomes(client: &Client, expected: Option<&str>) {
    let begun = Instant::now();
    is_soon(client, expected).await;
    assert!(begun.elapsed() < BOUND, "{expected:?} after {:?}", begun.elapsed());
}

async fn is_soon(client: &Client, expected: Option<&str>) {
    eventually("the verdict", async || (reason(client).await.as_deref() == expected).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_tunnels_of_a_revoked_client_are_cut_within_two_seconds_and_no_others() {
    let upstream = Upstream::raw(|_, stream| async move {
        let mut wire = Wire::new(stream);
        while wire.head().await.is_some() {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun").await;
        }
    })
    .await;
    let pki = Pki::new();
    let (bad, good) = (pki.client("client-1"), pki.issue_client("client-2"));
    let list = pki.path("test.crl");
    fs::write(&list, Crl::new().pem(&pki.issuer())).unwrap();
    let gateway = Gateway::start_with(&configuration(&pki, &upstream, &format!("crl = {list:?}"))).await;
    let client = |identity: &Identity| Client::new(&pki, gateway.address).with(identity);
    let endless = async |client: &Client| {
        let (mut sender, connection) = h2(client).await;
        let (response, _) = sender.send_request(h2_request("GET", "/endless"), true).unwrap();
        let mut body = soon(response).await.unwrap().into_body();
        assert_eq!(soon(body.data()).await.unwrap().unwrap(), "begun");
        let mut raw = client.raw().await;
        raw.send("GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        raw.until("begun").await;
        (sender, connection, body, raw)
    };
    let (_sender, _connection, mut bad_body, mut bad_raw) = endless(&client(&bad)).await;
    let (_good_sender, good_connection, mut good_body, mut good_raw) = endless(&client(&good)).await;
    let begun = Instant::now();
    fs::write(&list, Crl::new().revoking_client(&bad).pem(&pki.issuer())).unwrap();
    assert!(soon(bad_body.data()).await.is_none_or(|end| end.is_err()), "the stream is cut");
    assert_eq!(bad_raw.rest().await, b"", "so is an answer over HTTP/1");
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    let quiet = Duration::from_millis(200);
    assert!(crate::support::wire::is_quiet(good_body.data(), quiet).await);
    assert!(crate::support::wire::is_quiet(good_raw.rest(), quiet).await);
    assert!(!good_connection.is_finished());
    let answers = async |identity: &Identity| {
        let (mut sender, _connection) = h2(&client(identity)).await;
        let (response, _) = sender.send_request(h2_request("GET", "/x"), true).unwrap();
        soon(response).await.unwrap().status().as_u16()
    };
    assert_eq!((answers(&bad).await, answers(&good).await), (403, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_of_a_revoked_client_is_cut_within_two_seconds() {
    let (upstream, mut wires) = by_hand().await;
    let pki = Pki::new();
    let (bad, good) = (pki.client("client-1"), pki.issue_client("client-2"));
    let denied = pki.path("denied.txt");
    fs::write(&denied, "").unwrap();
    let gateway = Gateway::start_with(&configuration(&pki, &upstream, &format!("deny_list = {denied:?}"))).await;
    let client = |identity: &Identity| Client::new(&pki, gateway.address).with(identity);
    let (mut bad_raw, _bad_wire) = open(&client(&bad), &mut wires).await;
    let (mut good_raw, mut good_wire) = open(&client(&good), &mut wires).await;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bad.chain[0]);
    let hex: Vec<_> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    let begun = Instant::now();
    fs::write(&denied, format!("sha256:{}\n", hex.join(":"))).unwrap();
    let last = bad_raw.rest().await;
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    assert_eq!(last.first(), Some(&0x88), "it is told why: {last:?}");
    good_raw.send(text("here")).await;
    assert_eq!(good_wire.bytes(6).await, text("here"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_kubernetes_is_seen_to_change() {
    let upstream = Upstream::echo().await;
    let pki = Pki::new();
    let identity = pki.client("client-1");
    let volume = |name: &str| pki.path("volume").join(name);
    fs::create_dir(pki.path("volume")).unwrap();
    for (version, list) in [("..1", Crl::new()), ("..2", Crl::new().revoking_client(&identity))] {
        fs::create_dir(volume(version)).unwrap();
        fs::write(volume(version).join("ca.crl"), list.pem(&pki.issuer())).unwrap();
    }
    symlink("..1", volume("..data")).unwrap();
    symlink("..data/ca.crl", volume("ca.crl")).unwrap();
    let crl = format!("crl = {:?}", volume("ca.crl"));
    let gateway = Gateway::start_with(&configuration(&pki, &upstream, &crl)).await;
    let client = Client::new(&pki, gateway.address).with(&identity);
    assert_eq!(reason(&client).await, None);
    for (version, expected) in [("..2", Some("revoked")), ("..1", None), ("..2", Some("revoked"))] {
        symlink(version, volume("..data_tmp")).unwrap();
        fs::rename(volume("..data_tmp"), volume("..data")).unwrap();
        becomes(&client, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_half_written_are_waited_for() {
    let upstream = Upstream::echo().await;
    let pki = Pki::new();
    let identity = pki.client("client-1");
    let list = pki.path("test.crl");
    fs::write(&list, Crl::new().pem(&pki.issuer())).unwrap();
    let gateway = Gateway::start_with(&configuration(&pki, &upstream, &format!("crl = {list:?}"))).await;
    let client = Client::new(&pki, gateway.address).with(&identity);
    let whole = Crl::new().revoking_client(&identity).pem(&pki.issuer());
    fs::write(&list, &whole[..whole.len() / 2]).unwrap();
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(reason(&client).await, None, "the old list serves");
    fs::write(&list, &whole).unwrap();
    is_soon(&client, Some("revoked")).await;
    fs::remove_file(&list).unwrap();
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(reason(&client).await.as_deref(), Some("revoked"), "a list that is gone takes nothing back");
    fs::write(&list, Crl::new().pem(&pki.issuer())).unwrap();
    is_soon(&client, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_is_asked_for_does_not_wait_for_files_that_were_seen_half_written() {
    let upstream = Upstream::echo().await;
    let pki = Pki::new();
    let gateway = Gateway::start_with(&configuration(&pki, &upstream, "")).await;
    let good = pki.read("ca.crt");
    fs::write(pki.path("ca.crt"), "half").unwrap();
    sleep(Duration::from_millis(1000)).await;
    let begun = Instant::now();
    let problems = gateway.control.reload().await.unwrap_err();
    assert!(problems[0].contains("ca.crt"), "{problems:?}");
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    fs::write(pki.path("ca.crt"), good).unwrap();
    gateway.control.reload().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_server_certificate_and_a_new_configuration_are_in_force_without_a_signal() {
    let upstream = Upstream::echo().await;
    let gateway = Binary::start(&gateway::upstream("api", upstream.address));
    let client = Client::new(&gateway.pki, gateway.address).with(&gateway.pki.client("client-1"));
    let shown = async || client.raw().await.stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let before = shown().await;
    let names = vec![parse_server_name("localhost").unwrap()];
    gateway.pki.store().issue_server(&ServerRequest::new(names), Overwrite::Replace).unwrap();
    eventually("the new certificate", async || (shown().await != before).then_some(())).await;
    assert_eq!(client.get("/x").await.status, 200);

    let good = fs::read_to_string(&gateway.config).unwrap();
    let route = "[[route]]\npath = \"/new\"\nrespond = { status = 201, body = \"\" }\n";
    fs::write(&gateway.config, format!("{good}{route}[[route]]\npath = \"/*\"\nupstream = \"api\"\n")).unwrap();
    eventually("the new route", async || (client.get("/new").await.status == 201).then_some(())).await;
    fs::write(&gateway.config, "nonsense").unwrap();
    let refused = eventually("the refusal", async || {
        gateway.log().into_iter().map(|line| line.to_string()).find(|line| line.contains("reload refused"))
    });
    let refused = refused.await;
    assert!(refused.contains("nonsense"), "{refused}");
    assert_eq!(client.get("/new").await.status, 201);
    let lines: Vec<_> = gateway.log().into_iter().map(|line| line.to_string()).collect();
    let told = |file: &str| {
        lines.iter().any(|line| line.contains("files of the configuration have changed") && line.contains(file))
    };
    assert!(told("server.crt") && told("gateway.toml"), "{lines:#?}");
}
