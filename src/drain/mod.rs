//! Ending without losing a request: who is told what, and when.
//!
//! A drain has three phases. First the health path says DRAINING while connections are still accepted, so that load
//! balancers can turn away; then listeners and idle connections close; at last what is left is cut. [`Drain`] moves
//! through them, and everybody who holds a [`DrainWatch`] sees it.

use std::time::Duration;

use tokio::sync::watch;

use crate::watching;

/// How long a drain takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// From the signal: health says DRAINING and connections are still accepted, so that load balancers can leave.
    pub delay: Duration,
    /// From the signal: what is left then is cut. Not shorter than `delay`.
    pub timeout: Duration,
}

/// How far a drain has come. Later phases are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// No drain.
    Serving,
    /// Health says DRAINING; connections are accepted; each is asked to end after its next answer.
    Announced,
    /// Nothing is accepted; idle connections close.
    Closing,
    /// Everything is cut.
    Cut,
}

/// Moves everybody through the phases of a drain.
#[derive(Debug)]
pub struct Drain(watch::Sender<Phase>);

/// Sees the phase of a drain.
#[derive(Debug, Clone)]
pub struct DrainWatch(watch::Receiver<Phase>);

impl Default for Drain {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Serving))
    }
}

impl Drain {
    /// Enters a phase; never goes back to an earlier one.
    pub fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let later = phase > *current;
            if later {
                *current = phase;
            }
            later
        });
    }

    /// A new watcher.
    pub fn watch(&self) -> DrainWatch {
        DrainWatch(self.0.subscribe())
    }
}

impl DrainWatch {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until `phase` is reached or passed. A drain whose owner is gone counts as cut.
    pub async fn reached(&mut self, phase: Phase) {
        let _ = self.0.wait_for(|current| *current >= phase).await;
    }

    /// Waits for the next change and tells the new phase. A drain whose owner is gone counts as cut.
    pub async fn changed(&mut self) -> Phase {
        match watching::changed(&mut self.0).await {
            Ok(()) => *self.0.borrow_and_update(),
            Err(_) => Phase::Cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn phases_only_move_forward_and_an_abandoned_drain_is_cut() {
        let drain = Drain::default();
        let mut watch = drain.watch();
        drain.enter(Phase::Closing);
        drain.enter(Phase::Announced);
        assert_eq!(watch.phase(), Phase::Closing);
        watch.reached(Phase::Announced).await;
        drop(drain);
        watch.reached(Phase::Cut).await;
    }
}
