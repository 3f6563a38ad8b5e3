//! Clients whose certificates end soon: they are told in each answer, the operator once a day for each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::HeaderName;

use super::record::cut_to;
use crate::clock::WallTime;
use crate::identity::CertificateFacts;
use crate::telemetry::LONGEST_TEXT;

/// Tells a client in how many seconds its certificate ends.
pub(super) static EXPIRES_IN: HeaderName = HeaderName::from_static("x-client-certificate-expires-in");

const DAY: Duration = Duration::from_hours(24);
/// Clients of whom it is remembered that the log has a line. Of more there is none until a place is free.
const MOST: usize = 4096;

/// The last days of a certificate.
#[derive(Debug)]
pub(super) struct LastDays {
    begin: WallTime,
    not_after: WallTime,
    /// When it is worth asking whether the log is due for a line.
    next_line: WallTime,
}

impl LastDays {
    /// The last days of a certificate: `notice` of them, and of a short-lived one the last third of its life.
    pub(super) fn of(facts: &CertificateFacts, notice: Duration) -> Option<Self> {
        let life = facts.not_after.unix_millis().saturating_sub(facts.not_before.unix_millis());
        let notice = notice.min(Duration::from_millis(u64::try_from(life / 3).unwrap_or(0)));
        if notice.is_zero() {
            return None;
        }
        let millis = i64::try_from(notice.as_millis()).unwrap_or(i64::MAX);
        let begin = WallTime::from_unix_millis(facts.not_after.unix_millis().saturating_sub(millis));
        Some(Self { begin, not_after: facts.not_after, next_line: begin })
    }

    /// Seconds until the end, when the last days have begun; and a line in the log, when the last is a day old.
    pub(super) fn at(&mut self, now: WallTime, facts: &CertificateFacts, told: &Told) -> Option<u64> {
        if now < self.begin {
            return None;
        }
        let left = self.not_after.unix_seconds().saturating_sub(now.unix_seconds());
        let seconds = u64::try_from(left).unwrap_or(0);
        if now >= self.next_line {
            self.next_line = now.plus(DAY);
            if told.is_due(&facts.sha256, now) {
                tracing::warn!(
                    client_subject = cut_to(&facts.subject, LONGEST_TEXT),
                    client_serial = cut_to(&facts.serial, LONGEST_TEXT),
                    client_sha256 = facts.sha256,
                    hours_left = seconds / 3600,
                    "a client's certificate ends soon"
                );
            }
        }
        Some(seconds)
    }
}

/// Whom the log has a line of, by certificate, and since when. It outlives connections and reloads.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    at: HashMap<Box<str>, WallTime>,
    /// When it is worth looking for places that are free again.
    full_until: Option<WallTime>,
}

impl Told {
    /// Whether there has been no line for a day; then it is taken as written.
    fn is_due(&self, sha256: &str, now: WallTime) -> bool {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = lines.at.get_mut(sha256) {
            let is_due = now >= last.plus(DAY);
            if is_due {
                *last = now;
            }
            return is_due;
        }
        if lines.at.len() >= MOST && !lines.make_room(now) {
            return false;
        }
        lines.at.insert(sha256.into(), now);
        true
    }
}

impl Lines {
    fn make_room(&mut self, now: WallTime) -> bool {
        if self.full_until.is_some_and(|until| now < until) {
            return false;
        }
        self.at.retain(|_, last| now < last.plus(DAY));
        let is_full = self.at.len() >= MOST;
        self.full_until = is_full.then(|| self.at.values().min().map_or(now, |oldest| oldest.plus(DAY)));
        if is_full {
            tracing::warn!(clients = MOST, "more clients' certificates end soon than are told of by name");
        }
        !is_full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_unix_seconds(1_800_000_000);

    fn facts(not_before: Duration, life: Duration) -> CertificateFacts {
        CertificateFacts {
            subject: "CN=a".to_owned(),
            issuer: String::new(),
            serial: "01".to_owned(),
            sha256: "a".to_owned(),
            not_before: NOW.plus(not_before),
            not_after: NOW.plus(not_before + life),
            subject_alt_names: Vec::new(),
            details: Box::default(),
        }
    }

    #[test]
    fn the_last_days_are_the_configured_ones_or_a_third_of_a_short_life() {
        let told = Told::default();
        let left = |life: Duration, notice: Duration, after: Duration| {
            let facts = facts(Duration::ZERO, life);
            LastDays::of(&facts, notice).and_then(|mut last| last.at(NOW.plus(after), &facts, &told))
        };
        assert_eq!(left(90 * DAY, 7 * DAY, 82 * DAY), None);
        assert_eq!(left(90 * DAY, 7 * DAY, 83 * DAY), Some(7 * 86_400));
        assert_eq!(left(90 * DAY, 7 * DAY, 90 * DAY), Some(0));
        let hour = Duration::from_secs(3600);
        assert_eq!(left(3 * hour, 7 * DAY, hour), None);
        assert_eq!(left(3 * hour, 7 * DAY, 2 * hour), Some(3600));
        assert_eq!(left(90 * DAY, Duration::ZERO, 90 * DAY), None, "switched off");
        assert_eq!(left(Duration::ZERO, 7 * DAY, Duration::ZERO), None, "no life at all");
    }

    #[test]
    fn a_client_gets_a_line_a_day() {
        let told = Told::default();
        assert!(told.is_due("a", NOW) && told.is_due("b", NOW));
        assert!(!told.is_due("a", NOW.plus(DAY - Duration::from_secs(1))));
        assert!(told.is_due("a", NOW.plus(DAY)));
        assert!(!told.is_due("a", NOW.plus(DAY + DAY / 2)));
    }

    #[test]
    fn the_memory_is_bounded_and_makes_room() {
        let told = Told::default();
        for number in 0..MOST {
            assert!(told.is_due(&number.to_string(), NOW));
        }
        assert!(!told.is_due("one more", NOW) && !told.is_due("and another", NOW));
        assert!(!told.is_due("0", NOW), "who has a place keeps it");
        assert_eq!(told.0.lock().unwrap().at.len(), MOST);
        assert!(told.is_due("one more", NOW.plus(DAY)));
        assert_eq!(told.0.lock().unwrap().at.len(), 1);
    }
}
