//! The certificates that are judged and described: a root, an authority below it, a client of each, and revocation
//! lists.

use mtls_gateway::identity::{CertificateFacts, base64};
use mtls_gateway::tls::{PemSource, RevocationSettings, TrustSettings, TrustStore};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RevokedCertParams,
    RsaKeySize, SanType, SerialNumber, date_time_ymd,
};
use rustls_pki_types::CertificateDer;

/// The time at which everything is judged: 2026-06-01.
pub(crate) const NOW: i64 = 1_780_272_000;

/// The kind of every key of a set.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Keys {
    P256,
    Rsa2048,
}

/// A root with an authority below it.
pub(crate) struct Pki {
    keys: Keys,
    root: CertifiedIssuer<'static, KeyPair>,
    below: CertifiedIssuer<'static, KeyPair>,
}

impl Keys {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::Rsa2048 => "RSA-2048",
        }
    }

    fn generate(self) -> KeyPair {
        match self {
            Self::P256 => KeyPair::generate().unwrap(),
            Self::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap(),
        }
    }
}

impl Pki {
    pub(crate) fn new(keys: Keys) -> Self {
        let root = CertifiedIssuer::self_signed(authority("root"), keys.generate()).unwrap();
        let below = CertifiedIssuer::signed_by(authority("below"), keys.generate(), &root).unwrap();
        Self { keys, root, below }
    }

    /// A client of the root's: all of its chain.
    pub(crate) fn below_root(&self) -> Vec<CertificateDer<'static>> {
        vec![client().signed_by(&self.keys.generate(), &self.root).unwrap().der().clone()]
    }

    /// A client of the authority below the root, and that authority.
    pub(crate) fn below_intermediate(&self) -> Vec<CertificateDer<'static>> {
        let client = client().signed_by(&self.keys.generate(), &self.below).unwrap();
        vec![client.der().clone(), self.below.der().clone()]
    }

    /// Trusts the root, and no revocation list is asked.
    pub(crate) fn trust(&self) -> TrustStore {
        self.open(Vec::new())
    }

    /// Trusts the root, and asks a list of its that revokes these serial numbers.
    pub(crate) fn trust_with_list(&self, revoked: impl Iterator<Item = u64>) -> TrustStore {
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 5, 1),
            next_update: date_time_ymd(2027, 5, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .map(|number| RevokedCertParams {
                    serial_number: SerialNumber::from_slice(&serial(number)),
                    revocation_time: date_time_ymd(2026, 5, 1),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.root).unwrap();
        self.open(vec![source("CRL", base64(list.der()))])
    }

    fn open(&self, crl: Vec<PemSource>) -> TrustStore {
        let trust = TrustSettings {
            ca: vec![source("CA", self.root.pem())],
            max_chain_depth: 4,
            revocation: RevocationSettings { crl, ..RevocationSettings::default() },
        };
        TrustStore::open(&trust).unwrap()
    }
}

/// What the first certificate of a chain says.
pub(crate) fn facts_of(chain: &[CertificateDer<'_>]) -> CertificateFacts {
    CertificateFacts::from_der(&chain[0]).unwrap()
}

/// The serial number of the client's; the others are those of nobody.
pub(crate) const OF_CLIENT: u64 = 0;

/// As long as an authority's usually are, and in no order.
pub(crate) fn serial(number: u64) -> [u8; 16] {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let mut serial = [0x41; 16];
    serial[1..9].copy_from_slice(&spread);
    serial
}

fn source(name: &str, value: String) -> PemSource {
    PemSource::Environment { name: name.to_owned(), value }
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Example");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn client() -> CertificateParams {
    let mut params = named("orders");
    params.serial_number = Some(SerialNumber::from_slice(&serial(OF_CLIENT)));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names = vec![
        SanType::DnsName("orders.partner.example".try_into().unwrap()),
        SanType::URI("spiffe://example.org/ns/shop/sa/orders".try_into().unwrap()),
        SanType::IpAddress([10, 0, 0, 1].into()),
    ];
    params
}
