//! Rounds of one row: everyone starts, everyone is checked, then all take turns.

use std::time::{Duration, Instant};

use crate::load::{Client, Crowd, Tls, shake_hands};
use crate::machine::{self, Cores};
use crate::peers::{Instance, Kind as PeerKind, Peer, Setup, Site};
use crate::rows::{Against, Kind, Row};
use crate::special;

/// How often and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
}

/// One measurement of one peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// In the row's unit.
    pub(crate) value: f64,
    /// Absent where the row is not about CPU time.
    pub(crate) cores: Option<Use>,
}

/// Shares of both cores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use {
    /// Of its core, by the peer.
    pub(crate) peer: f64,
    /// Of its core, by load and upstream.
    pub(crate) load: f64,
    /// Of both cores, by anybody else; above 5 % or so the round was disturbed.
    pub(crate) others: f64,
    /// Of the peer's core, by the hypervisor.
    pub(crate) stolen: f64,
}

/// The samples of one peer in one row, one for each round.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) peer: Peer,
    /// Whether it counts as the best peer.
    pub(crate) counts: bool,
    pub(crate) samples: Vec<Sample>,
}

/// How long a load runs before it is measured.
const WARM_UP: Duration = Duration::from_millis(300);
const HANDSHAKES_AT_ONCE: usize = 24;

/// Who is in a row.
pub(crate) fn columns(row: &Row, peers: &[Peer]) -> Vec<Column> {
    let is_http1 = matches!(row.kind, Kind::Requests { order, .. } if order.streams.is_none() && order.status == 200);
    let newer = |peer: &Peer| peer.tree.is_some();
    let wanted = |peer: &&Peer| match (&peer.kind, row.against) {
        (PeerKind::Gateway(_), _) => true,
        (_, Against::Nobody) => false,
        (PeerKind::HaproxyTcp, Against::All | Against::AllUnbuffered) => is_http1 && !row.log && row.name != "health",
        (PeerKind::HaproxyTcp, _) => false,
        (PeerKind::Nginx { buffering: false }, against) => against == Against::AllUnbuffered,
        (_, Against::OnlyNewer) => newer(peer),
        _ => true,
    };
    let counts = |peer: &Peer| match (&peer.kind, row.against) {
        (PeerKind::Gateway(_) | PeerKind::HaproxyTcp, _) => false,
        (kind, Against::Nginx) => matches!(kind, PeerKind::Nginx { .. }),
        (_, Against::Newer) => newer(peer),
        _ => true,
    };
    peers
        .iter()
        .filter(wanted)
        .map(|peer| Column { peer: peer.clone(), counts: counts(peer), samples: vec![] })
        .collect()
}

/// All rounds of a row.
pub(crate) fn measure(row: &Row, columns: &mut [Column], site: &Site, plan: Plan) {
    let (Kind::Requests { tls, .. } | Kind::Handshakes { tls }) = row.kind else {
        return special::measure(row, columns, site, plan);
    };
    let setup = Setup { keys: tls.keys, log: row.log, ..Setup::USUAL };
    let instances: Vec<_> = columns.iter().map(|column| column.peer.start(site, setup)).collect();
    for (column, instance) in columns.iter().zip(&instances) {
        column.peer.check(site, instance, tls);
    }
    for round in 1..=plan.rounds {
        for (column, instance) in columns.iter_mut().zip(&instances) {
            let sample = match row.kind {
                Kind::Handshakes { tls } => handshakes(site, tls, instance, plan.length),
                _ => requests(row, site, instance, plan.length),
            };
            machine::progress(&format!(
                "  {} {round}/{}: {} {:.2}",
                row.name, plan.rounds, column.peer.name, sample.value
            ));
            column.samples.push(sample);
            if row.log {
                // What is collected comes late.
                std::thread::sleep(Duration::from_millis(1100));
                assert!(instance.empty_log() > 1 << 16, "{} wrote no log", column.peer.name);
            }
        }
    }
}

fn requests(row: &Row, site: &Site, instance: &Instance, length: Duration) -> Sample {
    let Kind::Requests { tls, connections, order } = row.kind else { unreachable!("rows of requests only") };
    let client = Client::new(&site.run, tls, order.streams.is_some());
    let mut crowd = Crowd::connect(&client, instance.address, connections, &order);
    crowd.start(order.streams.unwrap_or(1));
    crowd.run(Instant::now() + WARM_UP);
    let meter = Meter::start(instance);
    let before = crowd.progress;
    crowd.run(Instant::now() + length);
    let (cpu, cores) = meter.stop(instance);
    let count = if row.by_bytes() {
        (crowd.progress.bytes - before.bytes) as f64 / f64::from(1 << 30)
    } else {
        (crowd.progress.answers - before.answers) as f64 / 1e6
    };
    Sample { value: cpu / count, cores: Some(cores) }
}

fn handshakes(site: &Site, tls: Tls, instance: &Instance, length: Duration) -> Sample {
    let client = Client::new(&site.run, tls, false);
    let begin = Instant::now();
    let mut meter: Option<(Meter, u64)> = None;
    let mut sample = None;
    shake_hands(&client, instance.address, HANDSHAKES_AT_ONCE, &mut None, |progress| {
        match &meter {
            None if begin.elapsed() >= WARM_UP => meter = Some((Meter::start(instance), progress.answers)),
            Some((running, before)) if running.began.elapsed() >= length => {
                let (cpu, cores) = running.stop(instance);
                let count = (progress.answers - before) as f64 / 1e6;
                sample = Some(Sample { value: cpu / count, cores: Some(cores) });
            }
            _ => {}
        }
        sample.is_none()
    });
    sample.unwrap()
}

/// CPU seconds of a peer and the use of both cores, over a while.
pub(crate) struct Meter {
    began: Instant,
    cpu: Duration,
    load: Duration,
    cores: Cores,
}

impl Meter {
    pub(crate) fn start(instance: &Instance) -> Self {
        Self { began: Instant::now(), load: machine::own_cpu(), cores: Cores::now(), cpu: instance.cpu() }
    }

    pub(crate) fn stop(&self, instance: &Instance) -> (f64, Use) {
        let cpu = (instance.cpu() - self.cpu).as_secs_f64();
        let passed = self.began.elapsed().as_secs_f64();
        let [peer_core, load_core, stolen] = self.cores.since();
        let (peer, load) = (cpu / passed, (machine::own_cpu() - self.load).as_secs_f64() / passed);
        (cpu, Use { peer, load, others: (peer_core + load_core - peer - load).max(0.0), stolen })
    }
}
