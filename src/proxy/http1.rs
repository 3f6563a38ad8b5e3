//! An HTTP/1 connection: its bounds, its part in a drain, and its end.
//!
//! One that idles is parked: hyper's part of it, two buffers of 8 KiB above all, is given back, and made anew when
//! the client says something. API clients keep connections for minutes and use them for milliseconds.

use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1::{Builder, Connection};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::activity::Activity;
use super::client::ClientConnection;
use super::io::ClientIo;
use super::linger::read_on;
use super::rejected::Rejection;
use super::requests::Requests;
use super::settings::Limits;
use super::tunnel::Tunnel;
use super::upgrade::Handover;
use crate::drain::Phase;
use crate::tls::TlsStream;
use crate::watchdog::Watchdog;
use crate::watching;

/// How long our own half may take to end.
const SHUTDOWN: Duration = Duration::from_secs(2);
/// What may be read beyond the longest head, and what bodies need to flow.
const READ_AHEAD: usize = 8 * 1024;
const SMALLEST_BUFFER: usize = 64 * 1024;

type Io = ClientIo<TlsStream>;
/// hyper, and what reminds it of the time.
pub(super) struct Http1 {
    connection: Connection<TokioIo<Io>, Requests>,
    rest: Rest,
}

/// Puts HTTP/1 on a socket.
pub(super) fn connection(io: Io, connection: &Arc<ClientConnection>, limits: Limits) -> Box<Http1> {
    let mut builder = Builder::new();
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
    let service = Requests { connection: Arc::clone(connection), streams: None, handover: OnceLock::new() };
    let rest = Rest::after(io.rests_after());
    Box::new(Http1 { connection: builder.serve_connection(TokioIo::new(io), service), rest })
}

/// What a turn of the loop came to.
enum Turn {
    Ended(Option<hyper::Error>),
    Idle,
}

/// Serves it until it ends.
pub(super) async fn serve(mut http: Box<Http1>, connection: Arc<ClientConnection>, limits: Limits) {
    let mut drain = connection.proxy.drain.clone();
    let mut published = connection.proxy.published.subscribe();
    let (io, error) = loop {
        let turn = tokio::select! {
            biased;
            turn = poll_fn(|context| http.poll(&connection.activity, context)) => turn,
            phase = drain.changed() => match phase {
                Phase::Serving | Phase::Announced => continue,
                Phase::Closing => {
                    connection.activity.close_when_idle();
                    continue;
                }
                Phase::Cut => return,
            },
            Ok(()) = watching::changed(&mut published) => {
                // An idle connection is told at its next request, as with HTTP/2.
                if connection.activity.in_flight() > 0 && connection.lost_trust().is_some() {
                    return;
                }
                continue;
            }
        };
        let (mut io, tunnel) = take_apart(http);
        if let Turn::Ended(error) = turn {
            if let (None, Some(tunnel)) = (&error, tunnel) {
                return Box::pin(tunnel.run(io)).await;
            }
            break (io, error);
        }
        let goes_on = loop {
            tokio::select! {
                goes_on = poll_fn(|context| io.poll_wake(context)) => break goes_on,
                phase = drain.changed() => match phase {
                    Phase::Serving | Phase::Announced => {}
                    Phase::Closing => connection.activity.close_when_idle(),
                    Phase::Cut => return,
                },
            }
        };
        if !goes_on {
            break (io, None);
        }
        http = self::connection(*io, &connection, limits);
    };
    // For HTTP/1.0 a close_notify would make half an answer a whole one (RFC 9112 section 9.8).
    if !connection.activity.was_cut() {
        Box::pin(end(io, connection, error)).await;
    }
}

/// The socket, with what hyper has read and not looked at, and the tunnel that it is to be.
fn take_apart(http: Box<Http1>) -> (Box<Io>, Option<Box<Tunnel>>) {
    let parts = http.connection.into_parts();
    let mut io = Box::new(parts.io.into_inner());
    io.unread(parts.read_buf);
    (io, parts.service.handover.get().and_then(Handover::take))
}

impl Http1 {
    fn poll(&mut self, activity: &Activity, context: &mut Context<'_>) -> Poll<Turn> {
        loop {
            if let Poll::Ready(result) = self.connection.poll_without_shutdown(context) {
                return Poll::Ready(Turn::Ended(result.err()));
            }
            if activity.take_idle() {
                return Poll::Ready(Turn::Idle);
            }
            ready!(self.rest.poll_begun(activity, context));
        }
    }
}

/// Tells when a connection has had nothing to do for a while. hyper reads again only when something has come, so its
/// socket does not learn that an answer was the last thing to happen; it finds out what is due when hyper is made to
/// read.
struct Rest {
    after: Duration,
    /// The requests it had when that was told last.
    told: u32,
    watchdog: Watchdog,
}

impl Rest {
    fn after(after: Duration) -> Self {
        Self { after, told: 0, watchdog: Watchdog::default() }
    }

    /// Ready once after the last request.
    fn poll_begun(&mut self, activity: &Activity, context: &mut Context<'_>) -> Poll<()> {
        if activity.in_flight() > 0 || activity.finished() == self.told {
            return Poll::Pending;
        }
        self.watchdog.arm(activity.idle_since() + self.after);
        ready!(self.watchdog.poll_expired(context));
        self.told = activity.finished();
        Poll::Ready(())
    }
}

/// Ends a connection in a way that lets the client read what it was told last.
async fn end(io: Box<Io>, connection: Arc<ClientConnection>, error: Option<hyper::Error>) {
    // hyper says nothing to an HTTP/2 client that forgot its ALPN.
    let owes_answer = io.owes_answer() || error.as_ref().is_some_and(hyper::Error::is_parse_version_h2);
    let rejection = error.and_then(|error| Rejection::of_http1(&error, io.names_absurd_length()));
    let linger = connection.activity.is_to_linger() || owes_answer;
    let ended_by_peer = io.ended_by_peer();
    let mut stream = io.into_inner();
    if let Some(rejection) = rejection {
        rejection.log(&connection);
        if owes_answer {
            let _ = timeout(SHUTDOWN, stream.write_all(rejection.answer().as_bytes())).await;
        }
    }
    let closed = timeout(SHUTDOWN, stream.shutdown()).await;
    if linger && !ended_by_peer && matches!(closed, Ok(Ok(()))) {
        read_on(stream.into_socket().into_stream()).await;
    }
}
