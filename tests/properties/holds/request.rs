//! Signing requests: of what anybody writes, only the public key is taken, and only when the request is signed by it,
//! byte for byte; what comes out is a client's certificate as the operator asked for it, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use mtls_gateway::clock::Clock;
use mtls_gateway::identity::SubjectAltName;
use mtls_gateway::pki::{
    AuthorityRequest, Overwrite, SignedAs, SigningRequest, Store, Subject, Validity, certificates,
};
use rcgen::{PublicKeyData as _, SigningKey as _};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::seeds::key;
use super::{certificate, der};

/// The property: for the bytes as a request, and for their parts as what a request asks for, properly signed.
pub fn check(data: &[u8]) {
    if let Ok(request) = SigningRequest::read(data) {
        assert!(request.signed);
        sign(&request, None);
    }
    let whole = made_from(data);
    if let Ok(request) = SigningRequest::read(&whole) {
        assert!(request.signed);
        sign(&request, Some(&key(9).subject_public_key_info()));
    }
    // Which byte is changed, and how, is up to the input as well.
    let place = data.iter().fold(0_usize, |sum, &byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    let mut changed = whole;
    let length = changed.len();
    changed[place % length] ^= 1 << (place / length % 8);
    assert!(SigningRequest::read(&changed).is_err(), "a byte of the request was changed, and it is taken");
}

/// A request with subject and attributes made from `data`, signed by its key.
fn made_from(data: &[u8]) -> Vec<u8> {
    // The names are those of a certificate that is made from the same bytes.
    let names = certificate::made_from(data);
    let (_, outer, _) = der::read(&names).unwrap();
    let (_, signed, _) = der::read(outer).unwrap();
    let fields = der::all(signed).unwrap();
    let subject = der::write(0x30, &[fields[5].1]);
    let (_, alternative, _) = der::read(fields[7].1).unwrap();
    let (choice, rest) = data.split_first().unwrap_or((&0, &[]));
    // basicConstraints CA:TRUE, all key usages, anyExtendedKeyUsage, and an extension of the input's own.
    let wishes: [&[u8]; 3] = [
        b"\x30\x0f\x06\x03\x55\x1d\x13\x01\x01\xff\x04\x05\x30\x03\x01\x01\xff",
        b"\x30\x0b\x06\x03\x55\x1d\x0f\x04\x04\x03\x02\x01\xfe",
        b"\x30\x0f\x06\x03\x55\x1d\x25\x04\x08\x30\x06\x06\x04\x55\x1d\x25\x00",
    ];
    let own = der::write(0x30, &[&[6, 3, 0x55, 0x1d, choice >> 2], &der::write(4, &[&rest[..rest.len().min(60)]])]);
    let wanted = wishes.iter().enumerate().filter(|(bit, _)| choice >> bit & 1 == 1).map(|(_, wish)| *wish);
    let extensions: Vec<u8> =
        wanted.chain([alternative]).chain((choice & 8 != 0).then_some(&own[..])).flatten().copied().collect();
    let extensions = der::write(0x31, &[&der::write(0x30, &[&extensions])]);
    let attribute = der::write(0x30, &[&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14], &extensions]);
    let key = key(9);
    let info = [&[2, 1, 0][..], &subject, &key.subject_public_key_info(), &der::write(0xa0, &[&attribute])];
    let info = der::write(0x30, &info);
    let signature = [&[0][..], &key.sign(&info).unwrap()].concat();
    der::write(0x30, &[&info, &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70], &der::write(3, &[&signature])])
}

/// Requests to begin with.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![made_from(&[]), made_from(b"\x07\x02\x05\x01\x00\x04abcd\x01\x00\x08a.example")]
}

/// Signs it on the operator's terms, and with the names that it asks for.
fn sign(request: &SigningRequest, key: Option<&[u8]>) {
    let name: Vec<SubjectAltName> = vec![SubjectAltName::Dns("given.example".to_owned())];
    let given = SignedAs {
        name: Some("given".parse().unwrap()),
        subject: Some(Subject::named("given".parse().unwrap())),
        names: Some(name.clone()),
        validity: Validity::Days(1),
    };
    let issued = issue(request, &given).expect("on these terms any request is signed");
    let facts = is_a_clients(&issued, key);
    assert_eq!((facts.subject.as_str(), &facts.subject_alt_names), ("CN=given", &name));
    let taken = SignedAs { subject: None, names: None, ..given };
    if let Some(issued) = issue(request, &taken) {
        let facts = is_a_clients(&issued, key);
        assert_eq!(facts.subject, request.subject_text);
        // A name that was asked for twice is given once, and none that was not asked for.
        let asked: BTreeSet<&String> = request.names.iter().collect();
        assert_eq!(facts.subject_alt_names.len(), asked.len(), "asked for: {asked:?}, given: {facts:?}");
    }
}

/// Nothing of a CA, of a server, or of what was not asked for by the operator.
fn is_a_clients(der: &[u8], key: Option<&[u8]>) -> mtls_gateway::identity::CertificateFacts {
    let (_, parsed) = X509Certificate::from_der(der).unwrap();
    assert!(!parsed.is_ca());
    for extension in parsed.iter_extensions() {
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(constraints) => assert!(!constraints.ca),
            ParsedExtension::KeyUsage(usage) => assert_eq!(usage.flags, 1, "more than digitalSignature"),
            ParsedExtension::ExtendedKeyUsage(usage) => {
                assert!(usage.client_auth && !usage.server_auth && !usage.any && usage.other.is_empty());
            }
            ParsedExtension::SubjectAlternativeName(_)
            | ParsedExtension::SubjectKeyIdentifier(_)
            | ParsedExtension::AuthorityKeyIdentifier(_) => {}
            other => panic!("an extension that nobody granted: {other:?}"),
        }
    }
    if let Some(key) = key {
        assert_eq!(parsed.public_key().raw, key);
    }
    mtls_gateway::identity::CertificateFacts::from_der(der).unwrap()
}

/// A CA in a folder of its own, and its index as it was at first: otherwise it would grow with each input.
struct Folder {
    _directory: tempfile::TempDir,
    store: Store,
    index: (PathBuf, Vec<u8>),
}

fn issue(request: &SigningRequest, signed_as: &SignedAs) -> Option<Vec<u8>> {
    static FOLDER: OnceLock<Mutex<Folder>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let store = Store::new(directory.path().join("certs"), Clock::system());
        store.init(&AuthorityRequest::new(None), Overwrite::Refuse).unwrap();
        let index = directory.path().join("certs/index.json");
        let first = fs::read(&index).unwrap();
        Mutex::new(Folder { _directory: directory, store, index: (index, first) })
    });
    let folder = folder.lock().unwrap();
    let issued = folder.store.sign(request, signed_as, Overwrite::Replace).ok()?;
    let chain = certificates(&fs::read(&issued.certificate).unwrap()).unwrap();
    fs::write(&folder.index.0, &folder.index.1).unwrap();
    Some(chain[0].to_vec())
}
