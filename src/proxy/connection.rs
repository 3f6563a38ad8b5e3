//! A connection from its handshake to its end: HTTP/1 or HTTP/2 as ALPN said, its deadlines, its part in a drain.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::server::TlsStream;

use super::Proxy;
use super::client::ClientConnection;
use super::io::{ClientIo, Deadlines};
use super::pipeline;
use super::rejected::Rejection;
use super::response::ResponseBody;
use super::settings::{Limits, Timeouts};
use super::snapshot::Snapshot;
use super::stream::StreamExecutor;
use crate::drain::{DrainWatch, Phase};
use crate::telemetry::ConnectionLine;
use crate::tls::{self, HandshakeFailure, Protocol, TlsInfo};
use crate::watchdog::Watchdog;

/// After an answer that nobody may have read yet: how long, and how much, is read and thrown away.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1024 * 1024;
/// How long our own half may take to end.
const SHUTDOWN: Duration = Duration::from_secs(2);
/// How long a handshake that is under way when a drain closes what is idle may still take.
const HANDSHAKE_GRACE: Duration = Duration::from_secs(1);
/// How long a client without a request may take to answer GOAWAY.
const GO_AWAY: Duration = Duration::from_secs(2);
/// HTTP/1 buffers: what may be read beyond the longest head, and what bodies need to flow.
const READ_AHEAD: usize = 8 * 1024;
const SMALLEST_BUFFER: usize = 64 * 1024;
/// HTTP/2 windows: h2 counts small frames against the connection's, so it stays at a mebibyte.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const SEND_BUFFER: usize = 256 * 1024;

/// Serves one accepted connection until it ends.
pub async fn serve(proxy: Arc<Proxy>, socket: TcpStream, peer: SocketAddr) {
    let snapshot = proxy.snapshot();
    // Each stage is boxed: a connection spends its life in one of them and must not carry the room for the others.
    let rest = match Box::pin(shake_hands(&snapshot, socket, proxy.drain.clone())).await {
        None => return,
        Some(Ok((stream, info))) => serve_http(proxy, &snapshot, peer, stream, info),
        Some(Err(failure)) => Box::pin(refuse_handshake(proxy, peer, failure)),
    };
    drop(snapshot);
    rest.await;
}

type Stage = Pin<Box<dyn Future<Output = ()> + Send>>;

fn serve_http(
    proxy: Arc<Proxy>,
    snapshot: &Snapshot,
    peer: SocketAddr,
    stream: TlsStream<TcpStream>,
    info: TlsInfo,
) -> Stage {
    let (timeouts, limits) = (snapshot.timeouts, snapshot.limits);
    let protocol = info.protocol;
    let connection = Arc::new(ClientConnection::new(proxy, peer, info, timeouts.max_connection_age));
    let deadlines = Deadlines { head: timeouts.request_headers, keepalive: timeouts.keepalive, send: timeouts.send };
    let io = ClientIo::new(stream, protocol, Arc::clone(&connection.activity), deadlines);
    match protocol {
        Protocol::Http1 => Box::pin(serve_http1(http1_connection(io, &connection, limits), connection)),
        Protocol::Http2 => {
            let http = http2_connection(io, &connection, limits, timeouts.send);
            Box::pin(serve_http2(http, connection, timeouts))
        }
    }
}

/// `None` when a drain leaves no time for it: it does not wait for those who only connect, but one who came at the last
/// moment still gets to say something.
async fn shake_hands(
    snapshot: &Snapshot,
    socket: TcpStream,
    mut drain: DrainWatch,
) -> Option<Result<(TlsStream<TcpStream>, TlsInfo), HandshakeFailure>> {
    let no_time_left = async {
        drain.reached(Phase::Closing).await;
        let _ = timeout(HANDSHAKE_GRACE, drain.reached(Phase::Cut)).await;
    };
    tokio::select! {
        shaken = tls::accept(&snapshot.profile, socket, snapshot.timeouts.tls_handshake) => Some(shaken),
        () = no_time_left => None,
    }
}

type Http1 = http1::Connection<TokioIo<ClientIo<TlsStream<TcpStream>>>, Requests>;
type Http2 = http2::Connection<TokioIo<ClientIo<TlsStream<TcpStream>>>, Requests, StreamExecutor>;

