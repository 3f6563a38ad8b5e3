//! `[upstream.NAME]` and the sections below it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::diagnostic::{Diagnostic, Origin, quoted};
use crate::config::reader::{Item, Located, Problem, Section, Shape, Table, toml_string};
use crate::net::HostPort;
use crate::upstream;

/// The name of the upstream that `--upstream` makes when the file has none.
const UNNAMED: &str = "api";

/// `[upstream.NAME]`.
#[derive(Debug)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// Where it is defined.
    pub origin: Origin,
    /// Where it is; `None` when that was refused or is missing.
    pub url: Option<Located<Url>>,
    /// How long an idle connection is kept.
    pub keepalive_idle: Located<Duration>,
    /// `[upstream.NAME.dns]`.
    pub dns: Dns,
    /// `[upstream.NAME.timeouts]`.
    pub timeouts: upstream::Timeouts,
    /// `[upstream.NAME.limits] max_connections`.
    pub max_connections: usize,
}

/// `[upstream.NAME.dns]`.
#[derive(Debug)]
pub struct Dns {
    /// The shortest time an answer is kept.
    pub min_ttl: Located<Duration>,
    /// The longest.
    pub max_ttl: Located<Duration>,
    /// All but those two.
    pub settings: upstream::DnsSettings,
}

/// `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url(pub HostPort);

/// Reads the upstreams; `None` when all there was had to be refused.
pub(super) fn read(root: &Table<'_>) -> Option<Vec<Upstream>> {
    root.subsection("upstream", Section::Upstreams, |table| {
        let named = table.named()?;
        let flag = table.reader().overrides().of("upstream.url").pop();
        if let (Some(flag), [_, _, ..]) = (flag, named.as_slice()) {
            let names: Vec<_> = named.iter().map(|named| named.name).collect();
            let message =
                format!("the file has {} upstreams ({}); one URL is not enough", names.len(), names.join(", "));
            let error = Diagnostic::error(flag.origin.clone(), message);
            table.reader().report(error.help("set the `url` of each in the file, or leave one upstream in it"));
        }
        if let (Some(flag), []) = (flag, named.as_slice()) {
            let section = Section::Upstream(UNNAMED.to_owned());
            return Some(vec![table.absent(section, flag.origin.clone(), |table| one(table, UNNAMED))]);
        }
        let mut upstreams = Vec::new();
        for named in &named {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            if named.name.is_empty() || named.name.len() > 64 || !named.name.bytes().all(plain) {
                let message = format!("{} is not a name for an upstream", quoted(named.name));
                let error = Diagnostic::error(named.origin.clone(), message);
                table.reader().report(error.help("use up to 64 letters, digits, '-' and '_'"));
            }
            let section = Section::Upstream(named.name.to_owned());
            upstreams.push(table.read_named(named, section, |table| one(table, named.name)));
        }
        Some(upstreams)
    })
}

fn one(table: &Table<'_>, name: &str) -> Upstream {
    let part = |part: &'static str| Section::UpstreamPart(name.to_owned(), part);
    let seconds = Duration::from_secs;
    let deadline = Duration::from_millis(10)..=Duration::from_hours(24);
    let url = table.key("url").required("write where it is, as in url = \"http://api.local:5000\"");
    let keepalive_idle =
        table.key("keepalive_idle").within(&(Duration::ZERO..=Duration::from_hours(1))).or(Duration::from_millis(1500));
    let dns = table.subsection("dns", part("dns"), |table| {
        let range = Duration::from_millis(100)..=Duration::from_hours(24);
        let min_ttl = table.key("min_ttl").within(&range).or(seconds(1));
        let max_ttl = table.key("max_ttl").within(&range).or(seconds(5));
        let longest = Duration::from_hours(7 * 24);
        let stale_for = table.key("stale_for").within(&(Duration::ZERO..=longest)).or(seconds(300)).value;
        let resolvers = table.list::<Resolver>("resolvers").distinct().optional().value;
        let settings = upstream::DnsSettings {
            min_ttl: min_ttl.value,
            max_ttl: max_ttl.value,
            stale_for,
            resolvers: resolvers.into_iter().map(|resolver| resolver.value.0).collect(),
        };
        Dns { min_ttl, max_ttl, settings }
    });
    let timeouts = table.subsection("timeouts", part("timeouts"), |table| upstream::Timeouts {
        connect: table.key("connect").within(&deadline).or(seconds(2)).value,
        first_byte: table.key("first_byte").within(&deadline).or(seconds(60)).value,
        between_bytes: table.key("between_bytes").within(&deadline).or(seconds(60)).value,
    });
    let max_connections = table.subsection("limits", part("limits"), |table| {
        super::sections::number(&table.key("max_connections").within(&(1..=1_000_000)).or(1024))
    });
    Upstream { name: name.to_owned(), origin: table.origin(), url, keepalive_idle, dns, timeouts, max_connections }
}

/// The address of a DNS server.
#[derive(Debug, Clone, Copy)]
struct Resolver(SocketAddr);

impl Shape for Resolver {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        // The hints of an address in general are about the port of a listener.
        SocketAddr::read(item).map(Self).map_err(|problem| {
            let hint = problem.hint.as_ref().map(|hint| hint.replace("8443", "53").replace("0.0.0.0", "10.0.0.2"));
            Problem { hint, ..problem }
        })
    }

    fn print(&self) -> String {
        self.0.print()
    }
}

impl Shape for Url {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        let text = item.string("a URL such as \"http://api.local:5000\"")?;
        let refused = |why: &str| Problem::new(format!("{} {why}", quoted(&text)));
        let example = "write it as \"http://host:port\"";
        let Some((scheme, rest)) = text.split_once("://") else {
            let problem = refused("has no scheme");
            return Err(match HostPort::parse(&text, 80) {
                Ok(_) => problem.help(format!("write {}", toml_string(&format!("http://{text}")))),
                Err(_) => problem.help(example),
            });
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" => {}
            "https" | "srv+http" | "srv+https" => {
                return Err(Problem::new(format!("{scheme}:// is not available in this version")).help(example));
            }
            _ => return Err(refused("is not a URL that can be proxied to").help(example)),
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(Problem::new("a user name or password cannot be sent to an upstream").help(example));
        }
        let Ok(target) = HostPort::parse(authority, 80) else {
            return Err(refused("has no host and port that can be connected to").help(example));
        };
        if !path.is_empty() {
            let mend = format!("write \"{scheme}://{authority}\"; `strip_prefix` of a route cuts the front of a path");
            return Err(refused("has a path, and the client's is sent on as it is").help(mend));
        }
        Ok(Self(target))
    }

    fn print(&self) -> String {
        toml_string(&format!("http://{}", self.0))
    }
}
