//! Who may do what: the only maker of a [`Grant`], without which nothing reaches an upstream.
//!
//! Deny by default: a route that does not say otherwise needs a verified certificate, and one that lists whom it lets
//! in refuses everybody else. Pure.

mod access;
mod pattern;
mod rule;
mod tried;

pub use access::{Access, Rules, Verdict};
pub use pattern::{DnsPattern, EmailPattern, PatternError, UriPattern};
pub use rule::{Condition, Extent, Key, Known, Rule, Told, ValueError};
pub use tried::{Difference, Tried};

use std::sync::Arc;

use crate::identity::{CertificateFacts, ClientCert, Reason};

/// What is known of the one who asks, for one decision.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The client certificate of the connection, judged for this request.
    pub client: &'a ClientCert,
}

/// Proof that a policy let this request in. It cannot be made elsewhere, copied or kept for another request.
#[derive(Debug)]
pub struct Grant {
    client: Option<Arc<CertificateFacts>>,
}

impl Grant {
    /// The verified client; `None` for a stranger on a public route.
    pub fn client(&self) -> Option<&CertificateFacts> {
        self.client.as_deref()
    }
}

/// Decides.
///
/// # Errors
/// The reason, when the request is refused.
pub fn decide(access: &Access, facts: Facts<'_>) -> Result<Grant, Reason> {
    match refusal(access, facts.client, None) {
        Some(reason) => Err(reason),
        None => Ok(Grant { client: facts.client.verified().cloned() }),
    }
}

/// Why a client is refused; `None` when it is let in. `allow` stands in for the route's own list.
fn refusal(access: &Access, client: &ClientCert, allow: Option<&[Rule]>) -> Option<Reason> {
    let Access::Certificate(rules) = access else { return None };
    let Some(facts) = client.verified() else {
        return Some(client.refusal().unwrap_or(Reason::CertificateMissing));
    };
    let verdict = rules.verdict_with(facts, allow.or(rules.allow.as_deref()));
    (!verdict.lets_in()).then_some(Reason::NotAllowed)
}

/// What [`decide`] comes to for a client of whose certificate only this much is known; `None` when that does not tell.
pub fn foretell(access: &Access, client: &ClientCert, extent: Extent) -> Option<Result<(), Reason>> {
    match (access, client.verified()) {
        (Access::Certificate(rules), Some(facts)) => {
            rules.lets_in(facts, extent).map(|lets_in| if lets_in { Ok(()) } else { Err(Reason::NotAllowed) })
        }
        _ => Some(decide(access, Facts { client }).map(drop)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_verified_certificate_or_a_public_route_lets_in() {
        let refused = ClientCert::Refused { reason: Reason::Expired, shown: None };
        let certificate = Access::default;
        let cases = [
            (certificate(), ClientCert::NotRequested, Some(Reason::CertificateMissing)),
            (certificate(), ClientCert::NotPresented, Some(Reason::CertificateMissing)),
            (certificate(), refused.clone(), Some(Reason::Expired)),
            (Access::Public, ClientCert::NotPresented, None),
            (Access::Public, refused, None),
        ];
        for (access, client, expected) in cases {
            let decision = decide(&access, Facts { client: &client });
            assert_eq!(decision.as_ref().err(), expected.as_ref(), "{access:?} {client:?}");
            assert!(decision.is_err() || decision.unwrap().client().is_none());
        }
    }

    #[test]
    fn a_route_that_says_nothing_needs_a_certificate() {
        assert_eq!(Access::default(), Access::Certificate(Rules { allow: None, deny: Vec::new() }));
    }
}
