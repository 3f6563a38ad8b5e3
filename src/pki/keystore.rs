//! The chain of a client out of a PKCS#12 file, as browsers and Java keep it.

use rustls_pki_types::CertificateDer;

use super::cipher::CipherProblem;
use super::p12;
use crate::identity::CertificateFacts;

/// Why no certificates were found. Each text goes on after the name of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    /// It cannot be read.
    #[error(transparent)]
    Cipher(#[from] CipherProblem),
    /// There is no certificate in it.
    #[error("holds no certificate")]
    Empty,
}

/// The certificates, the one that issued none of the others first.
///
/// # Errors
/// [`KeystoreError`].
pub fn certificates_of_keystore(bytes: &[u8], password: &str) -> Result<Vec<CertificateDer<'static>>, KeystoreError> {
    let mut certificates = p12::read(bytes, password)?.certificates;
    if certificates.is_empty() {
        return Err(KeystoreError::Empty);
    }
    let leaf = position_of_leaf(&certificates);
    if let Some(before) = certificates.get_mut(..=leaf) {
        before.rotate_right(1);
    }
    Ok(certificates)
}

fn position_of_leaf(certificates: &[CertificateDer<'_>]) -> usize {
    let facts: Vec<_> = certificates.iter().map(|der| CertificateFacts::from_der(der).ok()).collect();
    let issued_another = |one: &CertificateFacts| {
        facts.iter().flatten().any(|other| other.issuer == one.subject && other.sha256 != one.sha256)
    };
    facts.iter().position(|one| one.as_ref().is_some_and(|one| !issued_another(one))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_certificate_is_no_keystore() {
        let certificate = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert;
        assert!(!p12::is_p12(certificate.der()));
        assert!(p12::is_p12(b"\x30\x03\x02\x01\x03"));
        assert!(!p12::is_p12(b""));
    }

    const BEGINNING: &[u8] = b"\x30\x40\x02\x01\x03\x30\x30\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0";

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), head in any::<bool>()) {
            let all = [if head { BEGINNING } else { &[] }, &bytes].concat();
            prop_assert!(certificates_of_keystore(&all, "x").is_err());
        }
    }
}
