//! HTTP/2 to an endpoint: a few connections, each shared by many requests (RFC 9113).
//!
//! Other than over HTTP/1, a connection is a task of its own: it has to answer pings and to send window updates while
//! none of its requests gets on. h2 speaks the protocol, without hyper in between: what came of a request decides
//! whether it may be sent again, and only h2 tells a stream that was refused from one that was cut.

mod answer;
mod exchange;
mod link;
mod pool;
mod upload;

pub(super) use answer::Http2Answer;
pub(super) use exchange::{Patience, ask, exchange};
pub(super) use pool::{Claim, Pool};
