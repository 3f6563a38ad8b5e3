//! A request as the access log has it: what was asked, what came of it, and what the configuration makes of it now.
//!
//! The line has the names of the certificate and no more. Rules are asked as at the gate, with what is known; where that
//! does not tell, it is said so. Whether the certificate is to be believed is taken from the line.

use std::borrow::Cow;
use std::io::{self, BufRead, Read as _};
use std::sync::Arc;

use http::Method;
use rustls_pki_types::CertificateDer;
use serde_json::Value;

use super::{Answer, Asked, Explanation, Gate, Mark, Step, ThenAndNow, fact, printable, request, rules};
use crate::clock::WallTime;
use crate::identity::{CertificateFacts, ClientCert, Details, NameAttribute, ReadBack, Reason, SubjectAltName};
use crate::net::{Authority, Host};
use crate::policy::{self, Access, Extent, Known};
use crate::telemetry::{LONGEST_HOST, LONGEST_METHOD, LONGEST_PATH, LONGEST_TEXT};

/// The gateway writes no longer lines; a longer one is somebody else's.
const LONGEST_LINE: u64 = 64 * 1024;
/// A text may be cut a little before the limit, so as not to split a character.
const CHARACTER: usize = 4;
/// Refusals of a request for what it is, whatever the configuration; of what it was the line has not enough.
const FAULTS: [&str; 4] = ["bad_target", "bad_host", "transfer_coding", "headers_too_large"];
/// Refusals that are the gate's.
const GATE: [&str; 6] = ["bad_path", "ambiguous_path", "uri_too_long", "misdirected", "no_route", "method_not_allowed"];

/// A line of the access log.
#[derive(Debug, Clone)]
pub struct Logged(Value);

/// What a line says of its request.
#[derive(Debug)]
struct Request {
    asked: Asked,
    /// The server name of the connection.
    server_name: Option<Host>,
    /// What of it the line does not tell.
    untold: Vec<String>,
}

