//! The HTTP/2 connections of one endpoint.
//!
//! There is another only when all others have as many requests as they may have, so there are never more than there are
//! requests at the endpoint.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::super::error::FailureKind;
use super::super::lease::Lease;
use super::super::stream::Stream;
use super::link::Link;
use crate::tls::UpstreamTls;

/// A connection that has had no request for this long is closed, or later if `keepalive_idle` says so. Longer than for
/// HTTP/1, where a request that meets the upstream's own closing may be lost: here GOAWAY says which were.
const IDLE: Duration = Duration::from_secs(60);

/// The connections of one endpoint.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Pool {
    links: Mutex<Links>,
    /// Held while a connection is made, so that requests that come together do not each make one.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Links {
    open: Vec<Arc<Link>>,
    /// The endpoint has gone: what is made from now on serves one request.
    retired: bool,
}

/// A request's place on a connection, and at its endpoint, until dropped.
#[derive(Debug)]
pub(in crate::upstream) struct Claim {
    link: Arc<Link>,
    lease: Lease,
    keep: bool,
}

impl Claim {
    /// A place on a connection to the endpoint of `lease`; a new one is made within `deadline` where there is none.
    /// `keep` tells whether connections stay without a request.
    pub(in crate::upstream) async fn take(
        lease: Lease,
        tls: Option<&UpstreamTls>,
        deadline: Duration,
        keep: bool,
    ) -> Result<Self, (Lease, FailureKind)> {
        match Self::find(&lease, tls, deadline).await {
            Ok(link) => Ok(Self { link, lease, keep }),
            Err(kind) => Err((lease, kind)),
        }
    }

    async fn find(lease: &Lease, tls: Option<&UpstreamTls>, deadline: Duration) -> Result<Arc<Link>, FailureKind> {
        let pool = lease.endpoint().http2();
        if let Some(link) = pool.claim() {
            return Ok(link);
        }
        let until = Instant::now() + deadline;
        let opening = timeout_at(until, pool.opening.lock()).await.map_err(|_| FailureKind::ConnectTimedOut)?;
        // Somebody else may have made one meanwhile.
        if let Some(link) = pool.claim() {
            return Ok(link);
        }
        let stream =
            Stream::connect(lease.endpoint().address(), tls, until.saturating_duration_since(Instant::now())).await?;
        let link = timeout_at(until, Link::open(stream)).await.map_err(|_| FailureKind::ConnectTimedOut)??;
        pool.put(&link);
        drop(opening);
        Ok(link)
    }

    /// The place at the endpoint, to tell how that did.
    pub(in crate::upstream) fn lease(&mut self) -> &mut Lease {
        &mut self.lease
    }

    /// The connection.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.link.release();
        if !self.keep {
            self.lease.endpoint().http2().sweep(Duration::ZERO);
        }
    }
}

impl Pool {
    fn claim(&self) -> Option<Arc<Link>> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = 0;
        // The oldest first, so that those that are needed only now and then become idle.
        while let Some(link) = links.open.get(at) {
            if !link.is_open() {
                links.open.remove(at);
            } else if link.claim() {
                return Some(Arc::clone(link));
            } else {
                at += 1;
            }
        }
        None
    }

    fn put(&self, link: &Arc<Link>) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if !links.retired {
            links.open.push(Arc::clone(link));
        }
    }

    /// Lets go of connections that have ended, or have been idle for too long.
    pub(in crate::upstream) fn sweep_idle(&self, keepalive_idle: Duration) {
        self.sweep(keepalive_idle.max(IDLE));
    }

    fn sweep(&self, idle: Duration) {
        let now = Instant::now();
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.open.retain(|link| link.is_open() && (link.claims() > 0 || link.idle_for(now) < idle));
        if links.open.is_empty() {
            links.open.shrink_to_fit();
        }
    }

    /// Lets go of all connections: each ends with the last of its requests.
    pub(in crate::upstream) fn let_go(&self) {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).open.clear();
    }

    /// Keeps none from now on.
    pub(in crate::upstream) fn retire(&self) {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).retired = true;
    }
}
