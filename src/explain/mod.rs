//! The gate's judgement told step by step, for a certificate and a request that need not be there.
//!
//! It asks whom the gate asks: `TrustStore::judge`, the route table, the policy. What is missing is what only a real
//! connection has, framing and limits on bodies. `gateway explain` prints it, and the tests that a configuration brings
//! along are held against it.

mod certificates;
mod logged;
mod policy_tests;
mod shadow;

pub use logged::Logged;
pub use policy_tests::failures;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::Method;
use rustls_pki_types::CertificateDer;

use crate::clock::WallTime;
use crate::config::Config;
use crate::identity::{CertificateFacts, ClientCert, Reason};
use crate::net::Host;
use crate::policy::{self, Access, Facts, Rule, Rules, Verdict};
use crate::route::{Match, Readings, RouteTable};
use crate::tls::{ClientAuth, HostTrust, TrustStore, Unfit};

/// A configuration, as far as it decides who is let in where.
#[derive(Debug)]
pub struct Gate<'a> {
    config: &'a Config,
    trust: HostTrust,
    table: RouteTable,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// The host; `None` is a request without one, which only routes for every host take.
    pub host: Option<Host>,
    /// The path; a query after it does not matter.
    pub path: String,
}

/// What comes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status; 200 stands for whatever the route or the upstream answers.
    pub status: u16,
    /// The reason word of a refusal.
    pub reason: Option<Cow<'static, str>>,
    /// The route's place in the configuration.
    pub route: Option<usize>,
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It is so; by itself it settles nothing.
    Fact,
    /// It speaks for the client.
    Yes,
    /// It is why the client is refused.
    No,
}

/// One step of the judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is looked at: a stable word.
    pub what: &'static str,
    /// How it went.
    pub mark: Mark,
    /// In one line.
    pub text: String,
}

/// A judgement with what led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The steps, in the order in which the gate takes them.
    pub steps: Vec<Step>,
    /// What came of them.
    pub answer: Answer,
    /// The route's host and path.
    pub route: Option<String>,
    /// What to do about a refusal.
    pub mend: Option<String>,
}

impl Answer {
    const fn refused(status: u16, reason: &'static str) -> Self {
        Self { status, reason: Some(Cow::Borrowed(reason)), route: None }
    }

    /// Whether the request is let in.
    pub fn lets_in(&self) -> bool {
        self.reason.is_none()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            None => write!(f, "{}", self.status),
            Some(reason) => write!(f, "{} {reason}", self.status),
        }
    }
}

impl<'a> Gate<'a> {
    /// The gate of a configuration. `trust` is what [`HostTrust::open`] made of it.
    ///
    /// # Errors
    /// A sentence when routes collide; checked ones do not.
    pub fn new(config: &'a Config, trust: HostTrust) -> Result<Self, String> {
        let specs: Vec<_> = config.proxy.routes.iter().map(|route| route.spec.clone()).collect();
        let table = RouteTable::build(&specs).map_err(|_| "routes collide".to_owned())?;
        Ok(Self { config, trust, table })
    }

