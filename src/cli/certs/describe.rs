//! A description as lines for people.

use crate::pki::{CertificateDescription, CrlDescription, Item, KeyDescription, RequestDescription, rfc3339};

/// Column at which values begin, so that they can be compared by eye.
const LABEL_WIDTH: usize = 16;

pub(super) fn lines(item: &Item) -> Vec<String> {
    let mut lines = Lines(Vec::new());
    match item {
        Item::Certificate(certificate) => lines.certificate(certificate),
        Item::Crl(list) => lines.crl(list),
        Item::Request(request) => lines.request(request),
        Item::PrivateKey(key) => lines.key(key),
        Item::Other { label } => lines.push("kind", format!("PEM block {label:?}, not described")),
    }
    lines.0
}

struct Lines(Vec<String>);

impl Lines {
    fn push(&mut self, label: &str, value: impl AsRef<str>) {
        self.0.push(format!("  {label:LABEL_WIDTH$}{}", value.as_ref()));
    }

    /// One line a value, the label only on the first.
    fn push_each(&mut self, label: &str, values: &[String]) {
        for (index, value) in values.iter().enumerate() {
            self.push(if index == 0 { label } else { "" }, value);
        }
    }

    fn certificate(&mut self, certificate: &CertificateDescription) {
        let kind = if certificate.is_ca { "CA certificate" } else { "certificate" };
        self.push("kind", format!("{kind}, X.509 version {}", certificate.version));
        self.push("subject", &certificate.subject);
        self.push("issuer", &certificate.issuer);
        self.push("serial", &certificate.serial);
        self.push("valid from", rfc3339(certificate.not_before));
        let left = remaining(certificate.state, certificate.days_left);
        self.push("valid until", format!("{} ({left})", rfc3339(certificate.not_after)));
        self.push("key", &certificate.key);
        self.push("signed with", &certificate.signature_algorithm);
        if certificate.is_ca {
            let below = certificate.path_length.map_or_else(|| "any number".to_owned(), |length| length.to_string());
            self.push("CAs below it", below);
        }
        let joined = |values: &[String]| if values.is_empty() { "none".to_owned() } else { values.join(", ") };
        let usages =
            certificate.key_usages.as_ref().map(|usages| usages.iter().map(|&usage| usage.to_owned()).collect());
        self.push("key usage", usages.map_or_else(|| "any (not stated)".to_owned(), |usages: Vec<_>| joined(&usages)));
        let extended = certificate.extended_key_usages.as_deref();
        self.push("usage", extended.map_or_else(|| "any (not stated)".to_owned(), joined));
        if certificate.subject_alt_names.is_empty() {
            self.push("names", "none");
        }
        self.push_each("names", &certificate.subject_alt_names);
        self.push("key id", certificate.subject_key_id.as_deref().unwrap_or("none"));
        self.push("issuer's key id", certificate.authority_key_id.as_deref().unwrap_or("none"));
        self.push_each("CRL at", &certificate.crl_distribution_points);
        let others: Vec<String> = certificate
            .other_extensions
            .iter()
            .map(|extension| format!("{}{}", extension.name, if extension.critical { " (critical)" } else { "" }))
            .collect();
        self.push_each("also has", &others);
        self.push("SHA-256", &certificate.sha256);
        self.push("key's SHA-256", &certificate.public_key_sha256);
    }

    fn crl(&mut self, list: &CrlDescription) {
        self.push("kind", "revocation list");
        self.push("issuer", &list.issuer);
        self.push("number", list.number.as_deref().unwrap_or("none"));
        self.push("made", rfc3339(list.this_update));
        match (list.next_update, list.days_left) {
            (Some(end), Some(days)) => {
                let left = remaining(if days < 0 { "expired" } else { "valid" }, days);
                self.push("good until", format!("{} ({left})", rfc3339(end)));
            }
            _ => self.push("good until", "not stated"),
        }
        self.push("signed with", &list.signature_algorithm);
        self.push("issuer's key id", list.authority_key_id.as_deref().unwrap_or("none"));
        let revoked: Vec<String> = list
            .revoked
            .iter()
            .map(|entry| format!("{} at {} ({})", entry.serial, rfc3339(entry.revoked_at), entry.reason))
            .collect();
        if revoked.is_empty() {
            self.push("revokes", "nothing");
        }
        self.push_each("revokes", &revoked);
        self.push("SHA-256", &list.sha256);
    }

    fn request(&mut self, request: &RequestDescription) {
        self.push("kind", "certificate signing request");
        self.push("subject", if request.subject.is_empty() { "none" } else { &request.subject });
        self.push("key", &request.key);
        if request.subject_alt_names.is_empty() {
            self.push("names", "none");
        }
        self.push_each("names", &request.subject_alt_names);
        self.push_each("also asks for", &request.wishes);
        self.push("signature", if request.signature_holds { "holds" } else { "DOES NOT HOLD, or is not supported" });
    }

    fn key(&mut self, key: &KeyDescription) {
        self.push("kind", "private key");
        self.push("key", &key.key);
        self.push("key's SHA-256", &key.public_key_sha256);
    }
}

fn remaining(state: &str, days_left: i64) -> String {
    match (state, days_left) {
        ("expired", days) => format!("EXPIRED {} days ago", -days - 1),
        ("not_yet_valid", _) => "NOT VALID YET".to_owned(),
        (_, 1) => "1 day left".to_owned(),
        (_, days) => format!("{days} days left"),
    }
}
