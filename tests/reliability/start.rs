//! A gateway that starts before its upstream can be found.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::names::Says;
use crate::site::{Site, ips};
use crate::support::eventually;

/// How long the name cannot be resolved. Nothing in the gateway counts these seconds: 30 would show the same.
const UNRESOLVED: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_starts_without_its_upstreams_name_and_recovers_by_itself() {
    let site = Site::unresolved("").await;
    site.names.say(Says::Silence);
    let begun = Instant::now();
    let mut asked = 0;
    while begun.elapsed() < UNRESOLVED {
        if begun.elapsed() > UNRESOLVED / 2 {
            site.names.say(Says::Failure);
        }
        assert_eq!(site.client.get("/health").await.status, 200);
        let answer = site.client.get("/x").await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.header("retry-after").is_some());
        asked += 1;
        sleep(Duration::from_millis(200)).await;
    }
    assert!(asked > 5, "{asked}");
    let endpoints = site.endpoints(&["127.0.0.11"]).await;
    site.names.set(&ips(&endpoints));
    eventually("recovery", async || (site.client.get("/x").await.status == 200).then_some(())).await;
}
