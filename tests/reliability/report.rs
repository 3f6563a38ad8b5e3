//! What became of every request of a load.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

/// How many failures are shown one by one.
const SHOWN: usize = 20;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// GET over a kept HTTP/1.1 connection.
    Get,
    /// POST with a body, over another.
    Post,
    /// GET over HTTP/2.
    Http2,
    /// A message over a WebSocket, and its echo.
    WebSocket,
    /// GET over a connection of its own: what a load balancer goes on sending.
    NewConnection,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// This status. A 503 that says nothing of when to come again is none: see [`Outcome::Broken`].
    Status(u16),
    /// No answer, or not the one to this request.
    Broken(String),
}

/// A request and its end.
#[derive(Debug, Clone)]
pub struct Sample {
    pub kind: Kind,
    /// Its path, which no other request has.
    pub path: String,
    pub started: Instant,
    pub took: Duration,
    pub outcome: Outcome,
    /// Which endpoint answered.
    pub endpoint: Option<String>,
}

/// Everything that became of a load.
#[derive(Debug, Clone)]
pub struct Report {
    pub samples: Vec<Sample>,
    /// Connections that were opened because there was none or the one there was had ended.
    pub connections: usize,
    pub begun: Instant,
}

impl Sample {
    pub fn failed(&self) -> bool {
        self.outcome != Outcome::Status(200)
    }
}

impl Report {
    /// How many of this kind there were.
    pub fn total(&self, kind: Kind) -> usize {
        self.samples.iter().filter(|sample| sample.kind == kind).count()
    }

    /// How many of this kind were not answered with 200.
    pub fn failed(&self, kind: Kind) -> usize {
        self.failures().filter(|sample| sample.kind == kind).count()
    }

    /// Everything that was not answered with 200.
    pub fn failures(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(|sample| sample.failed())
    }

    /// Fails the test unless every request was answered with 200, and there were some of each kind.
    pub fn expect_no_failure(&self, kinds: &[Kind]) {
        for kind in kinds {
            assert!(self.total(*kind) > 0, "no {kind} at all\n{self}");
        }
        assert_eq!(self.failures().count(), 0, "{self}");
    }

    /// What fits, and the rest.
    pub fn split(&self, fits: impl Fn(&Sample) -> bool) -> (Self, Self) {
        (self.only(&fits), self.only(|sample| !fits(sample)))
    }

    /// What began after `instant`.
    pub fn since(&self, instant: Instant) -> Self {
        self.only(|sample| sample.started >= instant)
    }

    /// What began before `instant`.
    pub fn until(&self, instant: Instant) -> Self {
        self.only(|sample| sample.started < instant)
    }

    /// The longest that a request of this kind took.
    pub fn slowest(&self, kind: Kind) -> Duration {
        self.samples.iter().filter(|sample| sample.kind == kind).map(|sample| sample.took).max().unwrap_or_default()
    }

    /// How many requests this endpoint answered with 200.
    pub fn answered_by(&self, address: SocketAddr) -> usize {
        let address = address.to_string();
        self.samples.iter().filter(|sample| !sample.failed() && sample.endpoint.as_ref() == Some(&address)).count()
    }

    fn only(&self, fits: impl Fn(&Sample) -> bool) -> Self {
        Self { samples: self.samples.iter().filter(|sample| fits(sample)).cloned().collect(), ..self.clone() }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Http2 => "HTTP/2",
            Self::WebSocket => "WebSocket",
            Self::NewConnection => "new connection",
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts: BTreeMap<_, (usize, Duration)> = BTreeMap::new();
        let mut endpoints: BTreeMap<&str, usize> = BTreeMap::new();
        for sample in &self.samples {
            let (count, slowest) = counts.entry((sample.kind, &sample.outcome)).or_default();
            *count += 1;
            *slowest = sample.took.max(*slowest);
            *endpoints.entry(sample.endpoint.as_deref().unwrap_or("-")).or_default() += 1;
        }
        writeln!(f, "{} requests over {} connections", self.samples.len(), self.connections)?;
        for ((kind, outcome), (count, slowest)) in counts {
            writeln!(f, "  {kind:14} {count:6} x {outcome} (slowest {slowest:.0?})")?;
        }
        for (endpoint, count) in endpoints {
            writeln!(f, "  {endpoint:22} {count:6}")?;
        }
        for sample in self.failures().take(SHOWN) {
            let Sample { kind, path, started, took, outcome, endpoint } = sample;
            let at = started.duration_since(self.begun);
            let by = endpoint.as_deref().unwrap_or("-");
            writeln!(f, "  at {at:.2?} after {took:.2?}: {kind} {path}: {outcome} by {by}")?;
        }
        Ok(())
    }
}
