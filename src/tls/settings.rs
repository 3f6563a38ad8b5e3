//! What may be configured of TLS and of the client certificate.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::net::{Host, HostMap, HostPattern};

/// Every profile of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileSettings {
    /// For clients that ask for none of the names below.
    pub fallback: Settings,
    /// By server name.
    pub named: Vec<SniSettings>,
    /// Resumption, of all profiles; `None` is none.
    pub tickets: Option<TicketSettings>,
}

/// The server's side of the handshake: one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its certificates, at least one; of several, each client gets one whose signatures it can verify.
    pub certificates: Vec<CertificateSettings>,
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
    /// What is asked of clients.
    pub client_auth: ClientAuth,
    /// How long before its certificate ends a client is told; zero is never.
    pub expiry_notice: Duration,
}

/// A profile for clients that ask for one of these names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SniSettings {
    /// The names, at least one; no other profile has them.
    pub names: Vec<HostPattern>,
    /// The profile.
    pub profile: Settings,
}

/// Resumption with tickets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TicketSettings {
    /// The keys for tickets, shared by replicas: the first seals, all open. Without any the gateway makes its own.
    pub keys: Vec<PemSource>,
}

/// A server certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSettings {
    /// The certificate chain, leaf first.
    pub certificate: PemSource,
    /// Its private key.
    pub private_key: PemSource,
}

impl ProfileSettings {
    /// The profile that a host belongs to.
    pub fn of_host(&self, host: Option<&Host>) -> &Settings {
        let mut names = HostMap::default();
        for one in &self.named {
            for name in &one.names {
                names.insert(name, &one.profile);
            }
        }
        host.and_then(Host::name).and_then(|name| names.find(name)).copied().unwrap_or(&self.fallback)
    }

    /// Every file that these name.
    pub fn files(&self) -> Vec<PathBuf> {
        let keys = self.tickets.iter().flat_map(|tickets| &tickets.keys);
        let mut files: Vec<_> = keys.filter_map(PemSource::file).collect();
        for profile in std::iter::once(&self.fallback).chain(self.named.iter().map(|named| &named.profile)) {
            files.extend(profile.files());
        }
        files
    }
}

impl Settings {
    fn files(&self) -> Vec<PathBuf> {
        let mut sources: Vec<_> =
            self.certificates.iter().flat_map(|one| [&one.certificate, &one.private_key]).collect();
        let mut files = Vec::new();
        if let ClientAuth::Asked(Asked { trust, shadow, .. }) = &self.client_auth {
            for trust in std::iter::once(trust).chain(shadow) {
                sources.extend(trust.ca.iter().chain(&trust.revocation.crl));
                files.extend(trust.revocation.deny_list.clone());
            }
        }
        files.extend(sources.into_iter().filter_map(PemSource::file));
        files
    }
}

impl PemSource {
    fn file(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.clone()),
            Self::Environment { .. } => None,
        }
    }
}

impl UpstreamSettings {
    /// Every file that these name.
    pub fn files(&self) -> Vec<PathBuf> {
        let identity = self.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.ca.iter().chain(identity).filter_map(PemSource::file).collect()
    }
}

/// The gateway's side of a handshake with an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Trust anchors: bundles of CA certificates; at least one.
    pub ca: Vec<PemSource>,
    /// The name or address that the upstream's certificate must be for.
    pub server_name: Host,
    /// The certificate chain that is shown when it is asked for, leaf first, and its private key.
    pub identity: Option<(PemSource, PemSource)>,
}

/// Where PEM text comes from.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum PemSource {
    /// A file.
    File(PathBuf),
    /// An environment variable: PEM with real or `\n`-escaped line ends, or base64 of PEM.
    Environment {
        /// The variable's name.
        name: String,
        /// What it held when the configuration was read.
        value: String,
    },
}

impl fmt::Debug for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Tells where, never what.
impl fmt::Display for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Environment { name, .. } => write!(f, "the environment variable {name}"),
        }
    }
}

/// The oldest TLS version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3. A Network Load Balancer's HTTPS health check needs 1.2.
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// What is asked of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAuth {
    /// No certificate is asked for.
    Off,
    /// A certificate is asked for.
    Asked(Asked),
}

/// How a certificate is asked for, and judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What becomes of a client that sends none.
    pub absent: Unfit,
    /// What becomes of one that sends a bad one.
    pub invalid: Unfit,
    /// What makes a good one.
    pub trust: TrustSettings,
    /// What is only tried: whom it would believe is told, and nobody is let in or refused for it.
    pub shadow: Option<TrustSettings>,
}

/// What becomes of a client without a good certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// A 403 that says why, on every route that is not public.
    Forbid,
    /// A TLS alert: there is no connection.
    Reject,
}

/// What makes a good certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustSettings {
    /// Trust anchors: bundles of CA certificates; at least one.
    pub ca: Vec<PemSource>,
    /// Intermediates between the leaf and its anchor, 0 to 6.
    pub max_chain_depth: usize,
    /// Revocation.
    pub revocation: RevocationSettings,
}

/// How revoked certificates are known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RevocationSettings {
    /// Revocation lists; without any, no issuer is asked.
    pub crl: Vec<PemSource>,
    /// Which certificates of a chain need one.
    pub crl_scope: CrlScope,
    /// What a list is worth after its end.
    pub stale_crl: StaleCrl,
    /// The operator's own list.
    pub deny_list: Option<PathBuf>,
}

/// Which certificates of a chain are looked for in revocation lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CrlScope {
    /// The client's own: one list of its issuer is enough.
    #[default]
    Leaf,
    /// All below the trust anchor, so that each of their issuers needs a list.
    Chain,
}

/// What a revocation list is worth after its `nextUpdate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StaleCrl {
    /// It tells of nobody that he is good.
    #[default]
    Refuse,
    /// As much as before.
    Accept,
}
