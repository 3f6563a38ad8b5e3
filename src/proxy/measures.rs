//! What the data path counts.
//!
//! Each request is counted once, when it is decided, with what became of its client: words of the program's own, never
//! anything that a client chose.

use super::client::Client;
use crate::clock::WallTime;
use crate::identity::{CertificateFacts, Reason};
use crate::metrics::{Counters, Exposition, Histogram, Label};
use crate::policy::Difference;

/// An hour to a year, in seconds.
const REMAINING: [u64; 11] =
    [3600, 6 * 3600, DAY, 3 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 60 * DAY, 90 * DAY, 180 * DAY, 365 * DAY];
const DAY: u64 = 24 * 3600;

/// What the data path counts.
#[derive(Debug)]
pub struct Measures {
    verified: Counters<Verified>,
    would_refuse: Counters<Reason>,
    would_allow: Counters<Reason>,
    remaining: Histogram,
}

/// What became of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verified {
    /// Its certificate is good.
    Success,
    /// It has none, and needed none.
    None,
    /// It was refused, or would have been by a route that is not public.
    Refused(Reason),
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            verified: Counters::default(),
            would_refuse: Counters::default(),
            would_allow: Counters::default(),
            remaining: Histogram::new(&REMAINING),
        }
    }
}

impl Measures {
    /// A request was decided; `refused` is why its client was refused.
    pub(super) fn decided(&self, client: &Client, refused: Option<Reason>) {
        self.verified.count(match refused {
            Some(reason) => Verified::Refused(reason),
            None => client.result,
        });
    }

    /// A handshake ended for the client's certificate.
    pub(super) fn rejected(&self, reason: Reason) {
        self.verified.count(Verified::Refused(reason));
    }

    /// A request would have come out differently in the shadow.
    pub(super) fn differs(&self, difference: Difference) {
        match difference {
            Difference::WouldRefuse(reason) => self.would_refuse.count(reason),
            Difference::WouldAllow(reason) => self.would_allow.count(reason),
        }
    }

    /// The client of a connection was believed for the first time.
    pub(super) fn believed(&self, facts: &CertificateFacts, now: WallTime) {
        let left = facts.not_after.unix_seconds().saturating_sub(now.unix_seconds());
        self.remaining.observe(u64::try_from(left).unwrap_or(0));
    }

    /// Writes all of it.
    pub fn write(&self, page: &mut Exposition) {
        let help = "Requests by what became of the client's certificate, and handshakes that ended for it.";
        self.verified.write(page, "gateway_client_verify_total", help);
        let help = "Requests that were let in and that client_auth.shadow would refuse, by the reason it would give.";
        self.would_refuse.write(page, "gateway_client_would_refuse_total", help);
        let help = "Requests that were refused and that client_auth.shadow would let in, by the reason of the refusal.";
        self.would_allow.write(page, "gateway_client_would_allow_total", help);
        let help = "Time left until the end of verified client certificates, once for each connection.";
        self.remaining.write(page, "gateway_client_certificate_remaining_seconds", help);
    }
}

impl Label for Verified {
    const NAME: &'static str = "result";
    const ALL: &'static [Self] = &[
        Self::Success,
        Self::None,
        Self::Refused(Reason::CertificateMissing),
        Self::Refused(Reason::Malformed),
        Self::Refused(Reason::UnsupportedKey),
        Self::Refused(Reason::WrongUsage),
        Self::Refused(Reason::Expired),
        Self::Refused(Reason::NotYetValid),
        Self::Refused(Reason::UnknownIssuer),
        Self::Refused(Reason::BadSignature),
        Self::Refused(Reason::InvalidChain),
        Self::Refused(Reason::Revoked),
        Self::Refused(Reason::RevocationUnknown),
        Self::Refused(Reason::NotAllowed),
    ];

    fn index(self) -> usize {
        match self {
            Self::Success => 0,
            Self::None => 1,
            Self::Refused(reason) => 2 + Label::index(reason),
        }
    }

    fn value(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::None => "NONE",
            Self::Refused(reason) => reason.as_str(),
        }
    }
}

impl Label for Reason {
    const NAME: &'static str = "reason";
    const ALL: &'static [Self] = &Self::ALL;

    fn index(self) -> usize {
        self as usize
    }

    fn value(self) -> &'static str {
        self.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_stands_at_its_place() {
        fn places<L: Label>() -> Vec<usize> {
            L::ALL.iter().map(|value| value.index()).collect()
        }
        assert_eq!(places::<Reason>(), (0..Reason::ALL.len()).collect::<Vec<_>>());
        assert_eq!(places::<Verified>(), (0..Reason::ALL.len() + 2).collect::<Vec<_>>());
    }

    #[test]
    fn the_ranges_grow() {
        assert!(REMAINING.is_sorted());
    }
}
