//! Whatever an issuer writes into a certificate, each dialect reads back to it, or leaves it out.

use std::sync::Arc;

use proptest::prelude::*;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

use super::*;

fn described(common_name: &str, uri: &str, dns: &str) -> (HeaderMap, Vec<u8>) {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap()), SanType::DnsName(dns.try_into().unwrap())];
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let facts = CertificateFacts::from_der(certificate.der()).unwrap();
    let every = [Dialect::Nginx, Dialect::Rfc9440, Dialect::Xfcc, Dialect::Alb, Dialect::Traefik];
    let path = [certificate.der().clone()];
    let client = ClientCert::Verified(Arc::new(facts.clone()));
    (client_cert_fields(every.to_vec(), &facts, &client, &path), certificate.der().to_vec())
}

/// The pairs of one element, by Envoy's rules.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').unwrap();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, after) = quoted.split_once('"').unwrap();
                (value, after)
            }
            None => after.split_at(after.find([';', ',']).unwrap_or(after.len())),
        };
        assert!(after.is_empty() || after.starts_with(';'), "{text}");
        pairs.push((key.to_owned(), value.to_owned()));
        rest = after.strip_prefix(';').unwrap_or(after);
    }
    pairs
}

/// Text of `\HH` escapes.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'\\' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_same_dialects_in_another_order_are_one_set() {
    let mut dialects = Dialects::default();
    assert_eq!(dialects.place(Vec::new()), None);
    assert_eq!(dialects.place(vec![Dialect::Alb, Dialect::Nginx]), Some(0));
    assert_eq!(dialects.place(vec![Dialect::Nginx, Dialect::Alb]), Some(0));
    assert_eq!(dialects.place(vec![Dialect::Nginx]), Some(1));
}

proptest! {
    #[test]
    fn what_is_written_reads_back_to_the_same(
        common_name in "(\\PC|[\"\\\\,;=\u{0}\r\n]){1,12}",
        uri in "[ -~\u{0}\r\n]{1,12}",
        dns in "[ -~\u{0}\r\n]{1,12}",
    ) {
        let (headers, der) = described(&common_name, &uri, &dns);
        for (name, value) in &headers {
            prop_assert!(value.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte)), "{name}: {value:?}");
        }
        let text = |name: &str| headers[name].to_str().unwrap();
        prop_assert_eq!(text("client-cert"), format!(":{}:", crate::identity::base64(&der)));

        let pairs = pairs(text("x-forwarded-client-cert"));
        let all = |key: &str| pairs.iter().filter(|(other, _)| other == key).map(|(_, value)| value.as_str()).collect::<Vec<_>>();
        prop_assert_eq!(all("Subject").into_iter().map(unescaped).collect::<Vec<_>>(), [format!("CN={common_name}")]);
        prop_assert!(all("URI").is_empty() || all("URI") == [uri.as_str()]);
        prop_assert!(all("By").is_empty() || all("By") == [uri.as_str()]);
        prop_assert!(all("DNS").is_empty() || all("DNS") == [dns.as_str()]);
        prop_assert_eq!(pairs.len(), 2 + all("URI").len() + all("By").len() + all("DNS").len());
    }
}
