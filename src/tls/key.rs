//! Which public keys we can verify a signature with, and how one is found in a certificate that is otherwise garbled.
//!
//! A client whose certificate cannot be parsed is to be told so by an HTTP answer. That takes a finished handshake,
//! and a handshake takes the public key, so the key is dug out of the DER without asking that the rest be right.

use rustls::pki_types::SubjectPublicKeyInfoDer;
use x509_parser::der_parser::asn1_rs::{Any, FromDer as _, Sequence};
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_SIG_ED25519};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// The SubjectPublicKeyInfo of a certificate: the field after version, serial, signature, issuer, validity and
/// subject (RFC 5280 section 4.1). `None` when the DER does not even go so far.
pub(super) fn of_certificate(der: &[u8]) -> Option<SubjectPublicKeyInfoDer<'_>> {
    let (_, certificate) = Sequence::from_der(der).ok()?;
    let (_, tbs) = Sequence::from_der(&certificate.content).ok()?;
    // The contents are borrowed from `der`, at the offset the two headers take.
    let mut rest = slice_of(der, &tbs.content)?;
    let (after_version, first) = Any::from_der(rest).ok()?;
    if first.header.is_contextspecific() {
        rest = after_version;
    }
    for _ in 0..5 {
        rest = Any::from_der(rest).ok()?.0;
    }
    let after = Any::from_der(rest).ok()?.0;
    rest.get(..rest.len() - after.len()).map(SubjectPublicKeyInfoDer::from)
}

/// `part` again, with the lifetime of the whole it was cut from.
fn slice_of<'a>(whole: &'a [u8], part: &[u8]) -> Option<&'a [u8]> {
    let offset = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    whole.get(offset..offset.checked_add(part.len())?)
}

/// Whether it is a key we verify: RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, Ed25519.
pub(super) fn is_supported(key: &SubjectPublicKeyInfoDer<'_>) -> bool {
    let Ok((rest, info)) = SubjectPublicKeyInfo::from_der(key.as_ref()) else { return false };
    if !rest.is_empty() {
        return false;
    }
    if info.algorithm.algorithm == OID_SIG_ED25519 {
        return true;
    }
    match info.parsed() {
        // The leading zero bytes of an INTEGER do not count.
        Ok(PublicKey::RSA(rsa)) => {
            let significant = rsa.modulus.iter().skip_while(|byte| **byte == 0);
            let mut bytes = significant.clone();
            let bits = bytes.next().map_or(0, |first| significant.count() * 8 - first.leading_zeros() as usize);
            (2048..=8192).contains(&bits)
        }
        Ok(PublicKey::EC(_)) => info
            .algorithm
            .parameters
            .as_ref()
            .and_then(|parameters| parameters.as_oid().ok())
            .is_some_and(|curve| [OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521].contains(&curve)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};

    use super::*;

    #[test]
    fn finds_the_key_even_where_the_rest_of_the_certificate_is_garbled() {
        let algorithms = [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_ECDSA_P521_SHA512,
            &rcgen::PKCS_ED25519,
            &rcgen::PKCS_RSA_SHA256,
        ];
        for algorithm in algorithms {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let certificate = CertificateParams::new(vec!["x".to_owned()]).unwrap().self_signed(&key).unwrap();
            let expected = key.subject_public_key_info();
            let found = of_certificate(certificate.der()).unwrap();
            assert_eq!(found.as_ref(), expected);
            assert!(is_supported(&found));

            let mut garbled = certificate.der().to_vec();
            let key_at = garbled.windows(expected.len()).position(|window| window == expected).unwrap();
            for byte in &mut garbled[key_at + expected.len()..] {
                *byte = 0xff;
            }
            assert_eq!(of_certificate(&garbled).unwrap().as_ref(), expected);
        }
    }

    #[test]
    fn garbage_has_no_key_and_does_not_panic() {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["x".to_owned()]).unwrap().self_signed(&key).unwrap();
        for length in 0..certificate.der().len() {
            let _ = of_certificate(&certificate.der()[..length]);
        }
        assert!(of_certificate(b"").is_none());
        assert!(!is_supported(&SubjectPublicKeyInfoDer::from(&b"\x30\x00"[..])));
    }
}
