//! An upstream at work: its endpoints as they are now, and the sending of one request to one of them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::answer;
use super::balance::{Balancer, Wish};
use super::body::{AnswerBody, RequestBody};
use super::check;
use super::discover::Discovery;
use super::discovered::{Discovered, DiscoveryStatus};
use super::endpoint::{Endpoint, Reuse};
use super::error::{Failure, FailureKind, Replay};
use super::head::{Http1Head, RequestHead};
use super::http1::{Connection, Http1Answer};
use super::http2::{self, Claim, Patience};
use super::lease::{Lease, Role};
use super::outlier::Fault;
use super::resolve::Resolver;
use super::set::EndpointSet;
use super::settings::{Balance, Settings, Target};
use super::standing::Standings;
use super::stream::Stream;
use super::upgraded::Upgraded;
use crate::policy::Grant;
use crate::tls::UpstreamTls;

/// Failed handshakes are told of this often: each request makes another.
const COMPLAIN: Duration = Duration::from_secs(10);
/// Answers that take at least so long are remembered, when it is to be said whether an endpoint is silent.
const SLOW: Duration = Duration::from_secs(1);
/// How often an upstream's endpoints are looked after: idle connections closed, answers counted.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// An upstream with its endpoints.
#[derive(Debug)]
pub struct Cluster {
    settings: Settings,
    /// How hands are shaken; `None` is no TLS.
    tls: Option<UpstreamTls>,
    /// When a failed handshake was last told of.
    complained: Mutex<Option<Instant>>,
    set: ArcSwap<EndpointSet>,
    standings: Arc<Standings>,
    balancer: Balancer,
    /// What runs in the background for this cluster and ends with it. Set once, right after the cluster is made.
    discovery: OnceLock<Discovery>,
    /// Whether the first look-up has ended, well or not.
    settled: watch::Sender<bool>,
}

