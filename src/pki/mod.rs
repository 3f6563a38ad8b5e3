//! Issuing and reading certificates: a small private CA in a folder.
//!
//! [`Store`] is the folder and what can be done in it; everything else is what it is made of. Nothing here is on the
//! serving path, nothing here is async, and nothing here judges a client's certificate for the gate: that is
//! `tls::trust`. What it issues follows RFC 5280.

mod alternative;
mod authority;
mod crl;
mod dates;
mod error;
mod folder;
mod inspect;
mod inventory;
mod keyfile;
mod ledger;
mod names;
mod pem;
mod profile;
mod request;
mod store;
mod verify;

pub use alternative::{AlternativeNameError, is_dns_name, parse_alternative_name, parse_server_name};
pub use authority::{Authority, AuthorityProblem, Leaf};
pub use crl::{CrlProblem, RevocationReason};
pub use dates::{days_between, rfc3339};
pub use error::Error;
pub use inspect::{
    CertificateDescription, CrlDescription, Extension, InspectError, Item, KeyDescription, RevokedDescription, describe,
};
pub use inventory::{Inventory, Row, State};
pub use keyfile::{KeyProblem, KeyType, PrivateKey};
pub use ledger::{Kind, LedgerProblem};
pub use names::{AttributeText, EntryName, NameError, Subject};
pub use pem::GarbledPem;
pub use profile::{AuthorityProfile, LeafProfile, Usage, Validity};
pub use request::{AuthorityRequest, ClientRequest, Issued, Overwrite, ServerRequest, Warning};
pub use store::Store;
pub use verify::{ServerProblem, certificates, verify_server};
