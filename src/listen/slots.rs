//! How many connections may be open at once. Whoever has none waits in the kernel's queue.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for connections.
#[derive(Debug, Clone)]
pub struct Slots {
    free: Arc<Semaphore>,
    most: Arc<Mutex<usize>>,
}

/// A place, until dropped.
#[derive(Debug)]
pub struct Slot {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Slots {
    /// `most` places.
    pub fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(most)), most: Arc::new(Mutex::new(most)) }
    }

    /// Waits for a place.
    pub async fn take(&self) -> Slot {
        // The semaphore is never closed, so there is always a permit to be had in the end.
        Slot { _permit: Arc::clone(&self.free).acquire_owned().await.ok() }
    }

    /// Changes the number of places. Fewer take effect as connections end.
    pub fn resize(&self, most: usize) {
        let most = most.min(Semaphore::MAX_PERMITS);
        let mut current = self.most.lock().unwrap_or_else(PoisonError::into_inner);
        if most > *current {
            self.free.add_permits(most - *current);
        } else if most < *current {
            let surplus = u32::try_from(*current - most).unwrap_or(u32::MAX);
            let free = Arc::clone(&self.free);
            tokio::spawn(async move {
                if let Ok(permits) = free.acquire_many_owned(surplus).await {
                    permits.forget();
                }
            });
        }
        *current = most;
    }

    /// Places that are free now.
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn there_are_as_many_places_as_there_should_be() {
        let slots = Slots::new(2);
        let first = slots.take().await;
        let second = slots.take().await;
        assert!(timeout(Duration::from_secs(1), slots.take()).await.is_err());
        slots.resize(3);
        let third = slots.take().await;
        slots.resize(1);
        drop((first, second));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(slots.free(), 0);
        drop(third);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(slots.free(), 1);
    }
}
