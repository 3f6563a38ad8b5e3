//! One address of an upstream: how busy it is, whether it is to be used, and its idle connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::health::{Health, Verdict};
use super::http1::Connection;
use super::http2::Pool;
use super::outlier::{Change, Pulse};
use super::settings::HealthCheck;
use super::standing::Standings;

/// Idle connections kept for one endpoint; more are closed as they come back.
const MOST_IDLE: usize = 256;

/// Where the number of heads begins in [`Endpoint::heads`].
const HEADS: u32 = 32;

/// It was ejected.
const OUT: u8 = 1;
/// Active checks find it unwell.
const UNWELL: u8 = 2;
/// It is new, or back: it gets more requests little by little.
const WARMING: u8 = 4;
/// It has failed since its last good answer.
const SUSPECT: u8 = 8;

/// Whether a kept connection will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// If there is one that seems to be open: for a request that will be sent again should it turn out to have ended.
    Repeatable,
    /// If there is one of which the kernel says that it is open: for a request that cannot be sent again.
    Once,
    /// For a request that was on one that died: an endpoint that was killed leaves more of them behind.
    Forbidden,
    /// Neither now nor later: for a request to speak another protocol, which gets a connection of its own.
    Upgrade,
}

/// Whether an endpoint is used, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It is used.
    Healthy,
    /// It is used, and gets more requests little by little, since then.
    SlowStart(Instant),
    /// It failed its requests and is left out, at first for so long; then a request is its trial.
    Ejected {
        /// What it did.
        why: &'static str,
        /// When it was ejected.
        since: Instant,
        /// For how long at least.
        lasts: Duration,
    },
    /// It fails its health check.
    Unhealthy {
        /// What was wrong with the last check that failed.
        why: String,
        /// Since when.
        since: Instant,
    },
    /// The name no longer stands for it.
    Retired,
}

/// One address of an upstream.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    weight: AtomicU16,
    pub(super) standings: Arc<Standings>,
    known_since: Instant,
    in_flight: AtomicUsize,
    flags: AtomicU8,
    /// Good answers since they were last counted.
    good: AtomicU32,
    /// How many requests have the head of their answer and not yet the end, and above [`HEADS`] how many heads have
    /// come at all: one number, since both change with each answer.
    heads: AtomicU64,
    /// Since when it is [`WARMING`].
    warming_since: Mutex<Option<Instant>>,
    checked: Mutex<Checked>,
    /// Set when the name no longer stands for this address: what comes back is not kept.
    retired: AtomicBool,
    #[expect(clippy::vec_box, reason = "a connection is large, and is handed around as a box")]
    idle: Mutex<Vec<Box<Connection>>>,
    /// Connections that requests share.
    http2: Pool,
}

