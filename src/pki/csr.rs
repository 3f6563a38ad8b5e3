//! Certificate signing requests (PKCS#10, RFC 2986): read with suspicion, signed on our terms.
//!
//! A request is written by whoever wants something. Its public key is taken, and only after its signature has shown
//! that the sender has the private half. What else it asks for is told, and ignored unless the operator takes it over.

use rcgen::SubjectPublicKeyInfo;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use super::alternative::parse_alternative_name;
use super::change::Access;
use super::error::Error;
use super::inspect::{general_name, key_usage_words, oid_name, public_key};
use super::keyfile::is_supported;
use super::ledger::Kind;
use super::names::{EntryName, Subject};
use super::pem;
use super::profile::{LeafProfile, Usage, Validity};
use super::request::{Issued, Overwrite};
use super::session::Lists;
use super::signing::is_signed_by;
use super::store::{Store, refuse_existing};
use super::subject::subject_problem;
use crate::identity::{SubjectAltName, distinguished_name};

/// A longer subject is no name.
const LONGEST_SUBJECT: usize = 1024;

/// A request that is not signed. Each text goes on after the name of the file.
#[derive(Debug, thiserror::Error)]
pub enum CsrProblem {
    /// No request in it.
    #[error("holds no certificate signing request, in PEM or DER")]
    Absent,
    /// The sender has not shown that the private key is theirs.
    #[error("is not signed by the key it is for, or in a way that is not supported")]
    Signature,
    /// A kind of key that the gateway would refuse.
    #[error("is for {0}; supported are RSA of 2048 to 8192 bits, ECDSA P-256, P-384, P-521, and Ed25519")]
    Key(String),
    /// A name that no certificate should carry.
    #[error("asks for the name {0}, which cannot be taken over: {1}")]
    Name(String, String),
    /// A subject that no certificate should carry.
    #[error("has a subject that cannot be taken over: it is empty, too long, or the CA's own")]
    Subject,
    /// Something in the subject that no certificate should carry.
    #[error("has a subject that cannot be taken over: {0}")]
    Attribute(String),
    /// It is for the CA's own key.
    #[error("is for the CA's own key")]
    AuthorityKey,
}

/// A request that was read and whose signature holds.
#[derive(Debug, Clone)]
pub struct SigningRequest {
    public_key: Vec<u8>,
    subject: Vec<u8>,
    supported: bool,
    /// Kind and size of its key.
    pub key: String,
    /// Whether the key it is for has signed it.
    pub signed: bool,
    /// The subject that it asks for, as RFC 4514 text.
    pub subject_text: String,
    /// The alternative names that it asks for, as `DNS:a`.
    pub names: Vec<String>,
    /// Whatever else it asks for.
    pub wishes: Vec<String>,
    taken: Result<Vec<SubjectAltName>, (String, String)>,
}

/// What to sign a request as.
#[derive(Debug, Clone)]
pub struct SignedAs {
    /// Under which name the certificate is filed; `None` for the server's.
    pub name: Option<EntryName>,
    /// The subject, or the request's own.
    pub subject: Option<Subject>,
    /// The alternative names, or the request's own.
    pub names: Option<Vec<SubjectAltName>>,
    /// When it is valid.
    pub validity: Validity,
}

impl SigningRequest {
    /// Reads a request, PEM or DER.
    ///
    /// # Errors
    /// When there is none, its signature does not hold, or its key is not supported.
    pub fn read(bytes: &[u8]) -> Result<Self, CsrProblem> {
        let blocks = pem::blocks(bytes).map_err(|_| CsrProblem::Absent)?;
        let der = match blocks.iter().find(|block| block.is_request()) {
            Some(block) => block.der.as_slice(),
            None if blocks.is_empty() => bytes,
            None => return Err(CsrProblem::Absent),
        };
        let read = Self::parse(der).ok_or(CsrProblem::Absent)?;
        if !read.supported {
            return Err(CsrProblem::Key(read.key));
        }
        if !read.signed {
            return Err(CsrProblem::Signature);
        }
        Ok(read)
    }

    /// What a request says, whatever it is worth.
    pub(super) fn parse(der: &[u8]) -> Option<Self> {
        let (rest, request) = X509CertificationRequest::from_der(der).ok()?;
        rest.is_empty().then_some(())?;
        let info = &request.certification_request_info;
        let mut read = Self {
            public_key: info.subject_pki.raw.to_vec(),
            subject: info.subject.as_raw().to_vec(),
            supported: is_supported(&info.subject_pki),
            key: public_key(&info.subject_pki),
            signed: is_signed_by(der, info.subject_pki.raw),
            subject_text: distinguished_name(&info.subject),
            names: Vec::new(),
            wishes: Vec::new(),
            taken: Ok(Vec::new()),
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            read.note(extension);
        }
        Some(read)
    }

