//! A DNS server that fails while the endpoints live.

use std::time::Duration;

use tokio::time::sleep;

use crate::load::{EVERYTHING, Load};
use crate::names::Says;
use crate::site::{Site, ips};
use crate::support::eventually;

async fn look_ups_are(site: &Site, state: &str) {
    eventually(&format!("look-ups to be {state}"), async || {
        let (_, shown) = site.gateway.asked("GET", "/upstreams").await;
        (shown["upstreams"][0]["lookups"][0]["state"] == state).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_dns_fails() {
    let (site, endpoints) = Site::start(&["127.0.0.11", "127.0.0.12"]).await;
    let load = Load::everything(&site.client);
    for says in [Says::Failure, Says::NoSuchName, Says::Addresses(Vec::new())] {
        site.names.say(says);
        look_ups_are(&site, "stale").await;
        sleep(Duration::from_millis(500)).await;
        site.names.set(&ips(&endpoints));
        look_ups_are(&site, "good").await;
    }
    site.names.say(Says::Silence);
    look_ups_are(&site, "stale").await;
    site.names.go_down();
    sleep(Duration::from_secs(1)).await;
    let report = load.stop().await;
    report.expect_no_failure(&EVERYTHING);
    for endpoint in &endpoints {
        assert!(report.answered_by(endpoint.address) > 0, "{report}");
    }
}
