//! Who is let in, who is not, and what they are told.

use crate::support::{Client, Gateway, Pki, Upstream, Version, gateway};

#[tokio::test(flavor = "multi_thread")]
async fn the_three_checks_of_the_original_system() {
    let pki = Pki::new();
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&pki, &gateway::upstream("api", upstream.address)).await;
    for version in [Version::Tls12, Version::Tls13] {
        let stranger = Client::new(&pki, gateway.address).only(version);
        let client = stranger.clone().with(&pki.client("client-1"));

        let health = stranger.get("/health").await;
        assert_eq!((health.status, health.text().as_str()), (200, "OK"));

        let post = "POST /api/webhook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
        let refused = stranger.send_raw(post).await;
        assert_eq!(refused.status, 403);
        assert_eq!(refused.json()["reason"], "certificate_missing");

        let answer = client.send_raw(post).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "upstream POST /api/webhook"));
    }
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2, "what was refused never reached the upstream");
    assert!(seen.iter().all(|seen| seen.body.as_deref().is_ok_and(|body| body == b"{\"a\":1}")));
}
