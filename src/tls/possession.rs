//! The handshake's part in knowing a client: proof that it holds the private key of the certificate it shows.
//!
//! rustls calls this "verifying the client certificate". Whether the certificate is to be believed is not asked here,
//! since a refusal at this point can only be a TLS alert that no client's developer understands; [`super::TrustStore`]
//! judges it after the handshake. The signature itself is always checked, for every certificate.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, PeerMisbehaved, SignatureScheme};

use super::key;
use crate::identity::Reason;

/// Asks for a certificate without insisting, and checks proof of possession.
#[derive(Debug)]
pub(super) struct PossessionVerifier {
    algorithms: WebPkiSupportedAlgorithms,
    hints: Vec<DistinguishedName>,
}

/// A certificate whose key we cannot use, so that there is no handshake to be had.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UnusableCertificate(pub(super) Reason);

impl PossessionVerifier {
    /// `hints` are the names of the authorities that are trusted: clients choose their certificate by them.
    pub(super) fn new(provider: &CryptoProvider, hints: Vec<DistinguishedName>) -> Self {
        Self { algorithms: provider.signature_verification_algorithms, hints }
    }
}

impl ClientCertVerifier for PossessionVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        usable_key(end_entity).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let public_key = usable_key(certificate)?;
        let entity = webpki::RawPublicKeyEntity::try_from(&public_key).map_err(bad_signature)?;
        let (_, candidates) = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == signed.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        // In TLS 1.2 an ECDSA scheme names the hash and not the curve, so each curve is tried (RFC 8446 section 4.2.3).
        for algorithm in *candidates {
            match entity.verify_signature(*algorithm, message, signed.signature()) {
                Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
                Err(error) => return Err(bad_signature(error)),
                Ok(()) => return Ok(HandshakeSignatureValid::assertion()),
            }
        }
        Err(CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let public_key = usable_key(certificate)?;
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &public_key, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        // What is not asked for is not sent: ML-DSA, which the provider knows and `key::is_supported` does not, yet.
        let schemes = self.algorithms.supported_schemes().into_iter();
        let unknown = [SignatureScheme::ML_DSA_44, SignatureScheme::ML_DSA_65, SignatureScheme::ML_DSA_87];
        schemes.filter(|scheme| !unknown.contains(scheme)).collect()
    }
}

fn usable_key<'a>(certificate: &'a CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'a>, rustls::Error> {
    match key::of_certificate(certificate) {
        None => Err(unusable(Reason::Malformed)),
        Some(public_key) if key::is_supported(&public_key) => Ok(public_key),
        Some(_) => Err(unusable(Reason::UnsupportedKey)),
    }
}

fn unusable(reason: Reason) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(UnusableCertificate(reason)))).into()
}

fn bad_signature(_: webpki::Error) -> rustls::Error {
    CertificateError::BadSignature.into()
}
