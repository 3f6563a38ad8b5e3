//! The gateway's own end, while clients and a load balancer go on.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::endpoint::Behaviour;
use crate::load::{EVERYTHING, Load};
use crate::report::Kind;
use crate::site::{FIRST_BYTE, Site};

/// The load balancer sends new connections for 5 s after the signal; the configured delay is 6 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_loses_nothing_while_a_load_balancer_still_sends() {
    let (mut site, endpoints) = Site::start(&["127.0.0.11", "127.0.0.12"]).await;
    let load = Load::everything(&site.client);
    let balancer = Load::balancer(&site.client);
    sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    site.gateway.signal("TERM");
    sleep_until(begun + Duration::from_secs(5)).await;
    let (report, sent) = (load.stop().await, balancer.stop().await);
    report.expect_no_failure(&EVERYTHING);
    sent.expect_no_failure(&[Kind::NewConnection]);
    assert!(sent.since(begun).samples.len() > 50, "{sent}");
    // Under way when the port closes.
    for endpoint in &endpoints {
        endpoint.behave(Behaviour::Slow(FIRST_BYTE * 9 / 10));
    }
    sleep_until(begun + Duration::from_millis(5300)).await;
    assert_eq!(site.client.get("/late").await.status, 200);
    assert!(begun.elapsed() > Duration::from_secs(6), "it was meant to outlast the port");
    assert_eq!(site.gateway.ended().await.code(), Some(0));
    let drained = site.gateway.logged("\"message\":\"drained\"");
    assert!(drained.first().is_some_and(|line| line.contains("\"cut\":0")), "{drained:?}");
}
