//! The shape of the file: every section and key it may have, with types, ranges and defaults.
//!
//! What concerns one value is checked here; what concerns several is the check's part.

mod route;
mod sections;
mod upstream;

pub use route::Route;
pub use sections::{ClientAuth, Drain, Headers, Health, Listener, Mode, Timeouts, Tls};
pub use upstream::Upstream;

use toml::de::DeTable;

use super::reader::{Reader, Table};
use crate::{proxy, telemetry};

/// A file, read.
#[derive(Debug)]
pub struct File {
    /// `[runtime] workers`.
    pub workers: usize,
    /// `[listener]`.
    pub listener: Listener,
    /// `[health]`.
    pub health: Health,
    /// `[tls]`.
    pub tls: Tls,
    /// `[client_auth]`.
    pub client_auth: ClientAuth,
    /// `[upstream.NAME]`, in the file's order.
    pub upstreams: Vec<Upstream>,
    /// `[[route]]`, or the one that stands in when there is none.
    pub routes: Vec<Route>,
    /// `[headers]`.
    pub headers: Headers,
    /// `[limits]`.
    pub limits: proxy::Limits,
    /// `[timeouts]`.
    pub timeouts: Timeouts,
    /// `[drain]`.
    pub drain: Drain,
    /// `[logs]`.
    pub logs: telemetry::Settings,
}

/// Reads the sections in the order in which they are printed. Whether standard output is a terminal decides one default.
pub fn read<'a>(
    reader: &'a Reader<'a>,
    content: Option<&'a DeTable<'a>>,
    default_format: telemetry::LogFormat,
) -> File {
    let root = Table::root(reader, content);
    let workers = sections::runtime(&root);
    let listener = sections::listener(&root);
    let health = sections::health(&root);
    let tls = sections::tls(&root);
    let client_auth = sections::client_auth(&root);
    let upstreams = upstream::read(&root);
    let routes = route::read(&root, upstreams.as_deref());
    let upstreams = upstreams.unwrap_or_default();
    let headers = sections::headers(&root);
    let limits = sections::limits(&root);
    let timeouts = sections::timeouts(&root);
    let drain = sections::drain(&root);
    let logs = sections::logs(&root, default_format);
    root.finish();
    File { workers, listener, health, tls, client_auth, upstreams, routes, headers, limits, timeouts, drain, logs }
}
