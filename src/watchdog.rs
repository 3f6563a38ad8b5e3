//! A deadline that moves with every sign of life, for the price of a comparison.
//!
//! Moving a runtime timer takes a lock. Here a deadline that moves later is only noted; the timer is set again when it
//! goes off too early, which is rare. The timer itself is made at the first wait and kept.

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline that may move, and the timer behind it.
#[derive(Default)]
pub struct Watchdog {
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Watchdog {
    /// Sets the deadline, or moves it.
    pub fn arm(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// Takes the deadline back.
    pub fn disarm(&mut self) {
        self.deadline = None;
    }

    /// Whether there is a deadline.
    pub fn is_armed(&self) -> bool {
        self.deadline.is_some()
    }

    /// Ready once the deadline has passed; pending for ever without one.
    pub fn poll_expired(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        loop {
            if sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchdog").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_later_does_not_go_off_early() {
        let mut watchdog = Watchdog::default();
        let start = Instant::now();
        watchdog.arm(start + Duration::from_secs(1));
        assert!(timeout(Duration::from_millis(500), poll_fn(|cx| watchdog.poll_expired(cx))).await.is_err());
        watchdog.arm(start + Duration::from_secs(5));
        poll_fn(|cx| watchdog.poll_expired(cx)).await;
        assert!(start.elapsed() >= Duration::from_secs(5));
        assert!(start.elapsed() < Duration::from_secs(6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_may_move_earlier_and_be_taken_back() {
        let mut watchdog = Watchdog::default();
        let start = Instant::now();
        watchdog.arm(start + Duration::from_secs(60));
        assert!(timeout(Duration::from_millis(1), poll_fn(|cx| watchdog.poll_expired(cx))).await.is_err());
        watchdog.arm(start + Duration::from_secs(1));
        poll_fn(|cx| watchdog.poll_expired(cx)).await;
        assert!(start.elapsed() < Duration::from_secs(2));
        watchdog.disarm();
        advance(Duration::from_secs(60)).await;
        assert!(timeout(Duration::from_secs(60), poll_fn(|cx| watchdog.poll_expired(cx))).await.is_err());
    }
}
