//! Counting over the last seconds, for the price of two numbers.

use std::time::Duration;

use tokio::time::Instant;

/// What was counted is forgotten after between one and two of these.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// A count of this window and of the one before.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counted {
    now: u32,
    before: u32,
}

impl Counted {
    pub(super) fn sum(self) -> u32 {
        self.now.saturating_add(self.before)
    }

    pub(super) fn add(&mut self, count: u32) {
        self.now = self.now.saturating_add(count);
    }

    /// A new window begins.
    pub(super) fn rotate(&mut self) {
        *self = Self { now: 0, before: self.now };
    }
}

/// When this window began.
#[derive(Debug)]
pub(super) struct Window {
    began: Instant,
}

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now }
    }

    /// How often counts are to be rotated: not at all within a window, and twice when all they hold is old.
    pub(super) fn turns(&mut self, now: Instant) -> usize {
        let passed = now.duration_since(self.began);
        if passed < WINDOW {
            return 0;
        }
        self.began = now;
        if passed < WINDOW * 2 { 1 } else { 2 }
    }
}
