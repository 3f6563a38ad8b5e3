//! A gateway with an upstream that remembers, and two clients: one without a certificate and one with.

use super::{Client, Gateway, Pki, Seen, Upstream, gateway};

/// A gateway in front of an upstream.
pub struct Site {
    pub pki: Pki,
    pub upstream: Upstream,
    pub gateway: Gateway,
    /// Has no certificate.
    pub stranger: Client,
    /// Has the certificate of `client-1`.
    pub client: Client,
}

/// A public prefix, a public path, and a protected rest.
pub const ROUTES: &str = r#"
[[route]]
path = "/public/*"
public = true
upstream = "api"

[[route]]
path = "/open"
public = true
upstream = "api"

[[route]]
path = "/*"
upstream = "api"
"#;

impl Site {
    /// `more` is appended to the configuration, which has the upstream `api`.
    pub async fn start(more: &str) -> Self {
        Self::before(Upstream::echo().await, more).await
    }

    pub async fn before(upstream: Upstream, more: &str) -> Self {
        let pki = Pki::new();
        let text = format!("{}{more}", gateway::upstream("api", upstream.address));
        let gateway = Gateway::start(&pki, &text).await;
        let stranger = Client::new(&pki, gateway.address);
        let client = stranger.clone().with(&pki.client("client-1"));
        Self { pki, upstream, gateway, stranger, client }
    }

    /// What reached the upstream since the last call, or since `before`, given the number known by then.
    pub fn seen_after(&self, known: usize) -> Vec<Seen> {
        self.upstream.seen().split_off(known)
    }
}
