//! Signing with a CA's key, under exactly the name that the CA's certificate has.
//!
//! rcgen writes a name from a map, in which a repeated attribute is lost and a kind of string may change; verifiers
//! compare names byte for byte. So rcgen lays out what is signed, the names are put in as they are, and only then is
//! it signed.

use rcgen::{
    CertificateParams, CertificateRevocationListParams, DistinguishedName, Error, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PublicKeyData, SignatureAlgorithm, SigningKey,
};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use webpki::{ALL_VERIFICATION_ALGS, RawPublicKeyEntity};

use super::der::{self, Reader, tag};
use crate::identity::sha256;

/// Who signs.
pub(super) struct Signer<'a> {
    pub(super) key: &'a KeyPair,
    /// The issuer's name in DER.
    pub(super) name: &'a [u8],
    pub(super) key_id: &'a [u8],
}

/// Where names stand among the fields of a TBSCertificate and a TBSCertList (RFC 5280 sections 4.1 and 5.1).
const CERTIFICATE_ISSUER: usize = 3;
const CERTIFICATE_SUBJECT: usize = 5;
const LIST_ISSUER: usize = 2;

impl Signer<'_> {
    /// A certificate for `public_key`; `subject` in DER takes the place of the one in `parameters`.
    pub(super) fn certificate(
        &self,
        parameters: &CertificateParams,
        public_key: &impl PublicKeyData,
        subject: Option<&[u8]>,
    ) -> Result<Vec<u8>, Error> {
        let mut parameters = parameters.clone();
        parameters.key_identifier_method = KeyIdMethod::PreSpecified(key_identifier(public_key.der_bytes()));
        let unsigned = parameters.signed_by(public_key, &self.issuer())?;
        let mut names = vec![(CERTIFICATE_ISSUER, self.name)];
        names.extend(subject.map(|subject| (CERTIFICATE_SUBJECT, subject)));
        self.sign(unsigned.der(), &names)
    }

    /// A revocation list.
    pub(super) fn list(&self, parameters: &CertificateRevocationListParams) -> Result<Vec<u8>, Error> {
        let unsigned = parameters.signed_by(&self.issuer())?;
        self.sign(unsigned.der(), &[(LIST_ISSUER, self.name)])
    }

    fn issuer(&self) -> Issuer<'static, Unsigned<'_>> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.key_identifier_method = KeyIdMethod::PreSpecified(self.key_id.to_vec());
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Issuer::new(parameters, Unsigned(self.key))
    }

    fn sign(&self, unsigned: &[u8], names: &[(usize, &[u8])]) -> Result<Vec<u8>, Error> {
        let (fields, algorithm) = take_apart(unsigned).ok_or(Error::CouldNotParseCertificate)?;
        let field = |(index, raw)| names.iter().find(|name| name.0 == index).map_or(raw, |name| name.1);
        let fields: Vec<&[u8]> = fields.into_iter().enumerate().map(field).collect();
        let signed = der::sequence(&fields);
        let signature = self.key.sign(&signed)?;
        let signature = der::value(tag::BIT_STRING, &[&[0], &signature]);
        Ok(der::sequence(&[&signed, algorithm, &signature]))
    }
}

/// The fields of what is signed, and the algorithm after it.
fn take_apart(bytes: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let mut outer = Reader::inside(bytes, tag::SEQUENCE)?;
    let fields = outer.enter(tag::SEQUENCE)?.map(|field| field.raw).collect();
    Some((fields, outer.next()?.raw))
}

/// What identifies a key, of its bits alone: RFC 7093 section 2, method 1. rcgen's own is over the whole
/// SubjectPublicKeyInfo, which is none of the methods of that RFC or of RFC 5280, and which linters do not know.
pub(super) fn key_identifier(public_bits: &[u8]) -> Vec<u8> {
    sha256(public_bits).into_iter().take(20).collect()
}

/// Whether the holder of this key signed a certificate, list or request.
pub(super) fn is_signed_by(bytes: &[u8], public_key_info: &[u8]) -> bool {
    let verify = || {
        let mut outer = Reader::inside(bytes, tag::SEQUENCE)?;
        let (signed, algorithm) = (outer.next()?.raw, outer.expect(tag::SEQUENCE)?);
        // The first byte counts unused bits: none.
        let signature = outer.expect(tag::BIT_STRING)?.strip_prefix(&[0])?;
        let info = SubjectPublicKeyInfoDer::from(public_key_info);
        let key = RawPublicKeyEntity::try_from(&info).ok()?;
        let known = ALL_VERIFICATION_ALGS.iter().filter(|known| known.signature_alg_id().as_ref() == algorithm);
        known.copied().find(|known| key.verify_signature(*known, signed, signature).is_ok())
    };
    verify().is_some()
}

/// A key that does not sign: rcgen's signature would be thrown away.
struct Unsigned<'k>(&'k KeyPair);

impl PublicKeyData for Unsigned<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for Unsigned<'_> {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(Vec::new())
    }
}