    /// Who the holder of a chain is, the leaf first, for this host; an empty one stands for no certificate.
    pub fn client(&self, chain: &[CertificateDer<'_>], host: Option<&Host>, now: WallTime) -> ClientCert {
        judged(self.trust.of(host), chain, now)
    }

    /// Whether the handshake ends with a TLS alert, so that there is no answer at all.
    fn alert(&self, client: &ClientCert, host: Option<&Host>) -> Option<Reason> {
        let ClientAuth::Asked(modes) = &self.config.tls.of_host(host).client_auth else { return None };
        let unfit = if matches!(client, ClientCert::NotPresented) { modes.absent } else { modes.invalid };
        client.refusal().filter(|_| unfit == Unfit::Reject)
    }

    /// What the client gets, in the order in which the gate decides it. A TLS alert counts as a 403 of its reason.
    pub fn answer(&self, client: &ClientCert, asked: &Asked) -> Answer {
        self.answer_with(client, asked, None)
    }

    /// The same with a list of whom to let in that stands in for every route's own.
    fn answer_with(&self, client: &ClientCert, asked: &Asked, allow: Option<&[Rule]>) -> Answer {
        if let Some(reason) = self.alert(client, asked.host.as_ref()) {
            return Answer::refused(403, reason.as_str());
        }
        let settings = &self.config.proxy;
        let path = asked.path.split('?').next().unwrap_or_default();
        if matches!(asked.method, Method::GET | Method::HEAD) && path == settings.health_path {
            return Answer { status: 200, reason: None, route: None };
        }
        if asked.path.len() > settings.limits.uri as usize {
            return Answer::refused(414, "uri_too_long");
        }
        if matches!(asked.method, Method::CONNECT | Method::TRACE) {
            return Answer::refused(405, "method_not_allowed");
        }
        let Ok(readings) = Readings::of(path) else { return Answer::refused(400, "bad_path") };
        let index = match (self.table.find(asked.host.as_ref(), &readings, &asked.method), client.refusal()) {
            (Match::Ambiguous, _) => return Answer::refused(400, "ambiguous_path"),
            (Match::Route(id), _) => id.0,
            (Match::NoPath | Match::NoMethod(_), Some(reason)) => return Answer::refused(403, reason.as_str()),
            (Match::NoPath, None) => return Answer::refused(404, "no_route"),
            (Match::NoMethod(_), None) => return Answer::refused(405, "method_not_allowed"),
        };
        let Some(route) = settings.routes.get(index) else { return Answer::refused(404, "no_route") };
        let access = match (&route.access, allow) {
            (Access::Certificate(Rules { deny, .. }), Some(allow)) => {
                &Access::Certificate(Rules { allow: Some(allow.to_vec()), deny: deny.clone() })
            }
            (own, _) => own,
        };
        let answer = match policy::decide(access, Facts { client }) {
            Err(reason) => Answer::refused(403, reason.as_str()),
            Ok(_) if route.strip_prefix.as_ref().is_some_and(|prefix| readings.check_without(prefix).is_err()) => {
                Answer::refused(400, "bad_path")
            }
            Ok(_) => Answer { status: 200, reason: None, route: None },
        };
        Answer { route: Some(index), ..answer }
    }

    fn access_of(&self, route: &str) -> Option<&Access> {
        let routes = &self.config.proxy.routes;
        routes.iter().find(|known| known.spec.to_string() == route).map(|known| &known.access)
    }

    /// The same with everything that led to it.
    pub fn explain(&self, chain: &[CertificateDer<'_>], asked: &Asked, now: WallTime) -> Explanation {
        let trust = self.trust.of(asked.host.as_ref());
        let client = self.client(chain, asked.host.as_ref(), now);
        let answer = self.answer(&client, asked);
        let mut steps = certificates::steps(chain, trust, &client, now);
        if self.alert(&client, asked.host.as_ref()).is_some() {
            let text = "client_auth ends the handshake with a TLS alert: there is no answer, and no route".to_owned();
            steps.push(Step { what: "handshake", mark: Mark::No, text });
        }
        let host = asked.host.as_ref().map_or_else(|| "no host".to_owned(), |host| format!("host {host}"));
        steps.push(fact("request", format!("{} {}, {host}", asked.method, printable(&asked.path))));
        let route = answer.route.and_then(|index| self.config.proxy.routes.get(index));
        match route {
            Some(route) => {
                steps.push(Step { what: "route", mark: Mark::Yes, text: route.spec.to_string() });
                steps.extend(access(&route.access, &client));
            }
            None if answer.lets_in() => {
                steps.push(Step {
                    what: "health",
                    mark: Mark::Yes,
                    text: "anybody may ask for the health path".to_owned(),
                });
            }
            None => steps.push(Step { what: "route", mark: Mark::No, text: no_route(&answer, asked) }),
        }
        steps.extend(self.shadow(chain, &client, &answer, asked, now));
        let mend = mend(&answer, &client, route.map(|route| &route.access), trust);
        Explanation { steps, answer, route: route.map(|route| route.spec.to_string()), mend }
    }
}

/// Who the holder of a chain is to a trust store; without one, nobody is asked.
fn judged(trust: Option<&TrustStore>, chain: &[CertificateDer<'_>], now: WallTime) -> ClientCert {
    let Some(trust) = trust else { return ClientCert::NotRequested };
    let Some(leaf) = chain.first() else { return ClientCert::NotPresented };
    match trust.judge(chain, now) {
        Ok(believed) => ClientCert::Verified(believed.facts),
        Err(reason) => ClientCert::Refused { reason, shown: CertificateFacts::from_der(leaf).ok().map(Arc::new) },
    }
}

fn fact(what: &'static str, text: String) -> Step {
    Step { what, mark: Mark::Fact, text }
}

/// What the route asks for, and each rule with what the certificate has in its place.
fn access(access: &Access, client: &ClientCert) -> Vec<Step> {
    let Access::Certificate(rules) = access else {
        return vec![fact("access", "public: anybody is let in".to_owned())];
    };
    let Some(facts) = client.verified() else {
        let text = "the route needs a verified certificate".to_owned();
        return vec![Step { what: "access", mark: Mark::No, text }];
    };
    let verdict = rules.verdict(facts);
    let Rules { allow, deny } = rules;
    // The gate asks no rule after the one that settles it.
    let until = |list: &'static str, rules: &[Rule], settled: Option<usize>, marks: [Mark; 2]| {
        let asked = settled.map_or(rules.len(), |index| index + 1);
        rules.iter().take(asked).map(|rule| tried(list, rule, facts, marks)).collect::<Vec<_>>()
    };
    let [denied, allowed] = match verdict {
        Verdict::DeniedBy(index) => [Some(index), None],
        Verdict::AllowedBy(index) => [None, Some(index)],
        Verdict::AllowedWithoutList | Verdict::NotListed => [None, None],
    };
    let mut steps = until("deny", deny, denied, [Mark::No, Mark::Yes]);
    if denied.is_some() {
        return steps;
    }
    let Some(allow) = allow else {
        steps.push(fact("allow", "there is no list: every verified certificate is let in".to_owned()));
        return steps;
    };
    steps.extend(until("allow", allow, allowed, [Mark::Yes, Mark::Fact]));
    if allowed.is_none() {
        steps.push(Step { what: "allow", mark: Mark::No, text: "no rule of the list matches".to_owned() });
    }
    steps
}

/// `marks` are for a rule that matches and for one that does not.
fn tried(what: &'static str, rule: &Rule, facts: &CertificateFacts, marks: [Mark; 2]) -> Step {
    let [matching, other] = marks;
    let missed: Vec<_> = rule
        .conditions()
        .iter()
        .filter(|condition| !condition.holds(facts))
        .map(|condition| {
            let found = condition.found(facts);
            let found = match found.as_slice() {
                [] => "nothing".to_owned(),
                found => found.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(", "),
            };
            format!("{}: the certificate has {found}", condition.key().as_str())
        })
        .collect();
    let (mark, text) = match missed.as_slice() {
        [] => (matching, format!("{rule} matches")),
        missed => (other, format!("{rule} does not match ({})", missed.join("; "))),
    };
    Step { what, mark, text: printable(&text) }
}

fn no_route(answer: &Answer, asked: &Asked) -> String {
    match answer.reason.as_deref() {
        Some("no_route") => "none covers the path".to_owned(),
        Some("method_not_allowed") => format!("none takes the method {} on this path", asked.method),
        Some("ambiguous_path") => "the path can be read in two ways, which lead to different routes".to_owned(),
        Some("bad_path") => "the path is refused whatever the routes are".to_owned(),
        Some("uri_too_long") => "the path is longer than limits.uri".to_owned(),
        _ => "none covers path and method; without a good certificate nobody is told so".to_owned(),
    }
}

fn mend(answer: &Answer, client: &ClientCert, access: Option<&Access>, trust: Option<&TrustStore>) -> Option<String> {
    let reason = answer.reason.as_deref()?;
    let of_certificate = client.refusal().filter(|refusal| refusal.as_str() == reason);
    Some(match of_certificate {
        Some(Reason::CertificateMissing) if trust.is_none() => {
            "client_auth.mode is \"off\", so nobody is asked for a certificate: set it to \"optional\"".to_owned()
        }
        Some(Reason::UnknownIssuer) => format!(
            "have the client send the intermediates above its certificate, or add its authority to client_auth.ca; \
             trusted are: {}",
            trust.map(TrustStore::names).unwrap_or_default().join("; ")
        ),
        Some(reason) => reason.advice().to_owned(),
        None => match (reason, access) {
            ("not_allowed", Some(Access::Certificate(rules))) => {
                match client.verified().map(|facts| rules.verdict(facts)) {
                    Some(Verdict::DeniedBy(index)) => {
                        format!("remove rule {} from the route's `deny`, or use another certificate", index + 1)
                    }
                    _ => "add a rule that matches to the route's `allow`, or use a certificate that one matches"
                        .to_owned(),
                }
            }
            ("no_route", _) => {
                "add a route for the path, or mend the path; letter case and a final slash matter".to_owned()
            }
            ("method_not_allowed", _) => "add the method to the route's `methods`, or use another".to_owned(),
            ("uri_too_long", _) => "send a shorter path, or raise limits.uri".to_owned(),
            _ => "send the path plainly: no encoded slashes, dot segments or backslashes".to_owned(),
        },
    })
}

/// A text from a certificate or a log, without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}
