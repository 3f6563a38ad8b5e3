//! TLS: the server's certificate, the handshake, and the judgement of client certificates.
//!
//! The handshake proves that a client holds the key of the certificate it shows, and no more; whether the certificate
//! is to be believed is judged afterwards by one function, [`TrustStore::judge`], so that a refusal can be an HTTP
//! answer with a reason. rustls types do not leave this module but for the certificate chain.

mod accept;
mod client;
mod error;
mod key;
mod path;
mod pem;
mod possession;
mod profile;
mod settings;
mod trust;

pub use accept::{HandshakeFailure, Protocol, TlsInfo, accept};
pub use client::{Connector, ServerTrust};
pub use error::Error;
pub use profile::TlsProfile;
pub use settings::{ClientAuth, MinVersion, PemSource, Settings};
pub use trust::{Believed, TrustStore};
