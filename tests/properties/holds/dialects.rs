//! What an upstream is told of a client, in every dialect: each field reads back, by the rules of those who read it, to
//! what the certificate says, or is not there. No name ends a field, a value, a quotation or an element of a list.

use std::sync::Arc;

use http::HeaderMap;
use mtls_gateway::identity::{CertificateFacts, ClientCert, Reason, SubjectAltName};
use mtls_gateway::proxy::{Dialect, client_cert_fields};
use rustls_pki_types::CertificateDer;

use super::names::{self, Name, Value};
use super::{certificate, der};

/// gunicorn refuses a longer line.
const LONGEST_FIELD: usize = 8190;
const ALL: [Dialect; 5] = [Dialect::Nginx, Dialect::Rfc9440, Dialect::Xfcc, Dialect::Alb, Dialect::Traefik];

/// The property: for the bytes as a certificate, and for one with names made from them.
pub fn check(data: &[u8]) {
    tell(data);
    tell(&certificate::made_from(data));
}

fn tell(bytes: &[u8]) {
    let Ok(facts) = CertificateFacts::from_der(bytes) else { return };
    let path: Vec<CertificateDer<'static>> = [bytes, &[0x30, 0], bytes].map(|one| one.to_vec().into()).to_vec();
    let refused = ClientCert::Refused { reason: Reason::Expired, shown: Some(Arc::new(facts.clone())) };
    for stranger in [refused, ClientCert::NotPresented, ClientCert::NotRequested] {
        let told = client_cert_fields(ALL.to_vec(), &facts, &stranger, &path);
        assert!(told.keys().eq(["x-ssl-client-verify"].iter()), "a stranger is described: {told:?}");
    }
    let client = ClientCert::Verified(Arc::new(facts.clone()));
    let all = client_cert_fields(ALL.to_vec(), &facts, &client, &path);
    let mut apart = HeaderMap::new();
    for dialect in ALL {
        apart.extend(client_cert_fields(vec![dialect], &facts, &client, &path));
    }
    assert_eq!(all, apart, "dialects do not mix");
    for (name, value) in &all {
        assert!(value.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte)), "{name}: {value:?}");
        assert!(name.as_str().len() + value.len() + 4 <= LONGEST_FIELD, "{name} is too long");
        assert!(mtls_gateway::proxy::is_protected(name.as_str()), "{name} could be sent by a client");
    }
    let told = Told { fields: &all, facts: &facts, der: bytes };
    told.nginx();
    told.rfc9440(&path);
    told.xfcc();
    told.alb(&path);
    told.traefik();
}

struct Told<'a> {
    fields: &'a HeaderMap,
    facts: &'a CertificateFacts,
    der: &'a [u8],
}

