//! Keeping an upstream's endpoints true to its names.
//!
//! One task for each name asks again and again, one look-up at a time; requests only ever read the last set, which is
//! the union over all names. A name that does not resolve yet is no reason not to start, and one that stops resolving
//! is no reason to stop: the last good answer is used for `stale_for`.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::cluster::Cluster;
use super::discovered::{Discovered, DiscoveryStatus, first_choice};
use super::lookup::{Answer, Question, look_up};
use super::memory::{MOST_ADDRESSES, Memory, Note, Step};
use super::resolve::{LookupError, Resolver};
use super::settings::Target;
use crate::net::Host;

/// The longest a look-up may take, all servers and attempts together.
const LOOKUP: Duration = Duration::from_secs(10);
/// Endpoints that are named in the log when they change.
const MOST_LOGGED: usize = 32;

/// What looks the names of a cluster up. The tasks end with it.
#[derive(Debug)]
pub(super) struct Discovery {
    shared: Arc<Shared>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// What the tasks of a cluster and those who ask share. The lock is never held over an await.
#[derive(Debug)]
struct Shared {
    sources: Mutex<Vec<Source>>,
    /// In the order of the sources.
    wanted: Vec<Notify>,
}

/// One target's part of the endpoints.
#[derive(Debug)]
struct Source {
    /// `None` for an address, which is not looked up.
    question: Option<Question>,
    found: Vec<Discovered>,
    has_ended: bool,
    last_good: Option<Instant>,
    ttl: Duration,
    failing: Option<(Instant, LookupError)>,
}

impl Discovery {
    /// Publishes the addresses among the cluster's targets and starts to look up the names. `resolver` is called when
    /// there is a name.
    ///
    /// # Errors
    /// That of `resolver`.
    pub(super) fn spawn<E>(cluster: &Arc<Cluster>, resolver: impl FnOnce() -> Result<Resolver, E>) -> Result<Self, E> {
        let settings = cluster.settings();
        let sources: Vec<_> = settings.targets.iter().map(Source::new).collect();
        let resolver = if sources.iter().any(|source| source.question.is_some()) { Some(resolver()?) } else { None };
        let questions: Vec<_> = sources.iter().map(|source| source.question.clone()).collect();
        let wanted = sources.iter().map(|_| Notify::new()).collect();
        let shared = Arc::new(Shared { sources: Mutex::new(sources), wanted });
        shared.publish(cluster, |_| true);
        let mut tasks = Vec::new();
        for (index, question) in questions.into_iter().enumerate() {
            if let (Some(question), Some(resolver)) = (question, &resolver) {
                let task = Task {
                    cluster: Arc::downgrade(cluster),
                    shared: Arc::clone(&shared),
                    index,
                    question,
                    resolver: resolver.clone(),
                    memory: Memory::new(settings.dns.clone()),
                };
                tasks.push(tokio::spawn(task.run(settings.dns.min_ttl)));
            }
        }
        Ok(Self { shared, tasks })
    }

    /// Looks all names up as soon as `min_ttl` allows.
    pub(super) fn refresh_soon(&self) {
        for wanted in &self.shared.wanted {
            wanted.notify_one();
        }
    }

    /// How each name is doing.
    pub(super) fn status(&self) -> Vec<DiscoveryStatus> {
        let now = Instant::now();
        let sources = self.shared.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.iter().filter_map(|source| source.status(now)).collect()
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Source {
    fn new(target: &Target) -> Self {
        let (question, found) = match target {
            Target::Service(name) => (Some(Question::Service(name.clone())), Vec::new()),
            Target::Host(target) => match &target.host {
                Host::Name(name) => (Some(Question::Host(name.clone(), target.port)), Vec::new()),
                Host::Address(address) => (None, vec![Discovered::new(SocketAddr::new(*address, target.port))]),
            },
        };
        let has_ended = question.is_none();
        Self { question, found, has_ended, last_good: None, ttl: Duration::ZERO, failing: None }
    }

    fn status(&self, now: Instant) -> Option<DiscoveryStatus> {
        Some(DiscoveryStatus {
            name: self.question.as_ref()?.name().to_owned(),
            pending: !self.has_ended,
            addresses: self.found.len(),
            age: self.last_good.map(|at| now.saturating_duration_since(at)),
            ttl: self.last_good.map(|_| self.ttl),
            error: self.failing.as_ref().map(|(_, error)| error.to_string()),
            failing_for: self.failing.as_ref().map(|(since, _)| now.saturating_duration_since(*since)),
            stale: self.failing.is_some() && !self.found.is_empty(),
        })
    }
}

impl Shared {
    /// Changes sources; when `change` says that their addresses are others, the cluster's endpoints follow.
    fn publish(&self, cluster: &Arc<Cluster>, change: impl FnOnce(&mut Vec<Source>) -> bool) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if change(&mut sources) {
            cluster.publish(&first_choice(sources.iter().flat_map(|source| source.found.iter().copied())));
        }
        // A request that waits for the first look-up waits for an endpoint, or for there being none.
        if sources.iter().any(|source| !source.found.is_empty()) || sources.iter().all(|source| source.has_ended) {
            cluster.settle();
        }
    }
}

/// Looks one name up until the cluster is gone.
struct Task {
    cluster: Weak<Cluster>,
    shared: Arc<Shared>,
    index: usize,
    question: Question,
    resolver: Resolver,
    memory: Memory,
}

impl Task {
    async fn run(mut self, min_ttl: Duration) {
        loop {
            let asked = Instant::now();
            let answer = self.answer(asked).await;
            let step = self.memory.next(answer, Instant::now());
            let again_in = step.again_in;
            if !self.apply(step) {
                return;
            }
            // Earlier, so that gateways started together do not ask together, and never later than promised.
            let due = Instant::now() + again_in.mul_f64(1.0 - 0.1 * fastrand::f64());
            self.wait(due, asked + min_ttl).await;
        }
    }

