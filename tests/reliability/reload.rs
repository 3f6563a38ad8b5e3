//! Reloads under load.

use std::time::{Duration, Instant};

use mtls_gateway::pki::{Overwrite, ServerRequest, parse_server_name};
use tokio::time::sleep;

use crate::load::{EVERYTHING, Load};
use crate::site::Site;
use crate::support::{Crl, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn twenty_reloads_of_configuration_and_certificates_lose_nothing_and_close_no_connection() {
    let (site, _endpoints) = Site::start(&["127.0.0.11", "127.0.0.12"]).await;
    let path = site.pki.path("gateway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let load = Load::everything(&site.client);
    sleep(Duration::from_millis(300)).await;
    for number in 0..20_u64 {
        let names = vec![parse_server_name("localhost").unwrap()];
        site.pki.store().issue_server(&ServerRequest::new(names), Overwrite::Replace).unwrap();
        std::fs::write(&path, format!("{text}[limits]\nheader_count = {}\n", 50 + number)).unwrap();
        site.gateway.signal("HUP");
        // The files are watched, too, so there may be more reloads than signals.
        let expected = format!("header_count = {}", 50 + number);
        eventually("the reload", async || {
            site.gateway.asked("GET", "/config").await.1.to_string().contains(&expected).then_some(())
        })
        .await;
    }
    sleep(Duration::from_millis(300)).await;
    let clients = load.so_far().connections;
    let report = load.stop().await;
    report.expect_no_failure(&EVERYTHING);
    assert_eq!(clients, 2 * EVERYTHING.len(), "each client has kept its connection\n{report}");
}

/// Nobody sends a signal; the list is written over, or replaced by a rename.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_changes_of_a_revocation_list_lose_nothing_and_close_no_other_connection() {
    let (site, _endpoints) = Site::start(&["127.0.0.11", "127.0.0.12"]).await;
    let path = site.pki.path("gateway.toml");
    let (list, new) = (site.pki.path("test.crl"), site.pki.path("new.crl"));
    let stolen = site.pki.issue_client("stolen");
    let thief = site.client.clone().with(&stolen);
    std::fs::write(&list, Crl::new().pem(&site.pki.issuer())).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("[drain]", &format!("crl = {list:?}\n[drain]"))).unwrap();
    eventually("the list to be in force", async || {
        site.gateway.asked("GET", "/config").await.1.to_string().contains("test.crl").then_some(())
    })
    .await;
    let load = Load::everything(&site.client);
    sleep(Duration::from_millis(300)).await;
    for number in 0..20 {
        let (crl, expected) = match number % 2 {
            0 => (Crl::new().revoking_client(&stolen), 403),
            _ => (Crl::new(), 200),
        };
        let begun = Instant::now();
        if number % 4 < 2 {
            std::fs::write(&list, crl.pem(&site.pki.issuer())).unwrap();
        } else {
            std::fs::write(&new, crl.pem(&site.pki.issuer())).unwrap();
            std::fs::rename(&new, &list).unwrap();
        }
        eventually("the verdict", async || {
            let thief = thief.clone();
            // Who is refused while it asks gets no answer, which is a panic of the client's.
            let answer = tokio::spawn(async move { thief.get("/x").await.status }).await;
            (answer.ok() == Some(expected)).then_some(())
        })
        .await;
        assert!(begun.elapsed() < Duration::from_secs(2), "change {number}: {:?}", begun.elapsed());
    }
    let clients = load.so_far().connections;
    let report = load.stop().await;
    report.expect_no_failure(&EVERYTHING);
    assert_eq!(clients, 2 * EVERYTHING.len(), "each client has kept its connection\n{report}");
}
