//! Whether a question comes from an operator or from a page that an operator's browser has open.
//!
//! A page of another site can make a browser send requests to loopback, and by DNS rebinding even read the answers
//! under its own name. Both show: the first in `Origin`, the second in a Host that is a name.

use http::header::{HOST, ORIGIN};
use http::request::Parts;

use crate::net::{Authority, Host};

/// Why a question is not answered; `None` when it is.
pub(super) fn refuse(head: &Parts) -> Option<&'static str> {
    if head.headers.contains_key(ORIGIN) {
        return Some("this listener answers no web pages: the request carries Origin");
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    };
    let target = head.uri.authority().map(http::uri::Authority::as_str);
    let is_ours = host.is_some_and(is_literal) && target.is_none_or(is_literal);
    (!is_ours).then_some("Host has to be an IP address or localhost: ask for http://127.0.0.1:PORT")
}

fn is_literal(authority: &str) -> bool {
    match Authority::parse(authority) {
        Ok(Authority { host: Host::Address(_), .. }) => true,
        Ok(Authority { host: Host::Name(name), .. }) => name.as_str() == "localhost",
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn is_refused(uri: &str, headers: &[(&str, &str)]) -> bool {
        let request = headers.iter().fold(Request::get(uri), |request, (name, value)| request.header(*name, *value));
        refuse(&request.body(()).unwrap().into_parts().0).is_some()
    }

    #[test]
    fn only_an_address_or_localhost_is_a_host() {
        for host in ["127.0.0.1:9901", "127.0.0.1", "[::1]:9901", "localhost:9901", "LOCALHOST", "10.0.0.7:9901"] {
            assert!(!is_refused("/ready", &[("host", host)]), "{host}");
        }
        for host in ["evil.example:9901", "localhost.evil.example", "127.0.0.1.evil.example", "", "a b", "x@127.0.0.1"]
        {
            assert!(is_refused("/ready", &[("host", host)]), "{host}");
        }
        assert!(is_refused("/ready", &[]));
        assert!(is_refused("/ready", &[("host", "127.0.0.1"), ("host", "127.0.0.1")]));
        assert!(is_refused("http://evil.example/ready", &[("host", "127.0.0.1")]));
    }

    #[test]
    fn what_a_page_sends_is_refused() {
        for origin in ["http://evil.example", "null", "http://127.0.0.1:9901"] {
            assert!(is_refused("/drain", &[("host", "127.0.0.1:9901"), ("origin", origin)]), "{origin}");
        }
    }
}
