//! Reload: all or nothing, and without losing a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mtls_gateway::pki::{Overwrite, ServerRequest, parse_server_name};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use crate::support::binary::free_address;
use crate::support::client::Raw;
use crate::support::wire::{Wire, h2, h2_request, soon};
use crate::support::{Client, Gateway, Pki, Upstream, eventually, gateway};

const GET: &str = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn started(upstream: &Upstream, more: &str) -> (Pki, Gateway, Client) {
    let pki = Pki::new();
    let gateway = Gateway::start(&pki, &format!("{}{more}", gateway::upstream("api", upstream.address))).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    (pki, gateway, client)
}

fn server_certificate(raw: &Raw) -> Vec<u8> {
    raw.stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn issue_server_again(pki: &Pki) {
    let names = vec![parse_server_name("localhost").unwrap()];
    pki.store().issue_server(&ServerRequest::new(names), Overwrite::Replace).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_get_the_new_certificate_and_old_ones_live_on() {
    let upstream = Upstream::echo().await;
    let (pki, gateway, client) = started(&upstream, "").await;
    let mut old = client.raw().await;
    old.send(GET).await;
    assert_eq!(old.answer().await.status, 200);
    let (mut old_h2, connection) = h2(&client).await;
    issue_server_again(&pki);
    assert_eq!(server_certificate(&client.raw().await), server_certificate(&old), "not before the reload");
    gateway.control.reload().await.unwrap();
    let mut new = client.raw().await;
    assert_ne!(server_certificate(&new), server_certificate(&old));
    for raw in [&mut old, &mut new] {
        raw.send(GET).await;
        assert_eq!(raw.answer().await.status, 200);
    }
    let (response, _) = old_h2.send_request(h2_request("GET", "/x"), true).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 200);
    assert!(!connection.is_finished());
    assert_eq!(upstream.connections(), 1, "an upstream that has not changed keeps its connections");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_trust_store_refuses_the_old_client_at_once_and_lets_the_new_one_in() {
    let (tell, mut told) = mpsc::channel(8);
    let upstream = Upstream::raw(move |_, stream| {
        let tell = tell.clone();
        async move {
            let mut wire = Wire::new(stream);
            while let Some(head) = wire.head().await {
                if head.contains("/endless") {
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun").await;
                    wire.rest().await;
                    tell.send(()).await.unwrap();
                    return;
                }
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            }
        }
    })
    .await;
    let (pki, gateway, client) = started(&upstream, "").await;
    let mut old = client.raw().await;
    old.send(GET).await;
    assert_eq!(old.answer().await.status, 200);
    let (mut idle_h2, _idle) = h2(&client).await;
    let (response, _) = idle_h2.send_request(h2_request("GET", "/x"), true).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 200);
    let (mut busy_h2, _busy) = h2(&client).await;
    let (response, _) = busy_h2.send_request(h2_request("GET", "/endless"), true).unwrap();
    let mut endless = soon(response).await.unwrap().into_body();
    assert_eq!(soon(endless.data()).await.unwrap().unwrap(), "begun");

    let other = Pki::new();
    let ca = |pki: &Pki| format!("ca = [{:?}]", pki.path("ca.crt"));
    let configuration = gateway.configuration().replace(&ca(&pki), &ca(&other));
    gateway.reload_with(&configuration).await.unwrap();

    old.send(GET).await;
    let answer = old.answer().await;
    assert_eq!((answer.status, &answer.json()["reason"]), (403, &"unknown_issuer".into()));
    let (response, _) = idle_h2.send_request(h2_request("GET", "/x"), true).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 403);
    assert_eq!(client.get("/x").await.status, 403);
    let new = client.clone().with(&other.client("client-1"));
    assert_eq!(new.get("/x").await.status, 200);
    assert!(soon(endless.data()).await.is_none_or(|end| end.is_err()), "open streams of a refused client are cut");
    soon(told.recv()).await.unwrap();

    // And back: both old connections are let in again.
    let both =
        configuration.replace(&ca(&other), &format!("ca = [{:?}, {:?}]", pki.path("ca.crt"), other.path("ca.crt")));
    gateway.reload_with(&both).await.unwrap();
    old.send(GET).await;
    assert_eq!(old.answer().await.status, 200);
    assert_eq!(new.get("/x").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_a_client_that_is_still_trusted_are_not_cut() {
    let end = Arc::new(Notify::new());
    let go_on = Arc::clone(&end);
    let upstream = Upstream::raw(move |_, stream| {
        let go_on = Arc::clone(&go_on);
        async move {
            let mut wire = Wire::new(stream);
            wire.head().await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await;
            go_on.notified().await;
            wire.send("half").await;
        }
    })
    .await;
    let (pki, gateway, client) = started(&upstream, "").await;
    let mut raw = client.raw().await;
    raw.send(GET).await;
    raw.until("half").await;
    let (mut sender, _connection) = h2(&client).await;
    let (response, _) = sender.send_request(h2_request("GET", "/x"), true).unwrap();
    let mut body = soon(response).await.unwrap().into_body();
    assert_eq!(soon(body.data()).await.unwrap().unwrap(), "half");
    let other = Pki::new();
    let both = format!("ca = [{:?}, {:?}]", other.path("ca.crt"), pki.path("ca.crt"));
    let elsewhere = Upstream::echo().await;
    let configuration = gateway
        .configuration()
        .replace(&format!("ca = [{:?}]", pki.path("ca.crt")), &both)
        .replace(&upstream.address.to_string(), &elsewhere.address.to_string());
    gateway.reload_with(&configuration).await.unwrap();
    assert_eq!(client.get("/x").await.text(), "upstream GET /x", "the new upstream is in force");
    end.notify_one();
    eventually("one of them to go on", async || {
        end.notify_one();
        Some(())
    })
    .await;
    assert_eq!(soon(body.data()).await.unwrap().unwrap(), "half");
    end.notify_one();
    raw.until("half").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_set_is_refused_and_the_old_one_stays() {
    let upstream = Upstream::echo().await;
    let (pki, gateway, client) = started(&upstream, "").await;
    let good = gateway.configuration();
    let garbled = pki.path("garbled.crt");
    std::fs::write(&garbled, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let empty = pki.path("empty.crt");
    std::fs::write(&empty, "").unwrap();
    let path = |name: &str| format!("{:?}", pki.path(name));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    for (what, bad, named) in [
        ("no TOML", "nonsense".to_owned(), "nonsense"),
        ("an unknown key", format!("{good}[timeouts]\nsned = \"1s\"\n"), "sned"),
        ("a missing certificate", good.replace("server.crt", "gone.crt"), "gone.crt"),
        ("a missing key", good.replace("server.key", "gone.key"), "gone.key"),
        ("a garbled certificate", good.replace(&path("server.crt"), &format!("{garbled:?}")), "garbled.crt"),
        ("a garbled trust store", good.replace(&path("ca.crt"), &format!("{garbled:?}")), "garbled.crt"),
        ("an empty trust store", good.replace(&path("ca.crt"), &format!("{empty:?}")), "empty.crt"),
        ("no trust store", good.replace(&format!("ca = [{}]", path("ca.crt")), "ca = []"), "ca"),
        ("workers", format!("{good}[runtime]\nworkers = 3\n"), "[runtime] workers"),
        ("the log's format", format!("{good}[logs]\nformat = \"text\"\n"), "[logs] format"),
    ] {
        // The test's own loader insists on JSON, as a terminal may not.
        if what == "the log's format" {
            continue;
        }
        let problems = gateway.reload_with(&bad).await.unwrap_err();
        assert!(problems.iter().any(|problem| problem.contains(named)), "{what}: {problems:?}");
        let answer = client.get("/x").await;
        assert_eq!(answer.status, 200, "{what}");
        assert_eq!(client.clone().without_certificate().get("/x").await.status, 403, "{what}");
    }
    let moved = good.replacen("address = \"127.0.0.1:0\"", &format!("address = [\"127.0.0.1:0\", \"{taken}\"]"), 1);
    let problems = gateway.reload_with(&moved).await.unwrap_err();
    assert!(problems.iter().any(|problem| problem.contains(&taken)), "{problems:?}");
    drop(listener);
    gateway.reload_with(&good).await.unwrap();
    assert_eq!(client.get("/x").await.status, 200);
    assert_eq!(upstream.connections(), 1);
}

/// They are two files, and whoever replaces them does so one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_and_key_that_do_not_match_are_waited_for() {
    let upstream = Upstream::echo().await;
    let (pki, gateway, client) = started(&upstream, "").await;
    let before = server_certificate(&client.raw().await);
    let old_key = pki.read("server.key");
    issue_server_again(&pki);
    let new_key = pki.read("server.key");
    std::fs::write(pki.path("server.key"), old_key).unwrap();
    let control = gateway.control.clone();
    let reload = tokio::spawn(async move { control.reload().await });
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(!reload.is_finished());
    assert_eq!(client.get("/x").await.status, 200, "meanwhile the old pair serves");
    std::fs::write(pki.path("server.key"), new_key).unwrap();
    soon(reload).await.unwrap().unwrap();
    assert_ne!(server_certificate(&client.raw().await), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_beyond_those_that_may_wait_are_refused_and_the_end_is_not() {
    let upstream = Upstream::echo().await;
    let (pki, mut gateway, _client) = started(&upstream, "").await;
    std::fs::write(pki.path("server.key"), Pki::new().read("server.key")).unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    for _ in 0..40 {
        let (control, tell) = (gateway.control.clone(), tell.clone());
        tokio::spawn(async move { tell.send(control.reload().await.unwrap_err()) });
    }
    // One is under way, eight wait; the others hear at once that they do not.
    for _ in 0..40 - 9 {
        assert_eq!(soon(told.recv()).await.unwrap(), ["other reloads are waiting already"]);
    }
    gateway.control.shut_down().await;
    soon(gateway.ended()).await;
    drop(tell);
    for _ in 0..9 {
        assert_ne!(soon(told.recv()).await.unwrap(), ["other reloads are waiting already"]);
    }
    assert!(soon(told.recv()).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_never_matches_is_refused_and_does_not_hold_up_the_end() {
    let upstream = Upstream::echo().await;
    let (pki, mut gateway, client) = started(&upstream, "").await;
    let other = Pki::new();
    std::fs::write(pki.path("server.key"), other.read("server.key")).unwrap();
    let begun = std::time::Instant::now();
    let problems = gateway.control.reload().await.unwrap_err();
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(problems[0].contains("server.key"), "{problems:?}");
    assert_eq!(client.get("/x").await.status, 200);
    let control = gateway.control.clone();
    let reload = tokio::spawn(async move { control.reload().await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = std::time::Instant::now();
    gateway.control.shut_down().await;
    soon(gateway.ended()).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(soon(reload).await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_moves_is_bound_before_the_old_one_stops() {
    let upstream = Upstream::echo().await;
    let health = free_address();
    let (pki, gateway, client) = started(&upstream, &format!("[health]\naddress = \"{health}\"\n")).await;
    let mut open = client.raw().await;
    open.send(GET).await;
    assert_eq!(open.answer().await.status, 200);
    let (new, new_health) = (free_address(), free_address());
    let moved = gateway
        .configuration()
        .replacen("address = \"127.0.0.1:0\"", &format!("address = \"{new}\""), 1)
        .replace(&health.to_string(), &new_health.to_string());
    gateway.reload_with(&moved).await.unwrap();
    let there = Client::new(&pki, new).with(&pki.client("client-1"));
    assert_eq!(there.get("/x").await.status, 200);
    TcpStream::connect(new_health).await.unwrap();
    for old in [gateway.address, health] {
        eventually("the old listener to be gone", async || TcpStream::connect(old).await.err()).await;
    }
    open.send(GET).await;
    assert_eq!(open.answer().await.status, 200, "what was open stays open");
    // Both at once, and one of them away again.
    let old = free_address();
    let both = moved.replace(&format!("address = \"{new}\""), &format!("address = [\"{new}\", \"{old}\"]"));
    gateway.reload_with(&both).await.unwrap();
    assert_eq!(there.get("/x").await.status, 200);
    assert_eq!(Client::new(&pki, old).with(&pki.client("client-1")).get("/x").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_and_limits_change_for_the_next_request_of_an_open_connection() {
    let upstream = Upstream::echo().await;
    let (_pki, gateway, client) = started(&upstream, "").await;
    let mut raw = client.raw().await;
    let (mut sender, _connection) = h2(&client).await;
    raw.send(GET).await;
    assert_eq!(raw.answer().await.status, 200);
    let changed = format!(
        "{}[[route]]\npath = \"/*\"\nupstream = \"api\"\nmax_request_body = 3\n[[route]]\npath = \"/x\"\npublic = true\n\
         respond = {{ status = 418, body = \"new\" }}\n",
        gateway.configuration()
    );
    gateway.reload_with(&changed).await.unwrap();
    raw.send(GET).await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (418, "new"));
    raw.send("POST /y HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody").await;
    assert_eq!(raw.answer().await.status, 413);
    let (response, _) = sender.send_request(h2_request("GET", "/x"), true).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 418);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_reloads_under_load_lose_no_request() {
    let upstream = Upstream::echo().await;
    let (pki, gateway, client) = started(&upstream, "").await;
    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..4 {
        let (client, stop, served) = (client.clone(), Arc::clone(&stop), Arc::clone(&served));
        tasks.spawn(async move {
            let mut raw = client.raw().await;
            let (sender, _connection) = h2(&client).await;
            while !stop.load(Ordering::SeqCst) {
                let status = match number {
                    0 => client.get("/x").await.status,
                    1 => client.h2("POST", "/x", &[], "body").await.status.as_u16(),
                    2 => {
                        raw.send("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody").await;
                        raw.answer().await.status
                    }
                    _ => {
                        let mut ready = sender.clone().ready().await.unwrap();
                        let (response, _) = ready.send_request(h2_request("GET", "/x"), true).unwrap();
                        soon(response).await.unwrap().status().as_u16()
                    }
                };
                assert_eq!(status, 200);
                served.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let good = gateway.configuration();
    for number in 0..20 {
        let before = served.load(Ordering::SeqCst);
        match number % 4 {
            0 => gateway.reload_with(&good).await.unwrap(),
            1 => {
                issue_server_again(&pki);
                gateway.control.reload().await.unwrap();
            }
            2 => gateway.reload_with("nonsense").await.map(|()| panic!("accepted")).unwrap_or_default(),
            _ => gateway.reload_with(&format!("{good}[limits]\nh2_streams = {}\n", 50 + number)).await.unwrap(),
        }
        eventually("some requests", async || (served.load(Ordering::SeqCst) > before + 3).then_some(())).await;
    }
    stop.store(true, Ordering::SeqCst);
    soon(tasks.join_all()).await;
}