impl Told<'_> {
    fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} twice");
        value
    }

    /// Subject and issuer by the letters of the DER, where they can be read so.
    fn names(&self) -> Option<[Name; 2]> {
        let (_, certificate, _) = der::read(self.der)?;
        let (_, signed, _) = der::read(certificate)?;
        let fields = der::all(signed)?;
        let first = usize::from(fields.first()?.0 == 0xa0);
        Some([names::from_der(fields.get(first + 4)?.1)?, names::from_der(fields.get(first + 2)?.1)?])
    }

    fn is_name(&self, text: &str, which: usize) {
        let read = names::from_text(text);
        if let Some(names) = self.names() {
            assert_eq!(read, names[which], "{text:?}");
        }
    }

    fn uris(&self) -> Vec<&str> {
        let of_uri = |uri: &&str| {
            !uri.is_empty()
                && uri.chars().all(|one| one.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(one))
        };
        let uris = self.facts.subject_alt_names.iter().filter_map(|name| match name {
            SubjectAltName::Uri(uri) => Some(uri.as_str()),
            _ => None,
        });
        uris.filter(of_uri).collect()
    }

    fn dns_names(&self) -> Vec<&str> {
        let of_name = |name: &&str| {
            !name.is_empty() && name.chars().all(|one| one.is_ascii_alphanumeric() || "-._*".contains(one))
        };
        let names = self.facts.subject_alt_names.iter().filter_map(|name| match name {
            SubjectAltName::Dns(name) => Some(name.as_str()),
            _ => None,
        });
        names.filter(of_name).collect()
    }

    fn nginx(&self) {
        let own = self.fields.iter().filter(|(name, _)| name.as_str().starts_with("x-ssl-client-"));
        let length: usize = own.map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        assert!(length <= 4096, "nginx's fields have {length} bytes");
        assert_eq!(self.field("x-ssl-client-verify"), Some("SUCCESS"));
        let truncated = self.field("x-ssl-client-truncated");
        assert!(matches!(truncated, None | Some("1")));
        let candidates = [
            ("x-ssl-client-serial", self.facts.serial.clone()),
            ("x-ssl-client-sha256", self.facts.sha256.clone()),
            ("x-ssl-client-s-dn", self.facts.subject.clone()),
            ("x-ssl-client-i-dn", self.facts.issuer.clone()),
            ("x-ssl-client-san", self.facts.san_text()),
        ];
        for (name, expected) in candidates {
            match self.field(name) {
                Some(told) => assert_eq!(told, expected, "{name}"),
                None => assert!(expected.is_empty() || truncated.is_some(), "{name} is missing"),
            }
        }
        for (which, name) in ["x-ssl-client-s-dn", "x-ssl-client-i-dn"].into_iter().enumerate() {
            if let Some(text) = self.field(name) {
                self.is_name(text, which);
            }
        }
    }

    /// A byte sequence, and a list of them (RFC 8941 sections 3.1 and 3.3.5).
    fn rfc9440(&self, path: &[CertificateDer<'_>]) {
        let bytes = |item: &str| {
            let inner = item.strip_prefix(':').and_then(|rest| rest.strip_suffix(':')).expect("colons around");
            names::unbase64(inner)
        };
        let Some(leaf) = self.field("client-cert") else {
            assert!(self.der.len() > 6000, "a certificate of {} bytes is not told", self.der.len());
            assert_eq!(self.field("client-cert-chain"), None, "a chain without the certificate that it belongs to");
            return;
        };
        assert_eq!(bytes(leaf), self.der);
        match self.field("client-cert-chain") {
            Some(chain) => {
                let chain: Vec<_> = chain.split(", ").map(bytes).collect();
                assert_eq!(chain, path[1..].iter().map(|one| one.to_vec()).collect::<Vec<_>>());
            }
            None => assert!(self.der.len() > 5500, "a chain that fits is not told"),
        }
    }

    /// Envoy's grammar: elements between commas, pairs between semicolons, a value in quotes where it holds either.
    fn xfcc(&self) {
        let Some(text) = self.field("x-forwarded-client-cert") else {
            assert!(self.facts.subject.len() + self.uris().concat().len() > 2000, "a client that fits is not told");
            return;
        };
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (key, after) = rest.split_once('=').unwrap();
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap(),
                None => after.split_at(after.find([';', ',', '=', '"']).unwrap_or(after.len())),
            };
            // A reader that takes a backslash before a quote for an escape must read the same.
            assert!(!value.ends_with('\\'), "{text:?}");
            pairs.push((key, value));
            rest = match after.strip_prefix(';') {
                Some(rest) => {
                    assert!(!rest.is_empty(), "a semicolon at the end of {text:?}");
                    rest
                }
                None => {
                    assert!(after.is_empty(), "a second element, or a value that goes on: {text:?}");
                    after
                }
            };
        }
        let all = |key: &str| pairs.iter().filter(|pair| pair.0 == key).map(|pair| pair.1).collect::<Vec<_>>();
        assert_eq!(all("Hash"), [self.facts.sha256.as_str()]);
        let [subject] = all("Subject")[..] else { panic!("not one subject in {text:?}") };
        self.is_name(subject, 0);
        assert_eq!(all("By"), self.uris());
        let (uris, dns) = (all("URI"), all("DNS"));
        let whole = uris == self.uris() && dns == self.dns_names();
        assert!(whole || uris.is_empty() && dns.is_empty(), "some of the names for all of them: {text:?}");
        assert_eq!(pairs.len(), 2 + all("By").len() + uris.len() + dns.len(), "{text:?}");
    }

    fn alb(&self, path: &[CertificateDer<'_>]) {
        for (which, name) in ["x-amzn-mtls-clientcert-subject", "x-amzn-mtls-clientcert-issuer"].into_iter().enumerate()
        {
            if let Some(text) = self.field(name) {
                self.is_name(text, which);
            }
        }
        let certificates = |name: &str| -> Option<Vec<Vec<u8>>> {
            let decoded = String::from_utf8(names::unpercent(self.field(name)?)).unwrap();
            let blocks = decoded.split_inclusive("-----END CERTIFICATE-----\n");
            Some(
                blocks
                    .map(|block| {
                        let inner = block.strip_prefix("-----BEGIN CERTIFICATE-----\n").unwrap();
                        let inner = inner.strip_suffix("-----END CERTIFICATE-----\n").unwrap();
                        assert!(inner.lines().all(|line| line.len() <= 64 && !line.is_empty()));
                        names::unbase64(&inner.replace('\n', ""))
                    })
                    .collect(),
            )
        };
        if let Some(leaf) = certificates("x-amzn-mtls-clientcert-leaf") {
            assert_eq!(leaf, [self.der.to_vec()]);
        }
        if let Some(chain) = certificates("x-amzn-mtls-clientcert") {
            assert_eq!(chain, path.iter().map(|one| one.to_vec()).collect::<Vec<_>>());
        }
    }

    fn traefik(&self) {
        if let Some(text) = self.field("x-forwarded-tls-client-cert") {
            assert_eq!(names::unbase64(text), self.der);
        }
        let Some(text) = self.field("x-forwarded-tls-client-cert-info") else { return };
        let text = String::from_utf8(names::unpercent(&text.replace('+', "%20"))).unwrap();
        let mut seen = Vec::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (key, after) = rest.split_once("=\"").unwrap();
            let (value, after) = after.split_once('"').unwrap();
            match key {
                "Subject" => self.is_short_name(value, 0),
                "Issuer" => self.is_short_name(value, 1),
                "SerialNumber" => assert!(value.bytes().all(|digit| digit.is_ascii_digit()), "{value:?}"),
                "NB" | "NA" => assert!(value.parse::<i64>().is_ok(), "{value:?}"),
                "SAN" => self.are_alternative_names(value),
                _ => panic!("a part {key:?} in {text:?}"),
            }
            assert!(!seen.contains(&key), "{key} twice in {text:?}");
            seen.push(key);
            assert!(after.is_empty() || after.starts_with(';'), "a value goes on after its end: {text:?}");
            rest = after.strip_prefix(';').unwrap_or(after);
        }
    }

    /// Traefik's own order: by type; here every attribute told must be one of the certificate's.
    fn is_short_name(&self, text: &str, which: usize) {
        const TYPES: [(&str, &str); 8] = [
            ("DC", "0.9.2342.19200300.100.1.25"),
            ("C", "2.5.4.6"),
            ("ST", "2.5.4.8"),
            ("L", "2.5.4.7"),
            ("O", "2.5.4.10"),
            ("OU", "2.5.4.11"),
            ("SN", "2.5.4.5"),
            ("CN", "2.5.4.3"),
        ];
        let Some(names) = self.names() else { return };
        let mut known: Vec<_> = names[which].iter().flatten().collect();
        for part in text.split(',') {
            let (short, value) = part.split_once('=').unwrap_or_else(|| panic!("{part:?} of {text:?} is no attribute"));
            let oid = TYPES.iter().find(|row| row.0 == short).unwrap_or_else(|| panic!("a type {short:?}")).1;
            let mut bytes = Vec::new();
            let mut rest = value.as_bytes();
            while let Some((&first, after)) = rest.split_first() {
                assert!(first != b'"' && first != b';', "{text:?}");
                let taken = if first == b'\\' { 2 } else { 0 };
                bytes.extend(if taken == 2 {
                    names::unhex(std::str::from_utf8(&after[..2]).unwrap())
                } else {
                    vec![first]
                });
                rest = &after[taken..];
            }
            let value = String::from_utf8(bytes).unwrap();
            let place = known.iter().position(|(kind, known)| {
                kind == oid
                    && match known {
                        Value::Text(text) => *text == value,
                        // RFC 4514 has no short name for serialNumber.
                        Value::Der(_) => short == "SN",
                    }
            });
            known.remove(place.unwrap_or_else(|| panic!("{short}={value:?} is not in the certificate")));
        }
    }

    fn are_alternative_names(&self, text: &str) {
        let known: Vec<String> = self
            .facts
            .subject_alt_names
            .iter()
            .map(|name| match name {
                SubjectAltName::Dns(text) | SubjectAltName::Uri(text) | SubjectAltName::Email(text) => text.clone(),
                SubjectAltName::Ip(address) => address.to_string(),
            })
            .collect();
        for name in text.split(',') {
            assert!(known.iter().any(|known| known == name), "{name:?} of {text:?} is not in the certificate");
        }
    }
}
