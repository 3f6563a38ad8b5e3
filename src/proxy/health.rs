//! The plain-HTTP health listener: for load balancers that check without TLS, and for nobody else.
//!
//! It answers the health path and `/ready`, and tells nothing. With PROXY protocol switched on for a target group, a
//! Network Load Balancer puts the header before its checks, too; here it is skipped, since no address from it is used.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Proxy;
use crate::drain::Phase;

/// A check is one request and its answer; a connection that takes longer is no check.
const LONGEST: Duration = Duration::from_secs(60);
/// How long the beginning of a connection may take to come.
const PREFACE: Duration = Duration::from_secs(10);
/// The signature of PROXY protocol version 2 (section 2.2 of its specification).
const PROXY_V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// A version 1 header is no longer than this (section 2.1).
const LONGEST_PROXY_V1: usize = 107;

/// Whether requests will be served, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// A drain has begun.
    pub draining: bool,
    /// The upstreams that have no endpoint.
    pub without_endpoint: Vec<String>,
}

impl Readiness {
    /// Whether they will.
    pub fn is_ready(&self) -> bool {
        !self.draining && self.without_endpoint.is_empty()
    }
}

impl Proxy {
    /// Whether requests will be served: what `/ready` says, wherever it is asked.
    pub fn readiness(&self) -> Readiness {
        let snapshot = self.snapshot();
        let empty = snapshot.clusters.iter().filter(|cluster| cluster.endpoints().is_empty());
        Readiness {
            draining: self.drain.phase() >= Phase::Announced,
            without_endpoint: empty.map(|cluster| cluster.name().to_owned()).collect(),
        }
    }
}

/// Serves one connection of the health listener.
pub async fn serve(proxy: Arc<Proxy>, mut socket: TcpStream) {
    if !matches!(timeout(PREFACE, skip_proxy_header(&mut socket)).await, Ok(Ok(()))) {
        return;
    }
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(&proxy, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PREFACE)
        .max_header_size(16 * 1024)
        .serve_connection(TokioIo::new(socket), service);
    let _ = timeout(LONGEST, http).await;
}

fn answer(proxy: &Proxy, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let snapshot = proxy.snapshot();
    let path = request.uri().path();
    let (status, body) = if path != snapshot.health_path && path != "/ready" {
        (StatusCode::NOT_FOUND, "NOT FOUND")
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        (StatusCode::METHOD_NOT_ALLOWED, "METHOD NOT ALLOWED")
    } else if proxy.drain.phase() >= Phase::Announced {
        (StatusCode::SERVICE_UNAVAILABLE, "DRAINING")
    } else if path == snapshot.health_path {
        (StatusCode::OK, "OK")
    } else if proxy.readiness().is_ready() {
        (StatusCode::OK, "READY")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "AN UPSTREAM HAS NO ENDPOINT")
    };
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// Reads a PROXY header of either version away, if there is one, and not a byte more.
async fn skip_proxy_header(socket: &mut TcpStream) -> std::io::Result<()> {
    let mut start = [0; 12];
    loop {
        let length = socket.peek(&mut start).await?;
        let seen = start.get(..length).unwrap_or_default();
        if seen == PROXY_V2 {
            let mut header = [0; 16];
            socket.read_exact(&mut header).await?;
            let mut rest = vec![0; usize::from(u16::from_be_bytes([header[14], header[15]]))];
            socket.read_exact(&mut rest).await?;
            return Ok(());
        }
        if seen.starts_with(b"PROXY ") {
            for _ in 0..LONGEST_PROXY_V1 {
                if socket.read_u8().await? == b'\n' {
                    return Ok(());
                }
            }
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        let undecided = !seen.is_empty() && (PROXY_V2.starts_with(seen) || b"PROXY ".starts_with(seen));
        if !undecided {
            return Ok(());
        }
        // The rest of a signature comes with the next segment, if at all; peeking again at once would spin.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
