//! The sections of which there is one each.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderName;

use crate::config::diagnostic::{Diagnostic, Origin, quoted};
use crate::config::reader::{Item, Located, Problem, Section, Shape, Size, Table, choose};
use crate::policy::Rule;
use crate::route::PathPattern;
use crate::telemetry::LogFormat;
use crate::tls::{CrlScope, PemSource, RevocationSettings, StaleCrl, Unfit};
use crate::{proxy, telemetry};

/// What a deadline on the client's side may be. None can be switched off: every wait has an end.
const DEADLINE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(24);

/// `[listener]`.
#[derive(Debug)]
pub struct Listener {
    /// At least one.
    pub addresses: Vec<Located<SocketAddr>>,
    /// At least 1.
    pub max_connections: usize,
}

/// `[health]`.
#[derive(Debug)]
pub struct Health {
    /// An exact path.
    pub path: Located<String>,
    /// The plain listener's.
    pub address: Option<Located<SocketAddr>>,
}

/// `[client_auth]`.
#[derive(Debug, Clone)]
pub struct ClientAuth {
    /// Whether a certificate is asked for.
    pub mode: Located<Mode>,
    /// Trust anchors.
    pub ca: Located<Vec<Located<PemSource>>>,
    /// What becomes of a bad certificate.
    pub invalid: Located<Unfit>,
    /// 0 to 6.
    pub max_chain_depth: usize,
    /// Revocation.
    pub revocation: RevocationSettings,
    /// Up to a year.
    pub expiry_notice: Duration,
    /// What is only tried. No other section inherits it: what it takes the place of may be other there.
    pub shadow: Option<Shadow>,
}

/// `[client_auth.shadow]`: what is not set is as in force.
#[derive(Debug, Clone)]
pub struct Shadow {
    /// Where it begins.
    pub origin: Origin,
    /// Trust anchors; empty when they are as in force.
    pub ca: Vec<PemSource>,
    /// Revocation lists; empty when they are as in force.
    pub crl: Vec<PemSource>,
    /// In the place of each route's own.
    pub allow: Option<Vec<Rule>>,
}

/// Whether a client certificate is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Asked for, not demanded.
    Optional,
    /// Demanded in the handshake.
    Required,
    /// Not asked for.
    Off,
}

/// `[headers]`.
#[derive(Debug)]
pub struct Headers {
    /// Names that may pass in spite of their characters.
    pub allow_names: Vec<Located<HeaderName>>,
    /// Names to drop.
    pub drop_request: Vec<Located<HeaderName>>,
}

/// `[timeouts]`.
#[derive(Debug)]
pub struct Timeouts {
    /// All but what is checked further.
    pub settings: proxy::Timeouts,
    /// `keepalive`.
    pub keepalive: Located<Duration>,
}

/// `[drain]`.
#[derive(Debug)]
pub struct Drain {
    /// From the signal on, still accepting.
    pub delay: Located<Duration>,
    /// From the signal to the end.
    pub timeout: Located<Duration>,
}

/// `[admin] address`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminAddress {
    /// There is an admin listener here.
    At(SocketAddr),
    /// There is none.
    Off,
}

pub(super) fn runtime(root: &Table<'_>) -> usize {
    root.subsection("runtime", Section::Plain("runtime"), |table| {
        number(&table.key("workers").within(&(0..=1024)).or(0))
    })
}

pub(super) fn listener(root: &Table<'_>) -> Listener {
    root.subsection("listener", Section::Plain("listener"), |table| Listener {
        addresses: table
            .list("address")
            .filled("write at least one, as in \"0.0.0.0:8443\"")
            .or(vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8443))])
            .value,
        max_connections: number(&table.key("max_connections").within(&(1..=1_000_000)).or(20_000)),
    })
}

pub(super) fn health(root: &Table<'_>) -> Health {
    root.subsection("health", Section::Plain("health"), |table| Health {
        path: table
            .key::<String>("path")
            .check(|path| match PathPattern::parse(path) {
                Ok(PathPattern::Exact(_)) => Ok(()),
                Ok(PathPattern::Prefix(_)) => {
                    let problem = Problem::new(format!("{} is not one path", quoted(path)));
                    Err(problem.help("the health check has one exact path: write it without '*'"))
                }
                Err(error) => Err(Problem::new(format!("{} is not a path", quoted(path))).help(error.to_string())),
            })
            .or("/health".to_owned()),
        address: table.key("address").optional(),
    })
}

