//! The dialect `nginx`: one field for each thing that nginx's own variables tell, and all of them small.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::rfc3339;
use crate::identity::{CertificateFacts, ClientCert};

/// All of them together stay below this.
const LONGEST: usize = 4 * 1024;

static VERIFY: HeaderName = HeaderName::from_static("x-ssl-client-verify");
static SUBJECT: HeaderName = HeaderName::from_static("x-ssl-client-s-dn");
static ISSUER: HeaderName = HeaderName::from_static("x-ssl-client-i-dn");
static SERIAL: HeaderName = HeaderName::from_static("x-ssl-client-serial");
static SHA256: HeaderName = HeaderName::from_static("x-ssl-client-sha256");
static NOT_AFTER: HeaderName = HeaderName::from_static("x-ssl-client-not-after");
static SAN: HeaderName = HeaderName::from_static("x-ssl-client-san");
static TRUNCATED: HeaderName = HeaderName::from_static("x-ssl-client-truncated");

/// The only dialect that says something of those who are not believed, too.
pub(super) fn write(client: &ClientCert, fields: &mut HeaderMap) {
    let verify = match client {
        ClientCert::Verified(_) => HeaderValue::from_static("SUCCESS"),
        ClientCert::NotRequested | ClientCert::NotPresented => HeaderValue::from_static("NONE"),
        ClientCert::Refused { reason, .. } => value(&format!("FAILED:{reason}")),
    };
    fields.insert(VERIFY.clone(), verify);
    if let Some(facts) = client.verified() {
        describe(facts, fields);
    }
}

/// What does not fit is left out, the most talkative first, and the upstream is told.
fn describe(facts: &CertificateFacts, fields: &mut HeaderMap) {
    let candidates = [
        (&SERIAL, facts.serial.clone()),
        (&SHA256, facts.sha256.clone()),
        (&NOT_AFTER, rfc3339(facts.not_after)),
        (&SUBJECT, facts.subject.clone()),
        (&ISSUER, facts.issuer.clone()),
        (&SAN, facts.san_text()),
    ];
    let length = |name: &HeaderName, text: &str| name.as_str().len() + text.len() + ": \r\n".len();
    let mut left = LONGEST - length(&VERIFY, "SUCCESS") - length(&TRUNCATED, "1");
    let mut truncated = false;
    for (name, text) in candidates {
        match left.checked_sub(length(name, &text)) {
            Some(rest) => {
                left = rest;
                if !text.is_empty() {
                    fields.insert(name.clone(), value(&text));
                }
            }
            None => truncated = true,
        }
    }
    if truncated {
        fields.insert(TRUNCATED.clone(), HeaderValue::from_static("1"));
    }
}

/// The texts are printable ASCII by construction; one that is not is a bug, and must not become a split header.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("unprintable"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::WallTime;
    use crate::identity::{Reason, SubjectAltName};

    fn facts(names: usize) -> CertificateFacts {
        CertificateFacts {
            subject: "CN=client-1,O=Caf\\C3\\A9".to_owned(),
            issuer: "CN=ca".to_owned(),
            serial: "0A1B".to_owned(),
            sha256: "ab".repeat(32),
            not_before: WallTime::from_unix_seconds(0),
            not_after: WallTime::from_unix_seconds(1_795_247_580),
            subject_alt_names: vec![SubjectAltName::Dns("client-1.example".to_owned()); names],
            details: Box::default(),
        }
    }

    fn rendered(client: &ClientCert) -> Vec<String> {
        let mut fields = HeaderMap::new();
        write(client, &mut fields);
        fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn a_verified_client_is_described_and_a_stranger_is_not() {
        let mut fields = rendered(&ClientCert::Verified(Arc::new(facts(1))));
        fields.sort();
        assert_eq!(
            fields,
            [
                "x-ssl-client-i-dn: CN=ca",
                "x-ssl-client-not-after: 2026-11-21T07:53:00Z",
                "x-ssl-client-s-dn: CN=client-1,O=Caf\\C3\\A9",
                "x-ssl-client-san: DNS:client-1.example",
                "x-ssl-client-serial: 0A1B",
                &format!("x-ssl-client-sha256: {}", "ab".repeat(32)),
                "x-ssl-client-verify: SUCCESS",
            ]
        );
        assert_eq!(rendered(&ClientCert::NotPresented), ["x-ssl-client-verify: NONE"]);
        let refused = ClientCert::Refused { reason: Reason::Expired, shown: Some(Arc::new(facts(1))) };
        assert_eq!(rendered(&refused), ["x-ssl-client-verify: FAILED:expired"]);
    }

    #[test]
    fn a_certificate_with_too_many_names_loses_the_names_first() {
        let fields = rendered(&ClientCert::Verified(Arc::new(facts(1000))));
        let length: usize = fields.iter().map(|field| field.len() + 2).sum();
        assert!(length <= LONGEST, "{length}");
        assert!(fields.contains(&"x-ssl-client-truncated: 1".to_owned()));
        assert!(fields.iter().any(|field| field.starts_with("x-ssl-client-s-dn")));
        assert!(!fields.iter().any(|field| field.starts_with("x-ssl-client-san")));
    }
}