fn http1_connection(
    io: ClientIo<TlsStream<TcpStream>>,
    connection: &Arc<ClientConnection>,
    limits: Limits,
) -> Box<Http1> {
    let mut builder = http1::Builder::new();
    let longest_head = limits.request_headers as usize;
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_header_size(longest_head)
        // hyper asks for the limit above once a head is complete; this one bounds a head that never is.
        .max_buf_size((longest_head + READ_AHEAD).max(SMALLEST_BUFFER));
    // Setting hyper's own default would cost an allocation a request.
    if limits.header_count != 100 {
        builder.max_headers(limits.header_count as usize);
    }
    let service = Requests { connection: Arc::clone(connection), streams: None };
    Box::new(builder.serve_connection(TokioIo::new(io), service))
}

async fn serve_http1(mut http: Box<Http1>, connection: Arc<ClientConnection>) {
    let mut drain = connection.proxy.drain.clone();
    let result = loop {
        let phase = tokio::select! {
            result = poll_fn(|context| http.poll_without_shutdown(context)) => break result,
            phase = drain.changed() => phase,
        };
        match phase {
            Phase::Serving | Phase::Announced => {}
            Phase::Closing => connection.activity.close_when_idle(),
            Phase::Cut => return,
        }
    };
    // For HTTP/1.0 a close_notify would make half an answer a whole one (RFC 9112 section 9.8).
    if connection.activity.was_cut() {
        return;
    }
    let io = http.into_parts().io.into_inner();
    Box::pin(end_http1(io, connection, result.err())).await;
}

/// Ends a connection in a way that lets the client read what it was told last.
async fn end_http1(io: ClientIo<TlsStream<TcpStream>>, connection: Arc<ClientConnection>, error: Option<hyper::Error>) {
    // hyper says nothing to an HTTP/2 client that forgot its ALPN.
    let owes_answer = io.owes_answer() || error.as_ref().is_some_and(hyper::Error::is_parse_version_h2);
    let rejection = error.and_then(|error| Rejection::of_http1(&error, io.names_absurd_length()));
    let linger = connection.activity.is_to_linger() || owes_answer;
    let ended_by_peer = io.ended_by_peer();
    let mut stream = io.into_inner();
    if let Some(rejection) = rejection {
        log_rejection(&connection, &rejection);
        if owes_answer {
            let _ = timeout(SHUTDOWN, stream.write_all(rejection.answer().as_bytes())).await;
        }
    }
    let closed = timeout(SHUTDOWN, stream.shutdown()).await;
    if linger && !ended_by_peer && matches!(closed, Ok(Ok(()))) {
        read_on(stream.into_inner().0).await;
    }
}

/// Lets a client that is still sending find the answer before the connection is gone (RFC 9112 section 9.6). When
/// enough has been read the socket stays open all the same: the client's next piece then waits instead of failing, and
/// a client that looks both ways (curl) finds the answer.
async fn read_on(mut socket: TcpStream) {
    let _ = timeout(LINGER, async {
        let mut thrown_away = vec![0; 16 * 1024];
        let mut read = 0;
        while read < LINGER_BYTES {
            match socket.read(&mut thrown_away).await {
                Ok(0) | Err(_) => return,
                Ok(length) => read += length,
            }
        }
        drop(thrown_away);
        let _ = socket.ready(Interest::ERROR).await;
    })
    .await;
}

fn http2_connection(
    io: ClientIo<TlsStream<TcpStream>>,
    connection: &Arc<ClientConnection>,
    limits: Limits,
    send: Duration,
) -> Pin<Box<Http2>> {
    let executor = StreamExecutor::new(send);
    let service = Requests { connection: Arc::clone(connection), streams: Some(executor.clone()) };
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams)
        .max_header_list_size(limits.request_headers)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_local_error_reset_streams(100)
        // A client that is in the middle of a header block cannot answer, so this bounds that, too.
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    Box::pin(builder.serve_connection(TokioIo::new(io), service))
}

