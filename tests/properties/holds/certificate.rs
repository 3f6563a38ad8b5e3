//! A certificate that anybody may have written: what is read of it is what it says by another reader, every text made
//! of it reads back to the same, and only what a trusted CA signed is believed.

use std::sync::OnceLock;

use mtls_gateway::clock::WallTime;
use mtls_gateway::identity::{CertificateFacts, SubjectAltName};
use mtls_gateway::pki::{Item, describe};
use mtls_gateway::tls::TrustStore;
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::seeds::{self, Pki};
use super::{der, names};

/// The property.
pub fn check(data: &[u8]) {
    let now = WallTime::from_unix_seconds(seeds::NOW);
    let der = CertificateDer::from(data);
    let facts = CertificateFacts::from_der(data);
    // Whoever wrote it: describing it, for `gateway certs show`, ends, and agrees on whether it is a certificate.
    let described = describe(data, now);
    if let (Ok(facts), Ok(items)) = (&facts, &described) {
        let [Item::Certificate(item)] = items.as_slice() else { panic!("described as something else") };
        assert_eq!((&item.subject, &item.serial, &item.sha256), (&facts.subject, &facts.serial, &facts.sha256));
        assert!(item.subject_alt_names.iter().all(|name| name.bytes().all(|byte| (0x20..0x7f).contains(&byte))));
    }
    if let Ok(facts) = &facts {
        texts_read_back(facts);
        if let Ok(other) = EndEntityCert::try_from(&der) {
            agree(facts, &other);
        }
    }
    let store = trust();
    for chain in [&[der.clone()][..], &[der.clone(), CertificateDer::from(pki().intermediate.clone())]] {
        if let Ok(believed) = store.judge(chain, now) {
            assert!(pki().good.iter().any(|good| good == data), "believed without a signature of the CA");
            assert_eq!(Some(&*believed.facts), facts.as_ref().ok());
        }
    }
}

fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(Pki::fixed)
}

fn trust() -> &'static TrustStore {
    static STORE: OnceLock<TrustStore> = OnceLock::new();
    STORE.get_or_init(|| TrustStore::from_pem(&[("ca".to_owned(), pki().root_pem.clone().into_bytes())], 4).unwrap())
}

/// webpki reads certificates for rustls, with another parser and its own idea of what is DER.
fn agree(facts: &CertificateFacts, other: &EndEntityCert<'_>) {
    let serial = other.serial();
    let zeros = serial.iter().take_while(|&&byte| byte == 0).count().min(serial.len().saturating_sub(1));
    assert_eq!(names::unhex(&facts.serial), &serial[zeros.min(1)..], "serial");
    for (text, content) in [(&facts.subject, other.subject()), (&facts.issuer, other.issuer())] {
        if let Some(name) = names::from_der(content) {
            assert_eq!(names::from_text(text), name, "{text:?}");
        }
    }
    let expected: Vec<&str> = other.valid_dns_names().collect();
    let dns: Vec<&str> = facts
        .subject_alt_names
        .iter()
        .filter_map(|name| match name {
            SubjectAltName::Dns(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    // webpki leaves out what is no DNS name; what it has stands in ours in the same order.
    let mut ours = dns.iter();
    for name in expected {
        assert!(ours.any(|one| *one == name), "{name:?} is not among {dns:?}");
    }
}

fn texts_read_back(facts: &CertificateFacts) {
    for text in [&facts.subject, &facts.issuer] {
        names::from_text(text);
    }
    assert!(facts.serial.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F')));
    let text = facts.san_text();
    assert!(text.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{text:?}");
    let shown: Vec<&str> = if text.is_empty() { Vec::new() } else { text.split(',').collect() };
    assert_eq!(shown.len(), facts.subject_alt_names.len(), "a name became two, or none: {text:?}");
    for (shown, name) in shown.iter().zip(&facts.subject_alt_names) {
        let (kind, value) = match name {
            SubjectAltName::Dns(value) => ("DNS", value.clone()),
            SubjectAltName::Uri(value) => ("URI", value.clone()),
            SubjectAltName::Email(value) => ("EMAIL", value.clone()),
            SubjectAltName::Ip(address) => ("IP", address.to_string()),
        };
        let (shown_kind, shown_value) = shown.split_once(':').unwrap();
        assert_eq!((shown_kind, names::unpercent(shown_value)), (kind, value.into_bytes()));
    }
}

/// A certificate with names made from `data`, signed by nobody: reading it is all that anybody does with it.
pub fn made_from(data: &[u8]) -> Vec<u8> {
    let mut taken = Taken(data);
    let algorithm = der::write(0x30, &[&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]);
    let serial = der::write(2, &[&[0x11], taken.some(18)]);
    let issuer = taken.name();
    let subject = taken.name();
    let validity = der::write(0x30, &[b"\x17\x0d260101000000Z", b"\x17\x0d360101000000Z"]);
    let point = [&[0, 4][..], &[7; 64]].concat();
    let curve =
        der::write(0x30, &[&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]]);
    let key = der::write(0x30, &[&curve, &der::write(3, &[&point])]);
    let alternative = taken.alternative_names();
    let alternative = der::write(0x30, &[&[6, 3, 0x55, 0x1d, 0x11], &der::write(4, &[&alternative])]);
    let extensions = der::write(0xa3, &[&der::write(0x30, &[&alternative])]);
    let signed = [&[0xa0, 3, 2, 1, 2][..], &serial, &algorithm, &issuer, &validity, &subject, &key, &extensions];
    der::write(0x30, &[&der::write(0x30, &signed), &algorithm, &[3, 2, 0, 0]])
}

/// Bytes to be used up.
struct Taken<'a>(&'a [u8]);

impl<'a> Taken<'a> {
    fn byte(&mut self) -> usize {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        usize::from(*first)
    }

    /// At most so many.
    fn some(&mut self, most: usize) -> &'a [u8] {
        let length = (self.byte() % (most + 1)).min(self.0.len());
        let (some, rest) = self.0.split_at(length);
        self.0 = rest;
        some
    }

    fn name(&mut self) -> Vec<u8> {
        const TYPES: [&[u8]; 8] = [
            &[6, 3, 0x55, 4, 3],
            &[6, 3, 0x55, 4, 10],
            &[6, 3, 0x55, 4, 11],
            &[6, 3, 0x55, 4, 6],
            &[6, 3, 0x55, 4, 5],
            &[6, 3, 0x55, 4, 97],
            &[6, 10, 9, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25],
            &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1],
        ];
        const STRINGS: [u8; 8] = [12, 12, 19, 22, 20, 30, 28, 4];
        let mut sets: Vec<Vec<u8>> = Vec::new();
        for _ in 0..self.byte() % 5 {
            let form = self.byte();
            let value = der::write(STRINGS[form / 8 % 8], &[self.some(40)]);
            let attribute = der::write(0x30, &[TYPES[form % 8], &value]);
            match sets.last_mut() {
                Some(set) if form >= 192 => set.extend(attribute),
                _ => sets.push(attribute),
            }
        }
        let sets: Vec<u8> = sets.iter().flat_map(|set| der::write(0x31, &[set])).collect();
        der::write(0x30, &[&sets])
    }

    fn alternative_names(&mut self) -> Vec<u8> {
        const KINDS: [u8; 4] = [0x82, 0x86, 0x81, 0x87];
        let names = (0..self.byte() % 6).flat_map(|_| der::write(KINDS[self.byte() % 4], &[self.some(40)]));
        let names: Vec<u8> = names.collect();
        der::write(0x30, &[&names])
    }
}
