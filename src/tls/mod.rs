//! TLS: the server's certificate, the handshake, and the judgement of client certificates.
//!
//! The handshake proves that a client holds the key of the certificate it shows, and no more; whether the certificate
//! is to be believed is judged afterwards by one function, [`TrustStore::judge`], so that a refusal can be an HTTP
//! answer with a reason. rustls types do not leave this module but for the certificate chain.

mod accept;
mod certificates;
mod client;
mod crl;
mod deny_list;
mod error;
mod form;
mod host_trust;
mod key;
mod path;
mod pem;
mod possession;
mod profile;
mod profiles;
mod received;
mod records;
mod resumption;
mod revocation;
mod sealed;
mod serials;
mod settings;
mod stream;
mod tickets;
mod trust;
mod upstream;

pub use accept::{HandshakeFailure, Protocol, TlsInfo, accept};
pub use client::{Connector, ServerTrust};
pub use crl::RevocationList;
pub use error::Error;
pub use host_trust::HostTrust;
pub use pem::certificates;
pub use profile::TlsProfile;
pub use profiles::{IN_SHADOW, ProfileId, TlsProfiles};
pub use settings::{
    Asked, CertificateSettings, ClientAuth, CrlScope, MinVersion, PemSource, ProfileSettings, RevocationSettings,
    Settings, SniSettings, StaleCrl, TicketSettings, TrustSettings, Unfit, UpstreamSettings,
};
pub use stream::TlsStream;
pub use trust::{Believed, TrustStore};
pub use upstream::{UpstreamTls, refuses_our_certificate};
