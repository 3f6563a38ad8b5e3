//! The one table: what every client does with every kind of key, and what comes of it.

use std::fmt::Write as _;

use serde_json::Value;

use crate::site::{CLIENT_KEYS, Door, SERVER_KEYS, Site};
use crate::support::{Version, eventually};

/// A version of HTTP, as the access log names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http {
    One,
    Two,
}

impl Http {
    pub fn name(self) -> &'static str {
        match self {
            Self::One => "HTTP/1.1",
            Self::Two => "HTTP/2",
        }
    }
}

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// One request.
    Get,
    /// One after the other on the same connection, the second to the same path with `/again`.
    Twice,
    /// More than the gateway reads of a body that it does not want.
    Upload,
}

/// How much that is.
pub const UPLOAD: usize = 8 << 20;

/// A row of the table.
#[derive(Debug, Clone)]
pub struct Case {
    /// Nobody else asks for this path, so the log's line is found by it.
    pub path: String,
    pub door: Door,
    pub port: u16,
    pub version: Version,
    pub http: Http,
    /// The name of a certificate.
    pub who: Option<&'static str>,
    pub what: What,
}

impl Case {
    pub fn url(&self) -> String {
        format!("https://localhost:{}{}", self.port, self.path)
    }

    /// What a client has to know of it, as one line with tabs.
    pub fn line(&self) -> String {
        let version = if self.version == Version::Tls12 { "1.2" } else { "1.3" };
        let http = if self.http == Http::One { "1" } else { "2" };
        let who = self.who.unwrap_or("-");
        format!("{}\t{}\t{version}\t{http}\t{who}\t{:?}\n", self.path, self.port, self.what)
    }
}

/// What a client made of an answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub body: String,
}

/// What came of a case.
#[derive(Debug, Clone)]
pub enum Outcome {
    Answers(Vec<Answer>),
    /// What the client says of a failure.
    Failed(String),
}

/// Something that a client cannot do, or does in its own way.
pub struct Limit {
    pub concerns: fn(&Case) -> bool,
    /// What is in its error, or in the answer that it gets.
    pub says: &'static str,
    pub why: &'static str,
}

/// A client, and what is known of it.
pub struct Client {
    pub name: &'static str,
    pub protocols: &'static [Http],
    pub does: &'static [What],
    /// How it tells of the alert that there is no connection without a certificate, in TLS 1.2 and 1.3.
    pub alerts: [&'static [&'static str]; 2],
    pub limits: &'static [Limit],
}

impl Client {
    /// Every row for this client.
    pub fn cases(&self, site: &Site) -> Vec<Case> {
        let mut cases = Vec::new();
        for &http in self.protocols {
            for version in [Version::Tls12, Version::Tls13] {
                let mut add = |door, who, what| {
                    let path = format!("/{}/{}/{}/{}", self.name, http.name(), version_name(version), cases.len());
                    let port = site.gateway(door).address.port();
                    cases.push(Case { path, door, port, version, http, who, what });
                };
                for (s, (server, _)) in SERVER_KEYS.iter().enumerate() {
                    for (c, (client, _)) in CLIENT_KEYS.iter().enumerate() {
                        // Keys know nothing of what is spoken afterwards, so one version of HTTP for each pair will do.
                        if self.protocols[(s + c) % self.protocols.len()] == http {
                            add(Door::Open(server), Some(*client), What::Get);
                        }
                    }
                }
                for who in [None, Some("expired"), Some("revoked")] {
                    add(Door::Open("p256"), who, What::Get);
                }
                add(Door::Required, None, What::Get);
                add(Door::Required, Some("rsa2048"), What::Get);
                for &what in self.does {
                    add(Door::Open("p256"), if what == What::Upload { None } else { Some("p256") }, what);
                }
            }
        }
        cases
    }

    /// Holds what came of all cases against what should; tells of everything that differs.
    pub async fn hold(&self, site: &Site, outcomes: &[(Case, Outcome)]) {
        assert!(!outcomes.is_empty());
        let mut wrong = String::new();
        for (case, outcome) in outcomes {
            if let Err(what) = self.judge(site, case, outcome).await {
                writeln!(wrong, "{what}: {case:?}: {outcome:?}").unwrap();
            }
        }
        assert!(wrong.is_empty(), "{}: {wrong}", self.name);
        let alerted = outcomes.iter().filter(|(case, _)| case.door == Door::Required && case.who.is_none()).count();
        eventually("a line for each handshake without a certificate", async || {
            let lines = site.gateway(Door::Required).log();
            let told =
                lines.iter().filter(|line| line["event"] == "handshake" && line["reason"] == "certificate_missing");
            (told.count() >= alerted).then_some(())
        })
        .await;
    }

    async fn judge(&self, site: &Site, case: &Case, outcome: &Outcome) -> Result<(), String> {
        if let Some(limit) = self.limits.iter().find(|limit| (limit.concerns)(case)) {
            let said = format!("{outcome:?}");
            return if said.contains(limit.says) {
                Ok(())
            } else {
                Err(format!("expected {:?} since {}", limit.says, limit.why))
            };
        }
        let reason = match case.who {
            None if case.door == Door::Required => {
                let alerts = self.alerts[usize::from(case.version == Version::Tls13)];
                return match outcome {
                    Outcome::Failed(text) if alerts.iter().any(|alert| text.contains(alert)) => Ok(()),
                    _ => Err(format!("expected the alert {alerts:?}")),
                };
            }
            None => Some("certificate_missing"),
            Some(bad @ ("expired" | "revoked")) => Some(bad),
            Some(_) => None,
        };
        let Outcome::Answers(answers) = outcome else { return Err("expected an answer".into()) };
        if answers.len() != if case.what == What::Twice { 2 } else { 1 } {
            return Err("another number of answers".into());
        }
        for answer in answers {
            let body: Value = serde_json::from_str(&answer.body).map_err(|error| format!("no JSON: {error}"))?;
            match (reason, case.who) {
                (Some(reason), _) => {
                    let told = (answer.status, answer.content_type.as_str(), &body["reason"]);
                    if told != (403, "application/problem+json", &reason.into()) {
                        return Err(format!("expected a 403 {reason}"));
                    }
                }
                (None, who) => {
                    let subject = format!("CN={}", who.unwrap_or_default());
                    if answer.status != 200 || body["verify"] != "SUCCESS" || body["subject"] != subject.as_str() {
                        return Err(format!("expected 200 for {subject}"));
                    }
                }
            }
        }
        self.logged(site, case, reason).await
    }

    /// What the gateway knows of the same request.
    async fn logged(&self, site: &Site, case: &Case, reason: Option<&str>) -> Result<(), String> {
        let line = site.logged(case.door, &case.path).await;
        let expected = (version_name(case.version), case.http.name(), reason);
        let found = (line["tls_version"].as_str(), line["protocol"].as_str(), line["reason"].as_str());
        if found != (Some(expected.0), Some(expected.1), expected.2) {
            return Err(format!("the log has {line}"));
        }
        if case.what == What::Twice {
            let again = site.logged(case.door, &format!("{}/again", case.path)).await;
            if again["client_port"] != line["client_port"] {
                return Err("the second request came on another connection".into());
            }
        }
        Ok(())
    }
}

fn version_name(version: Version) -> &'static str {
    if version == Version::Tls12 { "TLSv1.2" } else { "TLSv1.3" }
}