pub(super) fn client_auth(root: &Table<'_>) -> ClientAuth {
    let defaults = ClientAuth {
        mode: Located::default(Mode::Optional),
        ca: Located::default(vec![Located::default(PemSource::File("certs/ca.crt".into()))]),
        invalid: Located::default(Unfit::Forbid),
        max_chain_depth: 4,
        revocation: RevocationSettings::default(),
        expiry_notice: Duration::from_hours(7 * 24),
        shadow: None,
    };
    root.subsection("client_auth", Section::Plain("client_auth"), |table| client_auth_keys(table, &defaults))
}

/// The keys of `[client_auth]`; what is not set is as in `inherited`.
pub(super) fn client_auth_keys(table: &Table<'_>, inherited: &ClientAuth) -> ClientAuth {
    let mode = table.key("mode").or(inherited.mode.value);
    let ca = table.list("ca").or(inherited.ca.value.iter().map(|ca| ca.value.clone()).collect());
    let base = &inherited.revocation;
    let crl = table.list("crl").filled("name a file of revocation lists, or leave it out").optional();
    let own_crl = crl.value.into_iter().map(|source| source.value).collect();
    let deny_list = table.key::<String>("deny_list").check(|path| not_empty(path)).optional();
    let revocation = RevocationSettings {
        crl: if table.has("crl") { own_crl } else { base.crl.clone() },
        crl_scope: table.key("crl_scope").or(base.crl_scope).value,
        stale_crl: table.key("stale_crl").or(base.stale_crl).value,
        deny_list: deny_list.map(|path| path.value.into()).or_else(|| base.deny_list.clone()),
    };
    let invalid = table.key("invalid").or(inherited.invalid.value);
    let depth = i64::try_from(inherited.max_chain_depth).unwrap_or_default();
    let max_chain_depth = number(&table.key("max_chain_depth").within(&(0..=6)).or(depth));
    let notice = Duration::ZERO..=Duration::from_hours(365 * 24);
    let expiry_notice = table.key("expiry_notice").within(&notice).or(inherited.expiry_notice).value;
    let section = match table.section() {
        Section::SniClientAuth(index) => Section::SniShadow(*index),
        _ => Section::Plain("client_auth.shadow"),
    };
    let shadow = table.inline("shadow", section, shadow);
    ClientAuth { mode, ca, invalid, max_chain_depth, revocation, expiry_notice, shadow }
}

fn shadow(table: &Table<'_>) -> Shadow {
    let ca = table.list("ca").filled("name the CAs that are tried, or leave it out").optional();
    let crl = table.list("crl").filled("name the revocation lists that are tried, or leave it out").optional();
    let allow = table.list("allow").filled("it would let nobody in; leave it out to try no list").distinct().optional();
    if !["ca", "crl", "allow"].iter().any(|key| table.has(key)) {
        let error = Diagnostic::error(table.origin(), format!("{} tries nothing", table.section()));
        table.reader().report_missing(error.help("set `ca`, `crl` or `allow` to what is to be tried"));
    }
    let values = |sources: Located<Vec<Located<PemSource>>>| sources.value.into_iter().map(|one| one.value).collect();
    let rules = allow.value.into_iter().map(|rule| rule.value).collect();
    Shadow { origin: table.origin(), ca: values(ca), crl: values(crl), allow: table.has("allow").then_some(rules) }
}

pub(super) fn headers(root: &Table<'_>) -> Headers {
    root.subsection("headers", Section::Plain("headers"), |table| Headers {
        allow_names: table.list("allow_names").distinct().or(Vec::new()).value,
        drop_request: table.list("drop_request").distinct().or(Vec::new()).value,
    })
}

pub(super) fn limits(root: &Table<'_>) -> proxy::Limits {
    root.subsection("limits", Section::Plain("limits"), |table| proxy::Limits {
        request_headers: size(
            &table.key("request_headers").within(&(Size(1 << 10)..=Size(1 << 20))).or(Size(32 << 10)),
        ),
        uri: size(&table.key("uri").within(&(Size(64)..=Size(60_000))).or(Size(8 << 10))),
        header_count: number(&table.key("header_count").within(&(8..=1000)).or(100)),
        h2_streams: number(&table.key("h2_streams").within(&(1..=1000)).or(100)),
    })
}

