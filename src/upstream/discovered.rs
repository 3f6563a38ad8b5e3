//! What discovery finds: endpoints-to-be, and how a name is doing, as plain data.

use std::cmp::{Reverse, min_by_key};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// An address that an upstream's name stands for, with what its SRV record says of it (RFC 2782).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discovered {
    /// Where to connect.
    pub address: SocketAddr,
    /// Lower goes first: others count only when no endpoint has this one. 0 where there is no SRV record.
    pub priority: u16,
    /// Its share among those of its priority. 1 where there is no SRV record.
    pub weight: u16,
}

/// How the discovery of one name is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryStatus {
    /// The name that is looked up.
    pub name: String,
    /// Whether the first look-up has not ended yet.
    pub pending: bool,
    /// How many addresses it stands for now.
    pub addresses: usize,
    /// How long ago the last good answer came; `None` when there was none yet.
    pub age: Option<Duration>,
    /// How long that answer counts before the name is looked up again.
    pub ttl: Option<Duration>,
    /// Why the last look-up failed; `None` when it did not.
    pub error: Option<String>,
    /// How long look-ups have been failing, if they are.
    pub failing_for: Option<Duration>,
    /// Whether an old answer is used because there is no new one.
    pub stale: bool,
}

impl Discovered {
    /// An address without an SRV record.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, priority: 0, weight: 1 }
    }
}

/// Each address once, with the better of what is said of it.
pub(super) fn each_once(found: impl IntoIterator<Item = Discovered>) -> BTreeMap<SocketAddr, Discovered> {
    let rank = |one: &Discovered| (one.priority, Reverse(one.weight));
    let mut by_address = BTreeMap::new();
    for one in found {
        by_address.entry(one.address).and_modify(|known| *known = min_by_key(*known, one, rank)).or_insert(one);
    }
    by_address
}

/// Those of the lowest priority, sorted by address, each once.
pub(super) fn first_choice(found: impl IntoIterator<Item = Discovered>) -> Vec<Discovered> {
    let found = each_once(found);
    let lowest = found.values().map(|one| one.priority).min();
    found.into_values().filter(|one| Some(one.priority) == lowest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lowest_priority_counts_and_an_address_stands_once() {
        let one =
            |last, priority, weight| Discovered { address: SocketAddr::from(([10, 0, 0, last], 80)), priority, weight };
        let found = [one(3, 10, 1), one(1, 10, 5), one(2, 20, 9), one(1, 10, 7), one(3, 20, 9)];
        assert_eq!(first_choice(found), [one(1, 10, 7), one(3, 10, 1)]);
        assert_eq!(first_choice([]), []);
    }
}
