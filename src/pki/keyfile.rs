//! Private keys: made by kind, written as PKCS#8 PEM, read back, wiped when dropped.
//!
//! A key never reaches a message: `Debug` elides it, and nothing here turns it into text but [`PrivateKey::pem`].

use std::fmt;

use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::Zeroizing;

use super::cipher::{self, CipherProblem};
use super::der::{self, Reader, tag};
use super::inspect::named_curve;
use super::pem::OldEncrypted;
use super::{p12, pem};

/// The kinds of key that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyType {
    /// ECDSA with P-256: small, fast, and every client knows it.
    #[default]
    EcdsaP256,
    /// ECDSA with P-384.
    EcdsaP384,
    /// Ed25519. Browsers do not take it.
    Ed25519,
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
}

impl KeyType {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::EcdsaP256, Self::EcdsaP384, Self::Ed25519, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    /// Whether it is RSA, which TLS 1.2 may also use to carry a key.
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }
}

impl KeyType {
    /// The kind of this public key, if it is one of them.
    pub(super) fn of(info: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        match (public_kind(info)?, info.parsed()) {
            (PublicKind::EcdsaP256, _) => Some(Self::EcdsaP256),
            (PublicKind::EcdsaP384, _) => Some(Self::EcdsaP384),
            (PublicKind::Ed25519, _) => Some(Self::Ed25519),
            (PublicKind::Rsa, Ok(PublicKey::RSA(key))) => match key.key_size() {
                2048 => Some(Self::Rsa2048),
                3072 => Some(Self::Rsa3072),
                4096 => Some(Self::Rsa4096),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Kinds of public key that are certified.
enum PublicKind {
    Rsa,
    EcdsaP256,
    EcdsaP384,
    EcdsaP521,
    Ed25519,
}

/// Whether the gateway would take a client with this key.
pub(super) fn is_supported(info: &SubjectPublicKeyInfo<'_>) -> bool {
    public_kind(info).is_some()
}

fn public_kind(info: &SubjectPublicKeyInfo<'_>) -> Option<PublicKind> {
    if info.algorithm.algorithm.to_id_string() == "1.3.101.112" {
        return Some(PublicKind::Ed25519);
    }
    match info.parsed().ok()? {
        PublicKey::RSA(key) => (2048..=8192).contains(&key.key_size()).then_some(PublicKind::Rsa),
        PublicKey::EC(_) => match named_curve(info)?.to_id_string().as_str() {
            "1.2.840.10045.3.1.7" => Some(PublicKind::EcdsaP256),
            "1.3.132.0.34" => Some(PublicKind::EcdsaP384),
            "1.3.132.0.35" => Some(PublicKind::EcdsaP521),
            _ => None,
        },
        _ => None,
    }
}

/// A private key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyProblem {
    /// No private key in the file.
    #[error("holds no private key in PEM; from DER it comes with: openssl pkey -inform DER -in OLD -out NEW")]
    Absent,
    /// It needs a passphrase.
    #[error("is encrypted; decrypt it first: openssl pkey -in OLD -out NEW")]
    Encrypted,
    /// The password, or how it is encrypted.
    #[error(transparent)]
    Cipher(#[from] CipherProblem),
    /// Not a key, or of a kind that is not supported.
    #[error("holds no usable private key (RSA of 2048 to 8192 bits, ECDSA P-256, P-384, P-521, or Ed25519): {0}")]
    Unusable(rcgen::Error),
    /// Making one failed.
    #[error("cannot make a private key: {0}")]
    Generation(rcgen::Error),
}

/// A private key, wiped from memory when dropped as far as the libraries allow.
pub struct PrivateKey(Zeroizing<KeyPair>);

impl PrivateKey {
    /// Makes a new one.
    ///
    /// # Errors
    /// When the cryptography library cannot, for lack of randomness or memory.
    pub fn generate(key_type: KeyType) -> Result<Self, KeyProblem> {
        let rsa = |size| KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size);
        let key = match key_type {
            KeyType::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            KeyType::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            KeyType::Ed25519 => generate_ed25519(),
            KeyType::Rsa2048 => rsa(RsaKeySize::_2048),
            KeyType::Rsa3072 => rsa(RsaKeySize::_3072),
            KeyType::Rsa4096 => rsa(RsaKeySize::_4096),
        };
        key.map(|key| Self(Zeroizing::new(key))).map_err(KeyProblem::Generation)
    }

    /// Reads the first private key of a PEM file: PKCS#8, SEC 1 (`EC PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`).
    ///
    /// # Errors
    /// When there is none, it is encrypted, or of a kind that cannot sign certificates.
    pub fn from_pem(bytes: &[u8]) -> Result<Self, KeyProblem> {
        if pem::old_encrypted(bytes).is_some() {
            return Err(KeyProblem::Encrypted);
        }
        match PrivateKeyDer::from_pem_slice(pem::without_mark(bytes)) {
            Ok(der) => Self::from_der(&der),
            Err(_) => {
                let encrypted = |block: &pem::Block| block.label == ENCRYPTED;
                match pem::blocks(bytes) {
                    Ok(blocks) if blocks.iter().any(encrypted) => Err(KeyProblem::Encrypted),
                    _ => Err(KeyProblem::Absent),
                }
            }
        }
    }

    /// The same for a file that may be encrypted.
    ///
    /// # Errors
    /// As [`Self::from_pem`], and when the password does not open it.
    pub fn from_pem_with(bytes: &[u8], password: &str) -> Result<Self, KeyProblem> {
        if let Some(OldEncrypted { block, how }) = pem::old_encrypted(bytes) {
            let der = cipher::decrypt_old(&block.der, &how, password)?;
            // A wrong password may leave what looks like padding; it does not leave what looks like a key.
            Reader::inside(&der, tag::SEQUENCE).ok_or(CipherProblem::Password)?;
            return Self::from_der(&match block.label.as_str() {
                "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(der.as_slice().into()),
                "EC PRIVATE KEY" => PrivateKeyDer::Sec1(der.as_slice().into()),
                _ => PrivateKeyDer::Pkcs8(der.as_slice().into()),
            });
        }
        let blocks = pem::blocks(bytes).unwrap_or_default();
        let Some(block) = blocks.iter().find(|block| block.label == ENCRYPTED) else { return Self::from_pem(bytes) };
        let der = p12::decrypt_key(&block.der, password)?;
        Self::from_der(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.as_slice())))
    }

    pub(super) fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, KeyProblem> {
        let key = match to_pkcs8(der) {
            Some(wrapped) => KeyPair::try_from(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(wrapped.as_slice()))),
            None => KeyPair::try_from(der),
        };
        key.map(|key| Self(Zeroizing::new(key))).map_err(KeyProblem::Unusable)
    }

