//! Revocation lists: a serial number is found exactly when it stands in the list, a list that the CA did not sign tells
//! nothing, and the tool reads of it what the gateway does.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use mtls_gateway::clock::WallTime;
use mtls_gateway::identity::{Reason, hex_upper};
use mtls_gateway::pki::{Item, describe, revoked_on};
use mtls_gateway::tls::{CrlScope, PemSource, RevocationSettings, StaleCrl, TrustSettings, TrustStore};
use rustls_pki_types::CertificateDer;

use super::der;
use super::seeds::{NOW, Pki};

/// The property: for the bytes as a list, and for a list of serial numbers made from them that the CA signed.
pub fn check(data: &[u8]) {
    read(data, false);
    let serials: Vec<Vec<u8>> = data.chunks(5).take(64).map(serial).collect();
    let list = pki().list(&serials);
    read(&list, true);
    let (found, told) = judged(&list).expect("a list of rcgen's is read");
    let expected = serials.iter().any(|serial| *serial == [5]);
    assert_eq!(found.err(), expected.then_some(Reason::Revoked), "the client's number is on the list: {expected}");
    assert_eq!(told, expected);
}

fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(Pki::fixed)
}

/// Up to 20 bytes that are a number above zero; short inputs make short ones, which the client's is.
fn serial(chunk: &[u8]) -> Vec<u8> {
    let (&first, rest) = chunk.split_first().unwrap_or((&0, &[]));
    let length = usize::from(first >> 3 & 3);
    let mut serial = rest.get(..length).unwrap_or(rest).to_vec();
    serial.insert(0, (first & 7).max(1));
    if first >= 0xe0 {
        serial.resize(20, first);
    }
    serial
}

/// Whether the gateway lets the client in by this list, and whether the tool says that it is revoked; `None` when the
/// gateway does not take the list.
fn judged(list: &[u8]) -> Option<(Result<(), Reason>, bool)> {
    let store = open(list)?;
    let client = CertificateDer::from(pki().good[0].clone());
    let verdict = store.judge(&[client], WallTime::from_unix_seconds(NOW)).map(|_| ());
    let pem = format!("-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----\n", base64(list));
    let told = revoked_on(pem.as_bytes(), &pki().good[0]).is_ok_and(|found| found.is_some());
    Some((verdict, told))
}

fn open(list: &[u8]) -> Option<TrustStore> {
    let variable = |name: &str, value: String| PemSource::Environment { name: name.to_owned(), value };
    let trust = TrustSettings {
        ca: vec![variable("CA", pki().root_pem.clone())],
        max_chain_depth: 4,
        revocation: RevocationSettings {
            crl: vec![variable("CRL", base64(list))],
            crl_scope: CrlScope::Leaf,
            stale_crl: StaleCrl::Refuse,
            ..RevocationSettings::default()
        },
    };
    TrustStore::open(&trust).ok()
}

fn base64(bytes: &[u8]) -> String {
    mtls_gateway::identity::base64(bytes)
}

fn read(data: &[u8], is_signed: bool) {
    let described = describe(data, WallTime::from_unix_seconds(NOW));
    if data.first() != Some(&0x30) {
        return;
    }
    let Some(store) = open(data) else {
        assert!(!is_signed, "a list of the CA's is refused");
        return;
    };
    let [list] = store.revocation_lists() else { panic!("one list became several") };
    let serials = serials(data).expect("what is taken can be read by the letter");
    let numbers: BTreeSet<Vec<u8>> = serials.iter().map(|serial| number(serial).to_vec()).collect();
    assert_eq!(list.len(), numbers.len());
    assert_eq!(list.is_empty(), numbers.is_empty());
    for serial in &serials {
        assert!(list.revokes(serial) && list.revokes(number(serial)), "{serial:x?} is on the list");
        let mut next = serial.clone();
        *next.last_mut().unwrap() ^= 1;
        assert_eq!(list.revokes(&next), numbers.contains(number(&next)), "{next:x?}");
        next.push(0);
        assert_eq!(list.revokes(&next), numbers.contains(number(&next)), "{next:x?}");
    }
    if let Ok(items) = described {
        let [Item::Crl(crl)] = items.as_slice() else { panic!("a list is described as something else") };
        let shown: Vec<&str> = crl.revoked.iter().map(|entry| entry.serial.as_str()).collect();
        let expected: Vec<String> = serials
            .iter()
            .map(|serial| match serial.as_slice() {
                [0, rest @ ..] if !rest.is_empty() => hex_upper(rest),
                serial => hex_upper(serial),
            })
            .collect();
        assert_eq!(shown, expected, "the tool and the gateway read different entries");
    }
    // Nobody else's signature makes a list tell anything.
    if !is_signed && let Some((verdict, _)) = judged(data) {
        let signed = [vec![], vec![vec![5]], vec![vec![0x81, 2, 3], vec![6], vec![7; 20]]];
        if !signed.iter().any(|serials| pki().list(serials) == data) {
            assert_eq!(verdict.err(), Some(Reason::RevocationUnknown), "a list that nobody signed is believed");
        }
    }
}

fn number(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|&&byte| byte == 0).count();
    &serial[zeros..]
}

/// The serial numbers of a list, by RFC 5280 section 5.1: of the values after the dates, the one that is a sequence.
fn serials(list: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (0x30, content, []) = der::read(list)? else { return None };
    let (0x30, signed, _) = der::read(content)? else { return None };
    let fields = der::all(signed)?;
    let dates = fields.iter().rposition(|field| matches!(field.0, 0x17 | 0x18))?;
    let Some((0x30, entries)) = fields.get(dates + 1) else { return Some(Vec::new()) };
    let serial = |entry: (u8, &[u8])| match der::read(entry.1)? {
        (2, serial, _) => Some(serial.to_vec()),
        _ => None,
    };
    der::all(entries)?.into_iter().map(serial).collect()
}
