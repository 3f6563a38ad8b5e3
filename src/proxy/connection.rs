//! A connection from its handshake to its protocol, HTTP/1 or HTTP/2 as ALPN said.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::ClientConnection;
use super::io::{ClientIo, Deadlines};
use super::linger::read_on;
use super::rejected::Rejection;
use super::snapshot::Snapshot;
use super::{Proxy, http1, http2};
use crate::drain::Phase;
use crate::telemetry::ConnectionLine;
use crate::tls::{self, HandshakeFailure, Protocol, TlsInfo, TlsStream};

/// How long a refusal may take.
const REFUSAL: Duration = Duration::from_secs(2);
/// How long a handshake that is under way when a drain closes what is idle may still take.
const HANDSHAKE_GRACE: Duration = Duration::from_secs(1);

/// Serves one accepted connection until it ends.
pub async fn serve(proxy: Arc<Proxy>, socket: TcpStream, peer: SocketAddr) {
    let snapshot = proxy.snapshot();
    // Each stage is boxed: a connection spends its life in one of them and must not carry the room for the others.
    let rest = match Box::pin(shake_hands(&proxy, &snapshot, socket)).await {
        None => return,
        Some(Ok((stream, info))) => serve_http(proxy, &snapshot, peer, stream, info),
        Some(Err(failure)) => Box::pin(refuse_handshake(proxy, peer, failure)),
    };
    drop(snapshot);
    rest.await;
}

type Stage = Pin<Box<dyn Future<Output = ()> + Send>>;

fn serve_http(proxy: Arc<Proxy>, snapshot: &Snapshot, peer: SocketAddr, stream: TlsStream, info: TlsInfo) -> Stage {
    let (timeouts, limits) = (snapshot.timeouts, snapshot.limits);
    let protocol = info.protocol;
    let connection = Arc::new(ClientConnection::new(proxy, peer, info, timeouts.max_connection_age));
    let deadlines = Deadlines { head: timeouts.request_headers, keepalive: timeouts.keepalive, send: timeouts.send };
    let io = ClientIo::new(stream, protocol, Arc::clone(&connection.activity), deadlines);
    match protocol {
        Protocol::Http1 => Box::pin(http1::serve(http1::connection(io, &connection, limits), connection, limits)),
        Protocol::Http2 => {
            let http = http2::connection(io, &connection, limits, timeouts.send);
            Box::pin(http2::serve(http, connection, timeouts))
        }
    }
}

/// `None` when a drain leaves no time for it: it does not wait for those who only connect, but one who came at the last
/// moment still gets to say something.
async fn shake_hands(
    proxy: &Proxy,
    snapshot: &Snapshot,
    socket: TcpStream,
) -> Option<Result<(TlsStream, TlsInfo), HandshakeFailure>> {
    let mut drain = proxy.drain.clone();
    let no_time_left = async {
        drain.reached(Phase::Closing).await;
        let _ = timeout(HANDSHAKE_GRACE, drain.reached(Phase::Cut)).await;
    };
    tokio::select! {
        shaken = tls::accept(&snapshot.profiles, socket, snapshot.timeouts.tls_handshake, &proxy.clock) => Some(shaken),
        () = no_time_left => None,
    }
}

async fn refuse_handshake(proxy: Arc<Proxy>, peer: SocketAddr, failure: HandshakeFailure) {
    let reason = match &failure {
        HandshakeFailure::Probe => return,
        HandshakeFailure::TimedOut => "timeout",
        HandshakeFailure::PlainHttp(_) => "plain_http",
        HandshakeFailure::Certificate(reason, _) => reason.as_str(),
        HandshakeFailure::Failed(_) => "handshake_failed",
    };
    if let HandshakeFailure::Certificate(reason, _) = &failure {
        proxy.measures.rejected(*reason);
    }
    proxy.log.handshake(&ConnectionLine {
        client_ip: peer.ip().to_canonical(),
        client_port: peer.port(),
        reason,
        detail: &failure.to_string(),
        status: None,
    });
    let (mut socket, answer) = match failure {
        HandshakeFailure::PlainHttp(socket) => (socket, Rejection::plain_http().answer()),
        // Over TLS 1.3 the client has sent its request by now; a reset would take the alert away before it is read.
        HandshakeFailure::Certificate(_, socket) => (socket, String::new()),
        _ => return,
    };
    let _ = timeout(REFUSAL, async {
        socket.write_all(answer.as_bytes()).await?;
        socket.shutdown().await
    })
    .await;
    read_on(socket).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::settings::{Limits, Timeouts};

    fn size<A, B, F>(_: fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// What every idle connection holds besides hyper's part and its buffers.
    #[test]
    fn the_futures_of_an_idle_connection_stay_small() {
        let http1 = size(|http, connection| http1::serve(http, connection, LIMITS));
        assert!(http1 <= 640, "HTTP/1: {http1} bytes");
        let http2 = size(|http, connection| http2::serve(http, connection, TIMEOUTS));
        assert!(http2 <= 1024, "HTTP/2: {http2} bytes");
        let whole = size(|proxy, socket| serve(proxy, socket, SocketAddr::from(([127, 0, 0, 1], 1))));
        assert!(whole <= 256, "all stages: {whole} bytes");
    }

    const LIMITS: Limits = Limits { request_headers: 0, uri: 0, header_count: 0, h2_streams: 0 };
    const TIMEOUTS: Timeouts = Timeouts {
        tls_handshake: Duration::ZERO,
        request_headers: Duration::ZERO,
        request_body_idle: Duration::ZERO,
        send: Duration::ZERO,
        keepalive: Duration::ZERO,
        upgrade_idle: Duration::ZERO,
        max_connection_age: Duration::ZERO,
    };
}
