//! Issuing and reading certificates: a small private CA in a folder.
//!
//! [`Store`] is the folder and what can be done in it; everything else is what it is made of. Nothing here is on the
//! serving path, nothing here is async, and nothing here judges a client's certificate for the gate: that is
//! `tls::trust`. What it issues follows RFC 5280.

mod adopt;
mod alternative;
mod authority;
mod bootstrap;
mod bulk;
mod change;
mod cipher;
mod constraints;
mod crl;
mod csr;
mod database;
mod dates;
mod der;
mod error;
mod export;
mod folder;
mod inspect;
mod intermediate;
mod inventory;
mod keyfile;
mod keystore;
mod ledger;
mod names;
mod p12;
mod pem;
mod problem;
mod profile;
mod renew;
mod request;
mod revoke;
mod rotate;
mod session;
mod signing;
mod store;
mod subject;
mod verify;

pub use adopt::{Adopted, ListProblem};
pub use alternative::{AlternativeNameError, is_dns_name, parse_alternative_name, parse_server_name};
pub use authority::{Authority, Leaf};
pub use bootstrap::{BootstrapRequest, Cause, Step};
pub use bulk::Bulk;
pub use cipher::{CipherProblem, Encryption};
pub use constraints::{Constraint, ConstraintError, parse_constraint};
pub use crl::{CrlProblem, RevocationReason};
pub use csr::{CsrProblem, SignedAs, SigningRequest};
pub use database::DatabaseProblem;
pub use dates::{days_between, rfc3339};
pub use error::{ChoiceProblem, Error};
pub use export::Form;
pub use inspect::{
    CertificateDescription, CrlDescription, Extension, InspectError, Item, KeyDescription, RequestDescription,
    RevokedDescription, describe, describe_chain, describe_pkcs12, is_pkcs12,
};
pub use intermediate::IntermediateRequest;
pub use inventory::{Inventory, Row, State};
pub use keyfile::{KeyProblem, KeyType, PrivateKey};
pub use keystore::{KeystoreError, certificates_of_keystore};
pub use ledger::{Kind, LedgerProblem};
pub use names::{AttributeText, EntryName, NameError, Subject};
pub use pem::GarbledPem;
pub use problem::AuthorityProblem;
pub use profile::{AuthorityProfile, LeafProfile, Usage, Validity};
pub use renew::{Renewal, Renewed, RenewedKey};
pub use request::{AuthorityRequest, ClientRequest, Issued, Overwrite, ServerRequest, Warning};
pub use revoke::{ListsSigned, Revoked, SignedList, revoked_on};
pub use rotate::{Rotation, Successor};
pub use store::{Store, server_common_name};
pub use verify::{ServerProblem, certificates, verify_server};