    fn note(&mut self, extension: &ParsedExtension<'_>) {
        match extension {
            ParsedExtension::SubjectAlternativeName(names) => {
                self.names.extend(names.general_names.iter().map(general_name));
                for name in &names.general_names {
                    let parsed = take_over(name).map_err(|why| (general_name(name), why));
                    match (&mut self.taken, parsed) {
                        (Ok(taken), Ok(name)) => taken.push(name),
                        (Ok(_), Err(problem)) => self.taken = Err(problem),
                        (Err(_), _) => {}
                    }
                }
            }
            ParsedExtension::BasicConstraints(constraints) if constraints.ca => self.wishes.push("CA:TRUE".to_owned()),
            ParsedExtension::BasicConstraints(_) | ParsedExtension::SubjectKeyIdentifier(_) => {}
            ParsedExtension::KeyUsage(usage) => {
                self.wishes.push(format!("key usage {}", key_usage_words(usage).join(", ")));
            }
            ParsedExtension::ExtendedKeyUsage(_) => self.wishes.push("extended key usage".to_owned()),
            ParsedExtension::UnsupportedExtension { oid } => {
                self.wishes.push(format!("extension {}", oid_name(oid)));
            }
            _ => self.wishes.push("another extension".to_owned()),
        }
    }
}

/// What a name in a request means, when it is one that we would issue by ourselves.
fn take_over(name: &GeneralName<'_>) -> Result<SubjectAltName, String> {
    let text = match name {
        GeneralName::DNSName(value) => format!("dns:{value}"),
        GeneralName::URI(value) => format!("uri:{value}"),
        GeneralName::RFC822Name(value) => format!("email:{value}"),
        GeneralName::IPAddress(_) => general_name(name).to_lowercase(),
        _ => return Err("it is of a kind that is not issued here".to_owned()),
    };
    parse_alternative_name(&text).map_err(|problem| problem.to_string())
}

impl Store {
    /// Issues a certificate for the public key of a request.
    ///
    /// # Errors
    /// When what shall be taken over cannot be, there is a file or a key of that name, or the folder cannot be written.
    pub fn sign(&self, request: &SigningRequest, signed_as: &SignedAs, overwrite: Overwrite) -> Result<Issued, Error> {
        self.require_authority()?;
        let folder = self.folder();
        let (kind, usage, name, certificate, key) = match &signed_as.name {
            Some(name) => {
                let places = (folder.client_certificate(name), folder.client_key(name));
                (Kind::Client, Usage::Client, name.as_str(), places.0, places.1)
            }
            None => (Kind::Server, Usage::Server, "server", folder.server_certificate(), folder.server_key()),
        };
        let names = match &signed_as.names {
            Some(names) => names.clone(),
            None => request.taken.clone().map_err(|(name, why)| Error::Request(CsrProblem::Name(name, why)))?,
        };
        let foreign = |name: &SubjectAltName| matches!(name, SubjectAltName::Uri(_) | SubjectAltName::Email(_));
        if kind == Kind::Server && names.iter().any(foreign) {
            let why = super::AlternativeNameError::NotForServer.to_string();
            return Err(Error::Request(CsrProblem::Name("of a URI or email address".to_owned(), why)));
        }

        let mut session = self.begin()?;
        // A key beside a certificate that it does not belong to would be taken for its key.
        refuse_existing(&[&key], Overwrite::Refuse)?;
        refuse_existing(&[&certificate], overwrite)?;
        if session.authority.key().public_key_info() == request.public_key {
            return Err(Error::Request(CsrProblem::AuthorityKey));
        }
        let own = session.authority.subject();
        let empty = request.subject.len() <= 2;
        if signed_as.subject.is_none() && (empty || request.subject.len() > LONGEST_SUBJECT || request.subject == own) {
            return Err(Error::Request(CsrProblem::Subject));
        }
        if signed_as.subject.is_none()
            && let Ok((_, taken)) = X509Name::from_der(&request.subject)
            && let Some(problem) = subject_problem(&taken, &names)
        {
            return Err(Error::Request(CsrProblem::Attribute(problem)));
        }
        let subject = signed_as.subject.clone();
        let raw = subject.is_none().then_some(request.subject.as_slice());
        let profile = LeafProfile {
            usage,
            subject: subject.unwrap_or_else(|| Subject::named(super::AttributeText::gateway())),
            names,
            validity: signed_as.validity,
        };
        let public = SubjectPublicKeyInfo::from_der(&request.public_key)
            .map_err(|error| Error::Request(CsrProblem::Key(error.to_string())))?;
        let leaf = session.authority.certify(&profile, &public, raw, session.now);
        let leaf = leaf.map_err(|problem| self.about(problem))?;
        session.note(&leaf);
        session.record(kind, name, &leaf.facts, folder.relative(&certificate));
        if kind == Kind::Client {
            folder.create_clients()?;
        }
        let mut files = vec![certificate.clone()];
        let mut change = session.change();
        if session.stage_lists(Lists::AsNeeded, &mut change)?.is_some() {
            files.push(folder.crl());
        }
        change.stage(&certificate, leaf.pem.as_bytes(), Access::Everybody)?;
        change.commit(&session.ledger)?;
        Ok(Issued { kind, facts: leaf.facts, certificate, key, files, warnings: session.warnings })
    }
}
