//! What a request means: its host and path, or the refusal of one that has no meaning or two.
//!
//! hyper has read the head. What it lets pass and RFC 9112 does not, and what our contract asks beyond it, is refused
//! here, before a route is looked at.

use http::header::{HOST, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Version, request};

use super::refusal::Refusal;
use super::upgrade;
use crate::net::{Authority, Host};
use crate::route::Readings;

/// A request with one meaning.
#[derive(Debug)]
pub(super) struct Admitted<'a> {
    /// `None` only for HTTP/1.0 without a Host.
    pub(super) authority: Option<Authority>,
    /// The Host as received.
    pub(super) host_text: Option<HeaderValue>,
    /// The path, in every way it can be read.
    pub(super) path: Readings<'a>,
}

impl Admitted<'_> {
    pub(super) fn host(&self) -> Option<&Host> {
        self.authority.as_ref().map(|authority| &authority.host)
    }
}

/// Refuses more than `most_fields`, which hyper counts for HTTP/1 only, and a transfer coding other than exactly
/// `chunked` (RFC 9112 section 6.1). In HTTP/2 that field is malformed, and h2 has refused it.
pub(super) fn check_framing(parts: &request::Parts, most_fields: u32) -> Result<(), Refusal> {
    if parts.headers.len() > most_fields as usize {
        return Err(Refusal::TooManyFields);
    }
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Refusal::TransferCoding),
    }
}

/// Finds out what a request asks for.
///
/// # Errors
/// [`Refusal`] for a target, a Host or a path that is refused whatever the routes are.
pub(super) fn admit(parts: &request::Parts, longest_uri: u32, had_fragment: bool) -> Result<Admitted<'_>, Refusal> {
    let uri = &parts.uri;
    let origin_length = uri.path_and_query().map_or(0, |path_and_query| path_and_query.as_str().len());
    let authority_length = if parts.version == Version::HTTP_2 {
        0
    } else {
        uri.authority().map_or(0, |authority| authority.as_str().len() + "https://".len())
    };
    if origin_length + authority_length > longest_uri as usize {
        return Err(Refusal::UriTooLong);
    }
    match parts.method {
        Method::TRACE => return Err(Refusal::MethodNeverAllowed),
        Method::CONNECT => upgrade::check_connect(parts)?,
        _ => {}
    }
    if had_fragment {
        return Err(Refusal::Target("the target holds a fragment"));
    }
    let (authority, host_text) = read_host(parts)?;
    if uri.path() == "*" {
        return Err(if parts.method == Method::OPTIONS { Refusal::AsteriskOptions } else { TARGET_FORM });
    }
    let path = match uri.path_and_query() {
        // An absolute-form target may have no path at all (RFC 9112 section 3.2.2).
        None => "/",
        Some(path_and_query) => path_and_query.path(),
    };
    let path = Readings::of(path).map_err(Refusal::Path)?;
    Ok(Admitted { authority, host_text, path })
}

const TARGET_FORM: Refusal = Refusal::Target("the target is neither a path nor an http or https URL");

fn read_host(parts: &request::Parts) -> Result<(Option<Authority>, Option<HeaderValue>), Refusal> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let header = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::Host("there is more than one Host"));
    }
    let header = header.map(|value| parse(value.as_bytes()).map(|authority| (authority, value.clone()))).transpose()?;
    let of_target = match (parts.uri.scheme_str(), parts.uri.authority()) {
        (None, None) => None,
        (Some("http" | "https"), Some(authority)) => {
            let text = authority.as_str();
            let value = HeaderValue::from_str(text).map_err(|_| Refusal::Host("it is no host"))?;
            Some((parse(text.as_bytes())?, value))
        }
        // HTTP/2 without `:authority` still has a scheme.
        (Some("http" | "https"), None) if parts.version == Version::HTTP_2 => None,
        _ => return Err(TARGET_FORM),
    };
    match (of_target, header) {
        (Some((target, text)), Some((header, _))) if target == header => Ok((Some(target), Some(text))),
        (Some(_), Some(_)) => Err(Refusal::Host("the target and the Host differ")),
        // Absolute-form does not replace the Host in HTTP/1.1 (RFC 9112 section 3.2).
        (Some((target, text)), None) if parts.version != Version::HTTP_11 => Ok((Some(target), Some(text))),
        (None, Some((header, text))) => Ok((Some(header), Some(text))),
        (None, None) if parts.version == Version::HTTP_10 => Ok((None, None)),
        (_, None) => Err(Refusal::Host("there is none")),
    }
}