async fn serve_http2(mut http: Pin<Box<Http2>>, connection: Arc<ClientConnection>, timeouts: Timeouts) {
    let mut drain = connection.proxy.drain.clone();
    let mut published = connection.proxy.published.subscribe();
    let activity = &connection.activity;
    let mut idle = Watchdog::default();
    let mut leaving_since = None;
    let result = loop {
        // Asked anew at every wake-up: requests come and go without this loop turning.
        let mut expired = poll_fn(|context| {
            if activity.in_flight() > 0 {
                return Poll::Pending;
            }
            idle.arm(match leaving_since {
                Some(since) => activity.idle_since().max(since) + GO_AWAY,
                None if activity.finished() == 0 => activity.idle_since() + timeouts.request_headers,
                None => activity.idle_since() + timeouts.keepalive,
            });
            idle.poll_expired(context)
        });
        tokio::select! {
            result = http.as_mut() => break result,
            phase = drain.changed() => match phase {
                Phase::Serving | Phase::Announced => continue,
                Phase::Closing => {}
                Phase::Cut => return,
            },
            Ok(()) = published.changed() => {
                // An idle connection is told at its next request. Judging takes time, so it is left until then.
                if activity.in_flight() > 0 && connection.has_lost_trust() {
                    return;
                }
                continue;
            }
            () = activity.asked_to_go_away() => {}
            () = &mut expired => {
                if leaving_since.is_some() {
                    return;
                }
            }
        }
        leaving_since.get_or_insert_with(Instant::now);
        http.as_mut().graceful_shutdown();
    };
    if let Err(error) = result
        && let Some(rejection) = Rejection::of_http2(&error)
    {
        log_rejection(&connection, &rejection);
    }
}

/// Requests to the pipeline.
struct Requests {
    connection: Arc<ClientConnection>,
    streams: Option<StreamExecutor>,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    // Boxed, so that an idle connection does not carry the room for a request.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let connection = Arc::clone(&self.connection);
        let stall = self.streams.as_ref().map(StreamExecutor::begin);
        Box::pin(async move { Ok(pipeline::handle(connection, request, stall).await) })
    }
}

fn log_rejection(connection: &ClientConnection, rejection: &Rejection) {
    connection.proxy.log.rejected(&ConnectionLine {
        client_ip: connection.peer.ip().to_canonical(),
        client_port: connection.peer.port(),
        reason: rejection.reason(),
        detail: rejection.detail(),
        status: rejection.status(),
    });
}

async fn refuse_handshake(proxy: Arc<Proxy>, peer: SocketAddr, failure: HandshakeFailure) {
    let reason = match &failure {
        HandshakeFailure::Probe => return,
        HandshakeFailure::TimedOut => "timeout",
        HandshakeFailure::PlainHttp(_) => "plain_http",
        HandshakeFailure::Certificate(reason) => reason.as_str(),
        HandshakeFailure::Failed(_) => "handshake_failed",
    };
    proxy.log.handshake(&ConnectionLine {
        client_ip: peer.ip().to_canonical(),
        client_port: peer.port(),
        reason,
        detail: &failure.to_string(),
        status: None,
    });
    if let HandshakeFailure::PlainHttp(mut socket) = failure {
        let answer = Rejection::plain_http().answer();
        let _ = timeout(SHUTDOWN, async {
            socket.write_all(answer.as_bytes()).await?;
            socket.shutdown().await
        })
        .await;
        read_on(socket).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, F>(_: fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// What every idle connection holds besides hyper's part and its buffers.
    #[test]
    fn the_futures_of_an_idle_connection_stay_small() {
        let http1 = size(serve_http1);
        assert!(http1 <= 512, "HTTP/1: {http1} bytes");
        let http2 = size(|http, connection| serve_http2(http, connection, Timeouts::clone(&TIMEOUTS)));
        assert!(http2 <= 1024, "HTTP/2: {http2} bytes");
        let whole = size(|proxy, socket| serve(proxy, socket, SocketAddr::from(([127, 0, 0, 1], 1))));
        assert!(whole <= 256, "all stages: {whole} bytes");
    }

    const TIMEOUTS: Timeouts = Timeouts {
        tls_handshake: Duration::ZERO,
        request_headers: Duration::ZERO,
        request_body_idle: Duration::ZERO,
        send: Duration::ZERO,
        keepalive: Duration::ZERO,
        max_connection_age: Duration::ZERO,
    };
}
