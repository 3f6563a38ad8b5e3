//! Clients whose certificates end soon: what they are told, and what the operator is.

use std::time::Duration;

use rcgen::DnType;
use serde_json::Value;
use time::OffsetDateTime;

use crate::support::binary::Binary;
use crate::support::gateway::base;
use crate::support::{Client, Gateway, Pki, Upstream, gateway};

const HEADER: &str = "x-client-certificate-expires-in";
const MESSAGE: &str = "a client's certificate ends soon";
const DAY: Duration = Duration::from_secs(86_400);

const ROUTES: &str = r#"
[[route]]
path = "/own"
respond = { body = "own" }

[[route]]
path = "/public"
public = true
upstream = "api"

[[route]]
path = "/x/*"
upstream = "api"
"#;

async fn started(client_auth: &str) -> (Pki, Upstream, Gateway, Client) {
    let (pki, upstream) = (Pki::new(), Upstream::echo().await);
    let text = base(&pki).replace("[client_auth]\n", &format!("[client_auth]\n{client_auth}\n"));
    let text = format!("{text}{ROUTES}{}", gateway::upstream("api", upstream.address));
    let gateway = Gateway::start_with(&text).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    (pki, upstream, gateway, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_its_last_days_a_client_is_told_in_each_answer() {
    let (_pki, upstream, gateway, client) = started("").await;
    let mut raw = client.raw().await;
    raw.send("GET /x/ HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(raw.answer().await.header(HEADER), None);
    gateway.clock.advance(84 * DAY);
    // On a connection that was there before, too.
    for (path, status) in [("/x/", 200), ("/own", 200), ("/public", 200), ("/nowhere", 404)] {
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{HEADER}: 1\r\n\r\n")).await;
        let answer = raw.answer().await;
        let seconds: u64 = answer.header(HEADER).unwrap_or_else(|| panic!("{path}")).parse().unwrap();
        assert_eq!(answer.status, status, "{path}");
        assert!((5 * 86_400 - 60..=6 * 86_400).contains(&seconds), "{path}: {seconds}");
    }
    assert!(client.h2("GET", "/x/", &[], "").await.headers.contains_key(HEADER));
    assert!(
        upstream.seen().iter().all(|seen| !seen.headers.contains_key(HEADER)),
        "this is between client and gateway"
    );
    // Nobody else is told anything, and it ends with the certificate.
    for (client, path) in [(client.clone().without_certificate(), "/public"), (client.clone(), "/health")] {
        assert_eq!(client.get(path).await.header(HEADER), None, "{path}");
    }
    gateway.clock.advance(7 * DAY);
    raw.send("GET /x/ HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.header(HEADER)), (403, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_gets_a_line_a_day_for_each_client() {
    let binary = Binary::start(&format!("{ROUTES}[upstream.api]\nurl = \"http://127.0.0.1:9\"\n"));
    let ending = |name: &str| {
        binary.pki.spoiled(|params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.not_before = OffsetDateTime::now_utc() - 60 * DAY;
            params.not_after = OffsetDateTime::now_utc() + 5 * DAY;
        })
    };
    let [one, two] = ["one", "two"].map(|name| Client::new(&binary.pki, binary.address).with(&ending(name)));
    let well = Client::new(&binary.pki, binary.address).with(&binary.pki.client("client-1"));
    let said = |subject: &str| {
        let fits = |line: &Value| line["client_subject"] == subject && line["message"] == MESSAGE;
        binary.log().into_iter().filter(fits).collect::<Vec<_>>()
    };
    for _ in 0..3 {
        for client in [&one, &well] {
            assert_eq!(client.get("/own").await.status, 200);
        }
    }
    // A reload does not make it forget.
    binary.signal("HUP");
    binary.logged("the reload", |line| line["message"] == "the configuration was reloaded");
    assert_eq!(one.get("/own").await.status, 200);
    assert_eq!(two.get("/own").await.status, 200);
    binary.logged("the line", |line| line["client_subject"] == "CN=two" && line["message"] == MESSAGE);
    assert_eq!((said("CN=one").len(), said("CN=two").len(), said("CN=client-1").len()), (1, 1, 0));
    let line = &said("CN=one")[0];
    assert_eq!((&line["event"], &line["level"]), (&"log".into(), &"warn".into()));
    assert!(line["hours_left"].as_u64().is_some_and(|hours| (118..=120).contains(&hours)), "{line}");
    assert_eq!(line["client_sha256"].as_str().unwrap().len(), 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_before_is_configured() {
    let (_pki, _upstream, gateway, client) = started("expiry_notice = \"720h\"").await;
    gateway.clock.advance(59 * DAY);
    assert_eq!(client.get("/own").await.header(HEADER), None);
    gateway.clock.advance(2 * DAY);
    assert!(client.get("/own").await.header(HEADER).is_some());
    let never = gateway.configuration().replace("720h", "0s");
    gateway.reload_with(&never).await.unwrap();
    gateway.clock.advance(28 * DAY);
    let answer = client.get("/own").await;
    assert_eq!((answer.status, answer.header(HEADER)), (200, None));
}
