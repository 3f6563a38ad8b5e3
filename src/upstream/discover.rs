//! Keeping an upstream's endpoints true to its name.
//!
//! One task per upstream asks again and again; requests only ever read the last set. A name that does not resolve yet
//! is no reason not to start, and one that stops resolving is no reason to stop: the last good answer is used for
//! `stale_for`.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::cluster::Cluster;
use super::resolve::{Answer, LookupError, Resolver};
use super::settings::DnsSettings;
use crate::net::HostName;

/// The longest a look-up may take, all servers and attempts together.
const LOOKUP: Duration = Duration::from_secs(10);

/// Asks until the cluster is gone.
pub(super) async fn run(cluster: Weak<Cluster>, resolver: Resolver, name: HostName, port: u16, settings: DnsSettings) {
    let mut state = State::new(settings);
    loop {
        let answer = match timeout(LOOKUP, resolver.resolve(&name)).await {
            Ok(answer) => answer,
            Err(_) => Err(LookupError::Failed("it took longer than 10 s".to_owned())),
        };
        let Some(cluster) = cluster.upgrade() else { return };
        let step = state.next(answer, Instant::now());
        for note in &step.notes {
            note.log(cluster.name(), &name);
        }
        match step.publish {
            Publish::Same => {}
            Publish::Set(addresses) => {
                let addresses: Vec<_> = addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
                let text: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
                tracing::info!(
                    upstream = cluster.name(),
                    endpoints = text.join(", "),
                    "the upstream's endpoints are new"
                );
                cluster.publish(&addresses);
            }
        }
        cluster.settle();
        drop(cluster);
        sleep(step.again_in.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
    }
}

/// What is known between two look-ups. Pure: time comes in as an argument.
#[derive(Debug)]
struct State {
    settings: DnsSettings,
    current: Vec<std::net::IpAddr>,
    last_good: Option<Instant>,
    failing: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Step {
    publish: Publish,
    again_in: Duration,
    notes: Vec<Note>,
}

#[derive(Debug, PartialEq, Eq)]
enum Publish {
    Same,
    Set(Vec<std::net::IpAddr>),
}

/// What is worth telling the operator, once.
#[derive(Debug, PartialEq, Eq)]
enum Note {
    Failing { error: String, kept: usize },
    GivenUp,
    Recovered,
}

impl State {
    fn new(settings: DnsSettings) -> Self {
        Self { settings, current: Vec::new(), last_good: None, failing: false }
    }

    fn next(&mut self, answer: Result<Answer, LookupError>, now: Instant) -> Step {
        let mut notes = Vec::new();
        match answer {
            Ok(Answer { addresses, ttl }) => {
                self.last_good = Some(now);
                if std::mem::take(&mut self.failing) {
                    notes.push(Note::Recovered);
                }
                let again_in = ttl.clamp(self.settings.min_ttl, self.settings.max_ttl);
                let publish = if addresses == self.current {
                    Publish::Same
                } else {
                    self.current.clone_from(&addresses);
                    Publish::Set(addresses)
                };
                Step { publish, again_in, notes }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    notes.push(Note::Failing { error: error.to_string(), kept: self.current.len() });
                }
                let stale = self.last_good.is_none_or(|at| now.duration_since(at) > self.settings.stale_for);
                let publish = if stale && !self.current.is_empty() {
                    self.current.clear();
                    notes.push(Note::GivenUp);
                    Publish::Set(Vec::new())
                } else {
                    Publish::Same
                };
                Step { publish, again_in: self.settings.min_ttl, notes }
            }
        }
    }
}

impl Note {
    fn log(&self, upstream: &str, name: &HostName) {
        match self {
            Self::Failing { error, kept } => {
                tracing::warn!(upstream, %name, kept, "the upstream's name cannot be resolved: {error}");
            }
            Self::GivenUp => {
                tracing::error!(upstream, %name, "the last known endpoints are too old and no longer used")
            }
            Self::Recovered => tracing::info!(upstream, %name, "the upstream's name can be resolved again"),
        }
    }
}

/// The task's owner: the task ends with it.
#[derive(Debug)]
pub(super) struct Discovery(tokio::task::JoinHandle<()>);

impl Discovery {
    pub(super) fn spawn(cluster: &Arc<Cluster>, resolver: Resolver, name: HostName, port: u16) -> Self {
        let settings = cluster.settings().dns.clone();
        Self(tokio::spawn(run(Arc::downgrade(cluster), resolver, name, port, settings)))
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn settings() -> DnsSettings {
        DnsSettings {
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(5),
            stale_for: Duration::from_secs(300),
            resolvers: Vec::new(),
        }
    }

    fn answer(last: u8, ttl: u64) -> Result<Answer, LookupError> {
        Ok(Answer { addresses: vec![IpAddr::from([10, 0, 0, last])], ttl: Duration::from_secs(ttl) })
    }

    fn no_name() -> Result<Answer, LookupError> {
        Err(LookupError::NoAddress("NXDOMAIN".to_owned()))
    }

    #[test]
    fn the_ttl_is_followed_within_bounds() {
        let mut state = State::new(settings());
        let now = Instant::now();
        for (ttl, expected) in [(0, 1), (1, 1), (3, 3), (60, 5)] {
            assert_eq!(state.next(answer(1, ttl), now).again_in, Duration::from_secs(expected), "TTL {ttl}");
        }
    }

    #[test]
    fn the_last_good_answer_is_kept_and_then_given_up() {
        let mut state = State::new(settings());
        let start = Instant::now();
        assert_eq!(state.next(answer(1, 5), start).publish, Publish::Set(vec![IpAddr::from([10, 0, 0, 1])]));
        let step = state.next(no_name(), start + Duration::from_secs(299));
        assert_eq!((step.publish, step.notes.len()), (Publish::Same, 1));
        let step = state.next(no_name(), start + Duration::from_secs(301));
        assert_eq!((step.publish, step.notes), (Publish::Set(Vec::new()), vec![Note::GivenUp]));
        let step = state.next(no_name(), start + Duration::from_secs(302));
        assert_eq!((step.publish, step.notes), (Publish::Same, Vec::new()));
        let step = state.next(answer(1, 5), start + Duration::from_secs(303));
        assert_eq!(step.publish, Publish::Set(vec![IpAddr::from([10, 0, 0, 1])]));
        assert_eq!(step.notes, [Note::Recovered]);
    }

    #[test]
    fn a_name_that_never_resolved_is_asked_for_again() {
        let mut state = State::new(settings());
        let step = state.next(no_name(), Instant::now());
        assert_eq!((step.publish, step.again_in), (Publish::Same, Duration::from_secs(1)));
    }
}
