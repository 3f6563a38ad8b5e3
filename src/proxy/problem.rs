//! How a refusal looks to the client: problem details for programs (RFC 9457), a page or plain text for people.

use std::fmt;

use http::HeaderMap;
use http::header::ACCEPT;
use serde::Serialize;

use super::refusal::Refusal;

/// Room for most of them.
const USUAL_LENGTH: usize = 512;

/// Content type and body that tell of a refusal.
pub(super) fn describe(refusal: &Refusal, request_headers: &HeaderMap, request_id: &str) -> (&'static str, Vec<u8>) {
    let status = refusal.status();
    let title = status.canonical_reason().unwrap_or("Error");
    let (reason, detail) = (refusal.reason(), refusal.detail());
    match preferred(request_headers) {
        Form::Problem => {
            let mut body = Vec::with_capacity(USUAL_LENGTH);
            let problem = Problem {
                r#type: format_args!("urn:gateway:problem:{reason}"),
                title,
                status: status.as_u16(),
                detail: &detail,
                reason,
                request_id,
            };
            let written = serde_json::to_writer(&mut body, &problem);
            ("application/problem+json", if written.is_ok() { body } else { Vec::new() })
        }
        Form::Html => {
            let page = format!(
                "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0} {title}</title></head>\n\
                 <body><h1>{0} {title}</h1>\n<p>{detail}</p>\n<p>Reason: <code>{reason}</code><br>\
                 Request: <code>{request_id}</code></p></body></html>\n",
                status.as_u16()
            );
            ("text/html; charset=utf-8", page.into_bytes())
        }
        Form::Text => {
            let text = format!("{} {title}\n{detail}\nreason: {reason}\nrequest_id: {request_id}\n", status.as_u16());
            ("text/plain; charset=utf-8", text.into_bytes())
        }
    }
}

/// RFC 9457.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: fmt::Arguments<'a>,
    title: &'a str,
    status: u16,
    detail: &'a str,
    reason: &'a str,
    request_id: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Problem,
    Html,
    Text,
}

const FORMS: [(&str, Form); 8] = [
    ("*/*", Form::Problem),
    ("application/json", Form::Problem),
    ("application/problem+json", Form::Problem),
    ("application/*", Form::Problem),
    ("text/html", Form::Html),
    ("application/xhtml+xml", Form::Html),
    ("text/plain", Form::Text),
    ("text/*", Form::Text),
];

/// The form with the greatest weight in `Accept` (RFC 9110 section 12.5.1); JSON where the client does not care.
fn preferred(headers: &HeaderMap) -> Form {
    let mut best = (0, Form::Problem);
    for value in headers.get_all(ACCEPT) {
        for range in value.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let range = parts.next().unwrap_or_default();
            let Some((_, form)) = FORMS.iter().find(|(name, _)| range.eq_ignore_ascii_case(name)) else { continue };
            let weight = parts
                .find_map(|part| part.strip_prefix(['q', 'Q'])?.strip_prefix('='))
                .map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0));
            // Thousandths, as the header has them.
            let weight = (weight.clamp(0.0, 1.0) * 1000.0) as u16;
            if weight > best.0 {
                best = (weight, *form);
            }
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_form_follows_accept() {
        for (accept, expected) in [
            ("", Form::Problem),
            ("*/*", Form::Problem),
            ("application/json", Form::Problem),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Form::Html),
            ("text/plain", Form::Text),
            ("text/plain;q=0.5, application/json", Form::Problem),
            ("text/html;q=0", Form::Problem),
            ("image/png", Form::Problem),
            ("text/html;q=x", Form::Problem),
            ("text/*", Form::Text),
            ("text/html;Q=0.5, text/plain;q=0.6", Form::Text),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
            assert_eq!(preferred(&headers), expected, "{accept}");
        }
    }

    #[test]
    fn a_problem_has_the_members_of_rfc_9457_and_ours() {
        let refusal = Refusal::Forbidden(crate::identity::Reason::Expired);
        let (content_type, body) = describe(&refusal, &HeaderMap::new(), "id");
        assert_eq!(content_type, "application/problem+json");
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["status"], 403);
        assert_eq!(value["title"], "Forbidden");
        assert_eq!(value["reason"], "expired");
        assert_eq!(value["request_id"], "id");
        assert!(value["detail"].as_str().unwrap().contains("expired"));
        assert!(value["type"].is_string());
    }
}
