//! Listening to a `watch` for the price of two comparisons.
//!
//! A task that waits for many things looks at each of them whenever it wakes. Looking at a `watch` takes a lock; here
//! that is done once, and again only when its value has changed or the task has become another.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::{Poll, Waker};

use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;

/// As [`watch::Receiver::changed`].
///
/// # Errors
/// When the sender is gone.
pub async fn changed<T>(receiver: &mut watch::Receiver<T>) -> Result<(), RecvError> {
    let glance = receiver.clone();
    let mut changed = pin!(receiver.changed());
    let mut waker: Option<Waker> = None;
    poll_fn(|context| {
        let is_registered = waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
        // A sender that is gone is an error here.
        if is_registered && matches!(glance.has_changed(), Ok(false)) {
            return Poll::Pending;
        }
        waker = Some(context.waker().clone());
        changed.as_mut().poll(context)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn no_change_is_missed_and_none_is_made_up() {
        let sender = watch::Sender::new(0);
        let mut receiver = sender.subscribe();
        for value in 1..100 {
            {
                let mut waiting = pin!(changed(&mut receiver));
                for _ in 0..3 {
                    assert!(timeout(Duration::ZERO, waiting.as_mut()).await.is_err());
                }
                sender.send_replace(value);
                waiting.await.unwrap();
            }
            assert_eq!(*receiver.borrow(), value);
        }
        drop(sender);
        assert!(changed(&mut receiver).await.is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_waits_is_woken() {
        let sender = watch::Sender::new(0);
        for value in 1..1000 {
            let mut receiver = sender.subscribe();
            let task = tokio::spawn(async move { changed(&mut receiver).await });
            if value % 2 == 0 {
                tokio::task::yield_now().await;
            }
            sender.send_replace(value);
            timeout(Duration::from_secs(10), task).await.unwrap().unwrap().unwrap();
        }
    }
}
