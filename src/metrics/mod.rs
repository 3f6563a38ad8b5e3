//! Numbers that are counted while the gateway serves, and the text in which Prometheus reads them.
//!
//! Nothing here knows what is counted, and there is no registry: each part owns its counters and writes them to a
//! page. To count takes no lock and no memory, whatever is counted; a label's values are a closed set of the program's
//! own words, so nobody outside can make them grow.

mod counter;
mod histogram;
mod shards;
mod text;

pub use counter::{Counters, Label};
pub use histogram::Histogram;
pub use text::{CONTENT_TYPE, Exposition, Family, Kind};
