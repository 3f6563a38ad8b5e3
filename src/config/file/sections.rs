//! The sections of which there is one each.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderName;

use crate::config::diagnostic::quoted;
use crate::config::reader::{Item, Located, Problem, Section, Shape, Size, Table, choose};
use crate::route::PathPattern;
use crate::telemetry::LogFormat;
use crate::tls::{MinVersion, PemSource};
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

/// `[tls]`.
#[derive(Debug)]
pub struct Tls {
    /// The chain.
    pub certificate: PemSource,
    /// The key.
    pub private_key: PemSource,
    /// The oldest version.
    pub min_version: MinVersion,
}

/// `[client_auth]`.
#[derive(Debug)]
pub struct ClientAuth {
    /// Whether a certificate is asked for.
    pub mode: Located<Mode>,
    /// Trust anchors.
    pub ca: Located<Vec<Located<PemSource>>>,
    /// 0 to 6.
    pub max_chain_depth: usize,
}

/// Whether a client certificate is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Asked for, not demanded.
    Optional,
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

pub(super) fn tls(root: &Table<'_>) -> Tls {
    root.subsection("tls", Section::Plain("tls"), |table| {
        let certificate = table.key("certificate").or(PemSource::File("certs/server.crt".into())).value;
        let private_key = table.key("private_key").or(PemSource::File("certs/server.key".into())).value;
        let min_version = table.key("min_version").or(MinVersion::Tls12).value;
        table.key("resumption").or(Resumption);
        Tls { certificate, private_key, min_version }
    })
}

pub(super) fn client_auth(root: &Table<'_>) -> ClientAuth {
    root.subsection("client_auth", Section::Plain("client_auth"), |table| {
        let mode = table.key("mode").or(Mode::Optional);
        let ca = table.list("ca").or(vec![PemSource::File("certs/ca.crt".into())]);
        table.key("invalid").or(Invalid);
        let max_chain_depth = number(&table.key("max_chain_depth").within(&(0..=6)).or(4));
        ClientAuth { mode, ca, max_chain_depth }
    })
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
        let max_connection_age = deadline("max_connection_age", 3600).value;
        let settings = proxy::Timeouts {
            tls_handshake,
            request_headers,
            request_body_idle,
            send,
            keepalive: keepalive.value,
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

/// A number whose range fits its type; the fallback is never needed.
pub(super) fn number<T: TryFrom<i64> + Default>(located: &Located<i64>) -> T {
    T::try_from(located.value).unwrap_or_default()
}

fn size(located: &Located<Size>) -> u32 {
    u32::try_from(located.value.0).unwrap_or(u32::MAX)
}

impl Shape for MinVersion {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        let problem = match choose(item, &[("1.2", Self::Tls12), ("1.3", Self::Tls13)], &[]) {
            Ok(version) => return Ok(version),
            Err(problem) => problem,
        };
        let unquoted = matches!(item.value(), Some(toml::de::DeValue::Float(_)));
        Err(if unquoted { problem.help("write it in quotes: \"1.2\" or \"1.3\"") } else { problem })
    }

    fn print(&self) -> String {
        match self {
            Self::Tls12 => "\"1.2\"",
            Self::Tls13 => "\"1.3\"",
        }
        .to_owned()
    }
}

impl Shape for Mode {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        choose(item, &[("optional", Self::Optional), ("off", Self::Off)], &["required"])
    }

    fn print(&self) -> String {
        match self {
            Self::Optional => "\"optional\"",
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

/// `resumption = "off"`.
#[derive(Debug, Clone, Copy)]
struct Resumption;

impl Shape for Resumption {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        let problem = match choose(item, &[("off", Self)], &[]) {
            Ok(off) => return Ok(off),
            Err(problem) => problem,
        };
        match item.string("\"off\"").as_deref() {
            Ok("on") => Err(Problem::new("this version has no session resumption").help("write \"off\"")),
            _ => Err(problem),
        }
    }

    fn print(&self) -> String {
        "\"off\"".to_owned()
    }
}

/// `invalid = "forbid"`.
#[derive(Debug, Clone, Copy)]
struct Invalid;

impl Shape for Invalid {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        choose(item, &[("forbid", Self)], &["reject"])
    }

    fn print(&self) -> String {
        "\"forbid\"".to_owned()
    }
}
