//! The gate's judgement told step by step, for a certificate and a request that need not be there.
//!
//! It asks whom the gate asks: `TrustStore::judge`, the route table, the policy. What is missing is what only a real
//! connection has, framing and limits on bodies. `gateway explain` prints it, and the tests that a configuration brings
//! along are held against it.

mod certificates;
mod logged;
mod policy_tests;
mod rules;
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
use crate::policy::{self, Access, Extent, Facts, Rule, Rules, Told};
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
    /// What came of a rule of `allow` or `deny`; `None` where the step is none.
    pub rule: Option<Told>,
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
    /// Of a request of a log: what came of it, and what would come of it now.
    pub logged: Option<ThenAndNow>,
}

/// A request of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThenAndNow {
    /// What the log says came of it.
    pub then: Answer,
    /// The route by the log.
    pub then_route: Option<String>,
    /// What this configuration makes of it; `None` when what is known does not tell.
    pub now: Option<Answer>,
    /// The route by this configuration.
    pub now_route: Option<String>,
    /// What would have to be known.
    pub untold: Vec<String>,
}

/// A request that has come to a route.
struct Place<'a> {
    index: usize,
    access: &'a Access,
    strip_prefix: Option<&'a str>,
    readings: Readings<'a>,
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
        self.answer_on(client, asked, asked.host.as_ref(), None)
    }

    /// The same on a connection for this server name. `allow`, where there is one, stands in for every route's own list.
    fn answer_on(
        &self,
        client: &ClientCert,
        asked: &Asked,
        server_name: Option<&Host>,
        allow: Option<&[Rule]>,
    ) -> Answer {
        let place = match self.place(client, asked, server_name) {
            Ok(place) => place,
            Err(answer) => return answer,
        };
        let access = match (place.access, allow) {
            (Access::Certificate(Rules { deny, .. }), Some(allow)) => {
                &Access::Certificate(Rules { allow: Some(allow.to_vec()), deny: deny.clone() })
            }
            (own, _) => own,
        };
        place.settle(policy::decide(access, Facts { client }).map(drop))
    }

    /// What is decided before a route's policy is asked.
    fn place<'p>(
        &'p self,
        client: &ClientCert,
        asked: &'p Asked,
        server_name: Option<&Host>,
    ) -> Result<Place<'p>, Answer> {
        if let Some(reason) = self.alert(client, server_name) {
            return Err(Answer::refused(403, reason.as_str()));
        }
        let settings = &self.config.proxy;
        let path = asked.path.split('?').next().unwrap_or_default();
        if matches!(asked.method, Method::GET | Method::HEAD) && path == settings.health_path {
            return Err(Answer { status: 200, reason: None, route: None });
        }
        if asked.path.len() > settings.limits.uri as usize {
            return Err(Answer::refused(414, "uri_too_long"));
        }
        if matches!(asked.method, Method::CONNECT | Method::TRACE) {
            return Err(Answer::refused(405, "method_not_allowed"));
        }
        let readings = Readings::of(path).map_err(|_| Answer::refused(400, "bad_path"))?;
        if !self.trust.is_one_profile(server_name, asked.host.as_ref()) {
            return Err(Answer::refused(421, "misdirected"));
        }
        let index = match (self.table.find(asked.host.as_ref(), &readings, &asked.method), client.refusal()) {
            (Match::Ambiguous, _) => return Err(Answer::refused(400, "ambiguous_path")),
            (Match::Route(id), _) => id.0,
            (Match::NoPath | Match::NoMethod(_), Some(reason)) => return Err(Answer::refused(403, reason.as_str())),
            (Match::NoPath, None) => return Err(Answer::refused(404, "no_route")),
            (Match::NoMethod(_), None) => return Err(Answer::refused(405, "method_not_allowed")),
        };
        let route = settings.routes.get(index).ok_or(Answer::refused(404, "no_route"))?;
        Ok(Place { index, access: &route.access, strip_prefix: route.strip_prefix.as_deref(), readings })
    }

    /// The same with everything that led to it.
    pub fn explain(&self, chain: &[CertificateDer<'_>], asked: &Asked, now: WallTime) -> Explanation {
        self.explain_on(chain, asked, asked.host.as_ref(), now)
    }

    fn explain_on(
        &self,
        chain: &[CertificateDer<'_>],
        asked: &Asked,
        server_name: Option<&Host>,
        now: WallTime,
    ) -> Explanation {
        let trust = self.trust.of(server_name);
        let client = self.client(chain, server_name, now);
        let answer = self.answer_on(&client, asked, server_name, None);
        let mut steps = certificates::steps(chain, trust, &client, now);
        steps.extend(self.handshake(&client, server_name));
        steps.push(request(asked));
        let route = answer.route.and_then(|index| self.config.proxy.routes.get(index));
        match route {
            Some(route) => {
                steps.push(Step::new("route", Mark::Yes, route.spec.to_string()));
                steps.extend(rules::steps(&route.access, &client, Extent::WHOLE));
            }
            None => steps.push(no_route(&answer, asked)),
        }
        if self.trust.is_one_profile(server_name, asked.host.as_ref()) {
            steps.extend(self.shadow(chain, &client, &answer, asked, now));
        }
        let mend = self.mend(&answer, &client, server_name, Extent::WHOLE);
        Explanation { steps, answer, route: route.map(|route| route.spec.to_string()), mend, logged: None }
    }

    fn handshake(&self, client: &ClientCert, server_name: Option<&Host>) -> Option<Step> {
        let text = "client_auth ends the handshake with a TLS alert: there is no answer, and no route";
        self.alert(client, server_name).map(|_| Step::new("handshake", Mark::No, text.to_owned()))
    }

    fn mend(&self, answer: &Answer, client: &ClientCert, server_name: Option<&Host>, extent: Extent) -> Option<String> {
        let reason = answer.reason.as_deref()?;
        let trust = self.trust.of(server_name);
        let of_certificate = client.refusal().filter(|refusal| refusal.as_str() == reason);
        let access = answer.route.and_then(|index| self.config.proxy.routes.get(index)).map(|route| &route.access);
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
                    match client.verified().and_then(|facts| rules::denying(rules, facts, extent)) {
                        Some(number) => {
                            format!("remove rule {number} from the route's `deny`, or use another certificate")
                        }
                        None => "add a rule that matches to the route's `allow`, or use a certificate that one matches"
                            .to_owned(),
                    }
                }
                ("no_route", _) => {
                    "add a route for the path, or mend the path; letter case and a final slash matter".to_owned()
                }
                ("method_not_allowed", _) => "add the method to the route's `methods`, or use another".to_owned(),
                ("uri_too_long", _) => "send a shorter path, or raise limits.uri".to_owned(),
                ("misdirected", _) => {
                    "open a connection for this host: its server name (SNI) and the Host belong to different profiles \
                     of [[tls.sni]]"
                        .to_owned()
                }
                _ => "send the path plainly: no encoded slashes, dot segments or backslashes".to_owned(),
            },
        })
    }
}

