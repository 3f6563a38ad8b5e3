//! Upstreams as a table, for a person at a terminal.

use std::fmt::Write as _;
use std::time::Duration;

use crate::upstream::{ClusterStatus, EndpointStatus, LookupStatus};

const HEADINGS: [&str; 6] = ["ENDPOINT", "STATE", "FOR", "IN FLIGHT", "IDLE", "WHY"];

/// One paragraph for each upstream.
pub(super) fn draw(upstreams: &[ClusterStatus]) -> String {
    let mut text = String::new();
    for (number, upstream) in upstreams.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        let ClusterStatus { name, url, balance, protocol, lookups, pending, endpoints } = upstream;
        let _ = writeln!(text, "{name}  {url}  {balance}  {protocol}");
        for lookup in lookups {
            let _ = writeln!(text, "  {}", lookup_line(lookup));
        }
        if *pending > 0 {
            let _ = writeln!(text, "  {pending} requests wait for a place");
        }
        if endpoints.is_empty() {
            text.push_str("  no endpoint\n");
        } else {
            rows(&mut text, endpoints);
        }
    }
    text
}

fn lookup_line(lookup: &LookupStatus) -> String {
    let mut line = format!("DNS {}: {}", lookup.name, lookup.state.as_str());
    if let (Some(age), Some(ttl)) = (lookup.age, lookup.ttl) {
        let _ = write!(line, ", answered {} ago, TTL {}", short(age), short(ttl));
    }
    if let (Some(failing_for), Some(error)) = (lookup.failing_for, &lookup.error) {
        let _ = write!(line, ", no answer for {}: {error}", short(failing_for));
    }
    line
}

fn rows(text: &mut String, endpoints: &[EndpointStatus]) {
    let cells = endpoints.iter().map(|endpoint| {
        [
            endpoint.address.clone(),
            endpoint.state.as_str().to_owned(),
            endpoint.since.map(short).unwrap_or_default(),
            endpoint.in_flight.to_string(),
            endpoint.idle.to_string(),
            endpoint.why.clone().unwrap_or_default(),
        ]
    });
    let rows: Vec<_> = std::iter::once(HEADINGS.map(str::to_owned)).chain(cells).collect();
    let widths: Vec<_> = (0..HEADINGS.len())
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max())
        .collect();
    for row in &rows {
        let line: String = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("  {cell:width$}", width = width.unwrap_or_default()))
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// To three digits or so: `850ms`, `12s`, `7m`, `3h`, `2d`.
fn short(duration: Duration) -> String {
    match (duration.as_millis(), duration.as_secs()) {
        (millis @ 0..1000, _) => format!("{millis}ms"),
        (_, seconds @ 0..120) => format!("{seconds}s"),
        (_, seconds @ 120..7200) => format!("{}m", seconds / 60),
        (_, seconds @ 7200..172_800) => format!("{}h", seconds / 3600),
        (_, seconds) => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{EndpointState, LookupState};

    #[test]
    fn a_person_can_read_it() {
        let endpoint = |address: &str, in_flight| EndpointStatus {
            address: address.to_owned(),
            state: EndpointState::Healthy,
            why: None,
            since: Some(Duration::from_secs(300)),
            in_flight,
            idle: 0,
            weight: 1,
        };
        let lookup = LookupStatus {
            name: "api.local".to_owned(),
            state: LookupState::Stale,
            age: Some(Duration::from_millis(2500)),
            ttl: Some(Duration::from_secs(1)),
            failing_for: Some(Duration::from_millis(900)),
            error: Some("no server".to_owned()),
        };
        let cluster = |name: &str, lookups, endpoints| ClusterStatus {
            name: name.to_owned(),
            url: format!("http://{name}.local:5000"),
            balance: "least_request",
            protocol: "http1",
            lookups,
            pending: 0,
            endpoints,
        };
        let endpoints = vec![endpoint("10.0.0.1:5000", 3), endpoint("10.0.0.100:5000", 12)];
        let text = draw(&[cluster("api", vec![lookup], endpoints), cluster("empty", Vec::new(), Vec::new())]);
        assert_eq!(
            text,
            "api  http://api.local:5000  least_request  http1\n\
             \x20 DNS api.local: stale, answered 2s ago, TTL 1s, no answer for 900ms: no server\n\
             \x20 ENDPOINT         STATE    FOR  IN FLIGHT  IDLE  WHY\n\
             \x20 10.0.0.1:5000    healthy  5m   3          0\n\
             \x20 10.0.0.100:5000  healthy  5m   12         0\n\
             \n\
             empty  http://empty.local:5000  least_request  http1\n\
             \x20 no endpoint\n"
        );
    }
}
