//! Which endpoint takes the next request: the less busy of two drawn at random.
//!
//! Two choices come close to the least loaded of all at the cost of two, and do not send every request to the one
//! endpoint that has just come up, as the least loaded of all would (Mitzenmacher, 2001).

use std::net::SocketAddr;
use std::sync::Arc;

use super::endpoint::Endpoint;

/// Picks an endpoint that is not among `tried` and has fewer than `most` requests in flight. `draw(n)` is a number
/// below `n`.
pub(super) fn pick<'a>(
    endpoints: &'a [Arc<Endpoint>],
    tried: &[SocketAddr],
    most: usize,
    mut draw: impl FnMut(usize) -> usize,
) -> Option<&'a Arc<Endpoint>> {
    let free = |endpoint: &Arc<Endpoint>| endpoint.in_flight() < most && !tried.contains(&endpoint.address());
    match endpoints {
        [] => None,
        [only] => free(only).then_some(only),
        endpoints => {
            let first = draw(endpoints.len());
            // Any other, each as likely.
            let second = (first + 1 + draw(endpoints.len() - 1)) % endpoints.len();
            let pair = [endpoints.get(first), endpoints.get(second)];
            pair.into_iter()
                .flatten()
                .filter(|endpoint| free(endpoint))
                .min_by_key(|endpoint| endpoint.in_flight())
                .or_else(|| {
                    endpoints.iter().filter(|endpoint| free(endpoint)).min_by_key(|endpoint| endpoint.in_flight())
                })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::endpoint::Lease;
    use super::*;

    fn endpoints(count: u8) -> Vec<Arc<Endpoint>> {
        (0..count).map(|last| Arc::new(Endpoint::new(SocketAddr::from(([10, 0, 0, last], 80))))).collect()
    }

    #[test]
    fn takes_the_less_busy_of_two_and_spreads_evenly() {
        let endpoints = endpoints(5);
        let mut random = fastrand::Rng::with_seed(7);
        let leases: Vec<_> = (0..500)
            .map(|_| Lease::take(pick(&endpoints, &[], 1000, |n| random.usize(..n)).unwrap(), 1000).unwrap())
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
        let tried: Vec<_> = endpoints.iter().take(7).map(|endpoint| endpoint.address()).collect();
        for _ in 0..100 {
            let picked = pick(&endpoints, &tried, 10, |n| random.usize(..n)).unwrap();
            assert_eq!(picked.address(), endpoints[7].address());
        }
        let full: Vec<_> = (0..10).map(|_| Lease::take(&endpoints[7], 10).unwrap()).collect();
        assert!(Lease::take(&endpoints[7], 10).is_none());
        assert!(pick(&endpoints, &tried, 10, |n| random.usize(..n)).is_none());
        drop(full);
        assert!(pick(&endpoints, &tried, 10, |n| random.usize(..n)).is_some());
        assert!(pick(&[], &[], 10, |_| 0).is_none());
    }
}
