//! The real program: signals, its output, its health check.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::binary::{Binary, free_address, program, run_to_end};
use crate::support::wire::soon;
use crate::support::{Client, Upstream, eventually, gateway};

fn client(binary: &Binary) -> Client {
    Client::new(&binary.pki, binary.address).with(&binary.pki.client("client-1"))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_well_on_sigterm_and_on_sigint() {
    let upstream = Upstream::echo().await;
    for signal in ["TERM", "INT"] {
        let mut binary = Binary::start(&gateway::upstream("api", upstream.address));
        assert_eq!(client(&binary).get("/x").await.status, 200);
        let mut idle = client(&binary).raw().await;
        idle.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        idle.answer().await;
        let begun = Instant::now();
        binary.signal(signal);
        assert_eq!(binary.ended().code(), Some(0), "SIG{signal}");
        assert!(begun.elapsed() < Duration::from_secs(3));
        assert!(idle.is_closed().await);
        assert_eq!(binary.stderr(), "");
        binary.logged("the end", |line| line["message"] == "drained");
        assert_eq!(binary.log().iter().filter(|line| line["event"] == "request").count(), 2, "no line is lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let upstream = Upstream::raw(|_, stream| async move {
        crate::support::wire::Wire::new(stream).rest().await;
    })
    .await;
    let mut binary = Binary::start(&gateway::upstream("api", upstream.address));
    let mut slow = client(&binary).raw().await;
    slow.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    eventually("the request", async || (upstream.connections() == 1).then_some(())).await;
    binary.signal("TERM");
    binary.logged("the drain", |line| line["message"] == "draining");
    let begun = Instant::now();
    binary.signal("TERM");
    assert_eq!(binary.ended().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(2));
    binary.logged("the request", |line| line["aborted"] == "drain");
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reloads_and_a_bad_configuration_changes_nothing() {
    let upstream = Upstream::echo().await;
    let binary = Binary::start(&gateway::upstream("api", upstream.address));
    let good = std::fs::read_to_string(&binary.config).unwrap();
    let mut open = client(&binary).raw().await;
    open.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(open.answer().await.status, 200);
    std::fs::write(&binary.config, format!("{good}[timeouts]\nsned = \"1s\"\n")).unwrap();
    binary.signal("HUP");
    let told = binary.logged("the refusal", |line| line["level"] == "error");
    assert!(told["message"].as_str().unwrap().contains("sned"), "{told}");
    open.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(open.answer().await.status, 200);
    let route = "[[route]]\npath = \"/*\"\npublic = true\nrespond = { status = 418, body = \"new\" }\n";
    std::fs::write(&binary.config, format!("{good}{route}")).unwrap();
    binary.signal("HUP");
    eventually("the new route", async || {
        open.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        (open.answer().await.status == 418).then_some(())
    })
    .await;
    for format in ["[logs]\nformat = \"text\"\n", "[runtime]\nworkers = 7\n"] {
        std::fs::write(&binary.config, format!("{good}{format}")).unwrap();
        binary.signal("HUP");
        let key = if format.contains("logs") { "[logs] format" } else { "[runtime] workers" };
        binary.logged("the refusal", |line| line["message"].as_str().is_some_and(|text| text.contains(key)));
    }
    open.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(open.answer().await.status, 418);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_holds_up_no_request_and_tells_of_its_losses() {
    let upstream = Upstream::echo().await;
    let mut binary = Binary::start_unread(&gateway::upstream("api", upstream.address));
    let mut raw = client(&binary).raw().await;
    let path = "p".repeat(2000);
    let mut slowest = Duration::ZERO;
    for _ in 0..900 {
        let begun = Instant::now();
        raw.send(format!("GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(raw.answer().await.status, 200);
        slowest = slowest.max(begun.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let stdout = binary.stdout();
    let reading = std::thread::spawn(move || {
        let mut lost = 0;
        let mut whole = 0;
        for line in BufReader::new(stdout).lines() {
            let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            match line["event"].as_str().unwrap() {
                "request" => whole += 1,
                "log_lines_dropped" => lost += line["count"].as_u64().unwrap(),
                _ => {}
            }
        }
        (whole, lost)
    });
    binary.signal("TERM");
    assert_eq!(binary.ended().code(), Some(0));
    let (whole, lost) = reading.join().unwrap();
    assert!(lost > 0, "{whole} lines and none lost: the pipe was never full");
    assert!(whole + lost >= 900, "{whole} + {lost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_and_ends_when_its_output_is_gone_or_full() {
    let upstream = Upstream::echo().await;
    let mut gone = Binary::start_unread(&gateway::upstream("api", upstream.address));
    drop(gone.stdout());
    let mut raw = client(&gone).raw().await;
    for _ in 0..50 {
        raw.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(raw.answer().await.status, 200);
    }
    gone.signal("TERM");
    assert_eq!(gone.ended().code(), Some(0));

    let mut full = Binary::start_unread(&gateway::upstream("api", upstream.address));
    let mut raw = client(&full).raw().await;
    let path = "p".repeat(2000);
    for _ in 0..60 {
        raw.send(format!("GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(raw.answer().await.status, 200);
    }
    let begun = Instant::now();
    full.signal("TERM");
    assert_eq!(full.ended().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_command_tells_by_its_exit_code_and_is_silent_when_all_is_well() {
    let upstream = Upstream::raw(|_, stream| async move {
        crate::support::wire::Wire::new(stream).rest().await;
    })
    .await;
    let health = free_address();
    let plain = format!("{}[health]\naddress = \"{health}\"\n", gateway::upstream("api", upstream.address));
    for more in [gateway::upstream("api", upstream.address), plain] {
        let mut binary = Binary::start(&more);
        let ask = || run_to_end(program().args(["health", "-c"]).arg(&binary.config));
        let output = ask();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
        assert_eq!(output.stdout, b"OK\n");
        let by_url = |url: String| run_to_end(program().args(["health", "--url", &url]));
        let output = by_url(format!("https://{}/health", binary.address));
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
        if more.contains("[health]") {
            assert_eq!(by_url(format!("http://{health}/ready")).status.code(), Some(0));
            assert_eq!(by_url(format!("http://{health}/nonsense")).status.code(), Some(1));
            // Draining.
            let mut slow = client(&binary).raw().await;
            slow.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            eventually("the request", async || (upstream.connections() == 1).then_some(())).await;
            binary.signal("TERM");
            binary.logged("the drain", |line| line["message"] == "draining");
            let output = by_url(format!("http://{health}/health"));
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            assert!(!output.stderr.is_empty());
        }
        binary.signal("TERM");
        binary.signal("TERM");
        binary.ended();
        let output = run_to_end(program().args(["health", "-c"]).arg(&binary.config));
        assert_eq!(output.status.code(), Some(1), "nobody is there");
        assert!(!output.stderr.is_empty());
    }
    // A server that accepts and says nothing is given up on.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let begun = Instant::now();
    let url = format!("http://{}/health", silent.local_addr().unwrap());
    assert_eq!(run_to_end(program().args(["health", "--url", &url])).status.code(), Some(1));
    assert!((2..6).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(run_to_end(program().args(["health", "--url", "nonsense"])).status.code(), Some(2));
}

/// With flags and environment alone, and a file where a flag wins.
#[tokio::test(flavor = "multi_thread")]
async fn it_runs_without_a_file() {
    let upstream = Upstream::echo().await;
    let pki = crate::support::Pki::new();
    let address = free_address();
    let mut child = program()
        .args(["run", "--listen", &address.to_string()])
        .env("GATEWAY_UPSTREAM", format!("http://{}", upstream.address))
        .env("GATEWAY_TLS_CERTIFICATE", pki.path("server.crt"))
        .env("GATEWAY_TLS_PRIVATE_KEY", pki.path("server.key"))
        .env("GATEWAY_CLIENT_CA", pki.path("ca.crt"))
        .env("GATEWAY_SERVICE_PORT", "tcp://10.0.0.1:1")
        .current_dir(pki.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let client = Client::new(&pki, address).with(&pki.client("client-1"));
    eventually("the start", async || tokio::net::TcpStream::connect(address).await.ok()).await;
    assert_eq!(soon(client.get("/x")).await.text(), "upstream GET /x");
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    // The default drain takes its five seconds; a second signal ends it.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
