//! Active checks: a GET of one path, again and again, at each endpoint.
//!
//! They are the operator's own requests, switched on by naming a path, and carry nothing of any client: the one thing
//! that goes to an upstream without a grant.

use std::sync::{Arc, Weak};

use http::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use http::uri::{Authority, Scheme};
use http::{Method, Request, Uri};
use tokio::time::{Instant, sleep_until, timeout};

use super::body::RequestBody;
use super::cluster::Cluster;
use super::endpoint::Endpoint;
use super::head::{Fields as _, Http1Head};
use super::health::{Health, Verdict};
use super::http2;
use super::settings::HealthCheck;
use crate::tls::Protocol;

static NAME: HeaderValue = HeaderValue::from_static("gateway-health-check");

/// Checks an endpoint until it leaves, or the cluster is gone.
pub(super) fn spawn(cluster: &Arc<Cluster>, endpoint: &Arc<Endpoint>, check: HealthCheck) {
    tokio::spawn(run(Arc::downgrade(cluster), Arc::downgrade(endpoint), check));
}

async fn run(cluster: Weak<Cluster>, endpoint: Weak<Endpoint>, check: HealthCheck) {
    loop {
        let began = Instant::now();
        let wait = {
            let (Some(cluster), Some(endpoint)) = (cluster.upgrade(), endpoint.upgrade()) else { return };
            if endpoint.is_retired() {
                return;
            }
            let failure = probe(&cluster, &endpoint, &check).await.err();
            note(&cluster, &endpoint, &check, failure);
            Health::next_in(&check, cluster.anybody_is_well(), fastrand::f64())
        };
        sleep_until(began + wait).await;
    }
}

fn note(cluster: &Cluster, endpoint: &Endpoint, check: &HealthCheck, failure: Option<String>) {
    let passed = failure.is_none();
    let why = failure.clone().unwrap_or_default();
    let (upstream, address) = (cluster.name(), endpoint.address());
    let was_checked = endpoint.is_checked();
    match endpoint.checked(failure, check, Instant::now()) {
        Some(Verdict::Unwell) => {
            tracing::warn!(upstream, %address, why, "an endpoint fails its health check and is not used");
        }
        Some(Verdict::Well) => {
            if was_checked {
                tracing::info!(upstream, %address, "an endpoint passes its health check again");
            }
            cluster.endpoints_changed();
        }
        Some(Verdict::Unknown) | None => {}
    }
    if passed {
        endpoint.standings.checked_well(endpoint);
    }
}

async fn probe(cluster: &Cluster, endpoint: &Endpoint, check: &HealthCheck) -> Result<(), String> {
    let exchange = async {
        if cluster.settings().protocol == Protocol::Http2 {
            let stream = cluster.stream(endpoint.address(), check.timeout).await.map_err(|kind| kind.to_string())?;
            let status = http2::ask(stream, http2_request(cluster, check)).await;
            return status.map(|status| status.as_u16()).map_err(|kind| kind.to_string());
        }
        let mut connection =
            cluster.connect(endpoint.address(), check.timeout).await.map_err(|kind| kind.to_string())?;
        let mut head = Http1Head::new(&Method::GET, check.path.path(), check.path.query(), None, 128);
        head.put(&HOST, &cluster.own_host());
        head.put(&USER_AGENT, &NAME);
        head.put(&CONNECTION, &HeaderValue::from_static("close"));
        let answer = connection.exchange(head, RequestBody::Empty, check.timeout, Instant::now(), || ()).await;
        answer.map(|answer| answer.status().as_u16()).map_err(|failure| failure.kind.to_string())
    };
    match timeout(check.timeout, exchange).await {
        Ok(Ok(200..=399)) => Ok(()),
        Ok(Ok(status)) => Err(format!("it answered {status}")),
        Ok(Err(why)) => Err(why),
        Err(_) => Err(format!("it took longer than {:?}", check.timeout)),
    }
}

fn http2_request(cluster: &Cluster, check: &HealthCheck) -> Request<()> {
    let mut parts = Uri::from(check.path.clone()).into_parts();
    parts.scheme = Some(if cluster.settings().tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Authority::try_from(cluster.own_host().as_bytes()).ok();
    let mut request = Request::new(());
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    request.headers_mut().insert(USER_AGENT, NAME.clone());
    request
}
