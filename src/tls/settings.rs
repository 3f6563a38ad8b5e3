//! What may be configured of TLS and of the client certificate.

use std::fmt;
use std::path::PathBuf;

/// The server's side of the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The certificate chain, leaf first.
    pub certificate: PemSource,
    /// Its private key.
    pub private_key: PemSource,
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
    /// What is asked of clients.
    pub client_auth: ClientAuth,
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
    /// A certificate is asked for; whoever sends none, or a bad one, is told so by a 403.
    Optional {
        /// Trust anchors: bundles of CA certificates; at least one.
        ca: Vec<PemSource>,
        /// Intermediates between the leaf and its anchor, 0 to 6.
        max_chain_depth: usize,
    },
}
