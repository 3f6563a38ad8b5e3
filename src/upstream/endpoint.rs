//! One address of an upstream: how busy it is, and its idle connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::connection::Connection;

/// Idle connections kept for one endpoint; more are closed as they come back.
const MOST_IDLE: usize = 256;

/// One address of an upstream.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    in_flight: AtomicUsize,
    /// Set when the name no longer stands for this address: what comes back is not kept.
    retired: AtomicBool,
    #[expect(clippy::vec_box, reason = "a connection is large, and is handed around as a box")]
    idle: Mutex<Vec<Box<Connection>>>,
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, in_flight: AtomicUsize::new(0), retired: AtomicBool::new(false), idle: Mutex::new(Vec::new()) }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that it has been given and not yet answered in full.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The most recently used idle connection that is still open.
    pub(super) fn take_idle(&self, keepalive_idle: Duration) -> Option<Box<Connection>> {
        loop {
            let mut connection = {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                let connection = idle.pop()?;
                if connection.idle_for() >= keepalive_idle {
                    // Those below it have been idle for longer.
                    idle.clear();
                    return None;
                }
                connection
            };
            if connection.is_open() {
                return Some(connection);
            }
        }
    }

    pub(super) fn put_idle(&self, connection: Box<Connection>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked under the lock: `retire` sets the mark before it empties the pool.
        if idle.len() < MOST_IDLE && !self.retired.load(Ordering::Relaxed) {
            idle.push(connection);
        }
    }

    /// Closes the connections that have been idle for too long or were closed by the other side.
    pub(super) fn sweep(&self, keepalive_idle: Duration) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain_mut(|connection| connection.idle_for() < keepalive_idle && connection.is_open());
        if idle.is_empty() {
            idle.shrink_to_fit();
        }
    }

    /// The name no longer stands for this address.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Idle connections now.
    pub fn idle(&self) -> usize {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A place at an endpoint, counted as in flight until dropped.
#[derive(Debug)]
pub struct Lease(Arc<Endpoint>);

impl Lease {
    /// Takes a place, unless `most` are taken.
    pub(super) fn take(endpoint: &Arc<Endpoint>, most: usize) -> Option<Self> {
        endpoint
            .in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |in_flight| (in_flight < most).then_some(in_flight + 1))
            .ok()
            .map(|_| Self(Arc::clone(endpoint)))
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
