//! What is remembered of a name between two look-ups, and when to look again. Pure: answers and time come in as
//! arguments.
//!
//! An answer of fewer than eight addresses is all there is. One of eight or more is a sample of many: what it does not
//! name is kept until several answers have not named it. A failed look-up takes nothing away before `stale_for`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::discovered::{Discovered, each_once, first_choice};
use super::lookup::{Answer, Extent};
use super::resolve::{ATTEMPT, LookupError};
use super::settings::DnsSettings;

/// What is known of a name.
#[derive(Debug)]
pub(super) struct Memory {
    settings: DnsSettings,
    seen: BTreeMap<SocketAddr, Seen>,
    /// Time that was covered by good answers: an address ages only while there are answers that could have named it.
    heard: Duration,
    /// The longest TTL of a sample since the last whole answer.
    sampled_ttl: Duration,
    /// Samples in a row that named nothing new.
    quiet: u32,
    last_good: Option<Instant>,
    again_in: Duration,
    failing: Option<LookupError>,
    crowded: bool,
    published: Vec<Discovered>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    priority: u16,
    weight: u16,
    at: Instant,
    heard: Duration,
}

/// What follows from an answer, or from waiting for one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The new endpoints, sorted; `None` when they are the old ones.
    pub(super) publish: Option<Vec<Discovered>>,
    /// When to look again.
    pub(super) again_in: Duration,
    /// What is worth telling the operator, once.
    pub(super) notes: Vec<Note>,
}

/// What is worth telling the operator, once.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// The name cannot be resolved, and so many addresses are still used.
    Failing { error: String, kept: usize },
    /// Nor could it for so long that they no longer are.
    GivenUp,
    /// It can be again.
    Recovered,
    /// More addresses than are kept.
    Crowded,
}

/// An address is forgotten after this many samples' worth of answers without it. With 16 endpoints, one that is alive
/// stays out of six samples of eight in a row once in 64 times; with 32, once in six, and it is back with the next
/// sample that names it.
const FORGET_AFTER: u32 = 6;
/// However short the TTL: a resolver with several caches tells the same eight for a while.
const SHORTEST_AGE: Duration = Duration::from_secs(30);
/// However long the TTL: ECS stops tasks without waiting for it.
const LONGEST_AGE: Duration = Duration::from_mins(5);
/// Samples in a row without anything new after which there is no hurry.
const QUIET: u32 = 3;
/// Addresses kept; a Cloud Map service has at most a thousand instances.
pub(super) const MOST_ADDRESSES: usize = 1000;

impl Memory {
    pub(super) fn new(settings: DnsSettings) -> Self {
        Self {
            again_in: settings.min_ttl,
            settings,
            seen: BTreeMap::new(),
            heard: Duration::ZERO,
            sampled_ttl: Duration::ZERO,
            quiet: 0,
            last_good: None,
            failing: None,
            crowded: false,
            published: Vec::new(),
        }
    }

    /// A look-up has ended.
    pub(super) fn next(&mut self, answer: Result<Answer, LookupError>, now: Instant) -> Step {
        let mut notes = Vec::new();
        match answer {
            Ok(answer) => {
                let covered = self.last_good.map_or(Duration::ZERO, |last_good| now.duration_since(last_good));
                if self.failing.take().is_some() {
                    notes.push(Note::Recovered);
                    self.heard += covered.min(self.again_in);
                } else {
                    self.heard += covered;
                }
                self.last_good = Some(now);
                self.merge(answer, now, &mut notes);
            }
            Err(error) => {
                self.again_in = self.settings.min_ttl;
                // The words may change with each attempt; that the server has begun, or ceased, to answer is news.
                let known = self.failing.as_ref();
                if known.is_none_or(|known| std::mem::discriminant(known) != std::mem::discriminant(&error)) {
                    notes.push(Note::Failing { error: error.to_string(), kept: self.published.len() });
                }
                self.failing = Some(error);
            }
        }
        if self.gives_up_at(None).is_some_and(|at| now >= at) {
            self.seen.clear();
            notes.push(Note::GivenUp);
        }
        self.step(notes)
    }

