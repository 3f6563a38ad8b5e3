//! Rolling deployments: new endpoints are added; each old one leaves DNS and is stopped some time later.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::sleep;

use crate::endpoint::{Endpoint, posted_twice};
use crate::load::{EVERYTHING, Load};
use crate::report::{Kind, Outcome, Sample};
use crate::site::{Site, ips};

async fn nothing_is_lost(stopped_after: Duration, is_race: impl Fn(&Sample, &[Endpoint]) -> bool) {
    let (site, old) = Site::start(&["127.0.0.11", "127.0.0.12"]).await;
    let load = Load::everything(&site.client);
    sleep(Duration::from_millis(500)).await;
    let new = site.endpoints(&["127.0.0.21", "127.0.0.22"]).await;
    let mut listed: Vec<IpAddr> = ips(&old).into_iter().chain(ips(&new)).collect();
    site.names.set(&listed);
    site.follows(&listed).await;
    let mut stopped = Vec::new();
    for mut endpoint in old {
        listed.retain(|address| *address != endpoint.address.ip());
        site.names.set(&listed);
        stopped.push(tokio::spawn(async move {
            sleep(stopped_after).await;
            endpoint.terminate().await;
            endpoint
        }));
        sleep(Duration::from_millis(300)).await;
    }
    let mut all = new;
    for stopped in stopped {
        all.push(stopped.await.unwrap());
    }
    site.follows(&listed).await;
    sleep(Duration::from_millis(500)).await;
    let report = load.stop().await;
    let (races, report) = report.split(|sample| sample.failed() && is_race(sample, &all));
    assert!(races.samples.len() <= 3, "{races}");
    report.expect_no_failure(&EVERYTHING);
    assert_eq!(posted_twice(&all), <[String; 0]>::default());
    for endpoint in &all[..2] {
        assert!(report.answered_by(endpoint.address) > 0, "{} had no share\n{report}", endpoint.address);
    }
}

/// A POST that was on its way, for less than a millisecond or so on a quiet machine, when the endpoint closed its idle connections. Nobody
/// read it, which no proxy can know.
fn closed_meanwhile(sample: &Sample, endpoints: &[Endpoint]) -> bool {
    let is_known = |endpoint: &Endpoint| endpoint.journal().iter().any(|entry| entry.path == sample.path);
    sample.kind == Kind::Post && sample.outcome == Outcome::Status(502) && !endpoints.iter().any(is_known)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_endpoints_stop_as_they_leave_the_name() {
    nothing_is_lost(Duration::ZERO, closed_meanwhile).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_endpoints_stop_2_s_after_they_leave_the_name() {
    nothing_is_lost(Duration::from_secs(2), |_, _| false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_endpoints_stop_30_s_after_they_leave_the_name() {
    nothing_is_lost(Duration::from_secs(30), |_, _| false).await;
}
