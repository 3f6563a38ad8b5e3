//! A place at an endpoint: counted as in flight until dropped, and the one way to tell how the endpoint did.

use std::sync::Arc;
use std::time::Duration;

use http::Response;

use super::answer;
use super::endpoint::{Endpoint, Reuse};
use super::error::{Failure, FailureKind, Replay};
use super::outlier::Fault;

/// A place at an endpoint, counted as in flight until dropped.
#[derive(Debug)]
pub struct Lease {
    endpoint: Arc<Endpoint>,
    role: Role,
    told: bool,
    is_doubted: bool,
    is_heard: bool,
}

/// What a request is to its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// One of many.
    Ordinary,
    /// It decides whether an ejected endpoint comes back; the head of its answer must come in time.
    Trial(Duration),
    /// It goes to an ejected endpoint because there is no other.
    LastResort,
}

impl Lease {
    /// Takes a place, unless `most` are taken.
    pub(super) fn take(endpoint: &Arc<Endpoint>, most: usize, role: Role) -> Option<Self> {
        endpoint.enter(most).then(|| Self {
            endpoint: Arc::clone(endpoint),
            role,
            told: false,
            is_doubted: false,
            is_heard: false,
        })
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether this request decides whether an ejected endpoint comes back.
    pub(super) fn is_trial(&self) -> bool {
        matches!(self.role, Role::Trial(_))
    }

    /// The time that the head of the answer may take, where `configured` is what any other has.
    pub(super) fn first_byte(&self, configured: Duration) -> Duration {
        match self.role {
            Role::Trial(deadline) => deadline.min(configured),
            Role::Ordinary | Role::LastResort => configured,
        }
    }

    /// The answer is late. If nobody waits for it to the end, the endpoint is to blame.
    pub(super) fn doubt(&mut self) {
        self.is_doubted = true;
    }

    /// The endpoint answered well.
    pub(super) fn succeeded(&mut self) {
        if !std::mem::replace(&mut self.told, true) {
            self.endpoint.succeeded(self.role != Role::Ordinary);
        }
    }

    /// The endpoint failed.
    pub(super) fn failed(&mut self, fault: Fault) {
        if !std::mem::replace(&mut self.told, true) {
            self.endpoint.standings.failed(&self.endpoint, fault);
        }
    }

    /// No connection could be made.
    pub(super) fn failed_by(&mut self, kind: &FailureKind) {
        match kind {
            FailureKind::Refused(_) => self.failed(Fault::Refused),
            FailureKind::TlsFailed(_) => self.failed(Fault::Handshake),
            FailureKind::Malformed => self.failed(Fault::Malformed),
            FailureKind::ConnectTimedOut => self.failed(Fault::ConnectTimedOut),
            FailureKind::Reset => self.failed(Fault::Reset),
            _ => {}
        }
    }

    /// Tells what the head of an answer says of the endpoint.
    ///
    /// # Errors
    /// When it is no answer, or one to a trial that is better asked for elsewhere.
    pub(super) fn judge<B>(&mut self, answer: &Response<B>, reuse: Reuse) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.is_heard, true) {
            self.endpoint.head_came();
        }
        if !answer::is_well_framed(answer) {
            self.failed(Fault::Malformed);
            return Err(Failure::new(FailureKind::Malformed, Replay::Never));
        }
        match answer.status().as_u16() {
            502..=504 => {
                self.failed(Fault::Unavailable);
                if self.is_trial() && reuse != Reuse::Once {
                    return Err(Failure::new(FailureKind::StillUnavailable, Replay::Idempotent { kept: false }));
                }
            }
            500.. => self.failed(Fault::Error),
            _ => {}
        }
        Ok(())
    }

    /// Tells what a request that got no answer says of the endpoint, and whether that may be repeated.
    pub(super) fn explain(&mut self, mut failure: Failure, reuse: Reuse) -> Failure {
        match (&failure.kind, &failure.replay) {
            (FailureKind::Malformed, _) => self.failed(Fault::Malformed),
            (FailureKind::TlsFailed(_), _) => self.failed(Fault::Handshake),
            (FailureKind::FirstByteTimedOut, _) => {
                if self.is_trial() {
                    // It was given less time than others, because it may be repeated.
                    failure.replay = Replay::Idempotent { kept: false };
                }
                self.failed(Fault::FirstByteTimedOut);
            }
            // A kept connection ends when the upstream thinks it time; but this one was open a moment before.
            (FailureKind::Reset, Replay::Idempotent { kept: true }) if reuse != Reuse::Once => {}
            (FailureKind::Reset, Replay::Unsent(_)) => {}
            (FailureKind::Reset, _) => self.failed(Fault::Reset),
            _ => {}
        }
        failure
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.leave();
        if self.is_heard {
            self.endpoint.answer_ended();
        } else if self.is_doubted {
            self.failed(Fault::Abandoned);
        }
        if !self.told && self.is_trial() {
            self.endpoint.standings.trial_abandoned(&self.endpoint);
        }
        self.endpoint.standings.pending.place_is_free();
    }
}
