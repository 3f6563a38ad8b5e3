//! A request as the access log has it: what was asked, and what came of it.

use std::borrow::Cow;
use std::io::{self, BufRead, Read as _};

use http::Method;
use serde_json::Value;

use super::{Answer, Asked, Explanation, Gate, Mark, Step, fact, printable};
use crate::identity::Reason;
use crate::net::{Authority, Host};
use crate::policy::{Access, Rules};

/// The gateway writes no longer lines; a longer one is somebody else's.
const LONGEST_LINE: u64 = 64 * 1024;

/// A line of the access log.
#[derive(Debug, Clone)]
pub struct Logged(Value);

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

    /// What was asked for.
    ///
    /// # Errors
    /// A sentence when the line does not say.
    pub fn asked(&self) -> Result<Asked, String> {
        let missing = |key: &str| format!("the line in the log has no `{key}`: is it one of the access log?");
        let path = self.text("path").ok_or_else(|| missing("path"))?.to_owned();
        let method = self.text("method").and_then(|method| Method::from_bytes(method.as_bytes()).ok());
        let host = self.text("host").and_then(|host| Authority::parse(host).ok()).map(|authority| authority.host);
        Ok(Asked { method: method.ok_or_else(|| missing("method"))?, host, path })
    }

    /// What the log says of it. The rules cannot be compared without the certificate.
    pub fn explain(&self, gate: &Gate<'_>, asked: &Asked) -> Explanation {
        let answer = self.answer();
        let when = self.text("time").unwrap_or("at some time");
        let mut steps = vec![fact("log", printable(&format!("{when}: {answer}")))];
        if let Some(sha256) = self.certificate() {
            let said = |key| self.text(key).unwrap_or("unknown");
            let (subject, names, serial) = (said("client_subject"), said("client_san"), said("client_serial"));
            steps.push(fact(
                "certificate",
                printable(&format!("{subject} ({names}), serial {serial}, SHA-256 {sha256}")),
            ));
        }
        steps.push(self.chain());
        let host = asked.host.as_ref().map_or_else(|| "no host".to_owned(), Host::to_string);
        steps.push(fact("request", printable(&format!("{} {}, host {host}", asked.method, asked.path))));
        let route = self.text("route").filter(|route| *route != "-");
        let access = route.and_then(|route| gate.access_of(route));
        if let Some(route) = route {
            steps.push(fact("route", printable(route)));
        }
        if let Some(Access::Certificate(Rules { allow, deny })) = access {
            let listed =
                |what, rule: &_| fact(what, format!("{rule} (not compared: give the certificate with --cert)"));
            steps.extend(deny.iter().map(|rule| listed("deny", rule)));
            steps.extend(allow.iter().flatten().map(|rule| listed("allow", rule)));
        }
        for (key, said) in [("would_refuse", "refused it as"), ("would_allow", "let it in, which was refused as")] {
            if let Some(reason) = self.text(key).and_then(word) {
                let text = format!("client_auth.shadow, which was only tried, would have {said} {reason}");
                steps.push(fact("shadow", text));
            }
        }
        let mend = self.mend(&answer);
        Explanation { steps, answer, route: route.map(str::to_owned), mend }
    }

    fn answer(&self) -> Answer {
        let status = self.0.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
        let reason = self.text("reason").map(|reason| Cow::Owned(printable(reason)));
        Answer { status: status.unwrap_or_default(), reason, route: None }
    }

    fn chain(&self) -> Step {
        let verify = self.text("client_verify").unwrap_or("NONE");
        let (mark, text) = match (verify, verify.strip_prefix("FAILED:").and_then(word)) {
            ("SUCCESS", _) => (Mark::Yes, "the certificate was believed".to_owned()),
            (_, Some(reason)) => (Mark::No, format!("{reason}: {}", reason.advice())),
            _ => (Mark::No, "no certificate was sent".to_owned()),
        };
        Step { what: "chain", mark, text }
    }

    fn mend(&self, answer: &Answer) -> Option<String> {
        let reason = answer.reason.as_deref()?;
        Some(match word(reason) {
            Some(Reason::NotAllowed) => {
                "add a rule that matches to the route's `allow`, or remove one from `deny`; give \
                                         the certificate with --cert to see each of them compared"
                    .to_owned()
            }
            Some(reason) => reason.advice().to_owned(),
            None => format!("docs/troubleshooting.md says what {reason} means"),
        })
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }
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
        let asked = Logged::find(log.as_bytes(), "b").unwrap().unwrap().asked().unwrap();
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
