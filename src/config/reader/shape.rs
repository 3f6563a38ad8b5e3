//! The types a value may have, from TOML and back.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use toml::de::DeValue;

use super::{Item, Problem, nearest};
use crate::config::diagnostic::quoted;
use crate::config::interpolate::is_name;
use crate::config::quantity::{parse_duration, parse_size, print_duration, print_size};
use crate::net::HostPattern;
use crate::route::PathPattern;
use crate::tls::PemSource;

/// A type that can be read from a value and printed as TOML that reads the same.
pub trait Shape: Sized {
    /// Reads a value.
    ///
    /// # Errors
    /// What is wrong with it.
    fn read(item: &Item<'_>) -> Result<Self, Problem>;

    /// The value as TOML.
    fn print(&self) -> String;
}

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Shape for i64 {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        item.integer("an integer")
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Shape for bool {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        item.boolean()
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Shape for String {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        item.string("a string").map(Into::into)
    }

    fn print(&self) -> String {
        toml_string(self)
    }
}

impl Shape for Size {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        if let Some(DeValue::Integer(_)) = item.value() {
            let bytes = item.integer("a size")?;
            let negative = || Problem::new(format!("{bytes} is not a size")).help("a size is not negative");
            return u64::try_from(bytes).map(Self).map_err(|_| negative());
        }
        parse_size(&item.string("a size such as \"10MiB\"")?).map(Self)
    }

    fn print(&self) -> String {
        toml_string(&print_size(self.0))
    }
}

impl Shape for Duration {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        if let Some(DeValue::Integer(integer)) = item.value() {
            let problem = item.unexpected("a duration such as \"5s\"");
            return Err(problem.help(format!("write \"{integer}s\" or \"{integer}ms\"")));
        }
        parse_duration(&item.string("a duration such as \"5s\"")?)
    }

    fn print(&self) -> String {
        toml_string(&print_duration(*self))
    }
}

impl Shape for SocketAddr {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        let text = item.string("an address with a port such as \"0.0.0.0:8443\"")?;
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let problem = Problem::new(format!("{} is not an IP address with a port", quoted(&text)));
        let is_port = |text: &str| text.parse::<u16>().is_ok();
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        Err(match (bare.parse::<IpAddr>(), text.rsplit_once(':')) {
            (Ok(IpAddr::V4(address)), _) => problem.help(format!("add the port, as in \"{address}:8443\"")),
            (Ok(IpAddr::V6(address)), _) => problem.help(format!("add the port, as in \"[{address}]:8443\"")),
            (_, Some(("" | "*", port))) if is_port(port) => problem.help(format!("write \"0.0.0.0:{port}\"")),
            (_, Some(("localhost", port))) if is_port(port) => problem.help(format!("write \"127.0.0.1:{port}\"")),
            _ if is_port(&text) => problem.help(format!("write \"0.0.0.0:{text}\"")),
            _ => problem.help("write an address and a port, as in \"0.0.0.0:8443\" or \"[::]:8443\""),
        })
    }

    fn print(&self) -> String {
        toml_string(&self.to_string())
    }
}

impl Shape for PathPattern {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        let text = item.string("a path such as \"/api/*\"")?;
        Self::parse(&text)
            .map_err(|error| Problem::new(format!("{} is not a path", quoted(&text))).help(error.to_string()))
    }

    fn print(&self) -> String {
        toml_string(&self.to_string())
    }
}

impl Shape for HostPattern {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        let text = item.string("a host such as \"api.example.com\"")?;
        Self::parse(&text).map_err(|error| {
            let problem = Problem::new(format!("{} is not a host", quoted(&text)));
            let name = text.split(':').next().unwrap_or_default();
            if text.contains(':') && Self::parse(name).is_ok() {
                return problem.help(format!("the port is not compared: write {}", quoted(name)));
            }
            problem.help(error.to_string())
        })
    }

    fn print(&self) -> String {
        toml_string(&self.to_string())
    }
}

impl Shape for Method {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        let text = item.string("a method such as \"GET\"")?;
        let problem = || Problem::new(format!("{} is not a method", quoted(&text)));
        let method = Self::from_bytes(text.as_bytes()).map_err(|_| problem())?;
        match method {
            Self::CONNECT | Self::TRACE => {
                let message = format!("{method} never reaches a route: it is always answered with 405");
                Err(Problem::new(message).help("remove it"))
            }
            _ if text.bytes().any(|byte| byte.is_ascii_lowercase()) => {
                Err(problem().help(format!("methods are in capitals: write {}", quoted(&text.to_uppercase()))))
            }
            _ => Ok(method),
        }
    }

    fn print(&self) -> String {
        toml_string(self.as_str())
    }
}

