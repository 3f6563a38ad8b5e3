//! Whom a route lets in, and what its rules say of a certificate.

use super::rule::{Extent, Rule, Told};
use crate::identity::CertificateFacts;

/// Whom a route lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Whoever has a verified certificate that the rules let in.
    Certificate(Rules),
    /// Anybody.
    Public,
}

impl Default for Access {
    fn default() -> Self {
        Self::Certificate(Rules::default())
    }
}

/// Which verified certificates are let in. Without any rule, all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Where there is a list, one of its rules has to match.
    pub allow: Option<Vec<Rule>>,
    /// None of these may match, whatever else does.
    pub deny: Vec<Rule>,
}

/// What came of the rules for one certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is no list of those to let in.
    AllowedWithoutList,
    /// The rule of this place in the list matches.
    AllowedBy(usize),
    /// The rule of this place in the list matches, which settles it.
    DeniedBy(usize),
    /// There is a list and nothing in it matches.
    NotListed,
}

impl Verdict {
    /// Whether the certificate is let in.
    pub fn lets_in(self) -> bool {
        matches!(self, Self::AllowedWithoutList | Self::AllowedBy(_))
    }
}

impl Rules {
    /// Asks the rules: those that deny come first.
    pub fn verdict(&self, facts: &CertificateFacts) -> Verdict {
        self.verdict_with(facts, self.allow.as_deref())
    }

    /// The same with another list of those to let in.
    pub(super) fn verdict_with(&self, facts: &CertificateFacts, allow: Option<&[Rule]>) -> Verdict {
        if let Some(index) = self.deny.iter().position(|rule| rule.matches(facts)) {
            return Verdict::DeniedBy(index);
        }
        let Some(allow) = allow else { return Verdict::AllowedWithoutList };
        allow.iter().position(|rule| rule.matches(facts)).map_or(Verdict::NotListed, Verdict::AllowedBy)
    }

    /// Whether the certificate of which `facts` are known to this extent is let in; `None` when that does not tell.
    pub fn lets_in(&self, facts: &CertificateFacts, extent: Extent) -> Option<bool> {
        let is_denied = any(&self.deny, facts, extent);
        let is_listed = self.allow.as_ref().map_or(Some(true), |allow| any(allow, facts, extent));
        match (is_denied, is_listed) {
            (Some(true), _) | (_, Some(false)) => Some(false),
            (Some(false), Some(true)) => Some(true),
            (None, _) | (_, None) => None,
        }
    }
}

/// Whether one of the rules matches.
fn any(rules: &[Rule], facts: &CertificateFacts, extent: Extent) -> Option<bool> {
    let mut any = Some(false);
    for rule in rules {
        match rule.told(facts, extent) {
            Told::Matches => return Some(true),
            Told::Misses => {}
            Told::Unknown => any = None,
        }
    }
    any
}
