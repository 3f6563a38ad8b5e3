//! PKCS#12: whatever the file holds, opening it ends, and no key is told in what is described.

use mtls_gateway::clock::WallTime;
use mtls_gateway::pki::{describe_pkcs12, is_pkcs12};

use super::pem;
use super::seeds::{self, open_pkcs12};

/// The property.
pub fn check(data: &[u8]) {
    if pem::has_a_long_wait(data) {
        return;
    }
    let now = WallTime::from_unix_seconds(seeds::NOW);
    let opened = describe_pkcs12(data, seeds::PASSWORD, now);
    assert!(opened.is_err() || is_pkcs12(data) || data.first() == Some(&0x30));
    if let Ok(items) = &opened {
        assert!(!format!("{items:?}").contains("PRIVATE KEY-----"), "a key is shown");
    }
    if data == open_pkcs12() {
        assert_eq!(opened.map(|items| items.len()).ok(), Some(2), "a certificate and a key");
    }
}
