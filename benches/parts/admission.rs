//! Asking a route's rules about a certificate, from one rule to a hundred.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion};
use mtls_gateway::identity::{CertificateFacts, ClientCert};
use mtls_gateway::policy::{Access, Condition, Facts, Key, Rule, Rules, Verdict, decide};

use crate::pki::{Keys, Pki, facts_of};

const SIZES: [usize; 3] = [1, 10, 100];

pub(crate) fn measure(criterion: &mut Criterion) {
    let client = facts_of(&Pki::new(Keys::P256).below_root());
    let last = |rules: usize| (0..rules - 1).map(of_somebody_else).chain([of_the_client()]).collect::<Vec<_>>();
    let foreign = |rules: usize| (0..rules).map(of_somebody_else).collect::<Vec<_>>();
    let mut group = criterion.benchmark_group("ask the rules");
    for size in SIZES {
        let cases = [
            ("the last lets in", Some(last(size)), Vec::new(), Verdict::AllowedBy(size - 1)),
            ("none lets in", Some(foreign(size)), Vec::new(), Verdict::NotListed),
            ("none denies", None, foreign(size), Verdict::AllowedWithoutList),
            ("the last denies", None, last(size), Verdict::DeniedBy(size - 1)),
        ];
        for (name, allow, deny, expected) in cases {
            let rules = Rules { allow, deny };
            assert_eq!(rules.verdict(&client), expected);
            group.bench_with_input(BenchmarkId::new(name, size), &rules, |bencher, rules| {
                bencher.iter(|| rules.verdict(black_box(&client)));
            });
        }
    }
    group.finish();
    decisions(criterion, client);
}

/// The whole decision, for a route without rules and one with ten.
fn decisions(criterion: &mut Criterion, facts: CertificateFacts) {
    let client = ClientCert::Verified(Arc::new(facts));
    let rules = (0..9).map(of_somebody_else).chain([of_the_client()]).collect();
    let listed = Access::Certificate(Rules { allow: Some(rules), deny: Vec::new() });
    let mut group = criterion.benchmark_group("decide");
    for (name, access, client, is_let_in) in [
        ("public", Access::Public, &ClientCert::NotPresented, true),
        ("any certificate", Access::default(), &client, true),
        ("ten rules", listed, &client, true),
        ("no certificate", Access::default(), &ClientCert::NotPresented, false),
    ] {
        assert_eq!(decide(&access, Facts { client }).is_ok(), is_let_in);
        group.bench_with_input(BenchmarkId::from_parameter(name), &access, |bencher, access| {
            bencher.iter(|| decide(access, Facts { client: black_box(client) }));
        });
    }
    group.finish();
}

fn of_the_client() -> Rule {
    rule(&[("san_dns", "*.partner.example"), ("issuer_o", "Example")])
}

/// A rule of one of the kinds that are common, for a client that never comes.
fn of_somebody_else(number: usize) -> Rule {
    match number % 4 {
        0 => rule(&[("san_dns", &format!("client-{number}.other.example"))]),
        1 => rule(&[("spiffe", &format!("spiffe://example.org/ns/*/sa/client-{number}"))]),
        2 => rule(&[("issuer_o", "Example"), ("subject_cn", &format!("client-{number}"))]),
        _ => rule(&[("sha256", &format!("{number:064x}"))]),
    }
}

fn rule(conditions: &[(&str, &str)]) -> Rule {
    let condition = |(key, value): &(&str, &str)| {
        let mut condition = Condition::new(Key::named(key).unwrap());
        condition.add(value).unwrap();
        condition
    };
    Rule::new(conditions.iter().map(condition).collect()).unwrap()
}
