//! Accept loops: one task for each address, one for each connection.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::listen::{self, Listener, Slots};
use crate::proxy::{self, Proxy};

/// Health checks that may be under way at once; load balancers make a handful.
const HEALTH_CONNECTIONS: usize = 256;

/// An accept loop; it ends when this is dropped, and the socket closes with it.
#[derive(Debug)]
pub(super) struct AcceptLoop {
    /// As configured: a port of 0 stays 0 here, so that a reload recognises it.
    configured: SocketAddr,
    address: SocketAddr,
    _stop: DropGuard,
}

/// What accept loops share.
#[derive(Debug, Clone)]
pub(super) struct Acceptor {
    pub(super) proxy: Arc<Proxy>,
    pub(super) slots: Slots,
    pub(super) connections: TaskTracker,
}

impl AcceptLoop {
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn configured(&self) -> SocketAddr {
        self.configured
    }
}

/// Binds every address of a configuration.
///
/// # Errors
/// Every address that cannot be bound, and what to do.
pub(super) fn bind_all(
    config: &Config,
    acceptor: &Acceptor,
) -> Result<(Vec<AcceptLoop>, Option<AcceptLoop>), Vec<String>> {
    let mut problems = Vec::new();
    let mut bound: Vec<_> = Vec::new();
    for address in &config.listener.addresses {
        match bind(*address, "listener") {
            Ok(listener) => bound.push((*address, listener)),
            Err(problem) => problems.push(problem),
        }
    }
    let mut health = None;
    if let Some(settings) = &config.health {
        match bind(settings.address, "health") {
            Ok(listener) => health = Some((settings.address, listener)),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let listeners = bound.into_iter().map(|(configured, listener)| acceptor.serve_tls(configured, listener)).collect();
    let health = health.map(|(configured, listener)| acceptor.serve_health(configured, listener));
    Ok((listeners, health))
}

/// Binds one address.
///
/// # Errors
/// A sentence that names the address, the section it comes from, and what to do.
pub(super) fn bind(address: SocketAddr, section: &str) -> Result<Listener, String> {
    listen::bind(address).map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => "another program listens there; stop it or choose another port",
            std::io::ErrorKind::PermissionDenied => "ports below 1024 need privileges; choose another port",
            std::io::ErrorKind::AddrNotAvailable => "it is no address of this machine",
            _ => "see the error",
        };
        format!("cannot listen on {address} ([{section}] address): {error}: {advice}")
    })
}

impl Acceptor {
    pub(super) fn serve_tls(&self, configured: SocketAddr, listener: Listener) -> AcceptLoop {
        let (accept_loop, stop) = AcceptLoop::new(configured, &listener);
        let acceptor = self.clone();
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            loop {
                // A place first: whoever gets none stays in the kernel's queue.
                let slot = acceptor.slots.take().await;
                let (socket, peer) = listener.accept().await;
                let serve = proxy::serve(Arc::clone(&acceptor.proxy), socket, peer);
                acceptor.connections.spawn(async move {
                    serve.await;
                    drop(slot);
                });
            }
        }));
        accept_loop
    }

    /// Health checks do not count as connections, nor does a drain wait for them.
    pub(super) fn serve_health(&self, configured: SocketAddr, listener: Listener) -> AcceptLoop {
        let (accept_loop, stop) = AcceptLoop::new(configured, &listener);
        let proxy = Arc::clone(&self.proxy);
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            let slots = Slots::new(HEALTH_CONNECTIONS);
            loop {
                let slot = slots.take().await;
                let (socket, _) = listener.accept().await;
                let serve = proxy::health::serve(Arc::clone(&proxy), socket);
                tokio::spawn(async move {
                    serve.await;
                    drop(slot);
                });
            }
        }));
        accept_loop
    }
}

impl AcceptLoop {
    fn new(configured: SocketAddr, listener: &Listener) -> (Self, CancellationToken) {
        let stop = CancellationToken::new();
        let accept_loop = Self { configured, address: listener.address(), _stop: stop.clone().drop_guard() };
        (accept_loop, stop)
    }
}
