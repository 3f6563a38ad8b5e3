//! Where requests go, by each way of choosing.

use std::collections::HashMap;

use super::super::lease::{Lease, Role};
use super::super::outlier::Change;
use super::super::standing::Standings;
use super::*;

fn endpoints(count: u8) -> Vec<Arc<Endpoint>> {
    let standings = Standings::new("api", 0);
    let address = |last| SocketAddr::from(([10, 0, 0, last], 80));
    (0..count).map(|last| Arc::new(Endpoint::new(address(last), Arc::clone(&standings)))).collect()
}

fn wish() -> Wish<'static> {
    Wish { tried: &[], most: 1000, client: None, now: Instant::now() }
}

fn set(endpoints: &[Arc<Endpoint>], balance: Balance) -> (Balancer, EndpointSet) {
    let set = EndpointSet::new(endpoints.to_vec(), balance, &[]);
    (Balancer::new(balance, Duration::from_secs(10)), set)
}

fn out(endpoint: &Endpoint) {
    endpoint.change(Change::Ejected { why: "", lasts: Duration::ZERO }, Instant::now());
}

#[test]
fn takes_the_less_busy_of_two_and_spreads_evenly() {
    let endpoints = endpoints(5);
    let (balancer, set) = set(&endpoints, Balance::LeastRequest);
    let mut random = fastrand::Rng::with_seed(7);
    let leases: Vec<_> = (0..500)
        .map(|_| {
            let picked = balancer.pick(&set, &wish(), |n| random.usize(..n)).unwrap();
            Lease::take(picked, 1000, Role::Ordinary).unwrap()
        })
        .collect();
    for endpoint in &endpoints {
        assert!((95..=105).contains(&endpoint.in_flight()), "{}", endpoint.in_flight());
    }
    drop(leases);
    assert!(endpoints.iter().all(|endpoint| endpoint.in_flight() == 0));
}

#[test]
fn finds_the_one_that_is_left() {
    let endpoints = endpoints(8);
    let mut random = fastrand::Rng::with_seed(7);
    let tried: Vec<_> = endpoints.iter().take(5).map(|endpoint| endpoint.address()).collect();
    out(&endpoints[5]);
    out(&endpoints[6]);
    for balance in [Balance::LeastRequest, Balance::RoundRobin, Balance::HashClient] {
        let (balancer, set) = set(&endpoints, balance);
        let wish = Wish { tried: &tried, most: 10, client: Some(7), now: Instant::now() };
        for _ in 0..100 {
            let picked = balancer.pick(&set, &wish, |n| random.usize(..n)).unwrap();
            assert_eq!(picked.address(), endpoints[7].address(), "{balance:?}");
        }
        let full: Vec<_> = (0..10).map(|_| Lease::take(&endpoints[7], 10, Role::Ordinary).unwrap()).collect();
        assert!(Lease::take(&endpoints[7], 10, Role::Ordinary).is_none());
        assert!(balancer.pick(&set, &wish, |n| random.usize(..n)).is_none(), "{balance:?}");
        drop(full);
        assert!(balancer.pick(&set, &wish, |n| random.usize(..n)).is_some(), "{balance:?}");
        assert!(balancer.pick(&EndpointSet::default(), &wish, |_| 0).is_none(), "{balance:?}");
    }
}

#[test]
fn round_robin_goes_round() {
    let endpoints = endpoints(3);
    let (balancer, set) = set(&endpoints, Balance::RoundRobin);
    let picked: Vec<_> = (0..6).map(|_| balancer.pick(&set, &wish(), |_| 0).unwrap().address().to_string()).collect();
    let round = ["10.0.0.0:80", "10.0.0.1:80", "10.0.0.2:80"];
    assert_eq!(picked, [round, round].concat());
}

#[test]
fn a_client_stays_with_its_endpoint_and_few_move_when_one_leaves() {
    let endpoints = endpoints(5);
    let (balancer, whole) = set(&endpoints, Balance::HashClient);
    let mut random = fastrand::Rng::with_seed(7);
    let clients: Vec<u64> = (0..10_000).map(|_| random.u64(..)).collect();
    let pick = |set: &EndpointSet, client| {
        let wish = Wish { client: Some(client), ..wish() };
        balancer.pick(set, &wish, |_| panic!("nothing is left to chance")).unwrap().address()
    };
    let mut counts: HashMap<SocketAddr, usize> = HashMap::new();
    for client in &clients {
        *counts.entry(pick(&whole, *client)).or_default() += 1;
    }
    assert!(counts.values().all(|count| (1300..2700).contains(count)), "{counts:?}");
    let (_, smaller) = set(&endpoints[..4], Balance::HashClient);
    for client in &clients {
        let before = pick(&whole, *client);
        let after = pick(&smaller, *client);
        assert!(before == after || before == endpoints[4].address(), "only the clients of the one that left move");
    }
    // One that is out is passed over, and its clients come back with it.
    out(&endpoints[0]);
    assert!(clients.iter().all(|client| pick(&whole, *client) != endpoints[0].address()));
    endpoints[0].change(Change::Readmitted, Instant::now());
    assert_eq!(
        clients.iter().filter(|client| pick(&whole, **client) == endpoints[0].address()).count(),
        counts[&endpoints[0].address()]
    );
}

#[test]
fn a_new_endpoint_gets_more_little_by_little() {
    for balance in [Balance::LeastRequest, Balance::RoundRobin] {
        let endpoints = endpoints(4);
        let (balancer, set) = set(&endpoints, balance);
        let start = Instant::now();
        endpoints[3].warm_up(start);
        let mut random = fastrand::Rng::with_seed(7);
        let mut share = |after| {
            let wish = Wish { now: start + Duration::from_secs(after), ..wish() };
            let to_new = |picked: &Arc<Endpoint>| picked.address() == endpoints[3].address();
            (0..4000).filter(|_| to_new(balancer.pick(&set, &wish, |n| random.usize(..n)).unwrap())).count()
        };
        let shares = [share(0), share(5), share(10)];
        assert!(shares[0] < 250 && shares[0] > 0, "{balance:?} {shares:?}");
        assert!((350..700).contains(&shares[1]), "{balance:?} {shares:?}");
        assert!(shares[2] > 850, "{balance:?} {shares:?}");
        // When all are new, all are used.
        for endpoint in &endpoints {
            endpoint.warm_up(start);
        }
        assert!(balancer.pick(&set, &Wish { now: start, ..wish() }, |n| n - 1).is_some());
    }
}