impl Place<'_> {
    /// What the policy's word comes to.
    fn settle(&self, decision: Result<(), Reason>) -> Answer {
        let answer = match decision {
            Err(reason) => Answer::refused(403, reason.as_str()),
            Ok(()) if self.strip_prefix.is_some_and(|prefix| self.readings.check_without(prefix).is_err()) => {
                Answer::refused(400, "bad_path")
            }
            Ok(()) => Answer { status: 200, reason: None, route: None },
        };
        Answer { route: Some(self.index), ..answer }
    }
}

impl Step {
    const fn new(what: &'static str, mark: Mark, text: String) -> Self {
        Self { what, mark, text, rule: None }
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
    Step::new(what, Mark::Fact, text)
}

fn request(asked: &Asked) -> Step {
    let host = asked.host.as_ref().map_or_else(|| "no host".to_owned(), |host| format!("host {host}"));
    fact("request", format!("{} {}, {host}", asked.method, printable(&asked.path)))
}

/// Why there is no route to speak of.
fn no_route(answer: &Answer, asked: &Asked) -> Step {
    let text = match answer.reason.as_deref() {
        None => return Step::new("health", Mark::Yes, "anybody may ask for the health path".to_owned()),
        Some("no_route") => "none covers the path".to_owned(),
        Some("method_not_allowed") => format!("none takes the method {} on this path", asked.method),
        Some("ambiguous_path") => "the path can be read in two ways, which lead to different routes".to_owned(),
        Some("bad_path") => "the path is refused whatever the routes are".to_owned(),
        Some("uri_too_long") => "the path is longer than limits.uri".to_owned(),
        Some("misdirected") => "the connection was made for the host of another profile".to_owned(),
        _ => "none covers path and method; without a good certificate nobody is told so".to_owned(),
    };
    Step::new("route", Mark::No, text)
}

/// A text from a certificate or a log, without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}