impl Logged {
    /// Looks for the request of this id in a log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn find(mut log: impl BufRead, id: &str) -> io::Result<Option<Self>> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if log.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            if let Ok(value) = serde_json::from_slice::<Value>(&line)
                && value.get("event").and_then(Value::as_str) == Some("request")
                && value.get("request_id").and_then(Value::as_str) == Some(id)
            {
                return Ok(Some(Self(value)));
            }
        }
    }

    /// SHA-256 of the certificate that was shown; `None` without one.
    pub fn certificate(&self) -> Option<&str> {
        self.text("client_sha256")
    }

    /// What came of it by the log, and what would come of it now, as far as the line tells.
    ///
    /// # Errors
    /// A sentence when the line does not say what was asked for.
    pub fn explain(&self, gate: &Gate<'_>) -> Result<Explanation, String> {
        let Request { asked, server_name, mut untold } = self.request()?;
        let server_name = server_name.as_ref();
        let (facts, extent) = self.facts();
        let verdict = self.client(gate, server_name, facts);
        let client = verdict.as_ref().unwrap_or(&ClientCert::NotPresented);
        if verdict.is_none() {
            untold.push("client_verify".to_owned());
        }
        let mut steps = vec![self.told(), self.shown(), self.chain(gate, server_name)];
        steps.extend(gate.handshake(client, server_name));
        steps.push(request(&asked));
        let then = self.answer();
        let place = gate.place(client, &asked, server_name);
        let (mut now, mut access) = (None, None);
        if self.is_faulty() {
            now = Some(then.clone());
        } else if untold.is_empty() {
            match &place {
                Ok(place) => {
                    let decision = policy::foretell(place.access, client, extent);
                    now = decision.map(|decision| place.settle(decision));
                    access = Some((place.index, place.access));
                    untold =
                        rules::untold(place.access, client, extent).into_iter().filter(|_| now.is_none()).collect();
                }
                Err(answer) => now = Some(answer.clone()),
            }
        }
        let then_route = self.text("route").filter(|route| *route != "-");
        // Where the line does not tell the request, it tells the route it had.
        let access = access.or_else(|| then_route.filter(|_| now.is_none()).and_then(|route| gate.named(route)));
        let now_route = access.map(|(index, _)| gate.route_name(index));
        if !self.is_faulty() {
            steps.extend(Self::route(then_route, now_route.as_deref(), now.as_ref(), &asked));
        }
        steps.extend(access.iter().flat_map(|(_, access)| rules::steps(access, client, extent)));
        steps.extend(self.shadow());
        let mend = Self::mend(gate, &then, now.as_ref(), &untold, (client, server_name, extent));
        let now_route = now_route.filter(|_| now.is_some());
        let logged = ThenAndNow { then: then.clone(), then_route: then_route.map(printable), now, now_route, untold };
        Ok(Explanation { steps, answer: then, route: then_route.map(printable), mend, logged: Some(logged) })
    }

    /// The same with the certificate that was shown at hand: what came of it by the log, and what would come of it now.
    ///
    /// # Errors
    /// A sentence when the line does not say what was asked for, or not all of it.
    pub fn explain_with(
        &self,
        gate: &Gate<'_>,
        chain: &[CertificateDer<'_>],
        now: WallTime,
    ) -> Result<Explanation, String> {
        let Request { asked, server_name, untold } = self.request()?;
        if self.is_faulty() {
            return self.explain(gate);
        }
        if !untold.is_empty() {
            let untold = untold.join(", ");
            return Err(format!(
                "the line in the log does not tell all of it ({untold}): ask with --path, --host and \
                                --method instead of --log"
            ));
        }
        let mut explanation = gate.explain_on(chain, &asked, server_name.as_ref(), now);
        explanation.steps.insert(0, self.told());
        explanation.logged = Some(ThenAndNow {
            then: self.answer(),
            then_route: self.text("route").filter(|route| *route != "-").map(printable),
            now: Some(explanation.answer.clone()),
            now_route: explanation.route.clone(),
            untold: Vec::new(),
        });
        Ok(explanation)
    }

    fn request(&self) -> Result<Request, String> {
        let missing = |key: &str| format!("the line in the log has no `{key}`: is it one of the access log?");
        // That of CONNECT is empty.
        let path = self.0.get("path").and_then(Value::as_str).ok_or_else(|| missing("path"))?.to_owned();
        let text = self.text("method").ok_or_else(|| missing("method"))?;
        let mut method = Method::from_bytes(text.as_bytes()).map_err(|_| missing("method"))?;
        let mut untold = Vec::new();
        let mut cut = |key: &str, is_cut: bool| {
            if is_cut {
                untold.push(key.to_owned());
            }
        };
        cut("path", path.len() + CHARACTER > LONGEST_PATH);
        cut("method", text.len() >= LONGEST_METHOD);
        let host = self.text("host");
        cut("host", host.is_some_and(|host| host.len() + CHARACTER > LONGEST_HOST));
        // What counts is the whole target, and the line has none of its query.
        cut("query", self.text("reason") == Some("uri_too_long"));
        if method == Method::CONNECT && self.text("protocol") == Some("HTTP/2") {
            // A WebSocket is asked for with it, and counts as a GET (RFC 8441 section 4).
            cut(":protocol", self.text("reason") == Some("method_not_allowed"));
            method = Method::GET;
        }
        let host = host.and_then(|host| Authority::parse(host).ok()).map(|authority| authority.host);
        let server_name = self.text("sni").and_then(|name| Host::parse(name).ok());
        Ok(Request { asked: Asked { method, host, path }, server_name, untold })
    }

    /// What the line has of the certificate.
    fn facts(&self) -> (CertificateFacts, Extent) {
        let names = self.part("client_san", SubjectAltName::read_back);
        let subject = self.part("client_subject", NameAttribute::read_back);
        let sha256 = self.certificate().unwrap_or_default();
        let of = |text: &str| if text.len() == 64 { Known::Whole } else { Known::Nothing };
        let extent = Extent { names: names.1, subject: subject.1, sha256: of(sha256), rest: Known::Nothing };
        let details = Details { subject: subject.0, ..Details::default() };
        let facts = CertificateFacts {
            subject: self.text("client_subject").unwrap_or_default().to_owned(),
            issuer: String::new(),
            serial: self.text("client_serial").unwrap_or_default().to_owned(),
            sha256: sha256.to_owned(),
            not_before: WallTime::from_unix_seconds(0),
            not_after: WallTime::from_unix_seconds(0),
            subject_alt_names: names.0,
            details: Box::new(details),
        };
        (facts, extent)
    }

    /// The names of a field, and how far they go. `null` stands for none, beside a certificate.
    fn part<T>(&self, key: &str, read: fn(&str, usize) -> Option<ReadBack<T>>) -> (Vec<T>, Known) {
        let text = match self.0.get(key) {
            Some(Value::String(text)) => text,
            Some(Value::Null) if self.certificate().is_some() => "",
            _ => return (Vec::new(), Known::Nothing),
        };
        match read(text, LONGEST_TEXT) {
            Some(ReadBack { names, is_whole: true }) => (names, Known::Whole),
            Some(ReadBack { names, is_whole: false }) => (names, Known::Partly),
            None => (Vec::new(), Known::Nothing),
        }
    }

    /// Who the client is, if its certificate is judged now as it was then; the deny list is asked anew. `None` when the
    /// line does not say how it was judged.
    fn client(&self, gate: &Gate<'_>, server_name: Option<&Host>, facts: CertificateFacts) -> Option<ClientCert> {
        if gate.trust.of(server_name).is_none() {
            return Some(ClientCert::NotRequested);
        }
        let verify = self.text("client_verify")?;
        let refused = |reason| ClientCert::Refused { reason, shown: None };
        let is_denied = self.is_denied(gate, server_name);
        Some(match (verify, verify.strip_prefix("FAILED:")) {
            ("NONE", _) => ClientCert::NotPresented,
            ("SUCCESS", _) if is_denied => refused(Reason::Revoked),
            ("SUCCESS", _) => ClientCert::Verified(Arc::new(facts)),
            (_, Some(reason)) => {
                let reason = word(reason)?;
                refused(if is_denied { reason.min(Reason::Revoked) } else { reason })
            }
            _ => return None,
        })
    }

    fn is_denied(&self, gate: &Gate<'_>, server_name: Option<&Host>) -> bool {
        let serial = self.text("client_serial").filter(|serial| serial.len() < LONGEST_TEXT);
        gate.trust.of(server_name).is_some_and(|trust| trust.denies(serial, self.certificate()))
    }

    /// Whether the answer was for what it was: a fault, or a question to the gateway itself.
    fn is_faulty(&self) -> bool {
        self.text("path") == Some("*") || self.text("reason").is_some_and(|reason| FAULTS.contains(&reason))
    }

    fn answer(&self) -> Answer {
        let status = self.0.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
        let reason = self.text("reason").map(|reason| Cow::Owned(printable(reason)));
        Answer { status: status.unwrap_or_default(), reason, route: None }
    }

    fn told(&self) -> Step {
        let when = self.text("time").unwrap_or("at some time");
        fact("log", printable(&format!("{when}: {}", self.answer())))
    }

    fn shown(&self) -> Step {
        let Some(sha256) = self.certificate() else { return fact("certificate", "none is in the log".to_owned()) };
        let said = |key| self.text(key).unwrap_or("unknown");
        let (subject, names, serial) = (said("client_subject"), said("client_san"), said("client_serial"));
        fact("certificate", printable(&format!("{subject} ({names}), serial {serial}, SHA-256 {sha256}")))
    }

    fn chain(&self, gate: &Gate<'_>, server_name: Option<&Host>) -> Step {
        let verify = self.text("client_verify").unwrap_or("NONE");
        if verify != "NONE" && self.is_denied(gate, server_name) {
            let text = "client_auth.deny_list has the certificate now".to_owned();
            return Step::new("chain", Mark::No, text);
        }
        match (verify, verify.strip_prefix("FAILED:").and_then(word)) {
            ("SUCCESS", _) => Step::new("chain", Mark::Yes, "the certificate was believed".to_owned()),
            (_, Some(reason)) => Step::new("chain", Mark::No, format!("{reason}: {}", reason.advice())),
            ("NONE", _) => Step::new("chain", Mark::No, "no certificate was sent".to_owned()),
            _ => fact("chain", "the line does not tell how the certificate was judged".to_owned()),
        }
    }

    /// What was only tried when the line was written.
    fn shadow(&self) -> Option<Step> {
        let said = [("would_refuse", "refused it as"), ("would_allow", "let it in, which was refused as")];
        said.into_iter().find_map(|(key, said)| {
            let reason = self.text(key).and_then(word)?;
            Some(fact("shadow", format!("client_auth.shadow, which was only tried, would have {said} {reason}")))
        })
    }

    fn route(then: Option<&str>, now: Option<&str>, answer: Option<&Answer>, asked: &Asked) -> Option<Step> {
        Some(match (then, now, answer) {
            (Some(then), Some(now), _) if then != now => {
                fact("route", printable(&format!("{now}; by the log it was {then}")))
            }
            (_, Some(now), _) => Step::new("route", Mark::Yes, printable(now)),
            (_, None, Some(answer)) => super::no_route(answer, asked),
            (Some(then), None, None) => fact("route", printable(&format!("{then} by the log, and there is none now"))),
            (None, None, None) => return None,
        })
    }

    fn mend(
        gate: &Gate<'_>,
        then: &Answer,
        now: Option<&Answer>,
        untold: &[String],
        (client, server_name, extent): (&ClientCert, Option<&Host>, Extent),
    ) -> Option<String> {
        let Some(now) = now else {
            let untold = untold.join(", ");
            return Some(format!(
                "the log does not tell {untold}: give the certificate with --cert, or ask with --cert, \
                                 --path, --host and --method"
            ));
        };
        let then_word = then.reason.as_deref();
        match (now.reason.as_deref(), then_word) {
            (Some(now), Some(then)) if now == then && FAULTS.contains(&now) => Some(troubleshooting(then)),
            (Some(_), _) => gate.mend(now, client, server_name, extent),
            (None, Some(then)) if word(then).is_some() || GATE.contains(&then) => {
                Some("the configuration lets it in now".to_owned())
            }
            (None, then) => then.map(troubleshooting),
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }
}

impl<'a> Gate<'a> {
    /// The first route that logs call so.
    fn named(&self, name: &str) -> Option<(usize, &'a Access)> {
        let routes = &self.config.proxy.routes;
        let index = routes.iter().position(|known| known.spec.to_string() == name)?;
        routes.get(index).map(|route| (index, &route.access))
    }

    fn route_name(&self, index: usize) -> String {
        self.config.proxy.routes.get(index).map(|route| route.spec.to_string()).unwrap_or_default()
    }
}

fn troubleshooting(reason: &str) -> String {
    format!("docs/troubleshooting.md says what {reason} means")
}

fn word(text: &str) -> Option<Reason> {
    Reason::ALL.into_iter().find(|reason| reason.as_str() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_found_among_other_lines() {
        let log = "no JSON\n{\"event\":\"handshake\",\"request_id\":\"b\"}\n\
                   {\"event\":\"request\",\"request_id\":\"a\",\"method\":\"GET\",\"path\":\"/a\"}\n\
                   {\"event\":\"request\",\"request_id\":\"b\",\"method\":\"PUT\",\"path\":\"/b\",\"host\":\"X.example:443\"}\n";
        let asked = Logged::find(log.as_bytes(), "b").unwrap().unwrap().request().unwrap().asked;
        assert_eq!((asked.method, asked.path.as_str()), (Method::PUT, "/b"));
        assert_eq!(asked.host, Some(Host::parse("x.example").unwrap()));
        assert!(Logged::find(log.as_bytes(), "c").unwrap().is_none());
        assert!(Logged::find(&b""[..], "c").unwrap().is_none());
    }

    #[test]
    fn a_line_without_an_end_is_given_up() {
        let endless = io::repeat(b'x').take(10 * LONGEST_LINE);
        assert!(Logged::find(io::BufReader::new(endless), "a").unwrap().is_none());
    }
}
