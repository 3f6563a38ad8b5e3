//! What a command on the folder is asked for, and what it answers.

use std::fmt;
use std::path::PathBuf;

use super::alternative::is_dns_name;
use super::dates::rfc3339;
use super::keyfile::KeyType;
use super::ledger::Kind;
use super::names::{AttributeText, EntryName, Subject};
use super::profile::{AuthorityProfile, Validity};
use crate::clock::WallTime;
use crate::identity::{CertificateFacts, SubjectAltName, hex_lower};

/// What to do about files that are in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// Leave everything as it is and say so.
    Refuse,
    /// Replace them.
    Replace,
}

/// A CA to be made in the folder.
#[derive(Debug, Clone)]
pub struct AuthorityRequest {
    /// Subject and validity.
    pub profile: AuthorityProfile,
    /// Kind of its key.
    pub key_type: KeyType,
}

/// A certificate for the gateway itself.
#[derive(Debug, Clone)]
pub struct ServerRequest {
    /// DNS names and addresses; the first that fits is the common name too.
    pub names: Vec<SubjectAltName>,
    /// When it is valid.
    pub validity: Validity,
    /// Kind of its key.
    pub key_type: KeyType,
}

/// A certificate for a client.
#[derive(Debug, Clone)]
pub struct ClientRequest {
    /// Under which name it is filed.
    pub name: EntryName,
    /// Whom it names.
    pub subject: Subject,
    /// Its alternative names.
    pub names: Vec<SubjectAltName>,
    /// When it is valid.
    pub validity: Validity,
    /// Kind of its key.
    pub key_type: KeyType,
}

impl AuthorityRequest {
    /// A CA of this name for ten years.
    ///
    /// Without a name it gets one with eight random digits: verifiers look for an issuer by its name, and two CAs of
    /// one name make them report a bad signature where the truth is an unknown issuer.
    pub fn new(common_name: Option<AttributeText>) -> Self {
        let subject = Subject::named(common_name.unwrap_or_else(|| {
            let mut digits = [0; 4];
            let _ = aws_lc_rs::rand::fill(&mut digits);
            AttributeText::authority(&hex_lower(&digits))
        }));
        Self { profile: AuthorityProfile::new(subject, Validity::Days(3650)), key_type: KeyType::default() }
    }
}

impl ServerRequest {
    /// For 90 days; for `localhost`, 127.0.0.1 and ::1 when no names are given.
    pub fn new(names: Vec<SubjectAltName>) -> Self {
        let names = if names.is_empty() {
            vec![
                SubjectAltName::Dns("localhost".to_owned()),
                SubjectAltName::Ip([127, 0, 0, 1].into()),
                SubjectAltName::Ip([0, 0, 0, 0, 0, 0, 0, 1].into()),
            ]
        } else {
            names
        };
        Self { names, validity: Validity::Days(90), key_type: KeyType::default() }
    }
}

impl ClientRequest {
    /// For 90 days, with the name as common name, and as DNS name when it is one, else as
    /// `urn:gateway:client:NAME`.
    pub fn new(name: EntryName) -> Self {
        let alternative = if is_dns_name(name.as_str()) {
            SubjectAltName::Dns(name.to_string())
        } else {
            SubjectAltName::Uri(format!("urn:gateway:client:{name}"))
        };
        Self {
            subject: Subject::named(AttributeText::from(&name)),
            name,
            names: vec![alternative],
            validity: Validity::Days(90),
            key_type: KeyType::default(),
        }
    }
}

/// What a command made.
#[derive(Debug)]
pub struct Issued {
    /// What it is.
    pub kind: Kind,
    /// What the certificate says.
    pub facts: CertificateFacts,
    /// Where the certificate lies.
    pub certificate: PathBuf,
    /// Where its key lies.
    pub key: PathBuf,
    /// Every file that was written, those two first.
    pub files: Vec<PathBuf>,
    /// What whoever asked ought to know.
    pub warnings: Vec<Warning>,
}

/// Something that did not prevent the command, and should be seen to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// The certificate ends with its CA.
    CutShort(WallTime),
    /// The CA's key is open to others.
    KeyReadable {
        /// The key.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The folder has a CA and no index.
    NoLedger(PathBuf),
    /// The CA may not sign revocation lists, and the one there is gets old.
    CannotSignCrl(PathBuf),
    /// A CA below this one has a new certificate.
    RenewBelow(PathBuf),
    /// A new CA that the old one could not sign.
    NotCrossSigned,
    /// A CA came from elsewhere without its revocation list.
    NothingRevoked,
    /// A CA came from elsewhere whose certificate lacks these.
    NotStrict(Vec<&'static str>),
    /// A new CA took the place of another.
    Orphaned {
        /// The CA's certificate.
        path: PathBuf,
        /// How many certificates of the old CA have not expired.
        count: usize,
    },
    /// A killed command was brought to its end.
    Recovered(PathBuf),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutShort(end) => {
                write!(f, "the certificate ends with its CA, at {}, earlier than asked for", rfc3339(*end))
            }
            Self::KeyReadable { path, mode } => {
                write!(f, "{path} can be read by others (mode {mode:04o}): chmod 600 {path}", path = path.display())
            }
            Self::NoLedger(path) => write!(
                f,
                "{} was missing and is begun anew: it does not know what this CA issued before",
                path.display()
            ),
            Self::CannotSignCrl(path) => write!(
                f,
                "{} is missing or past half its life, and the CA's keyUsage does not let it sign another",
                path.display()
            ),
            Self::RenewBelow(folder) => write!(
                f,
                "what this CA issued still carries its old certificate: renew it in {} as well",
                folder.display()
            ),
            Self::NotCrossSigned => f.write_str(
                "the old CA has a path length of 0 and could not sign the new one: who trusts only the old one refuses \
                 what the new one issues. Give the new ca.crt to everybody before you renew anything",
            ),
            Self::NothingRevoked => f.write_str(
                "the new revocation list is empty: if this CA has revoked anything, import it again with --crl or \
                 --index, and --force, or revoke it here",
            ),
            Self::NotStrict(lacks) => write!(
                f,
                "the CA's certificate has {}, against RFC 5280: who is strict (openssl verify -x509_strict, Python from \
                 3.13 on) refuses whatever it issues. A successor without that fault: gateway certs rotate-ca",
                lacks.join(", ")
            ),
            Self::Orphaned { path, count } => write!(
                f,
                "{} IS ANOTHER CA NOW: nothing that the old one issued is trusted any more, {count} certificates that \
                 have not expired among it. Issue the server's and every client's certificate again, and give the new \
                 ca.crt to all who trusted the old one",
                path.display()
            ),
            Self::Recovered(path) => {
                write!(f, "{} was put in its place: a command that was killed had issued it", path.display())
            }
        }
    }
}
