//! Endpoints that fail are left out and come back: by what they answer, and by active checks.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::support::binary::free_port;
use crate::support::wire::Wire;
use crate::support::{Client, Dns, Gateway, Pki, Upstream, eventually};

/// How an endpoint behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conduct {
    Well,
    Hangs,
    Resets,
    /// It resets in the middle of an answer's body.
    Cuts,
    Unavailable,
    Garbage,
    /// Only the health check's path gets an error.
    FailsItsCheck,
}

/// Two endpoints of one name whose conduct can be changed.
struct Pair {
    gateway: Gateway,
    client: Client,
    conduct: BTreeMap<&'static str, Arc<Mutex<Conduct>>>,
    _upstreams: Vec<Upstream>,
    _pki: Pki,
    _dns: Dns,
}

const ADDRESSES: [&str; 2] = ["127.0.0.1", "127.0.0.2"];

async fn answer(stream: tokio::net::TcpStream, conduct: Arc<Mutex<Conduct>>) {
    let name = stream.local_addr().unwrap().ip().to_string();
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    let mut wire = Wire::new(stream);
    while let Some(head) = wire.head().await {
        let now = *conduct.lock().unwrap();
        let status = match now {
            Conduct::Hangs => return std::future::pending().await,
            Conduct::Resets => return,
            Conduct::Garbage => return wire.send("SSH-2.0-OpenSSH_9.2\r\n\r\n").await,
            Conduct::Cuts => return wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await,
            Conduct::Unavailable => 503,
            Conduct::FailsItsCheck if head.starts_with("GET /health ") => 500,
            Conduct::Well | Conduct::FailsItsCheck => 200,
        };
        wire.send(format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{name}", name.len())).await;
    }
}

impl Pair {
    async fn start(more: &str) -> Self {
        let ips: Vec<IpAddr> = ADDRESSES.iter().map(|address| address.parse().unwrap()).collect();
        let port = free_port(&ips);
        let mut conduct = BTreeMap::new();
        let mut upstreams = Vec::new();
        for address in ADDRESSES {
            let here = Arc::new(Mutex::new(Conduct::Well));
            conduct.insert(address, Arc::clone(&here));
            let bind = SocketAddr::new(address.parse().unwrap(), port);
            upstreams.push(Upstream::raw_on(bind, move |_, stream| answer(stream, Arc::clone(&here))).await);
        }
        let dns = Dns::start().await;
        dns.set("api.test.local", 60, &ips).await;
        let pki = Pki::new();
        let gateway = Gateway::start(
            &pki,
            &format!(
                "[upstream.api]\nurl = \"http://api.test.local:{port}\"\nslow_start = \"0s\"\ndns = {{ resolvers = \
                 [\"{}\"] }}\n{more}",
                dns.address
            ),
        )
        .await;
        let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
        let pair = Self { gateway, client, conduct, _upstreams: upstreams, _pki: pki, _dns: dns };
        eventually("both to be known", async || (pair.get().await.1 != pair.get().await.1).then_some(())).await;
        pair
    }

    fn set(&self, address: &str, conduct: Conduct) {
        *self.conduct[address].lock().unwrap() = conduct;
    }

    async fn get(&self) -> (u16, String) {
        let answer = self.client.get("/x").await;
        (answer.status, answer.text())
    }

    async fn post(&self) -> (u16, String) {
        let post = "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
        let client = self.client.clone();
        // An answer that breaks off is a panic of the client's.
        let answer = tokio::spawn(async move { client.send_raw(post).await }).await;
        answer.map_or((0, String::new()), |answer| (answer.status, answer.text()))
    }

    /// Asks until this one alone has answered twenty times in a row; tells how many requests failed before.
    async fn until_only(&self, address: &str, ask: impl AsyncFn() -> (u16, String)) -> usize {
        let (mut failures, mut in_a_row) = (0, 0);
        for _ in 0..500 {
            let (status, who) = ask().await;
            failures += usize::from(status != 200);
            in_a_row = if status == 200 && who == address { in_a_row + 1 } else { 0 };
            if in_a_row == 20 {
                return failures;
            }
        }
        panic!("{address} is never the only one");
    }

    /// Requests so far that took two attempts.
    fn repeated(&self) -> Vec<serde_json::Value> {
        self.gateway.log().into_iter().filter(|line| line["event"] == "request" && line["attempts"] == 2).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_three_times_gets_no_more_requests() {
    for conduct in [Conduct::Hangs, Conduct::Resets, Conduct::Unavailable, Conduct::Garbage, Conduct::Cuts] {
        let pair = Pair::start("timeouts = { first_byte = \"200ms\" }\n").await;
        pair.set("127.0.0.1", conduct);
        let failures = pair.until_only("127.0.0.2", async || pair.post().await).await;
        assert!(failures <= 3, "{conduct:?}: {failures}");
        // The other one fails as well, and there is nobody left to be better.
        pair.set("127.0.0.2", Conduct::Unavailable);
        for _ in 0..10 {
            let answer = pair.post().await;
            assert_eq!(answer, (503, "127.0.0.2".to_owned()), "never more than half are ejected");
        }
    }
}

/// Clients have less patience than `first_byte`, and nobody else notices.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_on_which_clients_give_up_is_ejected() {
    let pair = Pair::start("timeouts = { connect = \"200ms\" }\n").await;
    pair.set("127.0.0.1", Conduct::Hangs);
    let impatient = async || tokio::time::timeout(Duration::from_millis(300), pair.post()).await.unwrap_or_default();
    let failures = pair.until_only("127.0.0.2", impatient).await;
    assert!(failures <= 3, "{failures}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_answers_nobody_is_ejected_before_its_requests_fail() {
    let pair = Arc::new(Pair::start("balance = \"round_robin\"\n").await);
    pair.set("127.0.0.1", Conduct::Hangs);
    let began = Instant::now();
    let patient: Vec<_> = (0..6)
        .map(|_| {
            let pair = Arc::clone(&pair);
            tokio::spawn(async move { pair.post().await })
        })
        .collect();
    let impatient = async || tokio::time::timeout(Duration::from_millis(100), pair.get()).await.unwrap_or_default();
    pair.until_only("127.0.0.2", impatient).await;
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert!(patient.iter().filter(|task| !task.is_finished()).count() >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_harms_nobody_and_brings_an_endpoint_back() {
    let pair = Pair::start("").await;
    pair.set("127.0.0.1", Conduct::Unavailable);
    pair.until_only("127.0.0.2", async || pair.get().await).await;
    pair.set("127.0.0.1", Conduct::Hangs);
    let before = pair.repeated().len();
    let began = Instant::now();
    // Its trial hangs for a second, and the request goes to the other one.
    while pair.repeated().len() == before {
        assert_eq!(pair.get().await, (200, "127.0.0.2".to_owned()));
        assert!(began.elapsed() < Duration::from_secs(15), "no trial");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    pair.set("127.0.0.1", Conduct::Well);
    let began = Instant::now();
    while pair.get().await != (200, "127.0.0.1".to_owned()) {
        assert!(began.elapsed() < Duration::from_secs(25), "it never came back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(5), "the second time out is longer: {:?}", began.elapsed());
    assert_eq!(pair.repeated().len(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_resort_is_an_ejected_endpoint() {
    let pair = Pair::start("").await;
    pair.set("127.0.0.1", Conduct::Resets);
    pair.until_only("127.0.0.2", async || pair.get().await).await;
    pair.set("127.0.0.1", Conduct::Well);
    pair.set("127.0.0.2", Conduct::Resets);
    for _ in 0..20 {
        assert_eq!(pair.get().await, (200, "127.0.0.1".to_owned()));
    }
    pair.set("127.0.0.2", Conduct::Well);
    eventually("both again", async || (pair.get().await.1 == "127.0.0.2").then_some(())).await;
    eventually("both again", async || (pair.get().await.1 == "127.0.0.1").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_its_checks_is_not_used_until_it_passes() {
    let check = "health = { path = \"/health\", interval = \"200ms\", timeout = \"100ms\" }\n";
    let pair = Pair::start(check).await;
    pair.set("127.0.0.1", Conduct::FailsItsCheck);
    assert_eq!(pair.until_only("127.0.0.2", async || pair.get().await).await, 0, "it fails nothing but its check");
    pair.set("127.0.0.2", Conduct::FailsItsCheck);
    eventually("both to fail", async || (pair.get().await.0 == 503).then_some(())).await;
    let answer = pair.client.get("/x").await;
    assert_eq!((answer.status, &answer.json()["reason"]), (503, &"upstream_unhealthy".into()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    pair.set("127.0.0.2", Conduct::Well);
    let began = Instant::now();
    eventually("an endpoint", async || (pair.get().await.0 == 200).then_some(())).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    pair.set("127.0.0.1", Conduct::Well);
    eventually("the other one, too", async || (pair.get().await.1 == "127.0.0.1").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_stays_with_its_endpoint_if_it_is_told_to() {
    let pair = Pair::start("balance = \"round_robin\"\n").await;
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(pair.get().await.1);
    }
    assert!(answers.windows(2).all(|two| two[0] != two[1]), "{answers:?}");
    let configuration = pair.gateway.configuration().replace("round_robin", "hash_client");
    pair.gateway.reload_with(&configuration).await.unwrap();
    let first = pair.get().await.1;
    for _ in 0..10 {
        assert_eq!(pair.get().await.1, first);
        assert_eq!(pair.post().await.1, first);
    }
    pair.set(&first.clone(), Conduct::Resets);
    eventually("the other one", async || {
        let answer = pair.get().await;
        (answer.0 == 200 && answer.1 != first).then_some(())
    })
    .await;
}
