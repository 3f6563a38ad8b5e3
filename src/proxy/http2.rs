//! An HTTP/2 connection: its bounds, its deadlines, its part in a drain.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http2::{Builder, Connection};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{Instant, timeout};

use super::client::ClientConnection;
use super::cork::{Cork, Corked, cork};
use super::io::ClientIo;
use super::rejected::Rejection;
use super::requests::Requests;
use super::settings::{Limits, Timeouts};
use super::stream::StreamExecutor;
use crate::drain::Phase;
use crate::tls::TlsStream;
use crate::watchdog::Watchdog;
use crate::watching;

/// How long a client without a request may take to answer GOAWAY.
const GO_AWAY: Duration = Duration::from_secs(2);
/// How long the tunnels of a connection that is cut may take to say so.
const LAST_WORDS: Duration = Duration::from_millis(800);
/// h2 counts small frames against the connection's window, so it stays at a mebibyte.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const SEND_BUFFER: usize = 256 * 1024;

type Io = ClientIo<TlsStream>;

/// h2, and what sends for it.
pub(super) struct Http2 {
    connection: Pin<Box<Connection<TokioIo<Corked<Io>>, Requests, StreamExecutor>>>,
    cork: Cork<Io>,
}

impl Http2 {
    /// Goes on with everything, and sends what came of it. Ready at the end.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let turn = self.connection.as_mut().poll(context);
        match self.cork.poll_pull(context) {
            // It cannot be sent to any more, so there is nobody to tell anything.
            Poll::Ready(Err(_)) if turn.is_pending() => Poll::Ready(Ok(())),
            _ => turn,
        }
    }
}

/// Puts HTTP/2 on a socket.
pub(super) fn connection(io: Io, connection: &Arc<ClientConnection>, limits: Limits, send: Duration) -> Http2 {
    let executor = StreamExecutor::new(send);
    let service =
        Requests { connection: Arc::clone(connection), streams: Some(executor.clone()), handover: OnceLock::new() };
    let mut builder = Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams)
        .max_header_list_size(limits.request_headers)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_local_error_reset_streams(100)
        .enable_connect_protocol()
        // A client that is in the middle of a header block cannot answer, so this bounds that, too.
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    let (corked, cork) = cork(io);
    Http2 { connection: Box::pin(builder.serve_connection(TokioIo::new(corked), service)), cork }
}

/// Lets the tunnels say why they end; each of them has been told what this was told.
async fn last_words(mut http: Http2, connection: Arc<ClientConnection>) {
    let activity = &connection.activity;
    let mut ended = pin!(activity.tunnels_ended());
    let _ = timeout(
        LAST_WORDS,
        poll_fn(|context| {
            // First sent, then looked whether that was all.
            if http.poll(context).is_ready() {
                return Poll::Ready(());
            }
            ended.as_mut().poll(context)
        }),
    )
    .await;
}

/// Serves it until it ends.
pub(super) async fn serve(mut http: Http2, connection: Arc<ClientConnection>, timeouts: Timeouts) {
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
            biased;
            result = poll_fn(|context| http.poll(context)) => break result,
            phase = drain.changed() => match phase {
                Phase::Serving | Phase::Announced => continue,
                Phase::Closing => {}
                Phase::Cut => return Box::pin(last_words(http, connection)).await,
            },
            Ok(()) = watching::changed(&mut published) => {
                // An idle connection is told at its next request. Judging takes time, so it is left until then.
                if activity.in_flight() > 0 && connection.lost_trust().is_some() {
                    return Box::pin(last_words(http, connection)).await;
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
        http.connection.as_mut().graceful_shutdown();
    };
    if let Err(error) = result
        && let Some(rejection) = Rejection::of_http2(&error)
    {
        rejection.log(&connection);
    }
}
