//! An upstream at work: its endpoints as they are now, and the sending of one request to one of them.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use http::{Request, Response};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::answer;
use super::balance;
use super::body::{AnswerBody, RequestBody};
use super::connection::Connection;
use super::discover::Discovery;
use super::endpoint::{Endpoint, Lease};
use super::error::{Failure, FailureKind, Replay};
use super::resolve::Resolver;
use super::settings::Settings;
use crate::net::Host;
use crate::policy::Grant;

/// An upstream with its endpoints.
#[derive(Debug)]
pub struct Cluster {
    settings: Settings,
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    /// What runs in the background for this cluster and ends with it. Set once, right after the cluster is made.
    discovery: OnceLock<Discovery>,
    /// Whether the first look-up has ended, well or not.
    settled: watch::Sender<bool>,
}

impl Cluster {
    /// Starts an upstream; the current runtime keeps its endpoints true. It may have none yet when this returns.
    ///
    /// # Errors
    /// A sentence for the operator when the system says no DNS server.
    pub fn start(settings: Settings) -> Result<Arc<Self>, String> {
        let target = settings.target.clone();
        let cluster = Arc::new(Self {
            endpoints: ArcSwap::from_pointee(Vec::new()),
            settings,
            discovery: OnceLock::new(),
            settled: watch::Sender::new(false),
        });
        match target.host {
            Host::Address(address) => {
                cluster.publish(&[SocketAddr::new(address, target.port)]);
                cluster.settle();
            }
            Host::Name(name) => {
                let resolver = Resolver::new(&cluster.settings.dns.resolvers).map_err(|error| {
                    format!(
                        "upstream {}: the system names no usable DNS server ({error}); set `resolvers` in \
                         [upstream.{}.dns]",
                        cluster.settings.name, cluster.settings.name
                    )
                })?;
                let _ = cluster.discovery.set(Discovery::spawn(&cluster, resolver, name, target.port));
            }
        }
        let weak = Arc::downgrade(&cluster);
        let keepalive_idle = cluster.settings.keepalive_idle;
        if !keepalive_idle.is_zero() {
            tokio::spawn(async move {
                let mut ticks = interval(keepalive_idle);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    let Some(cluster) = weak.upgrade() else { return };
                    for endpoint in cluster.endpoints.load().iter() {
                        endpoint.sweep(keepalive_idle);
                    }
                }
            });
        }
        Ok(cluster)
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// What it was started with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The endpoints now.
    pub fn endpoints(&self) -> Arc<Vec<Arc<Endpoint>>> {
        self.endpoints.load_full()
    }

    /// The first look-up has ended, well or not.
    pub(super) fn settle(&self) {
        self.settled.send_if_modified(|settled| !std::mem::replace(settled, true));
    }

    /// Waits for the first look-up, so that a request that comes right after the start is not refused for want of an
    /// endpoint that is about to be known. Tells whether it ended while this waited, for no longer than a connection
    /// may take.
    pub async fn wait_until_settled(&self) -> bool {
        if *self.settled.borrow() {
            return false;
        }
        let mut settled = self.settled.subscribe();
        timeout(self.settings.timeouts.connect, settled.wait_for(|settled| *settled)).await.is_ok()
    }

    /// Makes `addresses` the endpoints. Those that stay keep their connections; those that leave lose the idle ones.
    pub(super) fn publish(&self, addresses: &[SocketAddr]) {
        let before = self.endpoints.load();
        let known = |address: &SocketAddr| before.iter().find(|endpoint| endpoint.address() == *address);
        let endpoints = addresses
            .iter()
            .map(|address| known(address).map_or_else(|| Arc::new(Endpoint::new(*address)), Arc::clone))
            .collect();
        self.endpoints.store(Arc::new(endpoints));
        for endpoint in before.iter().filter(|endpoint| !addresses.contains(&endpoint.address())) {
            endpoint.retire();
        }
    }

    /// A place at an endpoint that is not among `tried`, for a request that was let in.
    ///
    /// # Errors
    /// [`FailureKind::NoEndpoint`] or [`FailureKind::AtLimit`].
    pub fn lease(&self, _grant: &Grant, tried: &[SocketAddr]) -> Result<Lease, FailureKind> {
        let endpoints = self.endpoints.load();
        let most = self.settings.max_connections;
        // Another request may take the last place in between; then there may be one elsewhere.
        for _ in 0..=endpoints.len() {
            let Some(endpoint) = balance::pick(&endpoints, tried, most, |count| fastrand::usize(..count)) else {
                break;
            };
            if let Some(lease) = Lease::take(endpoint, most) {
                return Ok(lease);
            }
        }
        if endpoints.iter().any(|endpoint| !tried.contains(&endpoint.address())) {
            Err(FailureKind::AtLimit)
        } else {
            Err(FailureKind::NoEndpoint)
        }
    }

    /// Sends a request to the endpoint of `lease`, over a kept connection if there is one.
    ///
    /// # Errors
    /// [`Failure`], which tells whether the request may be sent again. A request that was not sent comes back in it.
    pub async fn send(&self, lease: Lease, request: Request<RequestBody>) -> Result<Response<AnswerBody>, Failure> {
        let timeouts = &self.settings.timeouts;
        let keep = !self.settings.keepalive_idle.is_zero();
        let mut connection = match lease.endpoint().take_idle(self.settings.keepalive_idle) {
            Some(connection) => connection,
            None => match Connection::open(lease.endpoint().address(), timeouts.connect).await {
                Ok(connection) => connection,
                Err(kind) => return Err(Failure::new(kind, Replay::Elsewhere(Box::new(request)))),
            },
        };
        let answer = connection.exchange(request, timeouts.first_byte).await?;
        if !answer::is_well_framed(&answer) {
            return Err(Failure::new(FailureKind::Malformed, Replay::Never));
        }
        let between_bytes = timeouts.between_bytes;
        Ok(answer.map(|incoming| AnswerBody::new(incoming, connection, lease, between_bytes, keep)))
    }
}
