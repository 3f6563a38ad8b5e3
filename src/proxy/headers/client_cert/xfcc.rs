//! The dialect `xfcc`: Envoy's `X-Forwarded-Client-Cert`, one element of `By;Hash;Subject;URI;DNS`.
//!
//! Envoy puts values that hold a separator in quotes, and a quote inside behind a backslash. What comes before a
//! backslash in quotes means different things to different readers, so here is neither: names of other characters than
//! their kind's are left out, and the subject's are `\HH`.

use http::header::HeaderMap;

use super::text::{dns_names, hex_escaped, is_uri, uris};
use super::{Shown, put};

const NAME: &str = "x-forwarded-client-cert";

pub(super) fn write(shown: &Shown<'_>, fields: &mut HeaderMap) {
    let facts = shown.facts;
    let mut pairs: Vec<String> = shown.own_uris.iter().filter(|uri| is_uri(uri)).map(|uri| pair("By", uri)).collect();
    pairs.push(pair("Hash", &facts.sha256));
    pairs.push(format!("Subject=\"{}\"", hex_escaped(&facts.subject)));
    let names = uris(facts).map(|uri| pair("URI", uri)).chain(dns_names(facts).map(|name| pair("DNS", name)));
    let all: Vec<_> = pairs.iter().cloned().chain(names).collect();
    // A reader must not take some of the names for all of them.
    let _ = put(fields, NAME, &all.join(";")) || put(fields, NAME, &pairs.join(";"));
}

/// The characters of a name and of hex never hold a quote or a backslash.
fn pair(key: &str, value: &str) -> String {
    if value.contains([',', ';', '=']) { format!("{key}=\"{value}\"") } else { format!("{key}={value}") }
}
