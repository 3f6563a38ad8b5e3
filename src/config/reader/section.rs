//! The names of sections, as headers, as patterns for documentation, and in messages.

use std::fmt;

/// A section of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Section {
    /// What stands outside of any section.
    Root,
    /// `[listener]`.
    Plain(&'static str),
    /// The route of this index.
    Route(usize),
    /// The `respond` of the route of this index.
    Respond(usize),
    /// The TLS profile of this index.
    Sni(usize),
    /// The `client_auth` of the TLS profile of this index.
    SniClientAuth(usize),
    /// The `client_auth.shadow` of the TLS profile of this index.
    SniShadow(usize),
    /// The test of this index.
    Test(usize),
    /// `[upstream]`, which holds upstreams by name.
    Upstreams,
    /// `[upstream.api]`.
    Upstream(String),
    /// `[upstream.api.dns]`.
    UpstreamPart(String, &'static str),
}

impl Section {
    /// The section as documentation names it: `upstream.NAME.dns`; empty for the root.
    pub fn pattern(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Plain(name) => (*name).to_owned(),
            Self::Route(_) => "route".to_owned(),
            Self::Respond(_) => "route.respond".to_owned(),
            Self::Sni(_) => "tls.sni".to_owned(),
            Self::SniClientAuth(_) => "tls.sni.client_auth".to_owned(),
            Self::SniShadow(_) => "tls.sni.client_auth.shadow".to_owned(),
            Self::Test(_) => "test".to_owned(),
            Self::Upstreams => "upstream".to_owned(),
            Self::Upstream(_) => "upstream.NAME".to_owned(),
            Self::UpstreamPart(_, part) => format!("upstream.NAME.{part}"),
        }
    }

    /// A key of this section as messages name it: `upstream.api.url`.
    pub fn path(&self, key: &str) -> String {
        match self {
            Self::Root => key.to_owned(),
            Self::Plain(name) => format!("{name}.{key}"),
            Self::Route(_) => format!("route.{key}"),
            Self::Respond(_) => format!("route.respond.{key}"),
            Self::Sni(_) => format!("tls.sni.{key}"),
            Self::SniClientAuth(_) => format!("tls.sni.client_auth.{key}"),
            Self::SniShadow(_) => format!("tls.sni.client_auth.shadow.{key}"),
            Self::Test(_) => format!("test.{key}"),
            Self::Upstreams => format!("upstream.{key}"),
            Self::Upstream(name) => format!("upstream.{name}.{key}"),
            Self::UpstreamPart(name, part) => format!("upstream.{name}.{part}.{key}"),
        }
    }
}

/// The section as its header is written: `[upstream.api.dns]`, `[[route]]`.
impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the file"),
            Self::Plain(name) => write!(f, "[{name}]"),
            Self::Route(_) => f.write_str("[[route]]"),
            Self::Respond(_) => f.write_str("`respond` of [[route]]"),
            Self::Sni(_) => f.write_str("[[tls.sni]]"),
            Self::SniClientAuth(_) => f.write_str("[tls.sni.client_auth]"),
            Self::SniShadow(_) => f.write_str("[tls.sni.client_auth.shadow]"),
            Self::Test(_) => f.write_str("[[test]]"),
            Self::Upstreams => f.write_str("[upstream]"),
            Self::Upstream(name) => write!(f, "[upstream.{name}]"),
            Self::UpstreamPart(name, part) => write!(f, "[upstream.{name}.{part}]"),
        }
    }
}
