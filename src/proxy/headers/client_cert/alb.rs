//! The dialect `alb`: what an AWS Application Load Balancer sends, in verify mode and in passthrough mode.

use http::header::HeaderMap;

use super::{Shown, put, rfc3339};
use crate::identity::base64;

pub(super) fn write(shown: &Shown<'_>, fields: &mut HeaderMap) {
    let facts = shown.facts;
    put(fields, "x-amzn-mtls-clientcert-serial-number", &facts.serial);
    put(fields, "x-amzn-mtls-clientcert-issuer", &facts.issuer);
    put(fields, "x-amzn-mtls-clientcert-subject", &facts.subject);
    let validity = format!("NotBefore={};NotAfter={}", rfc3339(facts.not_before), rfc3339(facts.not_after));
    put(fields, "x-amzn-mtls-clientcert-validity", &validity);
    if let Some(leaf) = shown.path.first() {
        put(fields, "x-amzn-mtls-clientcert-leaf", &encoded_pem(leaf));
    }
    let chain: String = shown.path.iter().map(|certificate| encoded_pem(certificate)).collect();
    if !chain.is_empty() {
        put(fields, "x-amzn-mtls-clientcert", &chain);
    }
}

/// PEM, percent-encoded but for `+`, `=` and `/`: of its characters that leaves spaces and line ends to encode.
fn encoded_pem(der: &[u8]) -> String {
    let text = base64(der);
    let mut pem = String::from("-----BEGIN%20CERTIFICATE-----%0A");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push_str("%0A");
        rest = after;
    }
    pem.push_str("-----END%20CERTIFICATE-----%0A");
    pem
}
