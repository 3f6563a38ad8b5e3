//! The dialect `rfc9440`: the certificate itself, as a structured field (RFC 9440 section 2, RFC 8941 section 3.3.5).

use http::header::HeaderMap;

use super::{Shown, put};
use crate::identity::base64;

/// A chain without the certificate it belongs to would mislead, so it comes second.
pub(super) fn write(shown: &Shown<'_>, fields: &mut HeaderMap) {
    let Some((leaf, above)) = shown.path.split_first() else { return };
    if put(fields, "client-cert", &byte_sequence(leaf)) && !above.is_empty() {
        let list: Vec<_> = above.iter().map(|certificate| byte_sequence(certificate)).collect();
        put(fields, "client-cert-chain", &list.join(", "));
    }
}

fn byte_sequence(der: &[u8]) -> String {
    format!(":{}:", base64(der))
}
