//! One endpoint of several that does wrong.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::endpoint::{Behaviour, posted_twice};
use crate::load::{Load, REQUESTS};
use crate::report::{Kind, Outcome};
use crate::site::{FIRST_BYTE, Site};
use crate::support::eventually;

const HOSTS: [&str; 3] = ["127.0.0.11", "127.0.0.12", "127.0.0.13"];
/// Requests that may be on their way to the endpoint when the third has failed.
const AT_ONCE: usize = 8;

/// It is set aside within 3 failures or 5 s, and no request fails from then on.
async fn is_set_aside(behaviour: Behaviour) {
    let (site, endpoints) = Site::start(&HOSTS).await;
    let load = Load::start(&site.client);
    sleep(Duration::from_secs(1)).await;
    let bad = &endpoints[0];
    let before = bad.requests();
    let begun = Instant::now();
    bad.behave(behaviour);
    eventually("the ejection", async || {
        (site.gateway.state_of(bad.address).await.as_deref() == Some("ejected")).then_some(())
    })
    .await;
    let ejected = Instant::now();
    let asked = bad.requests() - before;
    sleep(Duration::from_secs(2)).await;
    let report = load.stop().await;
    let took = ejected.duration_since(begun);
    assert!(
        asked <= 3 + AT_ONCE || took <= Duration::from_secs(5) + FIRST_BYTE,
        "{asked} requests, {took:?}\n{report}"
    );
    report.since(ejected).expect_no_failure(&REQUESTS);
    assert_eq!(posted_twice(&endpoints), <[String; 0]>::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_hangs_is_set_aside() {
    is_set_aside(Behaviour::Hang).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_answers_too_slowly_is_set_aside() {
    is_set_aside(Behaviour::Slow(FIRST_BYTE * 3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_resets_is_set_aside() {
    is_set_aside(Behaviour::ResetAfter(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_resets_in_the_head_of_its_answer_is_set_aside() {
    is_set_aside(Behaviour::ResetAfter(30)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_answers_503_is_set_aside() {
    is_set_aside(Behaviour::Unavailable).await;
}

/// What an endpoint closes just as it is sent: GET goes out again; POST may be lost, and is never done twice.
async fn closes_just_then(behaviour: Behaviour) {
    let (site, endpoints) = Site::start(&HOSTS).await;
    for endpoint in &endpoints {
        endpoint.behave(behaviour);
    }
    let load = Load::start(&site.client);
    sleep(Duration::from_secs(2)).await;
    let report = load.stop().await;
    let asked: usize = endpoints.iter().map(|endpoint| endpoint.requests()).sum();
    assert!(asked > 100, "{asked}\n{report}");
    assert_eq!((report.failed(Kind::Get), report.failed(Kind::Http2)), (0, 0), "{report}");
    assert!(report.total(Kind::Post) > report.failed(Kind::Post), "{report}");
    assert_eq!(posted_twice(&endpoints), <[String; 0]>::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_that_closes_as_a_request_is_sent_costs_no_get_and_repeats_no_post() {
    closes_just_then(Behaviour::CloseOnReuse).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_that_closes_on_what_was_processed_costs_no_get_and_repeats_no_post() {
    closes_just_then(Behaviour::CloseAfterProcessing).await;
}

/// Whatever one endpoint does wrong shows as an error or as an answer cut short, and the others serve.
#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_never_passed_on_as_an_answer() {
    let (site, endpoints) = Site::start(&HOSTS).await;
    let load = Load::start(&site.client);
    for behaviour in [
        Behaviour::WrongLength,
        Behaviour::EndlessHead,
        Behaviour::ResetAfter(60),
        Behaviour::ResetAfter(100),
        Behaviour::CloseAfterProcessing,
    ] {
        endpoints[0].behave(behaviour);
        sleep(Duration::from_millis(400)).await;
    }
    // Slow enough to be noticed, and no fault.
    endpoints[0].behave(Behaviour::Slow(FIRST_BYTE / 4));
    sleep(FIRST_BYTE / 2).await;
    let recovered = Instant::now();
    sleep(Duration::from_millis(500)).await;
    let report = load.stop().await;
    for failure in report.failures() {
        let is_told = match &failure.outcome {
            Outcome::Status(status) => matches!(status, 502 | 504),
            Outcome::Broken(why) => why.starts_with("the answer breaks off"),
        };
        assert!(is_told, "{report}");
    }
    assert!(report.failures().count() > 0, "{report}");
    report.since(recovered).expect_no_failure(&REQUESTS);
    for endpoint in &endpoints[1..] {
        assert!(report.answered_by(endpoint.address) > 0, "{report}");
    }
}

/// An answer that comes before the body was read is an answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_is_passed_on() {
    let (site, endpoints) = Site::start(&HOSTS[..1]).await;
    endpoints[0].behave(Behaviour::EarlyAnswer);
    let load = Load::of(&site.client, "", &[Kind::Get, Kind::Http2]);
    sleep(Duration::from_secs(1)).await;
    load.stop().await.expect_no_failure(&[Kind::Get, Kind::Http2]);
    let load = Load::of(&site.client, "/early", &[Kind::Post]);
    sleep(Duration::from_secs(1)).await;
    let report = load.stop().await;
    // Its body says that it had read nothing yet.
    let early =
        |outcome: &Outcome| matches!(outcome, Outcome::Broken(why) if why.contains("/early/") && why.ends_with(" 0"));
    assert!(report.samples.iter().all(|sample| early(&sample.outcome)), "{report}");
}
