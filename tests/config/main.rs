//! The configuration as an operator meets it: what is refused and in which words, what stands over what, and that the
//! example files and the documentation say what the code does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod command;
mod examples;
mod load;
mod property;
mod refused;
mod rendering;

use mtls_gateway::config::{self, Diagnostic, Loaded, Overrides, Source};

/// Loads a text named `x.toml`, without flags and with an environment of a few variables.
fn load(text: &str) -> Loaded {
    load_with(text, &Overrides::default())
}

fn load_with(text: &str, overrides: &Overrides) -> Loaded {
    let source = Source { name: "x.toml".to_owned(), text: text.to_owned() };
    config::load(Some(&source), overrides, &environment, false)
}

fn environment(name: &str) -> Option<String> {
    match name {
        "API_HOST" => Some("api.local".to_owned()),
        "EMPTY" => Some(String::new()),
        "FOUR" => Some("4".to_owned()),
        "YES" => Some("true".to_owned()),
        "SIXTY_TWO" => Some("0f".repeat(31)),
        "SERVER_KEY" => Some(format!("-----BEGIN {} KEY-----\nc2VjcmV0", "PRIVATE")),
        _ => None,
    }
}

/// What is said, without the file's name, the line and the hint: `2:11: message`.
fn said(loaded: &Loaded) -> Vec<String> {
    loaded.diagnostics.iter().map(brief).collect()
}

fn brief(diagnostic: &Diagnostic) -> String {
    let text = diagnostic.to_string();
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("x.toml:").unwrap_or(first).trim_start().to_owned()
}
