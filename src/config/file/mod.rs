//! The shape of the file: every section and key it may have, with types, ranges and defaults.
//!
//! What concerns one value is checked here; what concerns several is the check's part.

mod route;
mod rule;
mod sections;
mod test;
mod tls;
mod upstream;

pub use route::Route;
pub use sections::{AdminAddress, ClientAuth, Drain, Headers, Health, Listener, Mode, Shadow, Timeouts};
pub use tls::{Certificates, Sni, Tls};
pub use upstream::{Scheme, Tls as UpstreamTls, Upstream};

use toml::de::DeTable;

use super::reader::{Located, Reader, Table};
use super::settings::PolicyTest;
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
    /// `[[test]]`.
    pub tests: Vec<PolicyTest>,
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
    /// `[admin] address`.
    pub admin: Located<AdminAddress>,
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
    let (tls, client_auth) = tls::tls(&root);
    let upstreams = upstream::read(&root);
    let routes = route::read(&root, upstreams.as_deref());
    let upstreams = upstreams.unwrap_or_default();
    let tests = test::read(&root);
    let headers = sections::headers(&root);
    let limits = sections::limits(&root);
    let timeouts = sections::timeouts(&root);
    let drain = sections::drain(&root);
    let logs = sections::logs(&root, default_format);
    let admin = sections::admin(&root);
    root.finish();
    File {
        workers,
        listener,
        health,
        tls,
        client_auth,
        upstreams,
        routes,
        tests,
        headers,
        limits,
        timeouts,
        drain,
        logs,
        admin,
    }
}
