//! Endpoints that are killed.

use std::time::Duration;

use tokio::time::sleep;

use crate::endpoint::{Behaviour, Endpoint, posted_twice};
use crate::load::Load;
use crate::report::Kind;
use crate::site::Site;

/// Only what it had begun to process and may not be sent again is lost with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_endpoint_takes_along_only_what_may_not_be_sent_again() {
    let (site, mut endpoints) = Site::start(&["127.0.0.11", "127.0.0.12", "127.0.0.13"]).await;
    for endpoint in &endpoints {
        endpoint.behave(Behaviour::Slow(Duration::from_millis(30)));
    }
    let load = Load::start(&site.client);
    let mut killed = Vec::new();
    for _ in 0..4 {
        sleep(Duration::from_millis(500)).await;
        let mut endpoint = endpoints.remove(0);
        endpoint.kill();
        sleep(Duration::from_millis(300)).await;
        let next = Endpoint::start(endpoint.address).await;
        next.behave(Behaviour::Slow(Duration::from_millis(30)));
        endpoints.push(next);
        killed.push(endpoint);
    }
    let report = load.stop().await;
    assert!(report.total(Kind::Post) > 0, "{report}");
    assert_eq!((report.failed(Kind::Get), report.failed(Kind::Http2)), (0, 0), "{report}");
    for failure in report.failures() {
        let had_it = |endpoint: &Endpoint| endpoint.journal().iter().any(|entry| entry.path == failure.path);
        assert!(killed.iter().any(had_it), "{} was lost, and no killed endpoint had it\n{report}", failure.path);
    }
    assert_eq!(posted_twice(killed.iter().chain(&endpoints)), <[String; 0]>::default());
}
