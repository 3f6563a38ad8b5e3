//! The data path: a connection from its handshake, a request from its head to the last byte of its answer.
//!
//! [`pipeline`] is the table of contents. It decides everything about a request before a byte of its body is read or
//! a byte goes upstream; what a decision needs is loaded once, as one immutable [`Snapshot`].

mod activity;
mod admit;
mod client;
mod connection;
mod cork;
mod early;
mod expiry;
mod forward;
mod frames;
mod headers;
pub mod health;
mod http1;
mod http2;
mod io;
mod known;
mod linger;
mod measures;
mod nonce;
mod pipe;
mod pipeline;
mod problem;
mod record;
mod refusal;
mod rejected;
mod request_body;
mod requests;
mod response;
mod retry;
mod settings;
mod shadow;
mod snapshot;
mod stream;
mod tunnel;
mod upgrade;

pub use connection::serve;
pub use headers::{RequestHeaderRules, RequestHeaders, clean_answer, client_cert_fields, is_protected};
pub use measures::Measures;
pub use settings::{Action, Dialect, HeaderSettings, Limits, RouteSettings, Settings, Timeouts};
pub use snapshot::Snapshot;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::drain::DrainWatch;
use crate::telemetry::Log;

use expiry::Told;

/// What every connection shares.
#[derive(Debug)]
pub struct Proxy {
    snapshot: ArcSwap<Snapshot>,
    /// Tells connections that another configuration is in force.
    published: watch::Sender<()>,
    clock: Clock,
    log: Log,
    drain: DrainWatch,
    /// Clients whose certificates end soon.
    expiry_told: Told,
    measures: Measures,
}

impl Proxy {
    /// A data path that begins with `snapshot`.
    pub fn new(snapshot: Snapshot, clock: Clock, log: Log, drain: DrainWatch) -> Arc<Self> {
        let published = watch::Sender::new(());
        let (snapshot, expiry_told, measures) = (ArcSwap::from_pointee(snapshot), Told::default(), Measures::default());
        Arc::new(Self { snapshot, published, clock, log, drain, expiry_told, measures })
    }

    /// The configuration in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// What has been counted since the start.
    pub fn measures(&self) -> &Measures {
        &self.measures
    }

    /// Puts another configuration in force; requests under way keep theirs.
    pub fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        self.published.send_replace(());
    }
}
