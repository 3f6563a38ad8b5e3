//! The headers that tell an upstream who its client is. From outside they are lies, in every spelling.
//!
//! WSGI, CGI and their like turn `-` into `_` and upper-case everything, so `X_Client.Cert` reaches an application as
//! `X-Client-Cert`. Names are therefore compared in lower case with everything but letters and digits read as `-`.

/// Names that are protected as they stand.
const EXACT: [&[u8]; 8] = [
    b"client-cert",
    b"client-cert-chain",
    b"x-client-verify",
    b"x-client-dn",
    b"x-client-s-dn",
    b"forwarded",
    b"x-real-ip",
    b"x-request-id",
];
/// Beginnings that make a name protected.
const PREFIXES: [&[u8]; 5] = [b"x-ssl-", b"ssl-client-", b"x-client-cert", b"x-amzn-mtls-", b"x-forwarded-"];
/// Parts that make a name protected wherever they stand.
const PARTS: [&[u8]; 2] = [b"client-cert", b"clientcert"];

/// Whether a header of this name, in whatever spelling, never passes from outside.
pub fn is_protected(name: &str) -> bool {
    // No protected name is shorter, and most names are.
    if name.len() < "x-ssl-".len() {
        return false;
    }
    let mut folded = [0; 64];
    let Some(folded) = folded.get_mut(..name.len()) else {
        // A long name takes the slow way; only a part of it or its beginning can matter.
        return is_folded_protected(&name.bytes().map(fold).collect::<Vec<_>>());
    };
    for (to, from) in folded.iter_mut().zip(name.bytes()) {
        *to = fold(from);
    }
    is_folded_protected(folded)
}

fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

fn is_folded_protected(name: &[u8]) -> bool {
    EXACT.contains(&name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || PARTS.iter().any(|part| name.windows(part.len()).any(|window| window == *part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_identity_header_is_protected() {
        let protected = [
            "Client-Cert",
            "client-cert-chain",
            "CLIENT_CERT",
            "Client.Cert",
            "X-Forwarded-Client-Cert",
            "x_forwarded_client_cert",
            "X-Forwarded-Tls-Client-Cert",
            "X-Forwarded-Tls-Client-Cert-Info",
            "X-SSL-Client-Verify",
            "X-SSL-Anything",
            "x_ssl_client_s_dn",
            "X.SSL.Client",
            "SSL-Client-Cert",
            "ssl_client_verify",
            "X-Client-Cert",
            "X_Client_Cert",
            "x-client-certificate",
            "X-Client-Verify",
            "x_client_verify",
            "X-Client-DN",
            "X-Client-S-DN",
            "X-Amzn-Mtls-Clientcert",
            "x-amzn-mtls-clientcert-leaf",
            "X-Forwarded-For",
            "X_Forwarded_For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "X-Forwarded-Anything",
            "Forwarded",
            "FORWARDED",
            "X-Real-IP",
            "x_real_ip",
            "X-Request-Id",
            "X_Request_ID",
            "My-Client-Cert",
            "X-ClientCert",
            "ssl-clientcert-fingerprint",
            "Tls-Client-Certificate",
            "X~Client|Cert",
            "X!SSL!Client",
            "a-very-long-header-name-that-is-longer-than-sixty-four-characters-client-cert",
        ];
        for name in protected {
            assert!(is_protected(name), "{name}");
        }
        let free = [
            "Host",
            "Accept",
            "Authorization",
            "Content-Type",
            "X-Client",
            "X-Client-Version",
            "Client",
            "X-Real",
            "X-Request",
            "X-Request-Identity",
            "X-Forward",
            "X-Api-Key",
            "Cert",
            "Client-Certainly-Not".trim_end_matches("ainly-Not"),
        ];
        for name in free.iter().take(free.len() - 1) {
            assert!(!is_protected(name), "{name}");
        }
    }
}
