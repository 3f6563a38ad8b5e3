//! What a decision would be if other things were in force: for a change that is tried before it is made. It decides
//! nothing; only [`super::decide`] does.

use super::access::Access;
use super::refusal;
use super::rule::Rule;
use crate::identity::{ClientCert, Reason};

/// What is tried.
#[derive(Debug, Clone, Copy)]
pub struct Tried<'a> {
    /// The client as it is judged in the shadow.
    pub client: &'a ClientCert,
    /// In the place of every route's own list; `None` leaves each its own.
    pub allow: Option<&'a [Rule]>,
    /// Whether a bad certificate ends the handshake, so that public routes are closed to it, too.
    pub rejects: bool,
}

/// How what is tried differs from what is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Who is let in would be refused for this reason.
    WouldRefuse(Reason),
    /// Who is refused for this reason would be let in.
    WouldAllow(Reason),
}

impl Tried<'_> {
    /// How it differs for a request to a route that lets in whom `access` says. `client` is the client as it is judged
    /// in earnest, and `refused` is what came of it.
    pub fn difference(&self, access: &Access, client: &ClientCert, refused: Option<Reason>) -> Option<Difference> {
        match (refused, self.refusal(access, client)) {
            (None, Some(reason)) => Some(Difference::WouldRefuse(reason)),
            (Some(reason), None) => Some(Difference::WouldAllow(reason)),
            _ => None,
        }
    }

    fn refusal(&self, access: &Access, client: &ClientCert) -> Option<Reason> {
        // Who is bad in earnest, too, was let through the handshake all the same.
        if self.rejects
            && client.verified().is_some()
            && let Some(reason) = self.client.refusal()
        {
            return Some(reason);
        }
        refusal(access, self.client, self.allow)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::identity::CertificateFacts;
    use crate::policy::{Condition, Key, Rules};

    fn verified() -> ClientCert {
        let certificate = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert;
        let facts = CertificateFacts::from_der(certificate.der()).unwrap();
        ClientCert::Verified(Arc::new(CertificateFacts { sha256: "a".repeat(64), ..facts }))
    }

    fn refused(reason: Reason) -> ClientCert {
        ClientCert::Refused { reason, shown: None }
    }

    fn rule(digit: &str) -> Rule {
        let mut condition = Condition::new(Key::named("sha256").unwrap());
        condition.add(&digit.repeat(64)).unwrap();
        Rule::new(vec![condition]).unwrap()
    }

    #[test]
    fn only_what_would_change_is_told() {
        let everybody = || Access::default();
        let listed = |allow: &str, deny: &[&str]| {
            Access::Certificate(Rules {
                allow: Some(vec![rule(allow)]),
                deny: deny.iter().map(|one| rule(one)).collect(),
            })
        };
        let (own, other) = ([rule("a")], [rule("b")]);
        use Difference::{WouldAllow, WouldRefuse};
        use Reason::{Expired, NotAllowed, Revoked, UnknownIssuer};
        let cases = [
            (everybody(), verified(), verified(), None, false, None),
            (everybody(), verified(), refused(Revoked), None, false, Some(WouldRefuse(Revoked))),
            (everybody(), refused(UnknownIssuer), verified(), None, false, Some(WouldAllow(UnknownIssuer))),
            (everybody(), refused(UnknownIssuer), refused(Expired), None, false, None),
            (everybody(), ClientCert::NotPresented, ClientCert::NotPresented, Some(&own[..]), false, None),
            (everybody(), verified(), verified(), Some(&other[..]), false, Some(WouldRefuse(NotAllowed))),
            (everybody(), verified(), verified(), Some(&own[..]), false, None),
            (listed("b", &[]), verified(), verified(), Some(&own[..]), false, Some(WouldAllow(NotAllowed))),
            (listed("b", &[]), verified(), verified(), None, false, None),
            (listed("a", &["a"]), verified(), verified(), Some(&own[..]), false, None),
            (listed("b", &[]), verified(), refused(Revoked), Some(&own[..]), false, None),
            (Access::Public, verified(), refused(Revoked), Some(&other[..]), false, None),
            (Access::Public, verified(), refused(Revoked), None, true, Some(WouldRefuse(Revoked))),
            (Access::Public, refused(Expired), refused(Revoked), None, true, None),
            (Access::Public, ClientCert::NotPresented, ClientCert::NotPresented, None, true, None),
        ];
        for (number, (access, client, tried, allow, rejects, expected)) in cases.into_iter().enumerate() {
            let in_force = refusal(&access, &client, None);
            let tried = Tried { client: &tried, allow, rejects };
            assert_eq!(tried.difference(&access, &client, in_force), expected, "case {number}");
        }
    }
}
