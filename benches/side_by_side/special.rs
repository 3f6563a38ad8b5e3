//! Rows that are not about a steady load: memory, the start, what must stay flat, a quota, instructions.

use std::thread;
use std::time::{Duration, Instant};

use crate::load::{Client, Crowd, Order, Tls, shake_hands};
use crate::machine::{self, Quota};
use crate::measure::{Column, Meter, Plan, Sample};
use crate::names::Names;
use crate::peers::{Instance, Kind as PeerKind, Peer, Setup, Site};
use crate::rows::{Figure, Kind, Much, Row};

const KIB: f64 = 1024.0;
/// Idle connections of the rows about memory.
const IDLE: usize = 3000;
/// As many as both ends may open where a process may open 20,000 files.
const MANY: usize = 9500;
/// As many as callgrind can shake hands with in reasonable time.
const MANY_COUNTED: usize = 500;
/// How long memory may take to come back.
const BACK: Duration = Duration::from_secs(10);
/// A task of a quarter of a CPU.
const QUARTER: Quota = Quota { cpu: Duration::from_millis(25), period: Duration::from_millis(100), memory: 512 << 20 };
/// The difference of two counts leaves out what the start costs.
const FEW_REQUESTS: u64 = 200;
const MANY_REQUESTS: u64 = 1200;

/// All rounds of a row, each on fresh processes.
pub(crate) fn measure(row: &Row, columns: &mut [Column], site: &Site, plan: Plan) {
    for round in 1..=plan.rounds {
        for column in &mut *columns {
            let value = match row.kind {
                Kind::Idle { http2 } => idle(site, &column.peer, http2),
                Kind::GivenBack => given_back(site, &column.peer),
                Kind::Start => start(site, &column.peer).0,
                Kind::StartMemory => start(site, &column.peer).1,
                Kind::Flat(much) => flat(site, &column.peer, much, plan.length),
                Kind::Quota(figure) => quota(site, &column.peer, figure, plan.length),
                Kind::Instructions { http2 } => instructions(site, &column.peer, Setup::USUAL, 0, http2),
                Kind::FlatInstructions(much) => flat_instructions(site, &column.peer, much),
                Kind::Requests { .. } | Kind::Handshakes { .. } => unreachable!("rows of steady load are elsewhere"),
            };
            machine::progress(&format!("  {} {round}/{}: {} {value:.2}", row.name, plan.rounds, column.peer.name));
            column.samples.push(Sample { value, cores: None });
        }
    }
}

fn crowd(site: &Site, instance: &Instance, count: usize, order: Order) -> Crowd {
    let client = Client::new(&site.run, Tls::USUAL, order.streams.is_some());
    Crowd::connect(&client, instance.address, count, &order)
}

/// Connections that have made one request each, one after another, as clients come to a service.
fn idle_crowd(site: &Site, instance: &Instance, count: usize, order: Order) -> Crowd {
    let mut crowd = crowd(site, instance, count, order);
    crowd.ask_in_turn();
    crowd
}

fn idle(site: &Site, peer: &Peer, http2: bool) -> f64 {
    let order = Order { streams: http2.then_some(1), ..Order::SMALL };
    let instance = peer.start(site, Setup::USUAL);
    drop(idle_crowd(site, &instance, 10, order));
    thread::sleep(Duration::from_millis(500));
    let before = instance.memory();
    let crowd = idle_crowd(site, &instance, IDLE, order);
    thread::sleep(Duration::from_secs(2));
    let each = (instance.memory() as f64 - before as f64) / IDLE as f64;
    drop(crowd);
    each / KIB
}

fn given_back(site: &Site, peer: &Peer) -> f64 {
    let instance = peer.start(site, Setup::USUAL);
    drop(idle_crowd(site, &instance, 10, Order::SMALL));
    thread::sleep(Duration::from_millis(500));
    let before = instance.memory() as f64;
    let crowd = idle_crowd(site, &instance, MANY, Order::SMALL);
    let full = instance.memory() as f64;
    drop(crowd);
    thread::sleep(BACK);
    100.0 * (full - instance.memory() as f64) / (full - before)
}

/// Milliseconds to the first answer and the most MiB by then.
fn start(site: &Site, peer: &Peer) -> (f64, f64) {
    let instance = peer.start(site, Setup::USUAL);
    drop(idle_crowd(site, &instance, 1, Order { path: "/health", ..Order::SMALL }));
    let time = instance.started.elapsed().as_secs_f64() * 1e3;
    (time, instance.peak_memory() as f64 / KIB / KIB)
}

