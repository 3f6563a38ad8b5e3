//! `[tls]`, and the profiles for server names below it.

use super::sections::{ClientAuth, client_auth, client_auth_keys};
use crate::config::diagnostic::Origin;
use crate::config::reader::{Item, Located, Problem, Section, Shape, Table, choose};
use crate::net::HostPattern;
use crate::tls::{MinVersion, PemSource};

/// `[tls]`.
#[derive(Debug)]
pub struct Tls {
    /// Its certificates.
    pub certificates: Certificates,
    /// The oldest version.
    pub min_version: MinVersion,
    /// Whether sessions are resumed.
    pub resumption: bool,
    /// `[tls.tickets] key`.
    pub ticket_keys: Located<Vec<Located<PemSource>>>,
    /// `[[tls.sni]]`.
    pub sni: Vec<Sni>,
}

/// `[[tls.sni]]`.
#[derive(Debug)]
pub struct Sni {
    /// The names; empty when they were refused.
    pub names: Vec<Located<HostPattern>>,
    /// Its certificates.
    pub certificates: Certificates,
    /// Its own `client_auth`, or that of the file.
    pub client_auth: ClientAuth,
}

/// Certificates and their keys, one in the place of the other.
#[derive(Debug)]
pub struct Certificates {
    /// The section, for messages.
    pub section: &'static str,
    /// The chains.
    pub certificate: Located<Vec<Located<PemSource>>>,
    /// The keys.
    pub private_key: Located<Vec<Located<PemSource>>>,
}

/// Reads `[tls]` and `[client_auth]`, which profiles inherit.
pub(super) fn tls(root: &Table<'_>) -> (Tls, ClientAuth) {
    root.subsection("tls", Section::Plain("tls"), |table| {
        let file = |path: &str| vec![PemSource::File(path.into())];
        let certificate = table.list("certificate").filled(ONE_FILE).or(file("certs/server.crt"));
        let private_key = table.list("private_key").filled(ONE_FILE).or(file("certs/server.key"));
        let min_version = table.key("min_version").or(MinVersion::Tls12).value;
        let resumption = table.key("resumption").or(Resumption::Off).value == Resumption::On;
        let ticket_keys = table.subsection("tickets", Section::Plain("tls.tickets"), |table| {
            table.list("key").filled("name at least one file, or leave the key out").distinct().optional()
        });
        let client_auth = client_auth(root);
        let sni = table.sections("sni", Section::Sni, |index, table| sni(index, table, &client_auth));
        let certificates = Certificates { section: "tls", certificate, private_key };
        let sni = sni.unwrap_or_default();
        (Tls { certificates, min_version, resumption, ticket_keys, sni }, client_auth)
    })
}

const ONE_FILE: &str = "name at least one file";

fn sni(index: usize, table: &Table<'_>, inherited: &ClientAuth) -> Sni {
    let what = "write the server names, as in names = [\"api.example.com\", \"*.tenant.example.com\"]";
    let names = table.list("names").required(what).filled(what).distinct().optional();
    let certificate = table.list("certificate").required("write the file of its certificate chain").filled(ONE_FILE);
    let private_key = table.list("private_key").required("write the file of its private key").filled(ONE_FILE);
    let certificates =
        Certificates { section: "tls.sni", certificate: certificate.optional(), private_key: private_key.optional() };
    let client_auth =
        table.inline("client_auth", Section::SniClientAuth(index), |table| client_auth_keys(table, inherited));
    Sni { names: names.value, certificates, client_auth: client_auth.unwrap_or_else(|| inherited.inherit()) }
}

impl ClientAuth {
    /// The same for a profile that does not say otherwise; where it is wrong, it was said.
    pub(super) fn inherit(&self) -> Self {
        let mut own = self.clone();
        own.mode.origin = Origin::Default;
        own.ca.origin = Origin::Default;
        own.invalid.origin = Origin::Default;
        own.shadow.iter_mut().for_each(|shadow| shadow.origin = Origin::Default);
        own
    }
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

/// `resumption`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resumption {
    Off,
    On,
}

impl Shape for Resumption {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        choose(item, &[("off", Self::Off), ("on", Self::On)], &[])
    }

    fn print(&self) -> String {
        match self {
            Self::Off => "\"off\"",
            Self::On => "\"on\"",
        }
        .to_owned()
    }
}
