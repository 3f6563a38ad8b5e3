//! How an upstream's endpoints stand to each other: who is out, who waits for a place, how much was repeated.
//!
//! The state machines are pure; here they meet locks, clocks and the log. A request that meets no failure touches
//! nothing of this but one counter.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::budget::Budget;
use super::endpoint::Endpoint;
use super::outlier::{Change, Fault, Outliers, Term};
use super::pending::Pending;

/// What an upstream's endpoints share.
#[derive(Debug)]
pub(super) struct Standings {
    upstream: String,
    outliers: Mutex<Outliers>,
    budget: Mutex<Budget>,
    /// How many are out: requests look for a trial only when there are any.
    out: AtomicUsize,
    pub(super) pending: Pending,
}

impl Standings {
    pub(super) fn new(upstream: &str, max_pending: usize) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            upstream: upstream.to_owned(),
            outliers: Mutex::new(Outliers::new(now)),
            budget: Mutex::new(Budget::new(now)),
            out: AtomicUsize::new(0),
            pending: Pending::new(max_pending),
        })
    }

    fn outliers(&self) -> MutexGuard<'_, Outliers> {
        self.outliers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes these the endpoints.
    pub(super) fn keep(&self, endpoints: &[Arc<Endpoint>]) {
        let addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address()).collect();
        let mut outliers = self.outliers();
        let back = outliers.keep(&addresses);
        self.out.store(outliers.out(), Ordering::Relaxed);
        for endpoint in endpoints.iter().filter(|endpoint| back.contains(&endpoint.address())) {
            self.apply(endpoint, Change::Readmitted);
        }
        drop(outliers);
        self.pending.endpoints_changed();
    }

    /// An endpoint that has something to prove answered well.
    pub(super) fn succeeded(&self, endpoint: &Endpoint, is_decisive: bool) {
        let mut outliers = self.outliers();
        let change = outliers.succeeded(endpoint.address(), endpoint.take_good(), is_decisive, Instant::now());
        if outliers.term(endpoint.address()).is_none() {
            endpoint.trust();
        }
        self.out.store(outliers.out(), Ordering::Relaxed);
        if let Some(change) = change {
            self.apply(endpoint, change);
        }
    }

    pub(super) fn failed(&self, endpoint: &Endpoint, fault: Fault) {
        let now = Instant::now();
        let mut outliers = self.outliers();
        outliers.note_good(endpoint.address(), endpoint.take_good(), now);
        endpoint.suspect();
        let change = outliers.failed(endpoint.address(), fault, now);
        self.out.store(outliers.out(), Ordering::Relaxed);
        if let Some(change) = change {
            self.apply(endpoint, change);
        }
    }

    /// An endpoint that is due for its trial, and the trial's deadline.
    pub(super) fn trial(
        &self,
        tried: &[SocketAddr],
        is_repeatable: bool,
        now: Instant,
    ) -> Option<(SocketAddr, Duration)> {
        if self.out.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.outliers().trial(tried, is_repeatable, now)
    }

    pub(super) fn trial_abandoned(&self, endpoint: &Endpoint) {
        self.outliers().trial_abandoned(endpoint.address());
    }

    /// An active check found the endpoint well.
    pub(super) fn checked_well(&self, endpoint: &Endpoint) {
        if self.out.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut outliers = self.outliers();
        if let Some(change) = outliers.checked_well(endpoint.address(), Instant::now()) {
            self.out.store(outliers.out(), Ordering::Relaxed);
            self.apply(endpoint, change);
        }
    }

    /// Why and since when an endpoint is out.
    pub(super) fn term(&self, endpoint: &Endpoint) -> Option<Term> {
        self.outliers().term(endpoint.address())
    }

    /// Whether one more request may be sent a second time, while so many are under way.
    pub(super) fn may_repeat(&self, in_flight: usize) -> bool {
        let answered = self.outliers().answered() as usize;
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.spend(answered.saturating_add(in_flight), Instant::now())
    }

    /// A good answer took long.
    pub(super) fn note_slow(&self, took: Duration) {
        self.outliers().note_slow(took, Instant::now());
    }

    /// Takes note of what nobody was told of.
    pub(super) fn count(&self, endpoints: &[Arc<Endpoint>]) {
        let now = Instant::now();
        let mut outliers = self.outliers();
        for endpoint in endpoints {
            outliers.note_good(endpoint.address(), endpoint.take_good(), now);
            if let Some(change) = outliers.observe(endpoint.address(), endpoint.pulse(), now) {
                self.out.store(outliers.out(), Ordering::Relaxed);
                self.apply(endpoint, change);
            }
        }
    }

    /// Under the lock of the outliers, so that the endpoint's mark and their state agree.
    fn apply(&self, endpoint: &Endpoint, change: Change) {
        endpoint.change(change, Instant::now());
        let (upstream, address) = (&self.upstream, endpoint.address());
        match change {
            Change::Ejected { why, lasts } => {
                tracing::warn!(upstream, %address, why, for_seconds = lasts.as_secs_f64(), "an endpoint was ejected");
            }
            Change::Readmitted => tracing::info!(upstream, %address, "an endpoint is used again"),
        }
    }
}
