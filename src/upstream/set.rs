//! The endpoints of an upstream at one moment, with what the choice among them needs worked out beforehand.
//!
//! Immutable: a change in DNS publishes another set. So a choice costs the same for two endpoints and for a thousand.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use ipnet::IpNet;

use super::endpoint::Endpoint;
use super::settings::Balance;

/// Points on the ring for an endpoint of weight 1, and at most.
const POINTS: u32 = 64;
const MOST_POINTS: u32 = 1024;

/// The endpoints of an upstream at one moment.
#[derive(Debug, Default)]
pub(super) struct EndpointSet {
    pub(super) all: Arc<Vec<Arc<Endpoint>>>,
    pub(super) everywhere: Group,
    /// Those in the gateway's own zone, when zones are configured and there are any here and elsewhere.
    pub(super) nearby: Option<Group>,
    ring: Vec<(u64, usize)>,
}

/// Endpoints among which one is drawn.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) members: Vec<Arc<Endpoint>>,
    /// The sum of the weights up to and with each member; empty when all weigh the same.
    cumulated: Vec<u64>,
}

impl Group {
    fn new(members: Vec<Arc<Endpoint>>) -> Self {
        let first = members.first().map(|endpoint| endpoint.weight());
        if members.iter().all(|endpoint| Some(endpoint.weight()) == first) {
            return Self { members, cumulated: Vec::new() };
        }
        let cumulated = members
            .iter()
            .scan(0_u64, |sum, endpoint| {
                *sum += u64::from(endpoint.weight());
                Some(*sum)
            })
            .collect();
        Self { members, cumulated }
    }

    /// How many numbers [`Self::at`] tells apart.
    pub(super) fn span(&self) -> usize {
        self.cumulated.last().map_or(self.members.len(), |sum| usize::try_from(*sum).unwrap_or(usize::MAX))
    }

    /// The index of the member that stands at a number below [`Self::span`]: each as often as its weight says.
    pub(super) fn at(&self, number: usize) -> usize {
        if self.cumulated.is_empty() {
            return number;
        }
        self.cumulated.partition_point(|sum| *sum <= number as u64)
    }

    /// Whether at least half of it can be used.
    pub(super) fn is_fit(&self) -> bool {
        let available = self.members.iter().filter(|endpoint| endpoint.is_available()).count();
        available * 2 >= self.members.len()
    }
}

impl EndpointSet {
    pub(super) fn new(endpoints: Vec<Arc<Endpoint>>, balance: Balance, zones: &[IpNet]) -> Self {
        let is_near: Vec<bool> = endpoints.iter().map(|endpoint| is_nearby(endpoint.address(), zones)).collect();
        let is_split = is_near.contains(&true) && is_near.contains(&false);
        let near =
            || endpoints.iter().zip(&is_near).filter(|(_, near)| **near).map(|(one, _)| Arc::clone(one)).collect();
        Self {
            nearby: is_split.then(|| Group::new(near())),
            ring: if balance == Balance::HashClient { ring(&endpoints) } else { Vec::new() },
            everywhere: Group::new(endpoints.clone()),
            all: Arc::new(endpoints),
        }
    }

    /// The endpoints in the order in which they stand behind `key` on the ring, some more than once.
    pub(super) fn from(&self, key: u64) -> impl Iterator<Item = &Arc<Endpoint>> {
        let start = self.ring.partition_point(|(point, _)| *point < key);
        let (before, after) = self.ring.split_at_checked(start).unwrap_or_default();
        after.iter().chain(before).filter_map(|(_, index)| self.all.get(*index))
    }
}

/// Each endpoint at many points that depend on its address alone, so that one that comes or goes moves only the
/// clients that are its own.
fn ring(endpoints: &[Arc<Endpoint>]) -> Vec<(u64, usize)> {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let mut ring = Vec::new();
    for (index, endpoint) in endpoints.iter().enumerate() {
        for point in 0..POINTS.saturating_mul(endpoint.weight()).min(MOST_POINTS) {
            ring.push((hasher.hash_one((endpoint.address(), point)), index));
        }
    }
    ring.sort_unstable();
    ring
}

/// Whether an endpoint is in the same zone as this gateway: the networks stand for zones.
fn is_nearby(endpoint: SocketAddr, zones: &[IpNet]) -> bool {
    let Some(zone) = zones.iter().find(|zone| zone.contains(&endpoint.ip())) else { return false };
    own_address(endpoint).is_some_and(|own| zone.contains(&own))
}

/// The address from which this machine would speak to an endpoint. Connecting a UDP socket sends nothing.
fn own_address(endpoint: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if endpoint.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(endpoint).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::super::standing::Standings;
    use super::*;

    #[test]
    fn endpoints_in_the_own_zone_are_nearby() {
        let standings = Standings::new("api", 0);
        let endpoint = |address: &str| Arc::new(Endpoint::new(address.parse().unwrap(), Arc::clone(&standings)));
        let zones: Vec<IpNet> = ["127.0.0.0/8", "198.18.7.0/24"].map(|zone| zone.parse().unwrap()).to_vec();
        let (here, there, nowhere) = (endpoint("127.0.0.9:80"), endpoint("198.18.7.9:80"), endpoint("198.18.8.9:80"));
        for (endpoints, zones, expected) in [
            (vec![&here, &there], &zones[..], Some(vec![&here])),
            (vec![&here, &nowhere], &zones[..], Some(vec![&here])),
            (vec![&here, &there], &zones[1..], None),
            (vec![&here], &zones[..], None),
            (vec![&there, &nowhere], &zones[..], None),
            (vec![&here, &there], &[], None),
        ] {
            let set = EndpointSet::new(endpoints.into_iter().cloned().collect(), Balance::LeastRequest, zones);
            let addresses = |endpoints: Vec<&Arc<Endpoint>>| -> Vec<_> {
                endpoints.into_iter().map(|endpoint| endpoint.address()).collect()
            };
            let nearby = set.nearby.as_ref().map(|group| addresses(group.members.iter().collect()));
            assert_eq!(nearby, expected.map(addresses));
        }
    }
}
