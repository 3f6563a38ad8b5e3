//! How many requests may be sent a second time: a pure count.
//!
//! When an upstream is ill, repeating makes it worse. So repeats are bound to a share of the requests there are, with
//! a few on top for quiet times. Only requests that were sent are counted: an endpoint that cannot be connected to is
//! spared nothing by giving up, and it is ejected soon.

use tokio::time::Instant;

use super::window::{Counted, Window};

/// The share of an upstream's requests that may be repeated.
pub(super) const SHARE: f64 = 0.2;
/// Repeats that are always allowed in a window.
pub(super) const FLOOR: u32 = 100;

/// How often requests of one upstream were repeated in the last seconds.
#[derive(Debug)]
pub(super) struct Budget {
    repeats: Counted,
    window: Window,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self { repeats: Counted::default(), window: Window::new(now) }
    }

    /// Whether one more may be repeated, when there were so many requests in the last seconds, those under way among
    /// them. If so, it is counted.
    pub(super) fn spend(&mut self, requests: usize, now: Instant) -> bool {
        for _ in 0..self.window.turns(now) {
            self.repeats.rotate();
        }
        let requests = f64::from(u32::try_from(requests).unwrap_or(u32::MAX));
        let is_within = f64::from(self.repeats.sum()) < requests * SHARE + f64::from(FLOOR);
        if is_within {
            self.repeats.add(1);
        }
        is_within
    }
}

#[cfg(test)]
mod tests {
    use super::super::window::WINDOW;
    use super::*;

    #[test]
    fn a_share_of_the_requests_and_a_few_more_may_be_repeated() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let mut granted = |requests, now| (0..10_000).filter(|_| budget.spend(requests, now)).count();
        assert_eq!(granted(0, now), FLOOR as usize);
        assert_eq!(granted(1000, now), 200);
        assert_eq!(granted(1000, now + WINDOW), 0, "what was spent in the window before counts");
        assert_eq!(granted(0, now + WINDOW * 3), FLOOR as usize);
    }
}