/// The gateway with little and with much of something.
fn both_setups(site: &Site, much: Much) -> ([Setup; 2], Vec<Names>) {
    let usual = Setup::USUAL;
    match much {
        Much::Idle => ([usual; 2], vec![]),
        Much::Routes => ([usual, Setup { routes: 10_000, ..usual }], vec![]),
        Much::Endpoints => {
            let names = [1, 64].map(Names::start);
            let setups = names.each_ref().map(|names| (names.address, site.upstream.port()));
            (setups.map(|discovered| Setup { discovered: Some(discovered), ..usual }), names.into())
        }
    }
}

/// CPU per request with much, by CPU per request with little; both run, and take turns.
fn flat(site: &Site, peer: &Peer, much: Much, length: Duration) -> f64 {
    let (setups, _names) = both_setups(site, much);
    let [little, plenty] = setups.map(|setup| peer.start(site, setup));
    thread::sleep(Duration::from_millis(200));
    let idle = if much == Much::Idle { [10, MANY] } else { [0, 0] };
    let _idle = [(&little, idle[0]), (&plenty, idle[1])]
        .map(|(instance, count)| idle_crowd(site, instance, count, Order::SMALL));
    let mut cost = [0.0; 2];
    let turn = (length / 4).max(Duration::from_millis(200));
    for _ in 0..4 {
        for (cost, instance) in cost.iter_mut().zip([&little, &plenty]) {
            let mut crowd = crowd(site, instance, 32, Order::SMALL);
            crowd.start(1);
            crowd.run(Instant::now() + Duration::from_millis(200));
            let (meter, before) = (Meter::start(instance), crowd.progress.answers);
            crowd.run(Instant::now() + turn);
            *cost += meter.stop(instance).0 / (crowd.progress.answers - before) as f64;
        }
    }
    cost[1] / cost[0]
}

fn quota(site: &Site, peer: &Peer, figure: Figure, length: Duration) -> f64 {
    let setup = Setup { quota: Some(QUARTER), log: true, ..Setup::USUAL };
    let instance = peer.start(site, setup);
    let length = length.max(Duration::from_secs(4));
    let (mut rate, mut latency) = (0.0, 0.0);
    if matches!(figure, Figure::Requests | Figure::Latency | Figure::Memory) {
        let mut crowd = crowd(site, &instance, 32, Order::SMALL);
        crowd.start(1);
        crowd.run(Instant::now() + Duration::from_millis(500));
        crowd.latencies = Some(Vec::new());
        let (began, before) = (Instant::now(), crowd.progress.answers);
        crowd.run(began + length);
        rate = (crowd.progress.answers - before) as f64 / began.elapsed().as_secs_f64();
        latency = percentile_99(crowd.latencies.take().unwrap_or_default());
    }
    if matches!(figure, Figure::Handshakes | Figure::HandshakeLatency | Figure::Memory) {
        let client = Client::new(&site.run, Tls::USUAL, false);
        let began = Instant::now();
        let (mut latencies, mut count) = (Some(Vec::new()), 0);
        shake_hands(&client, instance.address, 24, &mut latencies, |progress| {
            count = progress.answers;
            began.elapsed() < length
        });
        rate = count as f64 / began.elapsed().as_secs_f64();
        latency = percentile_99(latencies.unwrap_or_default());
    }
    match figure {
        Figure::Requests | Figure::Handshakes => rate,
        Figure::Latency | Figure::HandshakeLatency => latency,
        Figure::Memory => instance.memory() as f64 / KIB / KIB,
    }
}

/// In milliseconds.
fn percentile_99(mut microseconds: Vec<u32>) -> f64 {
    microseconds.sort_unstable();
    microseconds.get(microseconds.len() * 99 / 100).map_or(f64::NAN, |at| f64::from(*at) / 1e3)
}

fn flat_instructions(site: &Site, peer: &Peer, much: Much) -> f64 {
    let (setups, _names) = both_setups(site, much);
    let idle = if much == Much::Idle { [10, MANY_COUNTED] } else { [0, 0] };
    let [little, plenty] = [0, 1].map(|which| instructions(site, peer, setups[which], idle[which], false));
    plenty / little
}

/// Instructions in user space per request: the difference of two runs, on one connection.
fn instructions(site: &Site, peer: &Peer, setup: Setup, idle: usize, http2: bool) -> f64 {
    assert!(matches!(peer.kind, PeerKind::Gateway(_)));
    let order = Order { streams: http2.then_some(1), ..Order::SMALL };
    let [few, many] = [FEW_REQUESTS, MANY_REQUESTS].map(|requests| {
        let instance = peer.start(site, Setup { counted: true, ..setup });
        let idle = idle_crowd(site, &instance, idle, order);
        let mut crowd = crowd(site, &instance, 1, order);
        for _ in 0..requests {
            crowd.ask_in_turn();
        }
        drop((idle, crowd));
        instance.instructions()
    });
    (many - few) as f64 / (MANY_REQUESTS - FEW_REQUESTS) as f64
}
