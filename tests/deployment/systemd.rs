//! The unit of examples/systemd: systemd can read it, and it leaves the gateway its time.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use super::{configuration, read, skipped};

const UNIT: &str = "examples/systemd/gateway.service";

/// The last value of a setting.
fn setting(unit: &str, name: &str) -> String {
    let value = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).next_back();
    value.unwrap_or_else(|| panic!("{UNIT} has no {name}")).to_owned()
}

#[test]
fn the_unit_gives_the_gateway_the_time_it_takes() {
    let unit = read(UNIT);
    let variables = BTreeMap::from([("GATEWAY_UPSTREAM".to_owned(), "http://127.0.0.1:5000".to_owned())]);
    let drain = configuration(&variables).drain;
    assert!(setting(&unit, "TimeoutStopSec").parse::<u64>().unwrap() > drain.timeout.as_secs() + 3);
    assert_eq!(setting(&unit, "KillSignal"), "SIGTERM");
    assert_eq!(setting(&unit, "ExecReload"), "kill -HUP $MAINPID");
    let files: u64 = setting(&unit, "LimitNOFILE").parse().unwrap();
    assert!((files - 64) / 2 >= 20_000, "the default of listener.max_connections");
}

#[test]
fn systemd_can_read_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("gateway.service");
    let unit = read(UNIT).replace("/usr/local/bin/gateway", env!("CARGO_BIN_EXE_gateway"));
    for (text, fine) in [(unit.clone(), true), (unit.replace("[Service]", "[Service]\nProtectSytem=strict"), false)] {
        fs::write(&copy, text).unwrap();
        let output = match Command::new("systemd-analyze").arg("verify").arg(&copy).output() {
            Ok(output) => output,
            Err(error) => {
                skipped(&format!("systemd-analyze cannot be run: {error}"));
                return;
            }
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.contains("gateway.service:"), !fine, "{said}");
    }
}
