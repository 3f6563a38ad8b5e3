//! PEM, as people and programs write it: the gateway's reader and the tool's take the same certificates out of a file,
//! a key comes out of no garbage, and what is described ends.

use mtls_gateway::clock::WallTime;
use mtls_gateway::pki::{PrivateKey, certificates, describe};
use mtls_gateway::tls::TrustStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{der, seeds};

/// The property.
pub fn check(data: &[u8]) {
    let _ = describe(data, WallTime::from_unix_seconds(seeds::NOW));
    for key in [PrivateKey::from_pem(data), opened(data)] {
        let Ok(key) = key else { continue };
        assert_eq!(format!("{key:?}"), "PrivateKey([secret])");
        let again = PrivateKey::from_pem(key.pem().as_bytes()).expect("what is written reads back");
        assert_eq!(*again.pem(), *key.pem());
    }
    // An editor's mark before the text is no part of it.
    let text = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let theirs: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(text).collect();
    let (Ok(ours), Ok(theirs)) = (certificates(data), theirs) else { return };
    // The tool takes OpenSSL's older label, too; the gateway does not.
    if !String::from_utf8_lossy(data).contains("X509 CERTIFICATE") {
        assert_eq!(ours, theirs, "the tool and the gateway read different certificates");
    }
    if let Ok(store) = TrustStore::from_pem(&[("x".to_owned(), data.to_vec())], 4) {
        assert_eq!(store.names().len(), theirs.len());
    }
}

/// With a password, unless it would take as many rounds of hashing as nobody waits for.
fn opened(data: &[u8]) -> Result<PrivateKey, mtls_gateway::pki::KeyProblem> {
    if has_a_long_wait(data) { PrivateKey::from_pem(data) } else { PrivateKey::from_pem_with(data, "secret") }
}

/// Whether what the PEM stands for, or the bytes themselves, hold a number above a few thousand where a number of
/// rounds could stand.
pub fn has_a_long_wait(data: &[u8]) -> bool {
    let text: String = String::from_utf8_lossy(data)
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .flat_map(str::chars)
        .filter(|one| one.is_ascii_alphanumeric() || matches!(one, '+' | '/'))
        .collect();
    let text = &text[..text.len() - text.len() % 4];
    let decoded = super::names::unbase64(text);
    // Wherever base64 may begin after text around a block: from each of its four phases.
    let shifted = |by: usize| {
        let rest = text.get(by..).unwrap_or_default();
        super::names::unbase64(&rest[..rest.len() - rest.len() % 4])
    };
    let all = [decoded, shifted(1), shifted(2), shifted(3), data.to_vec()];
    all.iter().any(|bytes| (0..bytes.len()).any(|at| is_large_number(&bytes[at..])))
}

fn is_large_number(bytes: &[u8]) -> bool {
    match der::read(bytes) {
        Some((2, [0, rest @ ..] | rest, _)) if rest.len() <= 4 => {
            rest.iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte)) > 4096
        }
        _ => false,
    }
}
