//! `[upstream.NAME]` and the sections below it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::uri::PathAndQuery;
use ipnet::IpNet;

use super::sections::number;
use crate::config::diagnostic::{Diagnostic, Origin, quoted};
use crate::config::reader::{Item, Located, Problem, Section, Shape, Table, choose, toml_string};
use crate::net::{Host, HostName, HostPort};
use crate::tls::{PemSource, Protocol};
use crate::upstream::{self, Balance};

/// The name of the upstream that `--upstream` makes when the file has none.
const UNNAMED: &str = "api";

/// URLs of one upstream.
const MOST_URLS: usize = 64;

/// `[upstream.NAME]`.
#[derive(Debug)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// Where it is defined.
    pub origin: Origin,
    /// Where it is; none when that was refused or is missing.
    pub urls: Vec<Located<Url>>,
    /// What is spoken.
    pub protocol: Protocol,
    /// `[upstream.NAME.tls]`.
    pub tls: Tls,
    /// How long an idle connection is kept.
    pub keepalive_idle: Located<Duration>,
    /// `[upstream.NAME.dns]`.
    pub dns: Dns,
    /// `[upstream.NAME.timeouts]`.
    pub timeouts: upstream::Timeouts,
    /// How endpoints are chosen.
    pub balance: Balance,
    /// The time in which a new endpoint comes to its full share.
    pub slow_start: Duration,
    /// Networks that stand for zones.
    pub zones: Vec<IpNet>,
    /// `[upstream.NAME.health]`.
    pub health: Option<upstream::HealthCheck>,
    /// `[upstream.NAME.limits]`.
    pub limits: upstream::Limits,
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

/// `[upstream.NAME.tls]`.
#[derive(Debug)]
pub struct Tls {
    /// Trust anchors.
    pub ca: Located<Vec<Located<PemSource>>>,
    /// The name in the upstream's certificate.
    pub server_name: Option<Located<Host>>,
    /// Whether it was given and refused.
    pub name_refused: bool,
    /// What the gateway shows.
    pub certificate: Option<Located<PemSource>>,
    /// Its key.
    pub private_key: Option<Located<PemSource>>,
    /// Whether neither of the two was refused.
    pub pair_sound: bool,
}

/// `http://host:port`, `https://host:port`, or `srv+http://name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Where it is.
    pub target: upstream::Target,
    /// How it is spoken to.
    pub scheme: Scheme,
}

/// How a URL says that an upstream is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plainly.
    Http,
    /// Under TLS.
    Https,
    /// Plainly, where SRV records say.
    SrvHttp,
}

impl Scheme {
    /// The port that is meant where none is written.
    fn port(self) -> u16 {
        match self {
            Self::Http | Self::SrvHttp => 80,
            Self::Https => 443,
        }
    }

    /// As it is written.
    fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::SrvHttp => "srv+http",
        }
    }
}

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
    let urls = urls(table);
    let protocol = table.key("protocol").or(Protocol::Http1).value;
    let keepalive_idle =
        table.key("keepalive_idle").within(&(Duration::ZERO..=Duration::from_hours(1))).or(Duration::from_millis(1500));
    let balance = table.key::<Balance>("balance").or(Balance::LeastRequest).value;
    let slow_start = table.key("slow_start").within(&(Duration::ZERO..=seconds(600))).or(seconds(5)).value;
    let zones = table.list::<IpNet>("zones").distinct().optional().value;
    let tls = table.subsection("tls", part("tls"), |table| {
        let ca = table.list("ca").filled("name at least one file of CA certificates").optional();
        let server_name = table.key("server_name").optional();
        let name_refused = server_name.is_none() && table.has("server_name");
        let certificate = table.key("certificate").optional();
        let private_key = table.key("private_key").optional();
        let pair_sound =
            certificate.is_some() == table.has("certificate") && private_key.is_some() == table.has("private_key");
        Tls { ca, server_name, name_refused, certificate, private_key, pair_sound }
    });
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
        pending: table.key("pending").within(&deadline).or(seconds(1)).value,
    });
    let health = table.subsection("health", part("health"), health);
    let limits = table.subsection("limits", part("limits"), |table| upstream::Limits {
        max_connections: number(&table.key("max_connections").within(&(1..=1_000_000)).or(1024)),
        max_pending: number(&table.key("max_pending").within(&(0..=1_000_000)).or(256)),
    });
    Upstream {
        name: name.to_owned(),
        origin: table.origin(),
        urls,
        protocol,
        tls,
        keepalive_idle,
        balance,
        slow_start,
        zones: zones.into_iter().map(|zone| zone.value).collect(),
        dns,
        timeouts,
        health,
        limits,
    }
}