    /// One look-up; what is too old by then is given up on the way.
    async fn answer(&mut self, asked: Instant) -> Result<Answer, LookupError> {
        let (resolver, question) = (self.resolver.clone(), self.question.clone());
        let mut answer = pin!(timeout(LOOKUP, look_up(&resolver, &question)));
        loop {
            let gives_up = at(self.memory.gives_up_at(Some(asked)));
            tokio::select! {
                biased;
                answer = &mut answer => {
                    let late = || LookupError::Failed("it took longer than 10 s".to_owned());
                    return answer.unwrap_or_else(|_| Err(late()));
                }
                () = gives_up => {
                    let step = self.memory.give_up();
                    self.apply(step);
                }
            }
        }
    }

    /// Waits until `due`, or until `soonest` when somebody asks for it.
    async fn wait(&mut self, mut due: Instant, soonest: Instant) {
        loop {
            let gives_up = at(self.memory.gives_up_at(None));
            let shared = Arc::clone(&self.shared);
            let wanted = async {
                match shared.wanted.get(self.index) {
                    Some(wanted) => wanted.notified().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = sleep_until(due) => return,
                () = wanted => due = due.min(soonest),
                () = gives_up => {
                    let step = self.memory.give_up();
                    self.apply(step);
                }
            }
        }
    }

    /// Tells the cluster and the log; `false` when the cluster is gone.
    fn apply(&self, step: Step) -> bool {
        let Some(cluster) = self.cluster.upgrade() else { return false };
        let (upstream, name) = (cluster.name(), self.question.name());
        for note in &step.notes {
            note.log(upstream, name);
        }
        if let Some(found) = &step.publish {
            tracing::info!(upstream, name, endpoints = listed(found), "the upstream's endpoints are new");
        }
        self.shared.publish(&cluster, |sources| {
            let Some(source) = sources.get_mut(self.index) else { return false };
            source.has_ended = true;
            source.last_good = self.memory.last_good();
            source.ttl = step.again_in;
            let since = source.failing.take().map_or_else(Instant::now, |(since, _)| since);
            source.failing = self.memory.error().map(|error| (since, error.clone()));
            match step.publish {
                Some(found) => {
                    source.found = found;
                    true
                }
                None => false,
            }
        });
        true
    }
}

impl Note {
    fn log(&self, upstream: &str, name: &str) {
        match self {
            Self::Failing { error, kept } => {
                tracing::warn!(upstream, name, kept, "the upstream's name cannot be resolved: {error}");
            }
            Self::GivenUp => {
                tracing::error!(upstream, name, "the last known endpoints are too old and no longer used");
            }
            Self::Recovered => tracing::info!(upstream, name, "the upstream's name can be resolved again"),
            Self::Crowded => {
                tracing::warn!(
                    upstream,
                    name,
                    kept = MOST_ADDRESSES,
                    "the upstream's name has more addresses than are used"
                );
            }
        }
    }
}

/// When that is, if ever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The first of many: a log line has a bound.
fn listed(found: &[Discovered]) -> String {
    let mut text: Vec<_> = found.iter().take(MOST_LOGGED).map(|one| one.address.to_string()).collect();
    if found.len() > MOST_LOGGED {
        text.push(format!("and {} more", found.len() - MOST_LOGGED));
    }
    text.join(", ")
}