/// What active checks have found, and why the last one failed.
#[derive(Debug, Default)]
struct Checked {
    health: Health,
    since: Option<Instant>,
    failure: Option<String>,
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, standings: Arc<Standings>) -> Self {
        Self {
            address,
            weight: AtomicU16::new(1),
            known_since: Instant::now(),
            standings,
            in_flight: AtomicUsize::new(0),
            flags: AtomicU8::new(0),
            good: AtomicU32::new(0),
            heads: AtomicU64::new(0),
            warming_since: Mutex::new(None),
            checked: Mutex::default(),
            retired: AtomicBool::new(false),
            idle: Mutex::new(Vec::new()),
            http2: Pool::default(),
        }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its share of requests relative to the others', at least 1; what its SRV record says, if it has one. RFC 2782 would
    /// give one of weight 0 next to none; here it gets as much as one of weight 1.
    pub fn weight(&self) -> u32 {
        u32::from(self.weight.load(Ordering::Relaxed)).max(1)
    }

    pub(super) fn set_weight(&self, weight: u16) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    /// When the name first stood for it.
    pub(super) fn known_since(&self) -> Instant {
        self.known_since
    }

    /// Requests that it has been given and not yet answered in full.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn has(&self, flags: u8) -> bool {
        self.flags.load(Ordering::Relaxed) & flags != 0
    }

    fn set(&self, flags: u8) {
        self.flags.fetch_or(flags, Ordering::Relaxed);
    }

    fn clear(&self, flags: u8) {
        self.flags.fetch_and(!flags, Ordering::Relaxed);
    }

    /// Whether it is neither ejected nor found unwell.
    pub fn is_available(&self) -> bool {
        !self.has(OUT | UNWELL)
    }

    /// Whether active checks find it unwell.
    pub(super) fn is_unwell(&self) -> bool {
        self.has(UNWELL)
    }

    /// The share of its requests that it gets while it is new or back, from a tenth to 1.
    pub(super) fn warmth(&self, slow_start: Duration, now: Instant) -> f64 {
        if !self.has(WARMING) {
            return 1.0;
        }
        let since = *self.warming_since.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = since.map_or(slow_start, |since| now.saturating_duration_since(since));
        if passed >= slow_start {
            self.clear(WARMING);
            return 1.0;
        }
        (passed.as_secs_f64() / slow_start.as_secs_f64()).max(0.1)
    }

    /// It gets more requests little by little from now on.
    pub(super) fn warm_up(&self, now: Instant) {
        *self.warming_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        self.set(WARMING);
    }

    /// Good answers since this was last asked.
    pub(super) fn take_good(&self) -> u32 {
        self.good.swap(0, Ordering::Relaxed)
    }

    /// It has failed: somebody must be told of its next good answer.
    pub(super) fn suspect(&self) {
        self.set(SUSPECT);
    }

    pub(super) fn trust(&self) {
        self.clear(SUSPECT);
    }

    /// It was ejected, or is back.
    pub(super) fn change(&self, change: Change, now: Instant) {
        match change {
            Change::Ejected { .. } => {
                self.set(OUT);
                self.close_idle();
            }
            Change::Readmitted => {
                self.clear(OUT | SUSPECT);
                self.warm_up(now);
            }
        }
    }

    /// An active check has ended; `failure` says what was wrong. Tells the new verdict when it has changed.
    pub(super) fn checked(&self, failure: Option<String>, check: &HealthCheck, now: Instant) -> Option<Verdict> {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = checked.health.checked(failure.is_none(), check);
        if failure.is_some() {
            checked.failure = failure;
        }
        let verdict = verdict?;
        let before = checked.since.replace(now);
        match verdict {
            Verdict::Well => {
                checked.failure = None;
                self.clear(UNWELL);
                if before.is_some() {
                    self.warm_up(now);
                }
            }
            Verdict::Unwell => {
                self.set(UNWELL);
                self.close_idle();
            }
            Verdict::Unknown => {}
        }
        Some(verdict)
    }

    /// Whether an active check has ended.
    pub(super) fn is_checked(&self) -> bool {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner).since.is_some()
    }

    /// Whether it is used, and why not.
    pub fn condition(&self) -> Condition {
        if self.is_retired() {
            return Condition::Retired;
        }
        let checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Verdict::Unwell, Some(since)) = (checked.health.verdict(), checked.since) {
            return Condition::Unhealthy { why: checked.failure.clone().unwrap_or_default(), since };
        }
        drop(checked);
        match self.standings.term(self) {
            Some(term) => Condition::Ejected { why: term.why, since: term.since, lasts: term.lasts },
            None => match *self.warming_since.lock().unwrap_or_else(PoisonError::into_inner) {
                Some(since) if self.has(WARMING) => Condition::SlowStart(since),
                _ => Condition::Healthy,
            },
        }
    }

    /// The most recently used idle connection that is still open, or seems to be.
    pub(super) fn take_idle(&self, keepalive_idle: Duration, reuse: Reuse, now: Instant) -> Option<Box<Connection>> {
        if reuse == Reuse::Upgrade {
            return None;
        }
        loop {
            let mut connection = {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                let connection = idle.pop()?;
                if connection.idle_for(now) >= keepalive_idle {
                    // Those below it have been idle for longer.
                    idle.clear();
                    return None;
                }
                connection
            };
            let is_good = match reuse {
                Reuse::Repeatable => connection.seems_open(),
                Reuse::Once => connection.is_open(),
                Reuse::Forbidden | Reuse::Upgrade => return None,
            };
            if is_good {
                return Some(connection);
            }
        }
    }

    /// The connections that requests share.
    pub(super) fn http2(&self) -> &Pool {
        &self.http2
    }

    pub(super) fn put_idle(&self, connection: Box<Connection>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked under the lock: `retire` sets the mark before it empties the pool.
        if idle.len() < MOST_IDLE && !self.is_retired() {
            idle.push(connection);
        }
    }

    /// Closes the connections that have been idle for too long or were closed by the other side.
    pub(super) fn sweep(&self, keepalive_idle: Duration) {
        let now = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain_mut(|connection| connection.idle_for(now) < keepalive_idle && connection.is_open());
        if idle.is_empty() {
            idle.shrink_to_fit();
        }
        drop(idle);
        self.http2.sweep_idle(keepalive_idle);
    }

    fn close_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.http2.let_go();
    }

    /// The name no longer stands for this address.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.http2.retire();
        self.close_idle();
    }

    /// Whether the name no longer stands for this address.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Idle connections now.
    pub fn idle(&self) -> usize {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Takes a place, unless `most` are taken.
    pub(super) fn enter(&self, most: usize) -> bool {
        let more = |in_flight| (in_flight < most).then_some(in_flight + 1);
        self.in_flight.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    /// Gives a place back.
    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    /// The head of an answer has come.
    pub(super) fn head_came(&self) {
        self.heads.fetch_add((1 << HEADS) | 1, Ordering::Relaxed);
    }

    /// An answer whose head had come has ended.
    pub(super) fn answer_ended(&self) {
        self.heads.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many requests wait for the head of their answer, and how many heads have come, beginning anew now and then.
    pub(super) fn pulse(&self) -> Pulse {
        let heads = self.heads.load(Ordering::Relaxed);
        let answering = usize::try_from(heads & ((1 << HEADS) - 1)).unwrap_or(usize::MAX);
        Pulse { waiting: self.in_flight().saturating_sub(answering), heads: heads >> HEADS }
    }

    /// It answered well. `is_decisive` tells whether the request began after its ejection.
    pub(super) fn succeeded(&self, is_decisive: bool) {
        self.good.fetch_add(1, Ordering::Relaxed);
        if self.has(OUT | SUSPECT) {
            self.standings.succeeded(self, is_decisive);
        }
    }
}
