//! Requests that wait for a place when every endpoint is at its limit: a bounded queue with a deadline.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// The requests of one upstream that wait.
#[derive(Debug)]
pub(super) struct Pending {
    waiting: AtomicUsize,
    most: usize,
    freed: Notify,
}

impl Pending {
    pub(super) fn new(most: usize) -> Self {
        Self { waiting: AtomicUsize::new(0), most, freed: Notify::new() }
    }

    /// How many wait now.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A place has become free; the one that has waited longest is told.
    pub(super) fn place_is_free(&self) {
        // Nearly always nobody waits.
        if self.waiting() > 0 {
            self.freed.notify_one();
        }
    }

    /// There are other endpoints: whoever waits looks again.
    pub(super) fn endpoints_changed(&self) {
        self.freed.notify_waiters();
    }

    /// Waits until `take` gets a place, first come, first served; `None` when too many wait already, or after
    /// `deadline`.
    pub(super) async fn wait<T>(&self, deadline: Duration, mut take: impl FnMut() -> Option<T>) -> Option<T> {
        let _ticket = self.ticket()?;
        let place = async {
            loop {
                let mut freed = std::pin::pin!(self.freed.notified());
                // A place that becomes free between looking and waiting is not missed.
                freed.as_mut().enable();
                if let Some(place) = take() {
                    return place;
                }
                freed.await;
            }
        };
        timeout(deadline, place).await.ok()
    }

    fn ticket(&self) -> Option<Ticket<'_>> {
        self.waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| (waiting < self.most).then_some(waiting + 1))
            .ok()
            .map(|_| Ticket(self))
    }
}

/// A place in the queue.
struct Ticket<'a>(&'a Pending);

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_has_a_deadline_and_serves_in_turn() {
        let pending = Arc::new(Pending::new(3));
        let free = Arc::new(AtomicUsize::new(0));
        let served: Arc<Mutex<Vec<usize>>> = Arc::default();
        let mut tasks = Vec::new();
        for number in 0..4 {
            let (pending, free, served) = (Arc::clone(&pending), Arc::clone(&free), Arc::clone(&served));
            tasks.push(tokio::spawn(async move {
                let take = || free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| free.checked_sub(1)).ok();
                let place = pending.wait(Duration::from_secs(1), take).await;
                if place.is_some() {
                    served.lock().unwrap().push(number);
                }
                place.is_some()
            }));
            tokio::task::yield_now().await;
        }
        assert_eq!(pending.waiting(), 3);
        assert!(!tasks.pop().unwrap().await.unwrap(), "the fourth does not wait");
        for expected in [vec![0], vec![0, 1]] {
            free.fetch_add(1, Ordering::SeqCst);
            pending.place_is_free();
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(*served.lock().unwrap(), expected);
        }
        let began = tokio::time::Instant::now();
        assert!(!tasks.pop().unwrap().await.unwrap(), "the third waits for nothing");
        assert!(began.elapsed() <= Duration::from_secs(1));
        assert_eq!(pending.waiting(), 0);
    }
}
