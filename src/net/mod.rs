//! Names and addresses as types that cannot be wrong, and the TCP socket that both sides use.
//!
//! A host name or an authority is parsed once, at the edge; what comes out is lower-case, has no trailing dot, and
//! compares byte by byte.

mod host;
mod pattern;
mod socket;

pub use host::{Authority, Host, HostError, HostName, HostPort};
pub use pattern::{HostMap, HostPattern, HostPatternError};
pub use socket::Socket;
