//! Which route a request takes: host, path and method against a table.
//!
//! Pure: no I/O, no time. The table is built once per configuration and never changed; the cost of a look-up does not
//! grow with the number of routes, only with how deep the deepest prefix is.

mod path;
mod pattern;
mod table;

pub use path::{PathError, Readings};
pub use pattern::{PathPattern, PatternError};
pub use table::{Collision, Match, RouteId, RouteSpec, RouteTable};
