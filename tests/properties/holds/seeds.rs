//! Inputs to begin with: what a CA with fixed keys signed, which is the same in each run, and what people write.

use std::collections::BTreeMap;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{certificate, der};

/// The time at which everything is judged: 2026-06-01.
pub const NOW: i64 = 1_780_272_000;
/// What protects the files that have a password.
pub const PASSWORD: &str = "secret";

/// A root, a CA below it, and a client of each.
pub struct Pki {
    /// The root's certificate.
    pub root_pem: String,
    /// The CA's below it, in DER.
    pub intermediate: Vec<u8>,
    /// The clients' certificates in DER: all that is to be believed.
    pub good: Vec<Vec<u8>>,
    root: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    /// The same in each run: Ed25519 signs the same in the same way.
    pub fn fixed() -> Self {
        let root = CertifiedIssuer::self_signed(authority("root"), key(1)).unwrap();
        let below = CertifiedIssuer::signed_by(authority("below"), key(2), &root).unwrap();
        let good = [client(5).signed_by(&key(3), &root), client(6).signed_by(&key(3), &below)];
        Self {
            root_pem: root.pem(),
            intermediate: below.der().to_vec(),
            good: good.into_iter().map(|client| client.unwrap().der().to_vec()).collect(),
            root,
        }
    }

    /// A list of the root's that revokes these.
    pub fn list(&self, serials: &[Vec<u8>]) -> Vec<u8> {
        let entry = |serial: &Vec<u8>| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: date_time_ymd(2026, 5, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 5, 1),
            next_update: date_time_ymd(2027, 5, 1),
            crl_number: SerialNumber::from(7),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.root).unwrap().der().to_vec()
    }
}

/// A key that is made of this byte.
pub fn key(byte: u8) -> KeyPair {
    let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let der = [&prefix[..], &[byte; 32]].concat();
    KeyPair::try_from(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der))).unwrap()
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.serial_number = Some(SerialNumber::from(1));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn client(serial: u64) -> CertificateParams {
    let mut params = named("client, the \"first\" + 1");
    params.distinguished_name.push(DnType::OrganizationName, "Größe");
    params.serial_number = Some(SerialNumber::from(serial));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names = vec![
        SanType::DnsName("client.example".try_into().unwrap()),
        SanType::URI("spiffe://example.org/a,b;c=d".try_into().unwrap()),
        SanType::Rfc822Name("a@example.org".try_into().unwrap()),
        SanType::IpAddress([10, 0, 0, 1].into()),
    ];
    params
}

/// A file of certificate and key, without a password and without a MAC, so that a changed byte goes deep.
pub fn open_pkcs12() -> Vec<u8> {
    const BAG: [u8; 12] = [6, 11, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1];
    const DATA: [u8; 11] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    const X509: [u8; 12] = [6, 10, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 22, 1];
    let bag = |kind: u8, value: &[u8]| der::write(0x30, &[&BAG, &[kind], &der::write(0xa0, &[value])]);
    let certificate = der::write(0xa0, &[&der::write(4, &[&Pki::fixed().good[0]])]);
    let certificate = bag(3, &der::write(0x30, &[&X509, &certificate]));
    let key = bag(1, &key(3).serialize_der());
    let info = |content: &[u8]| der::write(0x30, &[&DATA, &der::write(0xa0, &[&der::write(4, &[content])])]);
    let safe = der::write(0x30, &[&info(&der::write(0x30, &[&certificate, &key]))]);
    der::write(0x30, &[&[2, 1, 3], &info(&safe)])
}

/// The same with a key in a wrapping that a password would open, of one round: the ciphertext is garbage.
fn wrapped_pkcs12() -> Vec<u8> {
    const DATA: [u8; 11] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    const BAG: [u8; 13] = [6, 11, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 2];
    let bag = der::write(0x30, &[&BAG, &der::write(0xa0, &[&encrypted_key()])]);
    let info = |content: &[u8]| der::write(0x30, &[&DATA, &der::write(0xa0, &[&der::write(4, &[content])])]);
    let safe = der::write(0x30, &[&info(&der::write(0x30, &[&bag]))]);
    der::write(0x30, &[&[2, 1, 3], &info(&safe)])
}

