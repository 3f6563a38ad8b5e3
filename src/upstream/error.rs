//! What can go wrong with an upstream, and whether the request may be sent again: set where the error is born.

use std::io;

use super::body::RequestBody;

/// A request that got no answer.
#[derive(Debug)]
pub struct Failure {
    /// What happened.
    pub kind: FailureKind,
    /// Whether the request may be sent again.
    pub replay: Replay,
}

/// What happened.
#[derive(Debug, thiserror::Error)]
pub enum FailureKind {
    /// The name stands for no address now.
    #[error("the upstream has no endpoint")]
    NoEndpoint,
    /// Active checks find every endpoint unwell.
    #[error("every endpoint fails its health check")]
    Unhealthy,
    /// Every endpoint has all the requests it may have, and too many wait.
    #[error("every endpoint is at its limit of connections")]
    AtLimit,
    /// No connection could be made.
    #[error("the connection failed: {0}")]
    Refused(#[source] io::Error),
    /// No connection was made in time.
    #[error("the connection was not made in time")]
    ConnectTimedOut,
    /// The upstream's certificate is not believed, or it does not believe ours, or it speaks no TLS.
    #[error("the TLS handshake failed: {0}")]
    TlsFailed(#[source] io::Error),
    /// The connection ended before the answer's head.
    #[error("the connection was closed before an answer")]
    Reset,
    /// The head of the answer did not come in time.
    #[error("the answer did not begin in time")]
    FirstByteTimedOut,
    /// The answer is not HTTP, or has two meanings.
    #[error("the answer is malformed")]
    Malformed,
    /// An ejected endpoint was given one more request, and answered 502, 503 or 504.
    #[error("an ejected endpoint is still unavailable")]
    StillUnavailable,
    /// The request's own body failed: the client's doing.
    #[error("the request's body ended with an error")]
    RequestBody,
}

/// Whether a request may be sent again.
#[derive(Debug)]
pub enum Replay {
    /// It may have been processed.
    Never,
    /// Not a byte of it was written, since a kept connection had ended; here is its body.
    Unsent(RequestBody),
    /// Not a byte of it was written, since this endpoint cannot be connected to, or hung up at once; another may do. Here
    /// is its body.
    Elsewhere(RequestBody),
    /// It was written, and not a byte of an answer came; one without a body whose method is idempotent may be sent
    /// again.
    Idempotent {
        /// Whether the connection had served a request before: then it is very likely that this one was not seen.
        kept: bool,
    },
}

impl Failure {
    pub(super) fn new(kind: FailureKind, replay: Replay) -> Self {
        Self { kind, replay }
    }
}
