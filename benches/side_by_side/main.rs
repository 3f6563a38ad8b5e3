//! The gateway beside nginx and haproxy: CPU per request, handshake and byte, memory per connection, the start.
//!
//! `cargo bench --bench side_by_side -- --help`; docs/performance.md tells the method. Needs Debian's `nginx-light`,
//! `haproxy` and `taskset`, root for control groups and the tree of newer peers, and two cores.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measuring tool: what goes wrong is said by a panic"
)]

mod load;
mod machine;
mod measure;
mod names;
mod peers;
mod pki;
mod report;
mod rows;
mod special;
mod tree;
mod upstream;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Parser;
use serde_json::json;

use measure::Plan;
use peers::{Kind, Peer, Site};
use report::Measured;
use tree::Tree;

/// The gateway beside nginx and haproxy, one core for the one measured, the other for load and upstream.
#[derive(Debug, Parser)]
struct Arguments {
    /// The rows that matter most, three short rounds: under 3 minutes
    #[arg(long)]
    quick: bool,
    /// Only these rows; `quota` stands for `quota-p99` and so on as well
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Names the rows there are
    #[arg(long)]
    list: bool,
    /// How often everyone has a turn
    #[arg(long)]
    rounds: Option<usize>,
    /// How long a turn is
    #[arg(long)]
    seconds: Option<f64>,
    /// Gateways to measure, each a column; NAME=PATH gives it a name [default: a release build of this tree]
    #[arg(long, value_delimiter = ',')]
    gateway: Vec<String>,
    /// Only the gateways, to compare them with each other
    #[arg(long)]
    alone: bool,
    /// A tree of Debian 13 made by benches/peers/make-newer-peers
    #[arg(long, env = "GATEWAY_BENCH_NEWER")]
    newer: Option<PathBuf>,
    /// Where the figures go for programs
    #[arg(long)]
    json: Option<PathBuf>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let rows = rows::chosen(&arguments.rows, arguments.quick);
    assert!(!rows.is_empty(), "no such row; --list tells them");
    if arguments.list {
        rows::all().iter().for_each(|row| println!("{:<24}{}", row.name, row.title));
        return;
    }
    let gateways = gateways(&arguments.gateway);
    machine::raise_open_files();
    machine::pin(machine::LOAD_CORE);
    // What is written while measuring should not wait for a disk.
    let place =
        Some(Path::new("/dev/shm")).filter(|place| place.is_dir()).map_or_else(std::env::temp_dir, Path::to_owned);
    let run = tempfile::Builder::new().prefix("gateway-bench-").tempdir_in(place).unwrap();
    pki::make(run.path());
    let upstream = upstream::start("0.0.0.0:0");
    let site = Site { run: run.path().to_owned(), upstream: ([127, 0, 0, 1], upstream.port()).into() };
    let tree = arguments.newer.as_deref().filter(|_| !arguments.alone).map(|root| Tree::enter(root, run.path()));
    let peers = if arguments.alone { gateways } else { [others(arguments.newer.as_deref()), gateways].concat() };
    let plan = Plan {
        rounds: arguments.rounds.unwrap_or(if arguments.quick { 3 } else { 5 }),
        length: Duration::from_secs_f64(arguments.seconds.unwrap_or(if arguments.quick { 0.6 } else { 2.0 })),
    };
    for peer in &peers {
        println!("{:<32}{}", peer.name, peer.version());
    }
    if tree.is_none() && !arguments.alone {
        println!("no peers with OpenSSL 3.5: make a tree with benches/peers/make-newer-peers DIR, then --newer DIR");
    }
    println!(
        "{} rounds of {} s; median, lowest to highest; share of the peer's core and of the load's\n",
        plan.rounds,
        plan.length.as_secs_f64()
    );
    let mut measured = Vec::new();
    for row in rows {
        let mut columns = measure::columns(&row, &peers);
        measure::measure(&row, &mut columns, &site, plan);
        let done = Measured { row, columns };
        println!("{}", done.table());
        measured.push(done);
        if let Some(path) = &arguments.json {
            fs::write(path, json_of(&measured, &peers, plan)).unwrap();
        }
    }
}

fn json_of(measured: &[Measured], peers: &[Peer], plan: Plan) -> String {
    let peers: serde_json::Map<_, _> = peers.iter().map(|peer| (peer.name.clone(), json!(peer.version()))).collect();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let value = json!({
        "rounds": plan.rounds,
        "seconds": plan.length.as_secs_f64(),
        "kernel": kernel.trim(),
        "peers": peers,
        "rows": measured.iter().map(Measured::json).collect::<Vec<_>>(),
    });
    serde_json::to_string_pretty(&value).unwrap()
}

/// Those that were named, or this tree's, as it is released.
fn gateways(named: &[String]) -> Vec<Peer> {
    if named.is_empty() {
        return vec![gateway("gateway".to_owned(), &release_build())];
    }
    let one = |text: &String| match text.split_once('=') {
        Some((name, path)) => gateway(name.to_owned(), Path::new(path)),
        None if named.len() == 1 => gateway("gateway".to_owned(), Path::new(text)),
        None => gateway(text.clone(), Path::new(text)),
    };
    named.iter().map(one).collect()
}

fn gateway(name: String, path: &Path) -> Peer {
    let path = fs::canonicalize(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Peer { name, kind: Kind::Gateway(path), tree: None }
}

fn release_build() -> PathBuf {
    machine::progress("building the gateway as it is released");
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--release", "--locked", "--bin", "gateway"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(command.status().unwrap().success(), "the gateway does not build");
    // The harness lies in TARGET/release/deps.
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("gateway")
}

fn others(newer: Option<&Path>) -> Vec<Peer> {
    let peer = |name: &str, kind: &Kind, tree: Option<&Path>| {
        let suffix = if tree.is_some() { " (OpenSSL 3.5)" } else { "" };
        Peer { name: format!("{name}{suffix}"), kind: kind.clone(), tree: tree.map(Path::to_owned) }
    };
    let kinds = [
        ("nginx", Kind::Nginx { buffering: true }),
        ("nginx, unbuffered", Kind::Nginx { buffering: false }),
        ("haproxy", Kind::Haproxy),
    ];
    let trees = [None, newer];
    let mut all: Vec<_> = trees[..1 + usize::from(newer.is_some())]
        .iter()
        .flat_map(|tree| kinds.iter().map(|(name, kind)| peer(name, kind, *tree)))
        .collect();
    all.push(peer("haproxy, TCP only", &Kind::HaproxyTcp, newer));
    all
}
