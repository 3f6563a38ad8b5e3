//! What each key of a rule looks at, and what lists of rules come to.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::identity::{ClientCert, Details, Reason};
use crate::policy::{Access, Facts, Rules, Verdict, decide};

fn attribute(oid: &str, value: &str) -> NameAttribute {
    NameAttribute { oid: oid.to_owned(), value: value.to_owned() }
}

fn facts() -> CertificateFacts {
    let certificate = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert;
    CertificateFacts {
        sha256: "ab".repeat(32),
        subject_alt_names: vec![
            SubjectAltName::Dns("a.partner.example".to_owned()),
            SubjectAltName::Uri("spiffe://td.example/ns/prod/sa/api".to_owned()),
            SubjectAltName::Email("ann@example.com".to_owned()),
            SubjectAltName::Ip([10, 1, 2, 3].into()),
        ],
        details: Box::new(Details {
            subject: vec![
                attribute("2.5.4.11", "Payments"),
                attribute("2.5.4.3", "Ann"),
                attribute("2.5.4.11", "Operations"),
                attribute("2.5.4.97", "PSDES-BDE-3DFD21"),
            ],
            issuer: vec![attribute("2.5.4.3", "Some CA")],
            public_key_sha256: "cd".repeat(32),
            policies: vec!["1.2.3.4".to_owned()],
        }),
        ..CertificateFacts::from_der(certificate.der()).unwrap()
    }
}

fn rule(conditions: &[(&str, &[&str])]) -> Rule {
    let conditions = conditions.iter().map(|(key, values)| {
        let mut condition = Condition::new(Key::named(key).unwrap());
        values.iter().for_each(|value| condition.add(value).unwrap());
        condition
    });
    Rule::new(conditions.collect()).unwrap()
}

#[test]
fn each_key_looks_at_its_own_place() {
    let facts = facts();
    let (certificate, key) = ("AB:".repeat(32), "cd".repeat(32));
    let cases = [
        ("san_dns", "*.partner.example", true),
        ("san_dns", "ann", false),
        ("san_uri", "spiffe://td.example/ns/prod/sa/api", true),
        ("spiffe", "spiffe://td.example/ns/*/sa/api", true),
        ("spiffe", "spiffe://td.example/ns/*/sa/other", false),
        ("san_email", "ann@Example.com", true),
        ("san_email", "*@example.org", false),
        ("san_ip", "10.0.0.0/8", true),
        ("san_ip", "10.1.2.3", true),
        ("san_ip", "10.1.2.4", false),
        ("san_ip", "::/0", false),
        ("subject_cn", "Ann", true),
        ("subject_cn", "ann", false),
        ("subject_cn", "An", false),
        ("subject_cn", "Payments", false),
        ("subject_cn", "Some CA", false),
        ("subject_ou", "Payments", true),
        ("subject_ou", "Operations", true),
        ("subject_o", "Payments", false),
        ("subject_organization_identifier", "PSDES-BDE-3DFD21", true),
        ("subject_oid", "2.5.4.97=PSDES-BDE-3DFD21", true),
        ("subject_oid", "2.5.4.98=PSDES-BDE-3DFD21", false),
        ("issuer_cn", "Some CA", true),
        ("issuer_cn", "Ann", false),
        ("issuer_oid", "2.5.4.3=Some CA", true),
        ("sha256", certificate.trim_end_matches(':'), true),
        ("sha256", &key, false),
        ("public_key_sha256", &key, true),
        ("policy_oid", "1.2.3.4", true),
        ("policy_oid", "1.2.3", false),
    ];
    for (key, value, expected) in cases {
        assert_eq!(rule(&[(key, &[value])]).matches(&facts), expected, "{key} = {value}");
    }
}

#[test]
fn all_conditions_have_to_hold_and_one_value_of_each() {
    let facts = facts();
    assert!(rule(&[("subject_cn", &["Bob", "Ann"]), ("subject_ou", &["Payments"])]).matches(&facts));
    assert!(!rule(&[("subject_cn", &["Ann"]), ("subject_ou", &["Sales"])]).matches(&facts));
    assert!(Rule::new(Vec::new()).is_none(), "a rule without conditions would let in everybody");
}

