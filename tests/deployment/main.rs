//! What docs/deployment.md tells people to type: the JSON files of examples/ecs are what AWS's operations take, and
//! together with the unit of examples/systemd they start a gateway that fits what stands around it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod fargate;
mod systemd;
mod validator;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use mtls_gateway::config::{self, Config, OVERRIDABLE, Overrides, Severity};

const DOCUMENT: &str = "docs/deployment.md";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Says so even where the output of a test that passes is not shown.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// The configuration that `gateway run` comes to with these variables and no file.
fn configuration(variables: &BTreeMap<String, String>) -> Config {
    let known = |name: &str| name == "GATEWAY_CONFIG" || OVERRIDABLE.iter().any(|one| one.variable == name);
    let unknown: Vec<_> =
        variables.keys().filter(|name| name.starts_with("GATEWAY_") && !known(name.as_str())).collect();
    assert_eq!(unknown, <[&String; 0]>::default(), "the gateway does not know these");
    let overrides = OVERRIDABLE.iter().fold(Overrides::default(), |overrides, one| match variables.get(one.variable) {
        Some(text) => overrides.with_variable(one, text),
        None => overrides,
    });
    let loaded = config::load(None, &overrides, &|name| variables.get(name).cloned(), false);
    let bad = loaded.diagnostics.iter().filter(|diagnostic| diagnostic.severity != Severity::Note);
    assert_eq!(bad.map(ToString::to_string).collect::<Vec<_>>(), <[String; 0]>::default());
    loaded.config.unwrap()
}