fn parse(text: &[u8]) -> Result<Authority, Refusal> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| Authority::parse(text).ok())
        .ok_or(Refusal::Host("it is no host name or address"))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(version: Version, method: &str, target: &str, hosts: &[&str]) -> request::Parts {
        let mut request = Request::builder().version(version).method(method).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_request_has_one_target_and_one_host() {
        use Version as V;
        // Version, method, target, hosts, and the host it is for, or the status.
        let cases: [(V, &str, &str, &[&str], Result<&str, u16>); 40] = [
            (V::HTTP_11, "GET", "/a", &["x.example"], Ok("x.example")),
            (V::HTTP_11, "GET", "/a", &["X.Example.:443"], Ok("x.example")),
            (V::HTTP_11, "GET", "/a", &["10.0.0.1:8443"], Ok("10.0.0.1")),
            (V::HTTP_11, "GET", "/a", &[], Err(400)),
            (V::HTTP_11, "GET", "/a", &[""], Err(400)),
            (V::HTTP_11, "GET", "/a", &["x.example", "x.example"], Err(400)),
            (V::HTTP_11, "GET", "/a", &["x.example", "y.example"], Err(400)),
            (V::HTTP_11, "GET", "/a", &["user@x.example"], Err(400)),
            (V::HTTP_11, "GET", "/a", &["x.example:port"], Err(400)),
            (V::HTTP_11, "GET", "/a", &["x.example, y.example"], Err(400)),
            (V::HTTP_11, "GET", "/a", &["x example"], Err(400)),
            (V::HTTP_11, "GET", "/a", &["http://x.example"], Err(400)),
            (V::HTTP_11, "GET", "/a", &["x.example/"], Err(400)),
            (V::HTTP_10, "GET", "/a", &[], Ok("")),
            (V::HTTP_10, "GET", "/a", &["x.example"], Ok("x.example")),
            (V::HTTP_10, "GET", "/a", &["x.example", "x.example"], Err(400)),
            (V::HTTP_11, "GET", "http://x.example/a", &["x.example"], Ok("x.example")),
            (V::HTTP_11, "GET", "https://X.example:443/a", &["x.example."], Ok("x.example")),
            (V::HTTP_11, "GET", "https://x.example", &["x.example"], Ok("x.example")),
            (V::HTTP_11, "GET", "https://x.example/a", &["y.example"], Err(400)),
            (V::HTTP_11, "GET", "https://x.example:8443/a", &["x.example"], Err(400)),
            (V::HTTP_11, "GET", "https://x.example/a", &[], Err(400)),
            (V::HTTP_11, "GET", "https://u@x.example/a", &["x.example"], Err(400)),
            (V::HTTP_11, "GET", "ftp://x.example/a", &["x.example"], Err(400)),
            (V::HTTP_11, "GET", "x.example", &["x.example"], Err(400)),
            (V::HTTP_11, "OPTIONS", "*", &["x.example"], Err(204)),
            (V::HTTP_11, "GET", "*", &["x.example"], Err(400)),
            (V::HTTP_11, "CONNECT", "x.example:443", &["x.example"], Err(405)),
            (V::HTTP_11, "TRACE", "/a", &["x.example"], Err(405)),
            (V::HTTP_11, "GET", "/a\\b", &["x.example"], Err(400)),
            (V::HTTP_11, "GET", "/..", &["x.example"], Err(400)),
            (V::HTTP_11, "GET", "/%00", &["x.example"], Err(400)),
            (V::HTTP_2, "GET", "https://x.example/a", &[], Ok("x.example")),
            (V::HTTP_2, "GET", "https://x.example/a", &["X.example"], Ok("x.example")),
            (V::HTTP_2, "GET", "https://x.example/a", &["y.example"], Err(400)),
            (V::HTTP_2, "GET", "https://u:p@x.example/a", &[], Err(400)),
            (V::HTTP_2, "GET", "https://x.example/..%2f", &[], Err(400)),
            (V::HTTP_2, "GET", "/a", &["x.example"], Ok("x.example")),
            (V::HTTP_2, "GET", "/a", &[], Err(400)),
            (V::HTTP_2, "TRACE", "https://x.example/a", &[], Err(405)),
        ];
        for (version, method, target, hosts, expected) in cases {
            let parts = request(version, method, target, hosts);
            let outcome = admit(&parts, 8192, false);
            let outcome = outcome
                .map(|admitted| admitted.host().map(ToString::to_string).unwrap_or_default())
                .map_err(|refusal| refusal.status().as_u16());
            assert_eq!(outcome, expected.map(str::to_owned), "{version:?} {method} {target} {hosts:?}");
        }
    }

    #[test]
    fn a_target_that_is_too_long_or_had_a_fragment_is_refused() {
        let parts = request(Version::HTTP_11, "GET", &format!("/{}", "a".repeat(64)), &["x.example"]);
        assert_eq!(admit(&parts, 64, false).unwrap_err().status(), 414);
        assert!(admit(&parts, 65, false).is_ok());
        assert_eq!(admit(&parts, 65, true).unwrap_err().status(), 400);
    }

    #[test]
    fn only_chunked_is_a_transfer_coding() {
        for (codings, fine) in [
            (&[][..], true),
            (&["chunked"], true),
            (&["Chunked"], true),
            (&["gzip, chunked"], false),
            (&["chunked, chunked"], false),
            (&["chunked", "chunked"], false),
            (&["identity"], false),
            (&["xchunked"], false),
            (&[""], false),
        ] {
            let mut parts = request(Version::HTTP_11, "POST", "/", &["x.example"]);
            for coding in codings {
                parts.headers.append(TRANSFER_ENCODING, HeaderValue::from_static(coding));
            }
            assert_eq!(check_framing(&parts, 100).is_ok(), fine, "{codings:?}");
        }
    }
}
