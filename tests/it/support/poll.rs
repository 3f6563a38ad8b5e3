//! Waiting for something to become true.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Asks again and again, for at most 10 s, until there is an answer.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "did not happen within 10 s: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
