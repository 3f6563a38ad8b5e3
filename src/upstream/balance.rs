//! Which endpoint takes the next request.
//!
//! Least request draws two at random and takes the less busy: close to the least loaded of all at the cost of two, and
//! without sending every request to the one endpoint that has just come up (Mitzenmacher, 2001). The other ways are for
//! those who need to know where requests go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::set::{EndpointSet, Group};
use super::settings::Balance;

/// Steps of a round, as a share of it: by this one any few steps in a row are far apart, so that an endpoint that
/// weighs more gets its turns spread over the round (the golden ratio).
const STRIDE: f64 = 0.618_033_988_749_894_9;

/// The way endpoints are chosen, and where round robin stands.
#[derive(Debug)]
pub(super) struct Balancer {
    balance: Balance,
    slow_start: Duration,
    turn: AtomicUsize,
}

/// What is known of a request that needs an endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish<'a> {
    /// Endpoints it has been to.
    pub(super) tried: &'a [SocketAddr],
    /// Requests that an endpoint may have at once.
    pub(super) most: usize,
    /// The client's mark; strangers have none.
    pub(super) client: Option<u64>,
    pub(super) now: Instant,
}

impl Wish<'_> {
    fn can_take(&self, endpoint: &Endpoint) -> bool {
        endpoint.is_available() && endpoint.in_flight() < self.most && !self.tried.contains(&endpoint.address())
    }
}

impl Balancer {
    pub(super) fn new(balance: Balance, slow_start: Duration) -> Self {
        Self { balance, slow_start, turn: AtomicUsize::new(0) }
    }

    /// Picks an endpoint that is available, was not tried and has room. `draw(n)` is a number below `n`.
    pub(super) fn pick<'a>(
        &self,
        set: &'a EndpointSet,
        wish: &Wish<'_>,
        mut draw: impl FnMut(usize) -> usize,
    ) -> Option<&'a Arc<Endpoint>> {
        if let (Balance::HashClient, Some(client)) = (self.balance, wish.client) {
            return set.from(client).find(|endpoint| wish.can_take(endpoint));
        }
        set.nearby
            .as_ref()
            .filter(|nearby| nearby.is_fit())
            .and_then(|nearby| self.among(nearby, wish, &mut draw))
            .or_else(|| self.among(&set.everywhere, wish, &mut draw))
    }

    fn among<'a>(
        &self,
        group: &'a Group,
        wish: &Wish<'_>,
        draw: &mut impl FnMut(usize) -> usize,
    ) -> Option<&'a Arc<Endpoint>> {
        match group.members.as_slice() {
            [] => None,
            [only] => wish.can_take(only).then_some(only),
            _ if self.balance == Balance::RoundRobin => self.next(group, wish, draw),
            _ => self.less_busy(group, wish, draw),
        }
    }

    fn less_busy<'a>(
        &self,
        group: &'a Group,
        wish: &Wish<'_>,
        draw: &mut impl FnMut(usize) -> usize,
    ) -> Option<&'a Arc<Endpoint>> {
        let members = group.members.as_slice();
        let first = group.at(draw(group.span()));
        let mut second = group.at(draw(group.span()));
        if second == first {
            // Any other, each as likely.
            second = (first + 1 + draw(members.len() - 1)) % members.len();
        }
        let pair = [members.get(first)?, members.get(second)?];
        let [one, other] = pair.map(|endpoint| wish.can_take(endpoint).then_some(endpoint));
        match (one, other) {
            (Some(one), Some(other)) => {
                let (less, more) = if is_busier(one, other) { (other, one) } else { (one, other) };
                // One that warms up gives way; two that do are as good as any.
                let gives_way = |cold: &Endpoint, draw: &mut dyn FnMut(usize) -> usize| {
                    let warmth = cold.warmth(self.slow_start, wish.now);
                    warmth < 1.0 && draw(1000) as f64 >= warmth * 1000.0
                };
                Some(if gives_way(less, draw) && more.warmth(self.slow_start, wish.now) >= 1.0 { more } else { less })
            }
            (Some(one), None) | (None, Some(one)) => Some(one),
            (None, None) => {
                members.iter().filter(|endpoint| wish.can_take(endpoint)).min_by(|one, other| load(one, other))
            }
        }
    }

    fn next<'a>(
        &self,
        group: &'a Group,
        wish: &Wish<'_>,
        draw: &mut impl FnMut(usize) -> usize,
    ) -> Option<&'a Arc<Endpoint>> {
        let members = group.members.as_slice();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let first = if group.span() == members.len() {
            turn % members.len()
        } else {
            let place = (turn as f64 * STRIDE).fract();
            group.at((place * group.span() as f64) as usize)
        };
        let order = || members.iter().cycle().skip(first).take(members.len());
        let is_warm = |endpoint: &Endpoint, draw: &mut dyn FnMut(usize) -> usize| {
            let warmth = endpoint.warmth(self.slow_start, wish.now);
            warmth >= 1.0 || (draw(1000) as f64) < warmth * 1000.0
        };
        order()
            .find(|endpoint| wish.can_take(endpoint) && is_warm(endpoint, draw))
            .or_else(|| order().find(|endpoint| wish.can_take(endpoint)))
    }
}

/// Requests in flight, relative to the weights.
fn load(one: &Endpoint, other: &Endpoint) -> std::cmp::Ordering {
    let scaled = |endpoint: &Endpoint, by: &Endpoint| endpoint.in_flight() as u64 * u64::from(by.weight());
    scaled(one, other).cmp(&scaled(other, one))
}

fn is_busier(one: &Endpoint, other: &Endpoint) -> bool {
    load(one, other).is_gt()
}

#[cfg(test)]
mod tests;