/// One URL, or several of hosts; a list that cannot stand as a whole is refused as a whole.
fn urls(table: &Table<'_>) -> Vec<Located<Url>> {
    let hint = "write where it is, as in url = \"http://api.local:5000\"";
    let urls = table.list::<Url>("url").distinct().filled(hint).required(hint).check_all(|urls| {
        let first = urls.first()?;
        let other = urls.iter().find(|url| url.value.scheme != first.value.scheme);
        if let Some(other) = other {
            let message = format!("{} has another scheme than {}", other.value.print(), first.value.print());
            return Some((other, Problem::new(message).help("all URLs of an upstream have one scheme")));
        }
        let second = urls.get(1)?;
        if matches!(second.value.target, upstream::Target::Service(_)) {
            let problem = Problem::new("an SRV name stands alone: its records are the list");
            return Some((second, problem.help("write one URL, or a list of \"http://host:port\"")));
        }
        let first_too_many = urls.get(MOST_URLS)?;
        Some((first_too_many, Problem::new(format!("more than {MOST_URLS} URLs"))))
    });
    urls.value
}

/// `[upstream.NAME.health]`: checks are on when it has a path.
fn health(table: &Table<'_>) -> Option<upstream::HealthCheck> {
    let path = table.key::<HealthPath>("path").optional();
    let others = ["interval", "timeout", "healthy_threshold", "unhealthy_threshold"];
    let other = others.into_iter().find(|key| table.has(key));
    match (table.has("path"), other) {
        (false, None) => return None,
        (false, Some(key)) => {
            let error = Diagnostic::error(table.origin(), format!("`{key}` does nothing without `path`"));
            table.reader().report(error.help("add the path that is asked for, as in path = \"/health\""));
        }
        (true, _) => {}
    }
    let span = Duration::from_millis(100)..=Duration::from_hours(1);
    let interval = table.key("interval").within(&span).or(Duration::from_secs(2)).value;
    let timeout = table.key("timeout").within(&span).or(Duration::from_secs(1)).value;
    let healthy_threshold = number(&table.key("healthy_threshold").within(&(1..=100)).or(2));
    let unhealthy_threshold = number(&table.key("unhealthy_threshold").within(&(1..=100)).or(2));
    let path = path?.value.0;
    Some(upstream::HealthCheck { path, interval, timeout, healthy_threshold, unhealthy_threshold })
}

/// What an active check asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HealthPath(PathAndQuery);

impl Shape for HealthPath {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        let text = item.string("a path such as \"/health\"")?;
        match PathAndQuery::try_from(text.as_ref()) {
            Ok(path) if text.starts_with('/') && !text.contains('#') => Ok(Self(path)),
            _ => Err(Problem::new(format!("{} is not a path", quoted(&text))).help("write it as in \"/health\"")),
        }
    }

    fn print(&self) -> String {
        toml_string(self.0.as_str())
    }
}

impl Shape for Balance {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        choose(item, &BALANCES, &[])
    }

    fn print(&self) -> String {
        let word = BALANCES.iter().find(|(_, balance)| balance == self).map_or("", |(word, _)| *word);
        format!("\"{word}\"")
    }
}

