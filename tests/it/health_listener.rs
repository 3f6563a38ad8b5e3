//! The plain health listener: for load balancers, whatever they put before their checks.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::wire::soon;
use crate::support::{Dns, Gateway, Pki, Upstream, eventually, gateway};

async fn ask(address: SocketAddr, pieces: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for (number, piece) in pieces.iter().enumerate() {
        if number > 0 {
            // Segments of their own.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        stream.write_all(piece).await.unwrap();
    }
    let mut answer = Vec::new();
    let _ = soon(stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &[format!("GET {path} HTTP/1.1\r\nHost: 10.0.0.7:8081\r\nConnection: close\r\n\r\n").as_bytes()]).await
}

fn proxy_v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, family]);
    header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    header.extend(rest);
    header
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_are_answered_with_or_without_a_proxy_header_in_front() {
    let pki = Pki::new();
    let upstream = Upstream::echo().await;
    let more = format!("{}[health]\naddress = \"127.0.0.1:0\"\n", gateway::upstream("api", upstream.address));
    let gateway = Gateway::start(&pki, &more).await;
    let address = gateway.health.unwrap();
    let request = b"GET /health HTTP/1.1\r\nHost: 10.0.0.7:8081\r\nConnection: close\r\n\r\n";
    let tcp4 = proxy_v2(1, 0x11, &[10, 0, 0, 1, 10, 0, 0, 2, 0x10, 0x92, 0x1f, 0x91]);
    let local = proxy_v2(0, 0, &[]);
    // With the VPC endpoint's id as a TLV of Amazon's.
    let tlv = proxy_v2(1, 0x11, &[10, 0, 0, 1, 10, 0, 0, 2, 0x10, 0x92, 0x1f, 0x91, 0xea, 0, 3, 1, b'v', b'p']);
    let v1 = b"PROXY TCP4 10.0.0.1 10.0.0.2 4242 8081\r\n".to_vec();
    let unknown = b"PROXY UNKNOWN\r\n".to_vec();
    for header in [Vec::new(), tcp4, local, tlv, v1, unknown] {
        let whole = ask(address, &[&[&header[..], request].concat()]).await;
        assert!(whole.starts_with("HTTP/1.1 200 OK\r\n") && whole.ends_with("\r\n\r\nOK"), "{header:?}: {whole}");
        assert!(whole.to_ascii_lowercase().contains("content-type: text/plain"));
        if !header.is_empty() {
            let (first, second) = header.split_at(header.len() / 2);
            let pieces = ask(address, &[first, second, request]).await;
            assert!(pieces.starts_with("HTTP/1.1 200 OK\r\n"), "{header:?}: {pieces}");
            let bytes: Vec<_> = header.chunks(1).take(5).chain([&header[5.min(header.len())..]]).collect();
            let bytes = ask(address, &[&bytes[..], &[&request[..]]].concat()).await;
            assert!(bytes.starts_with("HTTP/1.1 200 OK\r\n"), "{header:?}: {bytes}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_for_health_and_readiness_and_for_nothing_else() {
    let pki = Pki::new();
    let upstream = Upstream::echo().await;
    let dns = Dns::start().await;
    let gateway = Gateway::start(
        &pki,
        &format!(
            "[upstream.api]\nurl = \"http://api.test.local:{}\"\ndns = {{ resolvers = [\"{}\"], min_ttl = \"100ms\" }}\n\
             [health]\naddress = \"127.0.0.1:0\"\npath = \"/up\"\n",
            upstream.address.port(),
            dns.address
        ),
    )
    .await;
    let address = gateway.health.unwrap();
    assert!(get(address, "/up?from=nlb").await.starts_with("HTTP/1.1 200 "));
    assert!(get(address, "/ready").await.starts_with("HTTP/1.1 503 "), "the upstream has no endpoint yet");
    dns.set("api.test.local", 1, &["127.0.0.1".parse().unwrap()]).await;
    eventually("readiness", async || get(address, "/ready").await.starts_with("HTTP/1.1 200 ").then_some(())).await;
    for path in ["/", "/health", "/x", "/up/", "/up/../x"] {
        assert!(get(address, path).await.starts_with("HTTP/1.1 404 "), "{path}");
    }
    let post = b"POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert!(ask(address, &[post]).await.starts_with("HTTP/1.1 405 "));
    let head = ask(address, &[b"HEAD /up HTTP/1.0\r\n\r\n"]).await;
    assert!(head.starts_with("HTTP/1.0 200 ") || head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.ends_with("\r\n\r\n"));
    assert!(ask(address, &[b"\x16\x03\x01garbage\r\n\r\n"]).await.starts_with("HTTP/1.1 400 "));
    assert!(upstream.seen().is_empty());
    // A check that only connects, and one that sends half a header, are nobody's fault.
    drop(TcpStream::connect(address).await.unwrap());
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"PROXY TC").await.unwrap();
    drop(half);
    assert!(get(address, "/up").await.starts_with("HTTP/1.1 200 "));
    let lines = gateway.log();
    assert!(lines.iter().all(|line| line["event"] == "log"), "{lines:?}");
}
