//! Which endpoints are left out because of how they answered: passive ejection, as a pure state machine.
//!
//! An endpoint is ejected at once when nobody listens there, after three failures in a row of any other kind, or when
//! it fails much more often than the others. Its time out doubles with each ejection. Then one request that can be
//! repeated elsewhere is its trial: a good answer brings it back, anything else begins a longer time out. Never is more
//! than half of an upstream's endpoints out, so never the only one: if most fail, the fault is hardly theirs.
//!
//! Nothing waits or looks at a clock here; time comes in as an argument.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::window::{Counted, Window};

/// The first time out; each further one is twice as long.
pub(super) const FIRST_EJECTION: Duration = Duration::from_secs(5);
/// And none is longer.
pub(super) const LONGEST_EJECTION: Duration = Duration::from_secs(60);
/// Failures in a row that eject.
const IN_A_ROW: u32 = 3;
/// Answers of an endpoint, and of the others together, before their rates of failure are compared.
const ENOUGH: u32 = 20;
/// Endpoints that behave for so long begin anew: their next time out is a short one.
const FORGIVEN_AFTER: Duration = Duration::from_secs(300);
/// Requests that must wait, and for how long nothing may come, before an endpoint is thought silent.
const WAITING: usize = 3;
const SILENCE: Duration = Duration::from_secs(4);
/// For how long the slowest good answer is remembered: an endpoint may be silent for twice its time.
const SLOWEST_COUNTS: Duration = Duration::from_secs(300);
/// The first trial's deadline; it doubles with the time out, so that a slow endpoint comes back, too.
const FIRST_TRIAL: Duration = Duration::from_secs(1);

/// What went wrong at an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nobody listens there.
    Refused,
    /// Hands were not shaken.
    Handshake,
    /// No connection in time.
    ConnectTimedOut,
    /// No answer in time.
    FirstByteTimedOut,
    /// Its client gave up waiting for a late answer.
    Abandoned,
    /// Several requests wait, and nothing has come for long.
    Silent,
    /// A fresh connection ended without an answer.
    Reset,
    /// What came was no HTTP.
    Malformed,
    /// The answer broke off, or stopped coming.
    Cut,
    /// It answered 502, 503 or 504.
    Unavailable,
    /// It answered with another status from 500 on. The request may be to blame, so this counts in comparison only.
    Error,
}

impl Fault {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "connection refused",
            Self::Handshake => "TLS handshake failed",
            Self::ConnectTimedOut => "connect timeout",
            Self::FirstByteTimedOut => "no answer in time",
            Self::Abandoned => "clients gave up waiting",
            Self::Silent => "no answer to anybody",
            Self::Reset => "connection closed without an answer",
            Self::Malformed => "malformed answer",
            Self::Cut => "answer cut short",
            Self::Unavailable => "answered 502, 503 or 504",
            Self::Error => "many errors",
        }
    }
}

/// A change worth acting on and telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Ejected { why: &'static str, lasts: Duration },
    Readmitted,
}

/// The endpoints of one upstream, and how each has behaved.
#[derive(Debug)]
pub(super) struct Outliers {
    rows: HashMap<SocketAddr, Row>,
    window: Window,
    slowest: Option<(Instant, Duration)>,
}

/// What an endpoint is doing right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pulse {
    /// Requests that wait for the head of their answer.
    pub(super) waiting: usize,
    /// A number that changes with each head.
    pub(super) heads: u64,
}

#[derive(Debug, Default)]
struct Row {
    state: State,
    in_a_row: u32,
    good: Counted,
    bad: Counted,
    /// Ejections since it last behaved for long.
    ejections: u32,
    readmitted: Option<Instant>,
    heads: u64,
    last_heard: Option<Instant>,
    silent_since: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    In,
    Out(Term),
    OnTrial(Term),
}

/// Why and how long an endpoint is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) since: Instant,
    pub(super) lasts: Duration,
    pub(super) why: &'static str,
}

impl Outliers {
    pub(super) fn new(now: Instant) -> Self {
        Self { rows: HashMap::new(), window: Window::new(now), slowest: None }
    }