#[test]
fn a_certificate_with_two_uris_has_no_spiffe_id() {
    let mut facts = facts();
    let one = rule(&[("spiffe", &["spiffe://td.example/ns/prod/sa/api"])]);
    assert!(one.matches(&facts));
    facts.subject_alt_names.push(SubjectAltName::Uri("https://example.com/".to_owned()));
    assert!(!one.matches(&facts));
}

#[test]
fn values_that_could_match_nothing_are_refused() {
    for (key, value) in [
        ("san_dns", "*"),
        ("san_ip", "10.0.0.1/8"),
        ("san_ip", "ten"),
        ("subject_cn", ""),
        ("subject_cn", "a\0"),
        ("subject_oid", "CN=a"),
        ("subject_oid", "2.5.4.3="),
        ("subject_oid", "2.5.4.03=a"),
        ("sha256", "ab"),
        ("sha256", "zz"),
        ("policy_oid", "1"),
        ("policy_oid", "1..2"),
        ("policy_oid", "anyPolicy"),
    ] {
        assert!(Condition::new(Key::named(key).unwrap()).add(value).is_err(), "{key} = {value:?}");
    }
}

#[test]
fn who_denies_has_the_last_word() {
    let facts = facts();
    let ann = || rule(&[("subject_cn", &["Ann"])]);
    let bob = || rule(&[("subject_cn", &["Bob"])]);
    let cases = [
        (None, vec![], Verdict::AllowedWithoutList),
        (None, vec![bob()], Verdict::AllowedWithoutList),
        (None, vec![bob(), ann()], Verdict::DeniedBy(1)),
        (Some(vec![bob(), ann()]), vec![], Verdict::AllowedBy(1)),
        (Some(vec![bob()]), vec![], Verdict::NotListed),
        (Some(vec![]), vec![], Verdict::NotListed),
        (Some(vec![ann()]), vec![ann()], Verdict::DeniedBy(0)),
    ];
    for (allow, deny, expected) in cases {
        let rules = Rules { allow, deny };
        assert_eq!(rules.verdict(&facts), expected, "{rules:?}");
        let client = ClientCert::Verified(Arc::new(facts.clone()));
        let decision = decide(&Access::Certificate(rules), Facts { client: &client });
        assert_eq!(decision.err(), (!expected.lets_in()).then_some(Reason::NotAllowed));
    }
}

#[test]
fn a_refused_certificate_is_asked_for_nothing_else() {
    let client = ClientCert::Refused { reason: Reason::Expired, shown: Some(Arc::new(facts())) };
    let rules = Rules { allow: Some(vec![rule(&[("subject_cn", &["Ann"])])]), deny: Vec::new() };
    let decision = decide(&Access::Certificate(rules), Facts { client: &client });
    assert_eq!(decision.err(), Some(Reason::Expired));
}

