//! What a route asks for, and each of its rules with what the certificate has in its place.

use super::{Mark, Step, fact, printable};
use crate::identity::{CertificateFacts, ClientCert};
use crate::policy::{Access, Condition, Extent, Known, Rule, Rules, Told};

/// `extent` is what is known of the client's certificate.
pub(super) fn steps(access: &Access, client: &ClientCert, extent: Extent) -> Vec<Step> {
    let Access::Certificate(rules) = access else {
        return vec![fact("access", "public: anybody is let in".to_owned())];
    };
    let Some(facts) = client.verified() else {
        return vec![Step::new("access", Mark::No, "the route needs a verified certificate".to_owned())];
    };
    let Rules { allow, deny } = rules;
    let (mut steps, denied) = asked("deny", deny, facts, extent);
    if denied == Told::Matches {
        return steps;
    }
    let Some(allow) = allow else {
        steps.push(fact("allow", "there is no list: every verified certificate is let in".to_owned()));
        return steps;
    };
    let (tried, allowed) = asked("allow", allow, facts, extent);
    steps.extend(tried);
    match allowed {
        Told::Matches => {}
        Told::Misses => steps.push(Step::new("allow", Mark::No, "no rule of the list matches".to_owned())),
        Told::Unknown => steps.push(fact("allow", "whether a rule of the list matches is not known".to_owned())),
    }
    steps
}

/// The place, from 1, of the first rule that denies.
pub(super) fn denying(rules: &Rules, facts: &CertificateFacts, extent: Extent) -> Option<usize> {
    rules.deny.iter().position(|rule| rule.told(facts, extent) == Told::Matches).map(|index| index + 1)
}

/// The keys of which too little is known to say what a route's rules come to.
pub(super) fn untold(access: &Access, client: &ClientCert, extent: Extent) -> Vec<String> {
    let (Access::Certificate(rules), Some(facts)) = (access, client.verified()) else { return Vec::new() };
    let open = rules.deny.iter().chain(rules.allow.iter().flatten());
    let open = open.filter(|rule| rule.told(facts, extent) == Told::Unknown);
    let mut keys: Vec<_> = open.flat_map(|rule| unknown(rule, facts, extent)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter().map(str::to_owned).collect()
}

fn unknown<'a>(rule: &'a Rule, facts: &'a CertificateFacts, extent: Extent) -> impl Iterator<Item = &'static str> + 'a {
    let open = rule.conditions().iter().filter(move |condition| condition.told(facts, extent) == Told::Unknown);
    open.map(|condition| condition.key().as_str())
}

/// The gate asks no rule after the one that settles it.
fn asked(what: &'static str, rules: &[Rule], facts: &CertificateFacts, extent: Extent) -> (Vec<Step>, Told) {
    let mut steps = Vec::new();
    let mut all = Told::Misses;
    for rule in rules {
        let told = rule.told(facts, extent);
        steps.push(tried(what, rule, told, facts, extent));
        match told {
            Told::Matches => return (steps, told),
            Told::Misses => {}
            Told::Unknown => all = told,
        }
    }
    (steps, all)
}

fn tried(what: &'static str, rule: &Rule, told: Told, facts: &CertificateFacts, extent: Extent) -> Step {
    let is_deny = what == "deny";
    let of = |wanted: Told| {
        let conditions = rule.conditions().iter().filter(|condition| condition.told(facts, extent) == wanted);
        conditions.map(|condition| has(condition, facts, extent)).collect::<Vec<_>>().join("; ")
    };
    let (mark, text) = match told {
        Told::Matches if is_deny => (Mark::No, format!("{rule} matches")),
        Told::Matches => (Mark::Yes, format!("{rule} matches")),
        Told::Misses if is_deny => (Mark::Yes, format!("{rule} does not match ({})", of(Told::Misses))),
        Told::Misses => (Mark::Fact, format!("{rule} does not match ({})", of(Told::Misses))),
        Told::Unknown => (Mark::Fact, format!("{rule}: the log does not tell ({})", of(Told::Unknown))),
    };
    Step { rule: Some(told), ..Step::new(what, mark, printable(&text)) }
}

/// What the certificate has where a condition looks.
fn has(condition: &Condition, facts: &CertificateFacts, extent: Extent) -> String {
    let key = condition.key().as_str();
    let known = condition.known(extent);
    if known == Known::Nothing {
        return format!("{key} is not in it");
    }
    let found: Vec<_> = condition.found(facts).iter().map(|value| format!("{value:?}")).collect();
    let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
    match known {
        Known::Partly => format!("{key}: it is cut short after {found}"),
        _ => format!("{key}: the certificate has {found}"),
    }
}