    /// When the last good answer is no longer to be used: while nothing is asked, or since `asked` at the latest. A
    /// look-up that has not yet taken longer than one question may is no failure.
    pub(super) fn gives_up_at(&self, asked: Option<Instant>) -> Option<Instant> {
        if self.seen.is_empty() {
            return None;
        }
        let at = self.last_good?.checked_add(self.settings.stale_for)?;
        match (&self.failing, asked) {
            (Some(_), _) => Some(at),
            (None, Some(asked)) => Some(at.max(asked + ATTEMPT)),
            (None, None) => None,
        }
    }

    /// The time of [`Memory::gives_up_at`] has come.
    pub(super) fn give_up(&mut self) -> Step {
        let mut notes = Vec::new();
        if self.failing.is_none() {
            let error = LookupError::Failed("none has come yet".to_owned());
            notes.push(Note::Failing { error: error.to_string(), kept: 0 });
            self.failing = Some(error);
        }
        self.seen.clear();
        notes.push(Note::GivenUp);
        self.step(notes)
    }

    /// The last good answer.
    pub(super) fn last_good(&self) -> Option<Instant> {
        self.last_good
    }

    /// Why the last look-up failed, if it did.
    pub(super) fn error(&self) -> Option<&LookupError> {
        self.failing.as_ref()
    }

    fn merge(&mut self, answer: Answer, now: Instant, notes: &mut Vec<Note>) {
        let DnsSettings { min_ttl, max_ttl, stale_for, .. } = self.settings;
        let is_sample = [answer.v4, answer.v6].contains(&Extent::Sample);
        self.sampled_ttl = if is_sample { self.sampled_ttl.max(answer.ttl.max(min_ttl)) } else { Duration::ZERO };
        let before = self.seen.len();
        for one in each_once(answer.found).into_values() {
            let seen = Seen { priority: one.priority, weight: one.weight, at: now, heard: self.heard };
            self.seen.insert(one.address, seen);
        }
        let is_new = self.seen.len() > before;
        let age = (self.sampled_ttl * FORGET_AFTER).clamp(SHORTEST_AGE, LONGEST_AGE);
        let heard = self.heard;
        self.seen.retain(|address, seen| {
            let extent = if address.is_ipv4() { answer.v4 } else { answer.v6 };
            seen.at == now
                || match extent {
                    Extent::Whole => false,
                    Extent::Sample => heard.saturating_sub(seen.heard) <= age,
                    Extent::Unheard => now.duration_since(seen.at) <= stale_for,
                }
        });
        self.bound(notes);
        self.quiet = if is_new { 0 } else { self.quiet.saturating_add(1) };
        let in_a_hurry = is_sample && self.quiet < QUIET;
        self.again_in = if in_a_hurry { min_ttl } else { answer.ttl.clamp(min_ttl, max_ttl) };
    }

    /// Those that were not seen for longest go first.
    fn bound(&mut self, notes: &mut Vec<Note>) {
        let was_crowded = std::mem::replace(&mut self.crowded, self.seen.len() > MOST_ADDRESSES);
        if !self.crowded {
            return;
        }
        let mut by_age: Vec<_> = self.seen.iter().map(|(address, seen)| (seen.at, *address)).collect();
        by_age.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
        for (_, address) in by_age.into_iter().skip(MOST_ADDRESSES) {
            self.seen.remove(&address);
        }
        if !was_crowded {
            notes.push(Note::Crowded);
        }
    }

    fn step(&mut self, notes: Vec<Note>) -> Step {
        let now = first_choice(self.seen.iter().map(|(address, seen)| Discovered {
            address: *address,
            priority: seen.priority,
            weight: seen.weight,
        }));
        let publish = (now != self.published).then(|| {
            self.published.clone_from(&now);
            now
        });
        Step { publish, again_in: self.again_in, notes }
    }
}

#[cfg(test)]
mod tests;
