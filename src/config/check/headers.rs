//! `[headers]`: what an operator may let pass or drop, and what is not for an operator to decide.

use crate::config::diagnostic::Diagnostic;
use crate::config::file::Headers;
use crate::proxy::{HeaderSettings, is_protected};

/// Names with a meaning to the message itself, or to one connection only (RFC 9110 section 7.6.1).
const FRAMING: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Checks both lists.
pub(super) fn check(headers: &Headers, said: &mut Vec<Diagnostic>) {
    for name in &headers.allow_names {
        let text = name.value.as_str();
        let read_as = normalised(text);
        if is_protected(&read_as) {
            let message = format!("headers.allow_names: `{text}` cannot be let through");
            let why = format!("an upstream may read it as `{read_as}`, which tells it who the client is");
            said.push(Diagnostic::error(name.origin.clone(), message).help(why));
        } else if FRAMING.contains(&read_as.as_str()) {
            let message = format!("headers.allow_names: `{text}` cannot be let through");
            let why = format!("an upstream may read it as `{read_as}`, which is not for a client to say twice");
            said.push(Diagnostic::error(name.origin.clone(), message).help(why));
        } else if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            let message = format!("headers.allow_names: `{text}` passes anyway");
            let why = "the list is for names with other characters than letters, digits and '-'";
            said.push(Diagnostic::warning(name.origin.clone(), message).help(why));
        }
    }
    for name in &headers.drop_request {
        let text = name.value.as_str();
        if matches!(text, "host" | "content-length" | "expect") {
            let message = format!("headers.drop_request: a request cannot go without `{text}`");
            said.push(Diagnostic::error(name.origin.clone(), message));
        } else if is_protected(&normalised(text)) || FRAMING.contains(&text) {
            let message = format!("headers.drop_request: `{text}` from a client is dropped anyway");
            said.push(Diagnostic::warning(name.origin.clone(), message));
        }
        if headers.allow_names.iter().any(|allowed| allowed.value == name.value) {
            let message = format!("headers.drop_request: `{text}` is in allow_names, too");
            said.push(Diagnostic::error(name.origin.clone(), message).help("leave it in one of the two lists"));
        }
    }
}

/// The data path's settings.
pub(super) fn settings(headers: Headers) -> HeaderSettings {
    HeaderSettings {
        allow_names: headers.allow_names.into_iter().map(|name| name.value).collect(),
        drop_request: headers.drop_request.into_iter().map(|name| name.value).collect(),
    }
}

/// The name as the most careless reader reads it: WSGI makes `HTTP_X_REAL_IP` of `X-Real-IP` and of `x.real_ip`.
fn normalised(name: &str) -> String {
    let fold = |character: char| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' };
    name.chars().map(fold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_carelessly_as_an_upstream_might() {
        for name in [
            "X_SSL_Client_Verify",
            "x.real.ip",
            "X-Forwarded_For",
            "my_client_cert",
            "MyClientCert",
            "forwarded",
            "SSL!Client!X",
        ] {
            assert!(is_protected(&normalised(name)), "{name}");
        }
        for name in ["X-Trace_Id", "sslclient", "real_ip", "x_client"] {
            assert!(!is_protected(&normalised(name)), "{name}");
        }
    }
}