impl Cluster {
    /// Starts an upstream. `tls` is what the settings' files hold. The current runtime keeps its endpoints true. It may have none yet when this returns.
    ///
    /// # Errors
    /// A sentence for the operator when the system says no DNS server.
    pub fn start(settings: Settings, tls: Option<UpstreamTls>) -> Result<Arc<Self>, String> {
        let cluster = Arc::new(Self {
            set: ArcSwap::default(),
            standings: Standings::new(&settings.name, settings.limits.max_pending),
            balancer: Balancer::new(settings.balance, settings.slow_start),
            settings,
            tls,
            complained: Mutex::new(None),
            discovery: OnceLock::new(),
            settled: watch::Sender::new(false),
        });
        let resolver = || {
            let name = &cluster.settings.name;
            Resolver::new(&cluster.settings.dns.resolvers).map_err(|error| {
                format!(
                    "upstream {name}: the system names no usable DNS server ({error}); set `resolvers` in \
                     [upstream.{name}.dns]"
                )
            })
        };
        let _ = cluster.discovery.set(Discovery::spawn(&cluster, resolver)?);
        tokio::spawn(tend(Arc::downgrade(&cluster)));
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

    /// Whether it was started with these settings, and with files that held the same.
    pub fn is_like(&self, settings: &Settings, tls: Option<&UpstreamTls>) -> bool {
        self.settings == *settings && self.tls.as_ref() == tls
    }

    /// The Host field for requests of which the client's own is not known.
    pub fn own_host(&self) -> HeaderValue {
        let host = self.settings.targets.first().map(Target::host).unwrap_or_default();
        HeaderValue::from_str(&host).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// The endpoints now.
    pub fn endpoints(&self) -> Arc<Vec<Arc<Endpoint>>> {
        Arc::clone(&self.set.load().all)
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

    /// Looks the upstream's names up again as soon as `dns.min_ttl` allows: something suggests that they have changed.
    /// Does not wait, and costs nothing to speak of.
    pub fn refresh_soon(&self) {
        if let Some(discovery) = self.discovery.get() {
            discovery.refresh_soon();
        }
    }

    /// Requests that wait for a place at an endpoint.
    pub fn pending(&self) -> usize {
        self.standings.pending.waiting()
    }

    /// How the upstream's names are doing; nothing for an upstream of addresses alone.
    pub fn discovery(&self) -> Vec<DiscoveryStatus> {
        self.discovery.get().map(Discovery::status).unwrap_or_default()
    }

    /// Makes `found` the endpoints. Those that stay keep their connections and their standing; those that leave lose the
    /// idle ones.
    pub(super) fn publish(self: &Arc<Self>, found: &[Discovered]) {
        let before = self.endpoints();
        let mut known: HashMap<_, _> = before.iter().map(|endpoint| (endpoint.address(), endpoint)).collect();
        let now = Instant::now();
        let mut endpoints = Vec::with_capacity(found.len());
        for one in found {
            let endpoint = known.remove(&one.address).cloned().unwrap_or_else(|| {
                let endpoint = Arc::new(Endpoint::new(one.address, Arc::clone(&self.standings)));
                // The first ones have nobody beside them who could do their work meanwhile.
                if !before.is_empty() && !self.settings.slow_start.is_zero() {
                    endpoint.warm_up(now);
                }
                if let Some(health) = &self.settings.health {
                    check::spawn(self, &endpoint, health.clone());
                }
                endpoint
            });
            endpoint.set_weight(one.weight);
            endpoints.push(endpoint);
        }
        let set = EndpointSet::new(endpoints, self.settings.balance, &self.settings.zones);
        let all = Arc::clone(&set.all);
        self.set.store(Arc::new(set));
        for left in known.into_values() {
            left.retire();
        }
        self.standings.keep(&all);
    }

    /// Whether active checks find any endpoint well.
    pub(super) fn anybody_is_well(&self) -> bool {
        self.set.load().all.iter().any(|endpoint| !endpoint.is_unwell())
    }

    /// Somebody who waits for a place may find one now.
    pub(super) fn endpoints_changed(&self) {
        self.standings.pending.endpoints_changed();
    }

    /// A place at an endpoint that is not among `tried`, for a request that was let in; `is_repeatable` tells whether it
    /// may be sent again should that endpoint fail.
    ///
    /// # Errors
    /// [`FailureKind::NoEndpoint`], [`FailureKind::Unhealthy`], or [`FailureKind::AtLimit`]: then waiting may help.
    pub fn lease(
        &self,
        grant: &Grant,
        tried: &[SocketAddr],
        is_repeatable: bool,
        now: Instant,
    ) -> Result<Lease, FailureKind> {
        // Whoever waits already comes first.
        if self.standings.pending.waiting() > 0 {
            return Err(FailureKind::AtLimit);
        }
        self.lease_now(grant, tried, is_repeatable, now)
    }

    /// Waits in the queue for a place at an endpoint that is not among `tried`.
    ///
    /// # Errors
    /// [`FailureKind::AtLimit`] when the queue is full, or nothing came of it in time; or another reason why waiting no
    /// longer helps.
    pub async fn lease_in_turn(
        &self,
        grant: &Grant,
        tried: &[SocketAddr],
        is_repeatable: bool,
    ) -> Result<Lease, FailureKind> {
        let take = || match self.lease_now(grant, tried, is_repeatable, Instant::now()) {
            Err(FailureKind::AtLimit) => None,
            outcome => Some(outcome),
        };
        let place = self.standings.pending.wait(self.settings.timeouts.pending, take).await;
        place.unwrap_or(Err(FailureKind::AtLimit))
    }

    fn lease_now(
        &self,
        grant: &Grant,
        tried: &[SocketAddr],
        is_repeatable: bool,
        now: Instant,
    ) -> Result<Lease, FailureKind> {
        let set = self.set.load();
        let most = self.settings.limits.max_connections;
        if let Some((address, deadline)) = self.standings.trial(tried, is_repeatable, now)
            && let Some(endpoint) = set.all.iter().find(|endpoint| endpoint.address() == address)
        {
            match Lease::take(endpoint, most, Role::Trial(deadline)) {
                Some(lease) if !endpoint.is_unwell() => return Ok(lease),
                Some(_) => {}
                None => self.standings.trial_abandoned(endpoint),
            }
        }
        let client = if self.settings.balance == Balance::HashClient { client_mark(grant) } else { None };
        let wish = Wish { tried, most, client, now };
        // Another request may take the last place in between; then there may be one elsewhere.
        for _ in 0..=set.all.len() {
            let Some(endpoint) = self.balancer.pick(&set, &wish, |count| fastrand::usize(..count)) else { break };
            if let Some(lease) = Lease::take(endpoint, most, Role::Ordinary) {
                return Ok(lease);
            }
        }
        let untried = || set.all.iter().filter(|endpoint| !tried.contains(&endpoint.address()));
        if untried().any(|endpoint| endpoint.is_available()) {
            return Err(FailureKind::AtLimit);
        }
        // An ejected endpoint is better than none, unless checks say that it is none.
        untried()
            .filter(|endpoint| !endpoint.is_unwell())
            .min_by_key(|endpoint| endpoint.in_flight())
            .and_then(|endpoint| Lease::take(endpoint, most, Role::LastResort))
            .ok_or_else(|| if untried().next().is_some() { FailureKind::Unhealthy } else { FailureKind::NoEndpoint })
    }

    /// The head of a good answer took so long: what is slow is not silent.
    pub fn note_answer(&self, took: Duration) {
        if took >= SLOW {
            self.standings.note_slow(took);
        }
    }

    /// Whether one more request may be sent a second time: repeats have a budget.
    pub fn may_repeat(&self) -> bool {
        let in_flight = self.set.load().all.iter().map(|endpoint| endpoint.in_flight()).sum();
        self.standings.may_repeat(in_flight)
    }

    /// Sends a request to the endpoint of `lease`, over a kept connection if there is one and `reuse` allows it. Only
    /// [`Reuse::Upgrade`] can have an answer with status 101; [`AnswerBody::take_upgraded`] has what follows it.
    ///
    /// # Errors
    /// [`Failure`], which tells whether the request may be sent again. The body of a request that was not sent comes back in it.
    pub async fn send(
        &self,
        lease: Lease,
        head: RequestHead,
        body: RequestBody,
        reuse: Reuse,
        now: Instant,
    ) -> Result<Response<AnswerBody>, Failure> {
        let address = lease.endpoint().address();
        let answer = match head {
            RequestHead::Http1(head) => self.send_http1(lease, head, body, reuse, now).await,
            // Boxed, so that others do not carry its state.
            RequestHead::Http2(head) => Box::pin(self.send_http2(lease, head, body, reuse, now)).await,
        };
        answer.inspect_err(|failure| {
            if let FailureKind::TlsFailed(error) = &failure.kind {
                self.complain(address, error);
            }
        })
    }

    async fn send_http1(
        &self,
        mut lease: Lease,
        head: Http1Head,
        body: RequestBody,
        reuse: Reuse,
        now: Instant,
    ) -> Result<Response<AnswerBody>, Failure> {
        let timeouts = &self.settings.timeouts;
        let keep = !self.settings.keepalive_idle.is_zero();
        let (mut connection, now) = match lease.endpoint().take_idle(self.settings.keepalive_idle, reuse, now) {
            Some(connection) => (connection, now),
            None => match self.connect(lease.endpoint().address(), timeouts.connect).await {
                Ok(connection) => (connection, Instant::now()),
                Err(kind) => return Err(self.unreachable(lease, kind, body)),
            },
        };
        let first_byte = lease.first_byte(timeouts.first_byte);
        let answer = match connection.exchange(head, body, first_byte, now, || lease.doubt()).await {
            Ok(answer) => answer,
            Err(failure) => return Err(lease.explain(failure, reuse)),
        };
        if reuse == Reuse::Upgrade && answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return switch(answer, *connection, lease);
        }
        lease.judge(&answer, reuse)?;
        let between_bytes = timeouts.between_bytes;
        Ok(answer.map(|()| Http1Answer::new(connection, lease, between_bytes, keep).into()))
    }

    /// A shared connection hears of its end by itself, so what became of others on it decides nothing here.
    async fn send_http2(
        &self,
        lease: Lease,
        head: Request<()>,
        body: RequestBody,
        reuse: Reuse,
        now: Instant,
    ) -> Result<Response<AnswerBody>, Failure> {
        let timeouts = &self.settings.timeouts;
        let keep = !self.settings.keepalive_idle.is_zero();
        let first_byte = lease.first_byte(timeouts.first_byte);
        let claim = match Claim::take(lease, self.tls.as_ref(), timeouts.connect, keep).await {
            Ok(claim) => claim,
            Err((lease, kind)) => return Err(self.unreachable(lease, kind, body)),
        };
        let patience = Patience { doubt: timeouts.connect / 2, first_byte, between_bytes: timeouts.between_bytes };
        Ok(http2::exchange(claim, head, body, patience, reuse, now).await?.map(AnswerBody::from))
    }

    /// A connection for HTTP/1.
    pub(super) async fn connect(&self, address: SocketAddr, within: Duration) -> Result<Box<Connection>, FailureKind> {
        Ok(Connection::new(self.stream(address, within).await?, within))
    }

    /// A connected socket, with hands shaken.
    pub(super) async fn stream(&self, address: SocketAddr, within: Duration) -> Result<Stream, FailureKind> {
        Stream::connect(address, self.tls.as_ref(), within).await
    }

    fn unreachable(&self, mut lease: Lease, kind: FailureKind, body: RequestBody) -> Failure {
        lease.failed_by(&kind);
        // Perhaps it has left, and others have come.
        self.refresh_soon();
        Failure::new(kind, Replay::Elsewhere(body))
    }

    /// Tells the operator why no hands are shaken. The client learns nothing of it.
    fn complain(&self, endpoint: SocketAddr, error: &std::io::Error) {
        let now = Instant::now();
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if complained.is_some_and(|at| now.duration_since(at) < COMPLAIN) {
            return;
        }
        *complained = Some(now);
        drop(complained);
        tracing::warn!(upstream = self.name(), %endpoint, "the TLS handshake with the upstream fails: {error}");
    }
}

/// The end of HTTP on a connection, as far as the answer is what was asked for.
fn switch(answer: Response<()>, connection: Connection, mut lease: Lease) -> Result<Response<AnswerBody>, Failure> {
    let stream = connection.into_upgraded().filter(|_| answer::switches_to_websocket(answer.headers()));
    let Some((stream, unread)) = stream else {
        lease.failed(Fault::Malformed);
        return Err(Failure::new(FailureKind::Malformed, Replay::Never));
    };
    lease.succeeded();
    Ok(answer.map(|()| Http1Answer::upgraded(Upgraded::new(stream, unread, lease)).into()))
}

/// Looks after the endpoints until the cluster is gone.
async fn tend(cluster: Weak<Cluster>) {
    let mut ticks = interval(TEND_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(cluster) = cluster.upgrade() else { return };
        let endpoints = cluster.endpoints();
        let now = Instant::now();
        for endpoint in endpoints.iter() {
            endpoint.sweep(cluster.settings.keepalive_idle);
            // Asked for its other effect: one that is warm is no longer marked.
            endpoint.warmth(cluster.settings.slow_start, now);
        }
        cluster.standings.count(&endpoints);
    }
}

/// A number that is always the same for a client, and evenly spread: the beginning of its certificate's fingerprint.
fn client_mark(grant: &Grant) -> Option<u64> {
    u64::from_str_radix(grant.client()?.sha256.get(..16)?, 16).ok()
}