proptest! {
    #[test]
    fn an_attribute_matches_what_is_equal_and_nothing_else(value in "[a-zA-Z ]{1,6}", other in "[a-zA-Z ]{1,6}") {
        let mut facts = facts();
        facts.details.subject = vec![attribute("2.5.4.3", &other)];
        prop_assert_eq!(rule(&[("subject_cn", &[&value])]).matches(&facts), value == other);
    }

    #[test]
    fn an_address_is_in_a_network_when_its_first_bits_are(network in any::<[u8; 4]>(), address in any::<[u8; 4]>(), length in 0..=32_u32) {
        let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
        let first = u32::from_be_bytes(network) & mask;
        let text = format!("{}/{length}", std::net::Ipv4Addr::from(first));
        let mut facts = facts();
        facts.subject_alt_names = vec![SubjectAltName::Ip(address.into())];
        prop_assert_eq!(rule(&[("san_ip", &[&text])]).matches(&facts), u32::from_be_bytes(address) & mask == first);
    }

    #[test]
    fn the_order_of_attributes_does_not_matter(turn in 0..4_usize) {
        let mut facts = facts();
        facts.details.subject.rotate_left(turn);
        let both = rule(&[("subject_cn", &["Ann"]), ("subject_ou", &["Payments"])]);
        prop_assert!(both.matches(&facts));
    }

    #[test]
    fn what_is_told_of_a_part_holds_for_the_whole(
        names in 0..3_usize, kept_names in 0..5_usize, subject in 0..3_usize, kept_attributes in 0..5_usize,
        rest in any::<bool>(), more_uris in 0..3_usize, picked in prop::collection::vec(0..CANDIDATES.len(), 1..4),
        lists in prop::collection::vec((any::<bool>(), 0..4_usize), 0..3),
    ) {
        let mut whole = facts();
        for number in 0..more_uris {
            whole.subject_alt_names.push(SubjectAltName::Uri(format!("urn:{number}")));
        }
        let known = |number| [Known::Whole, Known::Partly, Known::Nothing][number];
        let extent = Extent {
            names: known(names),
            subject: known(subject),
            sha256: Known::Whole,
            rest: if rest { Known::Whole } else { Known::Nothing },
        };
        let mut part = whole.clone();
        part.subject_alt_names.truncate(kept(extent.names, kept_names));
        part.details.subject.truncate(kept(extent.subject, kept_attributes));
        if !rest {
            part.details.issuer.clear();
            part.details.policies.clear();
            part.details.public_key_sha256.clear();
        }
        let rules: Vec<_> = picked.iter().map(|index| rule(CANDIDATES[*index])).collect();
        for rule in &rules {
            match rule.told(&part, extent) {
                Told::Matches => prop_assert!(rule.matches(&whole), "{rule}"),
                Told::Misses => prop_assert!(!rule.matches(&whole), "{rule}"),
                Told::Unknown => prop_assert_ne!(extent, Extent::WHOLE),
            }
            prop_assert_eq!(rule.told(&whole, Extent::WHOLE) == Told::Matches, rule.matches(&whole));
        }
        let mut all = Rules::default();
        for (is_deny, index) in lists {
            let rule = rules[index % rules.len()].clone();
            if is_deny { all.deny.push(rule) } else { all.allow.get_or_insert_default().push(rule) }
        }
        let expected = all.verdict(&whole).lets_in();
        prop_assert_eq!(all.lets_in(&whole, Extent::WHOLE), Some(expected));
        if let Some(told) = all.lets_in(&part, extent) {
            prop_assert_eq!(told, expected);
        }
        let client = ClientCert::Verified(Arc::new(part));
        let access = Access::Certificate(all);
        if let Some(told) = crate::policy::foretell(&access, &client, extent) {
            prop_assert_eq!(told.is_ok(), expected);
        }
    }
}

/// Of a part that is known in part; of one of which nothing is known, nothing is there.
fn kept(known: Known, number: usize) -> usize {
    match known {
        Known::Whole => usize::MAX,
        Known::Partly => number,
        Known::Nothing => 0,
    }
}

const CANDIDATES: [&[(&str, &[&str])]; 12] = [
    &[("san_dns", &["*.partner.example"])],
    &[("san_dns", &["other.example"])],
    &[("spiffe", &["spiffe://td.example/ns/*/sa/api"])],
    &[("san_uri", &["urn:1", "urn:2"])],
    &[("san_email", &["*@example.com"]), ("subject_ou", &["Operations"])],
    &[("san_ip", &["10.0.0.0/8"])],
    &[("subject_cn", &["Ann"])],
    &[("subject_cn", &["Bob"]), ("issuer_cn", &["Some CA"])],
    &[("subject_oid", &["2.5.4.97=PSDES-BDE-3DFD21"])],
    &[("issuer_cn", &["Some CA"])],
    &[("policy_oid", &["1.2.3.4"]), ("san_dns", &["*.partner.example"])],
    &[("public_key_sha256", &["abababababababababababababababababababababababababababababababab"])],
];

#[test]
fn of_a_client_whom_the_rules_are_not_asked_of_all_is_told() {
    let nothing =
        Extent { names: Known::Nothing, subject: Known::Nothing, sha256: Known::Nothing, rest: Known::Nothing };
    let listed = Access::Certificate(Rules { allow: Some(vec![rule(&[("subject_cn", &["Ann"])])]), deny: Vec::new() });
    let expired = ClientCert::Refused { reason: Reason::Expired, shown: None };
    let verified = ClientCert::Verified(Arc::new(facts()));
    let cases = [
        (&listed, &expired, Some(Err(Reason::Expired))),
        (&listed, &ClientCert::NotPresented, Some(Err(Reason::CertificateMissing))),
        (&listed, &verified, None),
        (&Access::Public, &expired, Some(Ok(()))),
        (&Access::Public, &verified, Some(Ok(()))),
        (&Access::default(), &verified, Some(Ok(()))),
    ];
    for (access, client, expected) in cases {
        assert_eq!(crate::policy::foretell(access, client, nothing), expected, "{access:?} {client:?}");
    }
}