impl Shape for HeaderName {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        let text = item.string("the name of a header")?;
        Self::from_bytes(text.as_bytes())
            .map_err(|_| Problem::new(format!("{} is not the name of a header", quoted(&text))))
    }

    fn print(&self) -> String {
        toml_string(self.as_str())
    }
}

impl Shape for HeaderValue {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        let text = item.string("a header value")?;
        let plain = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        Self::from_str(&text)
            .ok()
            .filter(|_| plain && !text.is_empty())
            .ok_or_else(|| Problem::new(format!("{} is not a header value", quoted(&text))))
    }

    fn print(&self) -> String {
        toml_string(self.to_str().unwrap_or_default())
    }
}

/// A path, `{ env = "NAME" }`, or `env:NAME` from a flag or a variable. What a variable holds is never shown.
impl Shape for PemSource {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        if let Some(DeValue::Table(table)) = item.value() {
            let form = "write { env = \"NAME\" }";
            let mut keys = table.iter();
            let (Some((key, value)), None) = (keys.next(), keys.next()) else {
                return Err(Problem::new("expected one key, `env`").help(form));
            };
            if key.get_ref() != "env" {
                return Err(Problem::new(format!("unknown key `{}`", key.get_ref())).help(form).at(key.span()));
            }
            let DeValue::String(name) = value.get_ref() else {
                return Err(Problem::new("expected the name of an environment variable").help(form).at(value.span()));
            };
            return environment(item, name).map_err(|problem| problem.at(value.span()));
        }
        let text = item.string("a path, or { env = \"NAME\" }")?;
        if let Some(name) = item.given_text().and_then(|text| text.strip_prefix("env:")) {
            return environment(item, name);
        }
        if text.is_empty() {
            return Err(Problem::new("the path is empty"));
        }
        // "LS0tLS1" is "-----" in base64: somebody put the secret where its name or its path belongs.
        if text.contains("-----BEGIN") || text.starts_with("LS0tLS1") {
            let problem = Problem::new("expected a path, found PEM text");
            return Err(match item.value() {
                Some(_) => problem.help("put it into an environment variable and write { env = \"NAME\" }"),
                None => problem.help("put it into another variable, NAME, and write env:NAME"),
            });
        }
        if text.contains(char::is_control) {
            return Err(Problem::new("the path has a control character in it"));
        }
        Ok(Self::File(text.as_ref().into()))
    }

    fn print(&self) -> String {
        match self {
            Self::File(path) => toml_string(&path.to_string_lossy()),
            Self::Environment { name, .. } => format!("{{ env = {} }}", toml_string(name)),
        }
    }
}

/// Reads one of a few words. `later` are words that another version may know.
///
/// # Errors
/// When it is none of them.
pub fn choose<T: Copy>(item: &Item<'_>, words: &[(&str, T)], later: &[&str]) -> Result<T, Problem> {
    let list = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
    let text = item.string(&list)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    if later.iter().any(|word| *word == text) {
        return Err(Problem::new(format!("\"{text}\" is not available in this version")).help(format!("write {list}")));
    }
    let problem = Problem::new(format!("expected {list}, found {}", quoted(&text)));
    Err(match nearest(&text, words.iter().map(|(word, _)| *word)) {
        Some(word) => problem.help(format!("did you mean \"{word}\"?")),
        None => problem,
    })
}

/// A text as a TOML string. A `$` is doubled, because `${…}` would be replaced when it is read again.
pub fn toml_string(text: &str) -> String {
    let mut result = String::with_capacity(text.len() + 2);
    result.push('"');
    for character in text.chars() {
        match character {
            '"' => result.push_str("\\\""),
            '\\' => result.push_str("\\\\"),
            '$' => result.push_str("$$"),
            '\n' => result.push_str("\\n"),
            '\r' => result.push_str("\\r"),
            '\t' => result.push_str("\\t"),
            character if character.is_control() => result.push_str(&format!("\\u{:04X}", u32::from(character))),
            character => result.push(character),
        }
    }
    result.push('"');
    result
}

fn environment(item: &Item<'_>, name: &str) -> Result<PemSource, Problem> {
    if !is_name(name) {
        return Err(Problem::new(format!("{} is not the name of an environment variable", quoted(name))));
    }
    match item.variable(name).filter(|value| !value.trim().is_empty()) {
        Some(value) => Ok(PemSource::Environment { name: name.to_owned(), value }),
        None => Err(Problem::new(format!("the environment variable {name} is not set"))),
    }
}
