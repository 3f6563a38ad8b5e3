//! The tests that a configuration brings along: `[[test]]`.

use super::{Asked, Gate};
use crate::clock::WallTime;
use crate::config::{Config, Expected, PolicyTest};
use crate::tls::{self, HostTrust};

/// Every test that does not come out as it expects, one sentence each.
pub fn failures(config: &Config, trust: HostTrust, now: WallTime) -> Vec<String> {
    if config.tests.is_empty() {
        return Vec::new();
    }
    match Gate::new(config, trust) {
        Ok(gate) => config.tests.iter().filter_map(|test| failure(&gate, test, now).err()).collect(),
        Err(problem) => vec![problem],
    }
}

fn failure(gate: &Gate<'_>, test: &PolicyTest, now: WallTime) -> Result<(), String> {
    let chain = match &test.certificate {
        None => Vec::new(),
        Some(source) => tls::certificates(source).map_err(|error| format!("{test}: {error}"))?,
    };
    let asked = Asked { method: test.method.clone(), host: test.host.clone(), path: test.path.clone() };
    let answer = gate.answer(&gate.client(&chain, test.host.as_ref(), now), &asked);
    let met = match &test.expect {
        Expected::Status(status) => answer.status == *status,
        Expected::Reason(reason) => answer.reason.as_deref() == Some(reason),
    };
    if met {
        return Ok(());
    }
    Err(format!("{test}: expected {}, and it is {}", test.expect, answer))
}