    /// Makes these the endpoints. Tells which come back because fewer may be out now.
    pub(super) fn keep(&mut self, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        self.rows.retain(|address, _| addresses.contains(address));
        for address in addresses {
            self.rows.entry(*address).or_default();
        }
        let mut back = Vec::new();
        while self.out() * 2 > self.rows.len() {
            let Some((address, row)) = self
                .rows
                .iter_mut()
                .filter_map(|(address, row)| Some((row.term()?.since, address, row)))
                .min_by_key(|(since, address, _)| (*since, **address))
                .map(|(_, address, row)| (address, row))
            else {
                break;
            };
            row.state = State::In;
            back.push(*address);
        }
        back
    }

    /// How many are out, trials among them.
    pub(super) fn out(&self) -> usize {
        self.rows.values().filter(|row| row.state != State::In).count()
    }

    /// Why and since when this one is out; `None` when it is not.
    pub(super) fn term(&self, address: SocketAddr) -> Option<Term> {
        self.rows.get(&address)?.term()
    }

    /// An endpoint answered well, `count` times since it was last told of. `decisive` is one that began after the
    /// ejection: what had been under way before says nothing of now.
    pub(super) fn succeeded(
        &mut self,
        address: SocketAddr,
        count: u32,
        decisive: bool,
        now: Instant,
    ) -> Option<Change> {
        self.rotate(now);
        let row = self.rows.get_mut(&address)?;
        row.good.add(count);
        if row.state == State::In {
            row.in_a_row = 0;
            return None;
        }
        decisive.then(|| {
            row.readmit(now);
            Change::Readmitted
        })
    }

    /// Good answers of an endpoint that nobody was told of, since there was nothing to decide.
    pub(super) fn note_good(&mut self, address: SocketAddr, count: u32, now: Instant) {
        self.rotate(now);
        if let Some(row) = self.rows.get_mut(&address) {
            row.good.add(count);
        }
    }

    /// An endpoint failed.
    pub(super) fn failed(&mut self, address: SocketAddr, fault: Fault, now: Instant) -> Option<Change> {
        self.rotate(now);
        let may_leave = (self.out() + 1) * 2 <= self.rows.len();
        let is_outlier = self.is_outlier(address, 1);
        let row = self.rows.get_mut(&address)?;
        row.bad.add(1);
        if fault != Fault::Error {
            row.in_a_row = row.in_a_row.saturating_add(1);
        }
        match row.state {
            // What was under way when it left.
            State::Out(_) => None,
            State::OnTrial(_) => Some(row.eject(fault.as_str(), now)),
            State::In if may_leave => {
                let why = if row.in_a_row >= IN_A_ROW || matches!(fault, Fault::Refused | Fault::Silent) {
                    fault.as_str()
                } else if is_outlier {
                    Fault::Error.as_str()
                } else {
                    return None;
                };
                Some(row.eject(why, now))
            }
            State::In => None,
        }
    }

    /// A good answer took so long that it is worth remembering.
    pub(super) fn note_slow(&mut self, took: Duration, now: Instant) {
        let is_slower = |(at, slowest): (Instant, Duration)| took >= slowest || now.duration_since(at) > SLOWEST_COUNTS;
        if self.slowest.is_none_or(is_slower) {
            self.slowest = Some((now, took));
        }
    }

    /// Looks at what an endpoint is doing, each second or so: one that keeps several requests waiting, and answers
    /// nobody while others do, is ejected before these requests fail.
    pub(super) fn observe(&mut self, address: SocketAddr, pulse: Pulse, now: Instant) -> Option<Change> {
        let row = self.rows.get_mut(&address)?;
        if std::mem::replace(&mut row.heads, pulse.heads) != pulse.heads {
            row.last_heard = Some(now);
            row.silent_since = None;
        }
        if pulse.waiting < WAITING {
            row.silent_since = None;
        }
        if row.last_heard == Some(now) || pulse.waiting < WAITING {
            return None;
        }
        let since = *row.silent_since.get_or_insert(now);
        let slowest = self.slowest.filter(|(at, _)| now.duration_since(*at) <= SLOWEST_COUNTS);
        let patience = slowest.map_or(SILENCE, |(_, slowest)| SILENCE.max(slowest * 2));
        let others_answer = self.rows.iter().any(|(other, row)| {
            *other != address && row.state == State::In && row.last_heard.is_some_and(|at| at >= since)
        });
        if now.duration_since(since) < patience || !others_answer {
            return None;
        }
        self.failed(address, Fault::Silent, now)
    }

