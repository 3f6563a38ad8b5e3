//! The handshake's part in knowing a client: proof that it holds the private key of the certificate it shows.
//!
//! rustls calls this "verifying the client certificate". Whether the certificate is to be believed is not asked here
//! unless the operator wants bad ones rejected, since a refusal at this point can only be a TLS alert that no client's
//! developer understands; [`super::TrustStore`] judges it after the handshake, in any case. The signature itself is
//! always checked, for every certificate.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, PeerMisbehaved, SignatureScheme};

use super::settings::Unfit;
use super::{TrustStore, key};
use crate::clock::Clock;
use crate::identity::Reason;

/// Asks for a certificate, and checks proof of possession.
#[derive(Debug)]
pub(super) struct PossessionVerifier {
    algorithms: WebPkiSupportedAlgorithms,
    hints: Vec<DistinguishedName>,
    absent: Unfit,
    /// Where bad certificates are rejected.
    judge: Option<(Arc<TrustStore>, Clock)>,
}

/// A certificate that makes an end of the handshake, and has no alert of its own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UnusableCertificate(pub(super) Reason);

impl PossessionVerifier {
    /// Clients choose their certificate by the names of the authorities in `trust`.
    pub(super) fn new(
        provider: &CryptoProvider,
        trust: &Arc<TrustStore>,
        absent: Unfit,
        invalid: Unfit,
        clock: &Clock,
    ) -> Self {
        let judge = (invalid == Unfit::Reject).then(|| (Arc::clone(trust), clock.clone()));
        Self { algorithms: provider.signature_verification_algorithms, hints: trust.hints(), absent, judge }
    }
}

impl ClientCertVerifier for PossessionVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.absent == Unfit::Reject
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        usable_key(end_entity)?;
        if let Some((trust, clock)) = &self.judge {
            let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
            trust.judge(&chain, clock.now()).map_err(unfit)?;
        }
        Ok(ClientCertVerified::assertion())
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

/// The error whose alert comes closest to the reason.
fn unfit(reason: Reason) -> rustls::Error {
    match ALERTS.iter().find(|(alerted, _)| *alerted == reason) {
        Some((_, error)) => error.clone().into(),
        None => unusable(reason),
    }
}

/// The reason that an error of the handshake stands for.
pub(super) fn reason_of(error: &rustls::Error) -> Option<Reason> {
    match error {
        rustls::Error::NoCertificatesPresented => Some(Reason::CertificateMissing),
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
            other.0.downcast_ref::<UnusableCertificate>().map(|certificate| certificate.0)
        }
        rustls::Error::InvalidCertificate(error) => {
            ALERTS.iter().find(|(_, known)| known == error).map(|(reason, _)| *reason)
        }
        _ => None,
    }
}

/// Reasons that have an error with an alert of their own in rustls; the others share `certificate_unknown`.
const ALERTS: [(Reason, CertificateError); 8] = [
    (Reason::Malformed, CertificateError::BadEncoding),
    (Reason::WrongUsage, CertificateError::InvalidPurpose),
    (Reason::Expired, CertificateError::Expired),
    (Reason::NotYetValid, CertificateError::NotValidYet),
    (Reason::UnknownIssuer, CertificateError::UnknownIssuer),
    (Reason::BadSignature, CertificateError::BadSignature),
    (Reason::Revoked, CertificateError::Revoked),
    (Reason::RevocationUnknown, CertificateError::UnknownRevocationStatus),
];

fn unusable(reason: Reason) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(UnusableCertificate(reason)))).into()
}

fn bad_signature(_: webpki::Error) -> rustls::Error {
    CertificateError::BadSignature.into()
}
