//! What a connection's parts must know of each other: how many requests are under way, and whether it is to end.
//!
//! The socket's wrapper, the requests and the driving loop of one connection share an [`Activity`]. All of it is
//! atomic: the requests of an HTTP/2 connection run as tasks of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Requests that a client may break off beyond those it lets finish, before the connection is sent away
/// (CVE-2023-44487 and its kin).
const MOST_BROKEN_OFF: i32 = 100;

/// The state that a connection's parts share.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    in_flight: AtomicU32,
    finished: AtomicU32,
    /// Milliseconds after `start` at which the last request finished.
    idle_since: AtomicU64,
    broken_off: AtomicI32,
    close_when_idle: AtomicBool,
    linger: AtomicBool,
    had_fragment: AtomicBool,
    idle: AtomicBool,
    cut: AtomicBool,
    go_away: Notify,
    tunnels: AtomicU32,
    tunnel_ended: Notify,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            in_flight: AtomicU32::new(0),
            finished: AtomicU32::new(0),
            idle_since: AtomicU64::new(0),
            broken_off: AtomicI32::new(0),
            close_when_idle: AtomicBool::new(false),
            linger: AtomicBool::new(false),
            had_fragment: AtomicBool::new(false),
            idle: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            go_away: Notify::new(),
            tunnels: AtomicU32::new(0),
            tunnel_ended: Notify::new(),
        }
    }

    /// When the connection began.
    pub(super) fn started(&self) -> Instant {
        self.start
    }

    pub(super) fn begin_request(&self) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
    }

    /// A request has ended `now`; `completely` tells whether the client took all of the answer.
    pub(super) fn end_request(&self, completely: bool, now: Instant) {
        let millis = u64::try_from(now.duration_since(self.start).as_millis()).unwrap_or(u64::MAX);
        self.idle_since.store(millis, Ordering::Relaxed);
        self.finished.fetch_add(1, Ordering::AcqRel);
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        let balance = if completely {
            self.broken_off.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| Some((count - 1).max(0)))
        } else {
            Ok(self.broken_off.fetch_add(1, Ordering::Relaxed) + 1)
        };
        if balance.is_ok_and(|count| count > MOST_BROKEN_OFF) {
            self.ask_to_go_away();
        }
    }

    /// Requests under way.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Requests that have ended.
    pub(super) fn finished(&self) -> u32 {
        self.finished.load(Ordering::Acquire)
    }

    /// When the last request ended; the connection's beginning before the first.
    pub(super) fn idle_since(&self) -> Instant {
        let millis = self.idle_since.load(Ordering::Relaxed);
        self.start.checked_add(Duration::from_millis(millis)).unwrap_or(self.start)
    }

    /// The connection is to close as soon as no request is under way.
    pub(super) fn close_when_idle(&self) {
        self.close_when_idle.store(true, Ordering::Release);
    }

    pub(super) fn is_to_close_when_idle(&self) -> bool {
        self.close_when_idle.load(Ordering::Acquire)
    }

    /// The client is still sending what nobody will read: it must be given time to read the answer first.
    pub(super) fn linger(&self) {
        self.linger.store(true, Ordering::Release);
    }

    pub(super) fn is_to_linger(&self) -> bool {
        self.linger.load(Ordering::Acquire)
    }

    /// An answer was cut short: the connection must not end as if all had been said.
    pub(super) fn note_cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    pub(super) fn was_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Nothing has happened for so long that the connection may give back what it does not need.
    pub(super) fn note_idle(&self) {
        self.idle.store(true, Ordering::Release);
    }

    pub(super) fn take_idle(&self) -> bool {
        // A plain load first: this is asked at every turn.
        self.idle.load(Ordering::Acquire) && self.idle.swap(false, Ordering::AcqRel)
    }

    /// The request line that is coming in holds a fragment, which hyper cuts off without a word.
    pub(super) fn note_fragment(&self) {
        self.had_fragment.store(true, Ordering::Release);
    }

    pub(super) fn take_fragment(&self) -> bool {
        // A plain load first: this is asked of every request.
        self.had_fragment.load(Ordering::Acquire) && self.had_fragment.swap(false, Ordering::AcqRel)
    }

    /// An HTTP/2 connection is to send GOAWAY.
    pub(super) fn ask_to_go_away(&self) {
        self.go_away.notify_one();
    }

    pub(super) async fn asked_to_go_away(&self) {
        self.go_away.notified().await;
    }

    /// A request has become a tunnel, until this is dropped.
    pub(super) fn begin_tunnel(self: &Arc<Self>) -> TunnelUnderWay {
        self.tunnels.fetch_add(1, Ordering::AcqRel);
        TunnelUnderWay(Arc::clone(self))
    }

    /// Waits until no tunnel is under way.
    pub(super) async fn tunnels_ended(&self) {
        while self.tunnels.load(Ordering::Acquire) > 0 {
            self.tunnel_ended.notified().await;
        }
    }
}

/// Counts a tunnel.
#[derive(Debug)]
pub(super) struct TunnelUnderWay(Arc<Activity>);

impl Drop for TunnelUnderWay {
    fn drop(&mut self) {
        self.0.tunnels.fetch_sub(1, Ordering::AcqRel);
        self.0.tunnel_ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_keeps_breaking_off_is_sent_away() {
        let activity = Activity::new();
        for _ in 0..MOST_BROKEN_OFF {
            activity.begin_request();
            activity.end_request(false, Instant::now());
        }
        activity.begin_request();
        activity.end_request(true, Instant::now());
        let early = tokio::time::timeout(Duration::from_millis(1), activity.asked_to_go_away()).await;
        assert!(early.is_err());
        for _ in 0..2 {
            activity.begin_request();
            activity.end_request(false, Instant::now());
        }
        activity.asked_to_go_away().await;
        assert_eq!((activity.in_flight(), activity.finished()), (0, 103));
    }
}
