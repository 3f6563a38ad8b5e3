//! A connection, or an HTTP/2 stream, that has become a WebSocket: bytes both ways until both sides have ended, and who
//! or what ends it before that.
//!
//! It is a request that goes on: its record, its place at the endpoint and its part in a drain stay what they were.
//! Whoever ends it for the gateway says so in a Close frame, where one may stand.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::request;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use super::client::ClientConnection;
use super::frames::{self, CloseCode};
use super::pipe::{Fault, Pipe};
use super::record::Record;
use super::response::{LAST_PIECE, Stall};
use super::snapshot::Snapshot;
use super::upgrade;
use crate::drain::Phase;
use crate::identity::Reason;
use crate::upstream::Upgraded;
use crate::watchdog::Watchdog;

/// How long both sides have for a Close frame and their end; within what the program leaves them at its own end.
const LAST_WORDS: Duration = Duration::from_millis(700);
/// How long a client may keep the connection after the upstream has closed the WebSocket and ended its half.
const AFTER_CLOSE: Duration = Duration::from_secs(2);
/// How often is looked whether the client's certificate has expired: a WebSocket may outlive it, and has no next request.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// hyper tells a reading HTTP/2 side that the stream was reset as if it had ended; only writing tells the difference.
const PROBE: Duration = Duration::from_millis(250);

/// A WebSocket under way.
#[derive(Debug)]
pub(super) struct Tunnel {
    connection: Arc<ClientConnection>,
    /// The request, to be judged again when another configuration is in force.
    request: Box<request::Parts>,
    upstream: Box<Upgraded>,
    /// The stream it is, of an HTTP/2 connection.
    stream: Option<Arc<Stall>>,
    flow: Flow,
}

/// What has gone through, and what waits.
#[derive(Debug)]
struct Flow {
    record: Box<Record>,
    /// From the client.
    up: Pipe,
    /// To the client.
    down: Pipe,
    idle_limit: Duration,
    send_limit: Duration,
    idle: Watchdog,
    send: Watchdog,
    probe: Option<Watchdog>,
    /// The upstream has said all it had to say, and takes nothing more.
    is_over: bool,
}

