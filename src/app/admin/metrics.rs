//! `/metrics`: what the parts have counted, and what is so at this moment, as Prometheus reads it.
//!
//! Labels are words of the program's own, or names from the operator's files; nothing in them comes from a client.

use std::collections::BTreeMap;

use super::View;
use crate::clock::WallTime;
use crate::identity::CertificateFacts;
use crate::metrics::{Exposition, Kind};
use crate::tls::TlsProfiles;

/// Certificates, or revocation lists, on a page. Of more, those that end first.
const MOST: usize = 1000;
/// Of a name, so much.
const LONGEST_NAME: usize = 1024;

/// Writes the page.
pub(super) fn page(view: &View) -> String {
    let mut page = Exposition::default();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.family("gateway_build_info", Kind::Gauge, "What is running; always 1.").sample(&version, 1);
    view.reloads.write(&mut page, "gateway_reloads_total", "Reloads by how they ended.");
    view.proxy.measures().write(&mut page);
    let snapshot = view.proxy.snapshot();
    certificates(&mut page, snapshot.profiles());
    revocation_lists(&mut page, snapshot.profiles());
    page.into_text()
}

fn certificates(page: &mut Exposition, profiles: &TlsProfiles) {
    let mut ends = Ends::default();
    for facts in profiles.iter().flat_map(|profile| profile.certificates()) {
        ends.add("server", &name(facts), facts.not_after);
    }
    for (subject, not_after) in profiles.trust_stores().flat_map(|trust| trust.ends()) {
        ends.add("client_ca", subject, not_after);
    }
    let help = "When the gateway's own certificates and the CAs of its clients end; of several with one subject, the \
                first to end.";
    let mut family = page.family("gateway_certificate_expiry_timestamp_seconds", Kind::Gauge, help);
    for ((kind, subject), end) in ends.first() {
        family.sample(&[("kind", kind), ("subject", subject)], end);
    }
}

fn revocation_lists(page: &mut Exposition, profiles: &TlsProfiles) {
    let mut ends = Ends::default();
    for list in profiles.trust_stores().flat_map(|trust| trust.revocation_lists()) {
        ends.add("", &list.issuer, list.next_update);
    }
    let help = "When the revocation lists in force are due to be replaced; of several of one issuer, the first.";
    let mut family = page.family("gateway_crl_next_update_timestamp_seconds", Kind::Gauge, help);
    for ((_, issuer), end) in ends.first() {
        family.sample(&[("issuer", issuer)], end);
    }
}

/// What somebody would call a certificate: its subject or, without one, its names.
fn name(facts: &CertificateFacts) -> String {
    if facts.subject.is_empty() { facts.san_text() } else { facts.subject.clone() }
}

/// Ends by kind and name; a name stands once, with the first end.
#[derive(Debug, Default)]
struct Ends(BTreeMap<(&'static str, String), i64>);

impl Ends {
    fn add(&mut self, kind: &'static str, name: &str, end: WallTime) {
        let name = name.get(..name.floor_char_boundary(LONGEST_NAME)).unwrap_or_default();
        let end = end.unix_seconds();
        self.0.entry((kind, name.to_owned())).and_modify(|first| *first = end.min(*first)).or_insert(end);
    }

    /// In order of name, the first [`MOST`] to end.
    fn first(&self) -> Vec<((&'static str, &str), i64)> {
        let mut ends: Vec<_> = self.0.iter().map(|((kind, name), end)| ((*kind, name.as_str()), *end)).collect();
        if ends.len() > MOST {
            ends.sort_by_key(|(_, end)| *end);
            ends.truncate(MOST);
            ends.sort_unstable();
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> WallTime {
        WallTime::from_unix_seconds(seconds)
    }

    #[test]
    fn a_name_stands_once_with_its_first_end() {
        let mut ends = Ends::default();
        ends.add("server", "CN=a", at(3));
        ends.add("server", "CN=a", at(2));
        ends.add("client_ca", "CN=a", at(9));
        assert_eq!(ends.first(), [(("client_ca", "CN=a"), 9), (("server", "CN=a"), 2)]);
    }

    #[test]
    fn of_too_many_those_that_end_first_are_told() {
        let mut ends = Ends::default();
        for number in 0..3 * MOST {
            ends.add("client_ca", &format!("CN={number}"), at(i64::try_from(3 * MOST - number).unwrap()));
        }
        let first = ends.first();
        assert_eq!(first.len(), MOST);
        assert!(first.iter().all(|(_, end)| *end <= i64::try_from(MOST).unwrap()) && first.is_sorted());
    }

    #[test]
    fn a_long_name_is_cut_and_still_stands_once() {
        let mut ends = Ends::default();
        let long = "é".repeat(LONGEST_NAME);
        ends.add("client_ca", &format!("{long}a"), at(2));
        ends.add("client_ca", &format!("{long}b"), at(1));
        let first = ends.first();
        assert_eq!((first.len(), first[0].0.1.len(), first[0].1), (1, LONGEST_NAME, 1));
    }
}
