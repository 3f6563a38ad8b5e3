//! The table of what is measured, and the goal of each row.

use crate::load::{Order, Size, Tls, Version};
use crate::pki::Keys;

/// One row of the table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// What `--rows` calls it.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) kind: Kind,
    pub(crate) log: bool,
    pub(crate) against: Against,
    pub(crate) goal: Goal,
    /// Whether `--quick` measures it.
    pub(crate) quick: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Requests on connections that stay: CPU µs each, or CPU seconds per GiB.
    Requests { tls: Tls, connections: usize, order: Order },
    /// One full handshake and one request each: CPU µs.
    Handshakes { tls: Tls },
    /// KiB for each connection that is idle after one request.
    Idle { http2: bool },
    /// Percent of what many connections took that is given back after they closed.
    GivenBack,
    /// Milliseconds from start to first answer.
    Start,
    /// MiB at most by the first answer.
    StartMemory,
    /// CPU per request with much of something, against itself with little: a ratio.
    Flat(Much),
    /// Under a quota: what of it is in the row.
    Quota(Figure),
    /// Instructions per request under callgrind.
    Instructions { http2: bool },
    /// Instructions per request with much of something, against itself with little: a ratio.
    FlatInstructions(Much),
}

/// What there is much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Much {
    Idle,
    Routes,
    Endpoints,
}

/// What is told of a peer under a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    Requests,
    Latency,
    Handshakes,
    HandshakeLatency,
    Memory,
}

/// Who is measured beside the gateway; the best of those that count makes the ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    /// Every nginx and haproxy.
    All,
    /// The same, nginx with buffering off as well.
    AllUnbuffered,
    /// All are measured, nginx counts.
    Nginx,
    /// All are measured, those with OpenSSL 3.5 count.
    Newer,
    /// Only those with OpenSSL 3.5 can do it.
    OnlyNewer,
    /// Only the gateway is measured.
    Nobody,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// Ratio to the best of those that count.
    Ratio {
        must: f64,
        reach: f64,
    },
    /// At most this much, in the row's own unit.
    AtMost {
        must: f64,
        reach: f64,
    },
    /// At least this much, in the row's own unit.
    AtLeast {
        must: f64,
    },
    Reported,
}

const fn ratio(must: f64, reach: f64) -> Goal {
    Goal::Ratio { must, reach }
}

fn row(name: &'static str, title: &'static str, kind: Kind, against: Against, goal: Goal) -> Row {
    let quick = ["h1-32", "h2", "tls13", "h1-log", "down-1m-h1", "refused"].contains(&name);
    Row { name, title, kind, log: false, against, goal, quick }
}