/// How it ended.
#[derive(Debug)]
enum End {
    /// Both sides ended it.
    Complete,
    Client(&'static str),
    Upstream(&'static str),
    Idle,
    Drain,
    Refused(Reason),
}

impl Tunnel {
    pub(super) fn new(
        connection: Arc<ClientConnection>,
        request: request::Parts,
        upstream: Box<Upgraded>,
        record: Box<Record>,
        snapshot: &Snapshot,
    ) -> Self {
        let flow = Flow {
            record,
            up: Pipe::default(),
            down: Pipe::default(),
            idle_limit: snapshot.timeouts.upgrade_idle,
            send_limit: snapshot.timeouts.send,
            idle: Watchdog::default(),
            send: Watchdog::default(),
            probe: None,
            is_over: false,
        };
        Self { connection, request: Box::new(request), upstream, stream: None, flow }
    }

    /// It is a stream of an HTTP/2 connection.
    pub(super) fn on_stream(mut self, stream: Option<Arc<Stall>>) -> Self {
        self.flow.probe = Some(Watchdog::default());
        self.stream = stream;
        self
    }

    /// Serves it until it ends.
    pub(super) async fn run<C: AsyncRead + AsyncWrite + Unpin>(self, mut client: C) {
        let Self { connection, request, mut upstream, stream, mut flow } = self;
        let _under_way = connection.activity.begin_tunnel();
        let mut drain = connection.proxy.drain.clone();
        let mut published = connection.proxy.published.subscribe();
        // After `published` was subscribed to: nothing that happens meanwhile is missed.
        let mut refused = upgrade::judge_again(&connection, &request);
        let mut looks = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = loop {
            if let Some(reason) = refused {
                break End::Refused(reason);
            }
            tokio::select! {
                end = poll_fn(|context| flow.poll(context, &mut client, &mut upstream)) => break end,
                () = drain.reached(Phase::Cut) => break End::Drain,
                Ok(()) = published.changed() => refused = upgrade::judge_again(&connection, &request),
                _ = looks.tick() => refused = connection.lost_trust(),
            }
        };
        match end {
            End::Complete => {
                let _ = timeout(LAST_WORDS, client.shutdown()).await;
            }
            // No end that looks like one: what is missing is to be missed.
            End::Client(_) | End::Upstream(_) => {
                if let Some(stream) = stream {
                    // h2 throws away what it has not sent yet.
                    sleep(LAST_PIECE).await;
                    stream.reset();
                }
            }
            End::Idle | End::Drain => flow.take_leave(CloseCode::GoingAway, client, upstream).await,
            End::Refused(_) => flow.take_leave(CloseCode::PolicyViolation, client, upstream).await,
        }
        flow.remember(&end);
    }
}

impl Flow {
    /// Moves what can be moved now.
    fn poll<C: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        client: &mut C,
        upstream: &mut Upgraded,
    ) -> Poll<End> {
        let (mut moved_up, mut moved_down) = (0, 0);
        let mut fault = None;
        if !self.up.has_ended() {
            match self.up.poll(context, client, upstream, &mut moved_up) {
                Poll::Ready(Err(Fault::Read | Fault::Truncated)) => fault = Some(End::Client("client_gone")),
                // It may have said something before it hung up.
                Poll::Ready(Err(Fault::Write(_))) => self.up.give_up(),
                _ => {}
            }
        }
        if !self.down.has_ended() && fault.is_none() {
            match self.down.poll(context, upstream, client, &mut moved_down) {
                Poll::Ready(Err(Fault::Read)) => fault = Some(End::Upstream("upstream_reset")),
                Poll::Ready(Err(Fault::Truncated)) => fault = Some(End::Upstream("upstream_truncated")),
                Poll::Ready(Err(Fault::Write(error))) => {
                    let is_slow = error.kind() == std::io::ErrorKind::TimedOut;
                    fault = Some(End::Client(if is_slow { "send_timeout" } else { "client_gone" }));
                }
                _ => {}
            }
        }
        self.record.bytes_in += moved_up;
        self.record.bytes_out += moved_down;
        if let Some(fault) = fault {
            // After a Close frame the connection itself matters to nobody.
            let has_closed = self.up.frames().has_closed() || self.down.frames().has_closed();
            return Poll::Ready(if has_closed { End::Complete } else { fault });
        }
        if self.up.has_ended() && self.down.has_ended() {
            return Poll::Ready(End::Complete);
        }
        self.poll_deadlines(context, moved_up + moved_down > 0, moved_down > 0, client)
    }

    fn poll_deadlines<C: AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        has_moved: bool,
        is_read: bool,
        client: &mut C,
    ) -> Poll<End> {
        let over = self.down.has_ended() && self.down.frames().has_closed();
        if over && !self.is_over {
            self.is_over = true;
            self.idle.arm(Instant::now() + AFTER_CLOSE);
        } else if !over && (has_moved || !self.idle.is_armed()) {
            self.idle.arm(Instant::now() + self.idle_limit);
        }
        if self.idle.poll_expired(context).is_ready() {
            return Poll::Ready(if over { End::Complete } else { End::Idle });
        }
        if !self.down.is_blocked() {
            self.send.disarm();
        } else if is_read || !self.send.is_armed() {
            self.send.arm(Instant::now() + self.send_limit);
        }
        if self.send.poll_expired(context).is_ready() {
            return Poll::Ready(End::Client("send_timeout"));
        }
        if let Some(probe) = &mut self.probe
            && self.up.is_ending()
            && !self.down.has_ended()
        {
            if !probe.is_armed() {
                probe.arm(Instant::now() + PROBE);
            }
            while probe.poll_expired(context).is_ready() {
                if matches!(std::pin::Pin::new(&mut *client).poll_flush(context), Poll::Ready(Err(_))) {
                    return Poll::Ready(End::Client("client_gone"));
                }
                probe.arm(Instant::now() + PROBE);
            }
        }
        Poll::Pending
    }

    /// Tells both sides why this ends, where that can be told, and ends it.
    async fn take_leave<C: AsyncRead + AsyncWrite + Unpin>(&self, code: CloseCode, client: C, upstream: Box<Upgraded>) {
        let key = fastrand::u32(..).to_be_bytes();
        let _ = timeout(LAST_WORDS, async {
            tokio::join!(
                end_side(client, &self.down, frames::close(code)),
                end_side(upstream, &self.up, frames::masked_close(code, key)),
            )
        })
        .await;
    }

    fn remember(&mut self, end: &End) {
        let record = &mut self.record;
        match end {
            End::Complete => record.complete(),
            End::Client("send_timeout") => record.client_does_not_read(),
            End::Client(_) => record.client_is_gone(),
            End::Upstream(reason) => record.cut_by_upstream(reason),
            End::Idle => {
                record.because("upgrade_idle");
                record.complete();
            }
            End::Drain => {}
            End::Refused(reason) => record.because(reason.as_str()),
        }
    }
}

/// Ends one side with a Close frame, if one may stand there, and waits for the side's own end: closing while the other
/// is still sending would take the frame with it. In the middle of a frame the connection is simply cut.
async fn end_side<S: AsyncRead + AsyncWrite + Unpin>(mut side: S, given: &Pipe, close: Vec<u8>) {
    if given.has_ended() || !given.frames().is_between_frames() {
        return;
    }
    if !given.frames().has_closed() && side.write_all(&close).await.is_err() {
        return;
    }
    if side.shutdown().await.is_err() {
        return;
    }
    let mut thrown_away = vec![0; 4 * 1024];
    while side.read(&mut thrown_away).await.is_ok_and(|length| length > 0) {}
}