    /// The key as PKCS#8 in DER: secret.
    pub(super) fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.serialize_der())
    }

    /// The key as PKCS#8 PEM: secret.
    pub fn pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.serialize_pem())
    }

    /// The public half: the bits inside SubjectPublicKeyInfo.
    pub(super) fn public_bits(&self) -> &[u8] {
        self.0.der_bytes()
    }

    /// The public half as SubjectPublicKeyInfo in DER (RFC 5280 section 4.1.2.7).
    pub(super) fn public_key_info(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    pub(super) fn pair(&self) -> &KeyPair {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey([secret])")
    }
}

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// A key in the older forms of PKCS#1 and SEC 1 (RFC 5915), in the wrapping of PKCS#8 (RFC 5958).
fn to_pkcs8(der: &PrivateKeyDer<'_>) -> Option<Zeroizing<Vec<u8>>> {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    const ELLIPTIC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    let object = |bytes: &[u8]| der::value(tag::OBJECT, &[bytes]);
    let (key, algorithm) = match der {
        PrivateKeyDer::Pkcs1(key) => (key.secret_pkcs1_der(), der::sequence(&[&object(RSA), &der::null()])),
        PrivateKeyDer::Sec1(key) => {
            let key = key.secret_sec1_der();
            let curve = Reader::inside(key, tag::SEQUENCE)?.find(|field| field.tag == tag::CONTEXT_0)?;
            (key, der::sequence(&[&object(ELLIPTIC), curve.content]))
        }
        _ => return None,
    };
    let key = Zeroizing::new(der::value(tag::OCTET_STRING, &[key]));
    Some(Zeroizing::new(der::sequence(&[&der::integer(0), &algorithm, &key])))
}

/// rcgen would write PKCS#8 version 2 (RFC 5958), which OpenSSL 3.0 refuses to read.
fn generate_ed25519() -> Result<KeyPair, rcgen::Error> {
    let key = Ed25519KeyPair::generate().map_err(|_| rcgen::Error::RingUnspecified)?;
    let document = key.to_pkcs8v1().map_err(|_| rcgen::Error::RingUnspecified)?;
    KeyPair::try_from(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(document.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_made_and_read_back_the_same() {
        for key_type in KeyType::ALL {
            let key = PrivateKey::generate(key_type).unwrap();
            let pem = key.pem();
            assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{key_type:?} is PKCS#8");
            let marked = format!("\u{feff}{}", *pem);
            let read = PrivateKey::from_pem(marked.as_bytes()).unwrap();
            assert_eq!(read.public_key_info(), key.public_key_info(), "{key_type:?}");
        }
    }

    #[test]
    fn what_is_no_key_says_why() {
        let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAQID\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert!(matches!(PrivateKey::from_pem(encrypted), Err(KeyProblem::Encrypted)));
        assert!(matches!(PrivateKey::from_pem(b""), Err(KeyProblem::Absent)));
        assert!(matches!(PrivateKey::from_pem(b"garbage"), Err(KeyProblem::Absent)));
        let garbled = b"-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n";
        assert!(matches!(PrivateKey::from_pem(garbled), Err(KeyProblem::Unusable(_))));
    }

    #[test]
    fn debug_tells_nothing() {
        assert_eq!(format!("{:?}", PrivateKey::generate(KeyType::Ed25519).unwrap()), "PrivateKey([secret])");
    }
}