/// PBES2 with PBKDF2 and AES-256.
fn encrypted_key() -> Vec<u8> {
    let hash = der::write(0x30, &[&[6, 8, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 9, 5, 0]]);
    let stretching = der::write(0x30, &[&[4, 8, 1, 2, 3, 4, 5, 6, 7, 8, 2, 1, 1], &hash]);
    let stretching = der::write(0x30, &[&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12], &stretching]);
    let cipher = der::write(0x30, &[&[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 42], &der::write(4, &[&[7; 16]])]);
    let both = der::write(0x30, &[&stretching, &cipher]);
    let algorithm = der::write(0x30, &[&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13], &both]);
    der::write(0x30, &[&algorithm, &der::write(4, &[&[9; 32]])])
}

/// What each target begins with.
pub fn all() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let pki = Pki::fixed();
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
    let mut certificates = pki.good.clone();
    certificates.extend([pki.intermediate.clone(), pki.root.der().to_vec()]);
    let names = b"\x04\x00\x05a,b\"c\x09\x03d+e\xc0\x03f;g\x2a\x04\0h\0i\x03\x00\x07x,y.org\x01\x09urn:a;b,c\x03\x04\x0a\0\0\x01";
    let made: Vec<Vec<u8>> = [&names[..], b"\x01\x00\x08\xc3\xa9\r\n\0 \\#\x01\x21\x03/=|"]
        .iter()
        .map(|names| [&[3, 9, 9, 9][..], names].concat())
        .collect();
    let lists = [vec![], vec![vec![5]], vec![vec![0x81, 2, 3], vec![6], vec![7; 20]]];
    let mut pem = texts(&[
        "Bag Attributes\r\n-----BEGIN X509 CRL-----\r\nAQID\r\n-----END X509 CRL-----\r\ntail",
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00112233445566778899aabbccddeeff\n\nAAAAAAAAAAAAAAAAAAAAAA==\n-----END EC PRIVATE KEY-----\n",
        "\u{feff}-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n",
    ]);
    pem.push(format!("{}{}", pki.root_pem, key(3).serialize_pem()).into_bytes());
    let wrapped = mtls_gateway::identity::base64(&encrypted_key());
    pem.push(
        format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{wrapped}\n-----END ENCRYPTED PRIVATE KEY-----\n").into_bytes(),
    );
    let mut configurations = vec![include_bytes!("../../../config/reference.toml").to_vec()];
    configurations.extend([
        include_bytes!("../../../config/minimal.toml").to_vec(),
        include_bytes!("../../../config/policy.toml").to_vec(),
        include_bytes!("../../../config/ecs.toml").to_vec(),
        b"[tls]\ncertificate = { env = \"SET\" }\nprivate_key = \"${SET}\"\n[[route]]\npath = \"/*\"\n".to_vec(),
    ]);
    let mut dialects = certificates.clone();
    dialects.extend(made.iter().cloned());
    dialects.extend(made.iter().map(|names| certificate::made_from(names)));
    BTreeMap::from([
        ("certificate", certificates),
        ("config", configurations),
        ("dialects", dialects),
        ("p12", vec![open_pkcs12(), wrapped_pkcs12()]),
        (
            "path",
            texts(&[
                "/",
                "/api/v1/x",
                "/public/..%2fadmin",
                "/a/./b/../c;x=1/..;y/d",
                "/a%5cb/%2E%2e/%61",
                "/a\\b",
                "/%00",
                "//..//",
                "/a%252Fb/%zz",
            ]),
        ),
        ("pem", pem),
        ("answer", super::answer::seeds()),
        ("request", [made, super::request::seeds()].concat()),
        ("revocation", lists.iter().map(|serials| pki.list(serials)).chain([vec![5, 1, 2, 3]]).collect()),
    ])
}
