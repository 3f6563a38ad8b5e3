//! What time it is, on the wall.
//!
//! Certificates live by wall time, so whoever judges one takes a [`Clock`] instead of asking the system: tests then
//! let a certificate expire without waiting for it. Deadlines are another matter: they use the runtime's own
//! monotonic time and never this.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Wall time in milliseconds since 1970-01-01T00:00:00Z; negative before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(i64);

impl WallTime {
    /// From milliseconds since the epoch.
    pub const fn from_unix_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From seconds since the epoch, as certificates have them.
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The time `duration` later; the end of time where that would overflow.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// Where wall time comes from: the system, or a hand that tests turn.
#[derive(Debug, Clone, Default)]
pub struct Clock(Source);

#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    System,
    Shifted(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that starts at the system's time and can be moved with the returned hand.
    pub fn adjustable() -> (Self, ClockHand) {
        let shift = Arc::new(AtomicI64::new(0));
        (Self(Source::Shifted(Arc::clone(&shift))), ClockHand(shift))
    }

    /// The time now.
    pub fn now(&self) -> WallTime {
        match &self.0 {
            Source::System => system_now(),
            Source::Shifted(shift) => WallTime(system_now().0.saturating_add(shift.load(Ordering::Relaxed))),
        }
    }
}

/// Moves an adjustable [`Clock`].
#[derive(Debug, Clone)]
pub struct ClockHand(Arc<AtomicI64>);

impl ClockHand {
    /// Makes it this time.
    pub fn set(&self, time: WallTime) {
        self.0.store(time.0.saturating_sub(system_now().0), Ordering::Relaxed);
    }

    /// Lets `duration` pass at once.
    pub fn advance(&self, duration: Duration) {
        self.0.fetch_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Goes back by `duration`, as a clock does that was fast.
    pub fn retreat(&self, duration: Duration) {
        self.0.fetch_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the wall time")]
fn system_now() -> WallTime {
    let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    };
    WallTime(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advancing_the_hand_moves_only_that_clock() {
        let (clock, hand) = Clock::adjustable();
        let before = clock.now();
        hand.advance(Duration::from_secs(86_400));
        assert!(clock.now() >= before.plus(Duration::from_secs(86_400)));
        assert!(Clock::system().now() < before.plus(Duration::from_secs(3_600)));
        hand.set(WallTime::from_unix_seconds(1000));
        assert_eq!(clock.now().unix_seconds(), 1000);
    }

    #[test]
    fn seconds_before_the_epoch_round_down() {
        assert_eq!(WallTime::from_unix_millis(-1).unix_seconds(), -1);
        assert_eq!(WallTime::from_unix_millis(1999).unix_seconds(), 1);
    }
}