    /// Whether an endpoint with `more` failures than are known fails much more often than the others.
    fn is_outlier(&self, address: SocketAddr, more: u32) -> bool {
        let Some(row) = self.rows.get(&address) else { return false };
        let mine = (row.good.sum(), row.bad.sum().saturating_add(more));
        let (mut good, mut bad) = (0_u32, 0_u32);
        for (other, row) in &self.rows {
            if *other != address && row.state == State::In {
                good = good.saturating_add(row.good.sum());
                bad = bad.saturating_add(row.bad.sum());
            }
        }
        let rate = |(good, bad): (u32, u32)| f64::from(bad) / (f64::from(good) + f64::from(bad)).max(1.0);
        mine.0.saturating_add(mine.1) >= ENOUGH
            && good.saturating_add(bad) >= ENOUGH
            && rate(mine) >= (2.0 * rate((good, bad)) + 0.1).max(0.3)
    }

    /// An endpoint that is due for its trial, and the trial's deadline. One request at a time; one that cannot be
    /// repeated is only used where no other came for as long again.
    pub(super) fn trial(
        &mut self,
        tried: &[SocketAddr],
        is_repeatable: bool,
        now: Instant,
    ) -> Option<(SocketAddr, Duration)> {
        let due = |term: Term| {
            let waited = if is_repeatable { term.lasts } else { term.lasts * 2 };
            now.duration_since(term.since) >= waited
        };
        let (address, row, term) = self
            .rows
            .iter_mut()
            .filter(|(address, _)| !tried.contains(address))
            .filter_map(|(address, row)| match row.state {
                State::Out(term) if due(term) => Some((address, row, term)),
                _ => None,
            })
            .min_by_key(|(address, _, term)| (term.since, **address))?;
        row.state = State::OnTrial(term);
        Some((*address, FIRST_TRIAL * 2_u32.saturating_pow(row.ejections.saturating_sub(1).min(16))))
    }

    /// The trial's request ended and said nothing of the endpoint: its client left.
    pub(super) fn trial_abandoned(&mut self, address: SocketAddr) {
        if let Some(row) = self.rows.get_mut(&address)
            && let State::OnTrial(term) = row.state
        {
            row.state = State::Out(term);
        }
    }

    /// An active check found the endpoint well: it needs no trial once its time is over.
    pub(super) fn checked_well(&mut self, address: SocketAddr, now: Instant) -> Option<Change> {
        let row = self.rows.get_mut(&address)?;
        match row.state {
            State::Out(term) if now.duration_since(term.since) >= term.lasts => {
                row.readmit(now);
                Some(Change::Readmitted)
            }
            _ => None,
        }
    }

    /// Answers of the last seconds, good and bad.
    pub(super) fn answered(&self) -> u32 {
        self.rows.values().map(|row| row.good.sum().saturating_add(row.bad.sum())).fold(0, u32::saturating_add)
    }

    fn rotate(&mut self, now: Instant) {
        for _ in 0..self.window.turns(now) {
            for row in self.rows.values_mut() {
                row.good.rotate();
                row.bad.rotate();
            }
        }
    }
}

impl Row {
    fn term(&self) -> Option<Term> {
        match self.state {
            State::In => None,
            State::Out(term) | State::OnTrial(term) => Some(term),
        }
    }

    fn eject(&mut self, why: &'static str, now: Instant) -> Change {
        if self.readmitted.is_some_and(|at| now.duration_since(at) >= FORGIVEN_AFTER) {
            self.ejections = 0;
        }
        self.ejections = self.ejections.saturating_add(1);
        let doubled = FIRST_EJECTION.saturating_mul(2_u32.saturating_pow(self.ejections.min(31) - 1));
        let lasts = doubled.min(LONGEST_EJECTION);
        self.state = State::Out(Term { since: now, lasts, why });
        Change::Ejected { why, lasts }
    }

    fn readmit(&mut self, now: Instant) {
        self.state = State::In;
        self.in_a_row = 0;
        self.good = Counted::default();
        self.bad = Counted::default();
        self.readmitted = Some(now);
    }
}

#[cfg(test)]
mod tests;