pub(super) fn timeouts(root: &Table<'_>) -> Timeouts {
    root.subsection("timeouts", Section::Plain("timeouts"), |table| {
        let deadline =
            |key, seconds| -> Located<Duration> { table.key(key).within(&DEADLINE).or(Duration::from_secs(seconds)) };
        let tls_handshake = deadline("tls_handshake", 10).value;
        let request_headers = deadline("request_headers", 10).value;
        let request_body_idle = deadline("request_body_idle", 60).value;
        let send = deadline("send", 60).value;
        let keepalive = deadline("keepalive", 75);
        let upgrade_idle = deadline("upgrade_idle", 600).value;
        let max_connection_age = deadline("max_connection_age", 3600).value;
        let settings = proxy::Timeouts {
            tls_handshake,
            request_headers,
            request_body_idle,
            send,
            keepalive: keepalive.value,
            upgrade_idle,
            max_connection_age,
        };
        Timeouts { settings, keepalive }
    })
}

pub(super) fn drain(root: &Table<'_>) -> Drain {
    let range = Duration::ZERO..=Duration::from_hours(1);
    root.subsection("drain", Section::Plain("drain"), |table| Drain {
        delay: table.key("delay").within(&range).or(Duration::from_secs(5)),
        timeout: table.key("timeout").within(&range).or(Duration::from_secs(25)),
    })
}

pub(super) fn logs(root: &Table<'_>, default_format: LogFormat) -> telemetry::Settings {
    root.subsection("logs", Section::Plain("logs"), |table| telemetry::Settings {
        format: table.key("format").or(default_format).value,
        access: table.key("access").or(true).value,
        health: table.key("health").or(false).value,
    })
}

pub(super) fn admin(root: &Table<'_>) -> Located<AdminAddress> {
    root.subsection("admin", Section::Plain("admin"), |table| {
        table.key("address").or(AdminAddress::At(SocketAddr::from((Ipv4Addr::LOCALHOST, 9901))))
    })
}

/// A number whose range fits its type; the fallback is never needed.
pub(super) fn number<T: TryFrom<i64> + Default>(located: &Located<i64>) -> T {
    T::try_from(located.value).unwrap_or_default()
}

fn size(located: &Located<Size>) -> u32 {
    u32::try_from(located.value.0).unwrap_or(u32::MAX)
}

impl Shape for Mode {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        choose(item, &[("optional", Self::Optional), ("required", Self::Required), ("off", Self::Off)], &[])
    }

    fn print(&self) -> String {
        match self {
            Self::Optional => "\"optional\"",
            Self::Required => "\"required\"",
            Self::Off => "\"off\"",
        }
        .to_owned()
    }
}

impl Shape for LogFormat {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        choose(item, &[("json", Self::Json), ("text", Self::Text)], &[])
    }

    fn print(&self) -> String {
        match self {
            Self::Json => "\"json\"",
            Self::Text => "\"text\"",
        }
        .to_owned()
    }
}

impl Shape for AdminAddress {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        match item.string("an address with a port such as \"127.0.0.1:9901\", or \"off\"")?.as_ref() {
            "off" => Ok(Self::Off),
            text => match text.parse() {
                Ok(address) => Ok(Self::At(address)),
                Err(_) => Err(Problem::new(format!("{} is not an IP address with a port", quoted(text)))
                    .help("write \"127.0.0.1:9901\", or \"off\" for no admin listener")),
            },
        }
    }

    fn print(&self) -> String {
        match self {
            Self::At(address) => address.print(),
            Self::Off => "\"off\"".to_owned(),
        }
    }
}

impl Shape for Unfit {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        choose(item, &[("forbid", Self::Forbid), ("reject", Self::Reject)], &[])
    }

    fn print(&self) -> String {
        match self {
            Self::Forbid => "\"forbid\"",
            Self::Reject => "\"reject\"",
        }
        .to_owned()
    }
}

impl Shape for CrlScope {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        choose(item, &[("leaf", Self::Leaf), ("chain", Self::Chain)], &[])
    }

    fn print(&self) -> String {
        match self {
            Self::Leaf => "\"leaf\"",
            Self::Chain => "\"chain\"",
        }
        .to_owned()
    }
}

impl Shape for StaleCrl {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        choose(item, &[("refuse", Self::Refuse), ("accept", Self::Accept)], &[])
    }

    fn print(&self) -> String {
        match self {
            Self::Refuse => "\"refuse\"",
            Self::Accept => "\"accept\"",
        }
        .to_owned()
    }
}

fn not_empty(path: &str) -> Result<(), Problem> {
    if path.is_empty() { Err(Problem::new("expected a path, found nothing")) } else { Ok(()) }
}
