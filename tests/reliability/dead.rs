//! Every endpoint dead, and then back.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::endpoint::Endpoint;
use crate::load::{Load, REQUESTS};
use crate::report::Outcome;
use crate::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn when_every_endpoint_is_dead_clients_are_told_and_the_first_that_is_back_serves_within_1_s() {
    let (site, mut endpoints) = Site::start(&["127.0.0.11", "127.0.0.12"]).await;
    let load = Load::start(&site.client);
    sleep(Duration::from_millis(500)).await;
    let dead = Instant::now();
    for endpoint in &mut endpoints {
        endpoint.kill();
    }
    sleep(Duration::from_secs(3)).await;
    let first = Endpoint::start(endpoints[0].address).await;
    let back = Instant::now();
    sleep(Duration::from_millis(2500)).await;
    let report = load.stop().await;
    report.until(dead - Duration::from_millis(100)).expect_no_failure(&REQUESTS);
    for failure in report.failures() {
        assert!(matches!(failure.outcome, Outcome::Status(502 | 503)), "{report}");
    }
    let meanwhile = report.since(dead + Duration::from_millis(200)).until(back);
    assert!(meanwhile.samples.len() > 100 && meanwhile.samples.iter().all(|sample| sample.failed()), "{report}");
    let answered = report.samples.iter().filter(|sample| !sample.failed() && sample.started >= back);
    let soonest = answered.map(|sample| (sample.started + sample.took).duration_since(back)).min();
    assert!(soonest.is_some_and(|soonest| soonest <= Duration::from_secs(1)), "{soonest:?}\n{report}");
    assert!(first.requests() > 0);
}

/// With one of two back, the requests of the other are not lost.
#[tokio::test(flavor = "multi_thread")]
async fn from_1_s_after_the_first_is_back_nothing_fails() {
    let (site, mut endpoints) = Site::start(&["127.0.0.11", "127.0.0.12"]).await;
    let load = Load::start(&site.client);
    for endpoint in &mut endpoints {
        endpoint.kill();
    }
    sleep(Duration::from_secs(2)).await;
    let _first = Endpoint::start(endpoints[0].address).await;
    sleep(Duration::from_secs(1)).await;
    let from = Instant::now();
    sleep(Duration::from_secs(1)).await;
    load.stop().await.since(from).expect_no_failure(&REQUESTS);
}
