//! Whether a request that got no answer is sent again: one decision, for every failure.
//!
//! What was not sent may go anywhere. What was sent may have been processed, and is repeated only if that does no harm
//! (RFC 9110 section 9.2.2): once after a kept connection that ended, once after a fresh one that did, within a budget,
//! and not for ever.

use std::time::Duration;

use http::Method;

use crate::upstream::{Failure, FailureKind, Replay, RequestBody, Reuse};

/// Attempts for one request, first and repeated ones together.
const MOST_ATTEMPTS: u32 = 8;

/// What may be done after a failed attempt.
pub(super) enum Again {
    /// Send it to another endpoint: this one has not taken a byte.
    Elsewhere(RequestBody, FailureKind),
    /// Send it again: nothing of it was written.
    Unsent(RequestBody),
    /// Send it once more: it is very likely that nobody saw it, and no harm is done if somebody did.
    Once,
    /// Send it once more, to another endpoint: this one has just died, or dies of it.
    OnceElsewhere,
    /// Tell the client.
    No(FailureKind),
}

/// What was tried for a request, and what may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempts {
    /// Whether it may be sent a second time: it is idempotent, all of it is at hand, and its route allows it.
    pub(super) is_repeatable: bool,
    made: u32,
    /// It was repeated after a kept connection that ended.
    after_kept: bool,
    /// It was repeated after a fresh one that did. Once: a request that kills whoever gets it shall not go round.
    after_fresh: bool,
}

impl Attempts {
    pub(super) fn new(is_repeatable: bool) -> Self {
        Self { is_repeatable, made: 0, after_kept: false, after_fresh: false }
    }

    /// Which connections the next attempt may use.
    pub(super) fn reuse(&self) -> Reuse {
        if self.after_kept || self.after_fresh {
            Reuse::Forbidden
        } else if self.is_repeatable {
            Reuse::Repeatable
        } else {
            Reuse::Once
        }
    }

    /// Whether it may go to another endpoint should the next attempt fail after it was sent.
    pub(super) fn may_go_elsewhere(&self) -> bool {
        self.is_repeatable && !self.after_fresh
    }

    /// The one decision. `waited` is the time since the first attempt, `longest` the time in which another may begin,
    /// and `spend` takes one repeat from the upstream's budget.
    pub(super) fn again(
        &mut self,
        failure: Failure,
        waited: Duration,
        longest: Duration,
        spend: impl FnOnce() -> bool,
    ) -> Again {
        self.made += 1;
        let is_over = self.made >= MOST_ATTEMPTS || waited >= longest;
        match (failure.replay, failure.kind) {
            (_, kind) if is_over => Again::No(kind),
            (Replay::Elsewhere(body), kind) => Again::Elsewhere(body, kind),
            (Replay::Unsent(body), _) => Again::Unsent(body),
            (Replay::Idempotent { kept }, kind) => {
                let done = if kept { &mut self.after_kept } else { &mut self.after_fresh };
                if !self.is_repeatable || *done || !spend() {
                    return Again::No(kind);
                }
                *done = true;
                if kept { Again::Once } else { Again::OnceElsewhere }
            }
            (Replay::Never, kind) => Again::No(kind),
        }
    }
}

/// Whether a request of this method may be processed twice with the effect of once (RFC 9110 section 9.2.2).
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn decide(attempts: &mut Attempts, replay: Replay, budget: bool) -> &'static str {
        let failure = Failure { kind: FailureKind::Reset, replay };
        match attempts.again(failure, Duration::ZERO, SECOND, || budget) {
            Again::Once => "here",
            Again::OnceElsewhere => "elsewhere",
            Again::Elsewhere(..) => "another",
            Again::Unsent(_) => "anew",
            Again::No(FailureKind::Reset) => "no",
            Again::No(_) => "something else",
        }
    }

    fn kept() -> Replay {
        Replay::Idempotent { kept: true }
    }

    fn fresh() -> Replay {
        Replay::Idempotent { kept: false }
    }

    fn unsent() -> Replay {
        Replay::Unsent(RequestBody::Empty)
    }

    fn elsewhere() -> Replay {
        Replay::Elsewhere(RequestBody::Empty)
    }

    #[test]
    fn a_request_is_repeated_only_where_that_is_safe() {
        let cases: [(bool, &[fn() -> Replay], &[&str]); 8] = [
            (true, &[kept, kept], &["here", "no"]),
            (true, &[fresh, fresh], &["elsewhere", "no"]),
            (true, &[kept, fresh, fresh], &["here", "elsewhere", "no"]),
            (true, &[fresh, kept, kept], &["elsewhere", "here", "no"]),
            (false, &[kept], &["no"]),
            (false, &[fresh], &["no"]),
            (false, &[elsewhere, unsent, elsewhere], &["another", "anew", "another"]),
            (true, &[|| Replay::Never], &["no"]),
        ];
        for (is_repeatable, failures, expected) in cases {
            let mut attempts = Attempts::new(is_repeatable);
            let decisions: Vec<_> = failures.iter().map(|replay| decide(&mut attempts, replay(), true)).collect();
            assert_eq!(decisions, expected, "repeatable: {is_repeatable}");
        }
    }

    #[test]
    fn repeats_need_a_budget_and_attempts_end() {
        let mut attempts = Attempts::new(true);
        assert_eq!(decide(&mut attempts, kept(), false), "no");
        assert_eq!(decide(&mut attempts, elsewhere(), false), "another", "nothing was sent, so nothing is repeated");
        let mut attempts = Attempts::new(true);
        let decisions: Vec<_> = (0..MOST_ATTEMPTS).map(|_| decide(&mut attempts, elsewhere(), true)).collect();
        assert_eq!(decisions.iter().filter(|decision| **decision == "another").count(), MOST_ATTEMPTS as usize - 1);
        assert_eq!(decisions.last(), Some(&"no"));
        let failure = Failure { kind: FailureKind::ConnectTimedOut, replay: elsewhere() };
        assert!(matches!(Attempts::new(true).again(failure, SECOND, SECOND, || true), Again::No(_)));
    }

    #[test]
    fn which_methods_may_be_repeated() {
        for (method, expected) in [
            (Method::GET, true),
            (Method::HEAD, true),
            (Method::OPTIONS, true),
            (Method::PUT, true),
            (Method::DELETE, true),
            (Method::POST, false),
            (Method::PATCH, false),
            (Method::CONNECT, false),
        ] {
            assert_eq!(is_idempotent(&method), expected, "{method}");
        }
    }
}
