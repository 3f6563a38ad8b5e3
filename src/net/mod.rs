//! Names and addresses as types that cannot be wrong.
//!
//! A host name or an authority is parsed once, at the edge; what comes out is lower-case, has no trailing dot, and
//! compares byte by byte.

mod host;

pub use host::{Authority, Host, HostError, HostName, HostPort};
