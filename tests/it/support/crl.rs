//! Revocation lists for the occasion.

use rcgen::{
    CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, Issuer, KeyIdMethod,
    KeyPair, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Identity;

/// A list that is right unless it is told otherwise.
pub struct Crl {
    params: CertificateRevocationListParams,
}

impl Crl {
    /// It revokes nobody, and is good for a day.
    pub fn new() -> Self {
        let now = OffsetDateTime::now_utc();
        Self {
            params: CertificateRevocationListParams {
                this_update: now - Duration::minutes(5),
                next_update: now + Duration::days(1),
                crl_number: SerialNumber::from(1),
                issuing_distribution_point: None,
                revoked_certs: Vec::new(),
                key_identifier_method: KeyIdMethod::Sha256,
            },
        }
    }

    /// It revokes this certificate, too.
    pub fn revoking(mut self, certificate: &CertificateDer<'_>) -> Self {
        let (_, certificate) = X509Certificate::from_der(certificate).unwrap();
        self.params.revoked_certs.push(RevokedCertParams {
            serial_number: SerialNumber::from_slice(certificate.raw_serial()),
            revocation_time: self.params.this_update,
            reason_code: None,
            invalidity_date: None,
        });
        self
    }

    pub fn revoking_client(self, identity: &Identity) -> Self {
        self.revoking(&identity.chain[0])
    }

    /// It was issued so many seconds ago and ends in so many.
    pub fn living(mut self, since: i64, until: i64) -> Self {
        let now = OffsetDateTime::now_utc();
        self.params.this_update = now - Duration::seconds(since);
        self.params.next_update = now + Duration::seconds(until);
        self
    }

    /// It speaks of these certificates of its issuer only.
    pub fn about(mut self, uri: &str, scope: Option<CrlScope>) -> Self {
        let distribution_point = CrlDistributionPoint { uris: vec![uri.to_owned()] };
        self.params.issuing_distribution_point = Some(CrlIssuingDistributionPoint { distribution_point, scope });
        self
    }

    pub fn pem(self, issuer: &Issuer<'_, KeyPair>) -> String {
        self.params.signed_by(issuer).unwrap().pem().unwrap()
    }

    pub fn der(self, issuer: &Issuer<'_, KeyPair>) -> Vec<u8> {
        self.params.signed_by(issuer).unwrap().der().to_vec()
    }
}