/// Every row, in the order of the table.
pub(crate) fn all() -> Vec<Row> {
    let small = Order::SMALL;
    let h2 = Order { streams: Some(8), ..small };
    let requests = |connections, order| Kind::Requests { tls: Tls::USUAL, connections, order };
    let kib8 = Order { path: Size::Kib8.path(), ..small };
    let down = |size: Size, streams| Order { path: size.path(), streams, ..small };
    let up = |size: Size, streams| Order { upload: Some(size), streams, ..small };
    let shake =
        |version, keys, post_quantum| Kind::Handshakes { tls: Tls { version, keys, post_quantum, certificate: true } };
    let stranger = Kind::Requests {
        tls: Tls { certificate: false, ..Tls::USUAL },
        connections: 32,
        order: Order { status: 403, ..small },
    };
    let mut rows = vec![
        row("h1-32", "h1, small GET, 32 connections, µs", requests(32, small), Against::All, ratio(0.90, 0.80)),
        row("h1-1", "h1, small GET, 1 connection, µs", requests(1, small), Against::All, ratio(0.90, 0.80)),
        row("h1-256", "h1, small GET, 256 connections, µs", requests(256, small), Against::All, ratio(0.90, 0.80)),
        row("h1-8k", "h1, GET of 8 KiB, 32 connections, µs", requests(32, kib8), Against::All, ratio(0.90, 0.80)),
        row("h2", "h2, small GET, 4 connections x 8, µs", requests(4, h2), Against::Nginx, ratio(0.78, 0.65)),
        row("h1-log", "h1, small GET, 32, access log, µs", requests(32, small), Against::All, ratio(0.90, 0.80)),
        row("h2-log", "h2, small GET, 4 x 8, access log, µs", requests(4, h2), Against::Nginx, ratio(0.80, 0.68)),
        row(
            "tls13",
            "full handshake + GET, TLS 1.3, µs",
            shake(Version::Tls13, Keys::P256, false),
            Against::Newer,
            ratio(0.48, 0.38),
        ),
        row(
            "tls12",
            "full handshake + GET, TLS 1.2, µs",
            shake(Version::Tls12, Keys::P256, false),
            Against::Newer,
            ratio(0.55, 0.42),
        ),
        row(
            "rsa",
            "full handshake + GET, RSA-2048, µs",
            shake(Version::Tls13, Keys::Rsa2048, false),
            Against::Newer,
            ratio(0.75, 0.60),
        ),
        row(
            "pq",
            "full handshake + GET, X25519MLKEM768, µs",
            shake(Version::Tls13, Keys::P256, true),
            Against::OnlyNewer,
            Goal::Reported,
        ),
    ];
    let bodies = [
        ("down-1m-h1", "1 MiB down, h1, CPU s/GiB", 8, down(Size::Mib1, None), ratio(0.85, 0.70)),
        ("down-1m-h2", "1 MiB down, h2, CPU s/GiB", 4, down(Size::Mib1, Some(2)), ratio(0.85, 0.70)),
        ("down-100m-h1", "100 MiB down, h1, CPU s/GiB", 4, down(Size::Mib100, None), ratio(0.85, 0.70)),
        ("down-100m-h2", "100 MiB down, h2, CPU s/GiB", 4, down(Size::Mib100, Some(1)), ratio(0.85, 0.70)),
        ("up-1m-h1", "1 MiB up, h1, CPU s/GiB", 8, up(Size::Mib1, None), ratio(0.98, 0.80)),
        ("up-1m-h2", "1 MiB up, h2, CPU s/GiB", 4, up(Size::Mib1, Some(2)), ratio(0.98, 0.80)),
        ("up-100m-h1", "100 MiB up, h1, CPU s/GiB", 4, up(Size::Mib100, None), ratio(0.98, 0.80)),
        ("up-100m-h2", "100 MiB up, h2, CPU s/GiB", 4, up(Size::Mib100, Some(1)), ratio(0.98, 0.80)),
    ];
    rows.extend(bodies.map(|(name, title, connections, order, goal)| {
        row(name, title, requests(connections, order), Against::AllUnbuffered, goal)
    }));
    let health = Order { path: "/health", ..small };
    let at_most = |must, reach| Goal::AtMost { must, reach };
    let flat = at_most(1.05, 1.01);
    rows.extend([
        row("refused", "403 without a certificate, h1, 32, µs", stranger, Against::All, ratio(0.95, 0.80)),
        row("health", "/health, h1, 32 connections, µs", requests(32, health), Against::All, ratio(0.95, 0.80)),
        row("idle-h1", "idle connection, h1, KiB", Kind::Idle { http2: false }, Against::All, at_most(18.0, 10.0)),
        row("idle-h2", "idle connection, h2, KiB", Kind::Idle { http2: true }, Against::All, at_most(28.0, 20.0)),
        row("back", "memory given back, %", Kind::GivenBack, Against::Nobody, Goal::AtLeast { must: 80.0 }),
        row("start", "start to first answer, ms", Kind::Start, Against::Nginx, ratio(1.0, 0.5)),
        row("start-memory", "peak memory at start, MiB", Kind::StartMemory, Against::All, at_most(14.3, 7.15)),
        row("flat-idle", "CPU with 9,500 idle / 10", Kind::Flat(Much::Idle), Against::Nobody, flat),
        row("flat-routes", "CPU with 10,000 routes / 1", Kind::Flat(Much::Routes), Against::Nobody, flat),
        row("flat-endpoints", "CPU with 64 endpoints / 1", Kind::Flat(Much::Endpoints), Against::Nobody, flat),
    ]);
    let at_least = |must| Goal::AtLeast { must };
    let quota = [
        ("quota", "quota: keep-alive requests/s", Figure::Requests, at_least(8000.0)),
        ("quota-p99", "quota: p99 of requests, ms", Figure::Latency, at_most(150.0, 150.0)),
        ("quota-tls13", "quota: full handshakes/s", Figure::Handshakes, at_least(500.0)),
        ("quota-tls13-p99", "quota: p99 of handshakes, ms", Figure::HandshakeLatency, at_most(150.0, 150.0)),
        ("quota-memory", "quota: memory after both, MiB", Figure::Memory, at_most(61.0, 61.0)),
    ];
    rows.extend(quota.map(|(name, title, figure, goal)| row(name, title, Kind::Quota(figure), Against::Nobody, goal)));
    let counted = [
        ("instructions-h1", "instructions per request, h1", Kind::Instructions { http2: false }, Goal::Reported),
        ("instructions-h2", "instructions per request, h2", Kind::Instructions { http2: true }, Goal::Reported),
        ("instructions-idle", "instructions, 500 idle / 10", Kind::FlatInstructions(Much::Idle), flat),
        ("instructions-routes", "instructions, 10,000 routes / 1", Kind::FlatInstructions(Much::Routes), flat),
        ("instructions-endpoints", "instructions, 64 endpoints / 1", Kind::FlatInstructions(Much::Endpoints), flat),
    ];
    rows.extend(counted.map(|(name, title, kind, goal)| row(name, title, kind, Against::Nobody, goal)));
    for row in &mut rows {
        row.log = row.name.ends_with("-log");
    }
    rows
}

/// Those that `--rows` names; a name stands for itself and all that begin with it and a dash.
pub(crate) fn chosen(names: &[String], quick: bool) -> Vec<Row> {
    let named = |row: &Row| {
        names
            .iter()
            .any(|name| row.name == name || row.name.strip_prefix(&**name).is_some_and(|rest| rest.starts_with('-')))
    };
    let counted = |row: &Row| matches!(row.kind, Kind::Instructions { .. } | Kind::FlatInstructions(_));
    let rows = all().into_iter();
    if names.is_empty() {
        // What callgrind counts takes its time and tells the same each time: only when it is asked for.
        rows.filter(|row| if quick { row.quick } else { !counted(row) }).collect()
    } else {
        rows.filter(named).collect()
    }
}

impl Row {
    /// The unit that counts: bytes of bodies, or answers.
    pub(crate) fn by_bytes(&self) -> bool {
        let Kind::Requests { order, .. } = self.kind else { return false };
        let size = order.upload.unwrap_or_else(|| Size::from_path(order.path.as_bytes()));
        matches!(size, Size::Mib1 | Size::Mib100)
    }
}