const BALANCES: [(&str, Balance); 3] = [
    ("least_request", Balance::LeastRequest),
    ("round_robin", Balance::RoundRobin),
    ("hash_client", Balance::HashClient),
];

impl Shape for IpNet {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        let text = item.string("a network such as \"10.0.1.0/24\"")?;
        let refused = || Problem::new(format!("{} is not a network", quoted(&text)));
        match (text.parse::<Self>(), text.parse::<IpAddr>()) {
            (Ok(network), _) if network.addr() == network.network() => Ok(network),
            (Ok(network), _) => {
                Err(refused().help(format!("it has bits beyond its mask: write \"{}\"", network.trunc())))
            }
            (Err(_), Ok(IpAddr::V4(_))) => {
                Err(refused().help(format!("add the length of its prefix, as in \"{text}/24\"")))
            }
            (Err(_), Ok(IpAddr::V6(_))) => {
                Err(refused().help(format!("add the length of its prefix, as in \"{text}/64\"")))
            }
            (Err(_), Err(_)) => {
                Err(refused().help("write an address and the length of its prefix, as in \"10.0.1.0/24\""))
            }
        }
    }

    fn print(&self) -> String {
        toml_string(&self.to_string())
    }
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
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "srv+http" => Scheme::SrvHttp,
            "srv+https" => {
                return Err(Problem::new(format!("{scheme}:// is not available in this version")).help(example));
            }
            _ => return Err(refused("is not a URL that can be proxied to").help(example)),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(Problem::new("a user name or password cannot be sent to an upstream").help(example));
        }
        let target = if scheme == Scheme::SrvHttp {
            upstream::Target::Service(service(&text, authority)?)
        } else {
            let target = HostPort::parse(authority, scheme.port())
                .map_err(|_| refused("has no host and port that can be connected to").help(example))?;
            upstream::Target::Host(target)
        };
        if !path.is_empty() {
            let mend = format!(
                "write \"{}://{authority}\"; `strip_prefix` of a route cuts the front of a path",
                scheme.word()
            );
            return Err(refused("has a path, and the client's is sent on as it is").help(mend));
        }
        Ok(Self { target, scheme })
    }

    fn print(&self) -> String {
        toml_string(&format!("{}://{}", self.scheme.word(), self.target))
    }
}

impl Shape for Protocol {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        choose(item, &[("http1", Self::Http1), ("http2", Self::Http2)], &[])
    }

    fn print(&self) -> String {
        match self {
            Self::Http1 => "\"http1\"",
            Self::Http2 => "\"http2\"",
        }
        .to_owned()
    }
}

/// The name or the address in a certificate.
impl Shape for Host {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        let text = item.string("a name such as \"api.local\"")?;
        let bare = text.parse::<std::net::Ipv6Addr>().ok().map(|address| Self::Address(address.into()));
        bare.or_else(|| Self::parse(&text).ok()).ok_or_else(|| {
            let problem = Problem::new(format!("{} is not a name or an address", quoted(&text)));
            problem.help("write what stands in the upstream's certificate, without scheme and port")
        })
    }

    fn print(&self) -> String {
        toml_string(&self.to_string())
    }
}

/// The name of a service: its records say which port, so the URL does not.
fn service(text: &str, authority: &str) -> Result<HostName, Problem> {
    let refused = |why: &str| Problem::new(format!("{} {why}", quoted(text)));
    let example = "write it as \"srv+http://_api._tcp.x.local\"";
    match HostName::parse(authority) {
        Ok(name) if name.as_str().contains('.') => Ok(name),
        Ok(_) => Err(refused("has no dot, and SRV names are not searched for").help(example)),
        Err(_) if HostPort::parse(authority, 80).is_ok_and(|target| target.host.name().is_some()) => {
            let name = authority.split(':').next().unwrap_or_default();
            let mend = toml_string(&text.replace(authority, name));
            Err(refused("has a port, and SRV records bring their own").help(format!("write {mend}")))
        }
        Err(_) => Err(refused("has no name that can be looked up").help(example)),
    }
}
