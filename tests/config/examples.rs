//! The example files load, the reference file has every key with its default, and the documentation names them all.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mtls_gateway::config::{self, Loaded, OVERRIDABLE, Overrides, Source};

use super::{load, said};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_example_is_valid_in_an_empty_environment() {
    let files: Vec<PathBuf> = fs::read_dir(root().join("config")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 3);
    for path in files {
        let source = Source::read(&path).unwrap();
        let loaded = config::load(Some(&source), &Overrides::default(), &|_| None, false);
        assert_eq!(said(&loaded), <[String; 0]>::default(), "{}", path.display());
        assert!(loaded.config.is_some());
    }
}

#[test]
fn the_reference_file_has_the_defaults() {
    let reference = load(&read("config/reference.toml"));
    let defaults = load("[upstream.api]\nurl = \"http://127.0.0.1:5000\"\n");
    assert_eq!(reference.config, defaults.config);
    let values = |loaded: &Loaded| -> BTreeSet<_> {
        loaded.effective.values().map(|(key, value)| (key, value.map(str::to_owned))).collect()
    };
    assert_eq!(values(&reference), values(&defaults), "a key may be missing, or not have its default");
    // None of them may be the default only because the file forgot it.
    for (key, value) in defaults.effective.values() {
        let origin = reference.effective.origin(&key, usize::MAX).to_string();
        assert_eq!(origin.starts_with("x.toml:"), value.is_some(), "{key} is not in config/reference.toml");
    }
}

#[test]
fn the_reference_file_has_every_key() {
    let text = read("config/reference.toml");
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|first: char| first.is_ascii_lowercase() || first == '[') => {
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    // The example of a ticket key says that it is for this.
    let uncommented = uncommented.replace("resumption = \"off\"", "resumption = \"on\"");
    let loaded = load(&uncommented);
    assert_eq!(said(&loaded), <[String; 0]>::default(), "{uncommented}");
    let missing: Vec<_> = config::known_keys()
        .into_iter()
        .filter(|(section, key)| !written(&uncommented, section, key))
        .map(|(section, key)| format!("{section}.{key}"))
        .collect();
    assert_eq!(missing, <[String; 0]>::default());
}

/// Whether a key is written in a section, or as a section of its own, or in the braces of a key.
fn written(text: &str, section: &str, key: &str) -> bool {
    let section = section.replace("NAME", "api");
    let path = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
    let mut current = String::new();
    text.lines().any(|line| {
        let code = line.split(" #").next().unwrap_or_default().trim();
        if code.starts_with('[') {
            // What the first upstream cannot have without being another is shown at a second one.
            current = code.trim_matches(['[', ']']).replace("upstream.orders", "upstream.api");
            return current == path || current.starts_with(&format!("{path}."));
        }
        let Some((name, value)) = code.split_once(" = ") else { return false };
        let inside = format!("{current}.{name}") == section && value.contains(&format!("{key} = "));
        inside || (current == section && name == key)
    })
}

#[test]
fn the_documentation_names_every_key_flag_and_variable() {
    let text = read("docs/configuration.md");
    let mut missing = Vec::new();
    for (section, key) in config::known_keys() {
        let is_section = match section.as_str() {
            "" => true,
            "upstream.NAME" => ["dns", "timeouts", "health", "limits", "tls"].contains(&key),
            "tls" => ["tickets", "sni"].contains(&key),
            "client_auth" => key == "shadow",
            _ => false,
        };
        // The last have the keys of `[client_auth]`.
        if is_section || section.starts_with("tls.sni.client_auth") {
            continue;
        }
        let heading = match section.as_str() {
            "route" | "route.respond" => "## `[[route]]`".to_owned(),
            "test" => "## `[[test]]`".to_owned(),
            "tls.sni" => "## `[[tls.sni]]`".to_owned(),
            _ => format!("## `[{section}]`"),
        };
        let part = text.split("\n## ").find(|part| format!("## {part}").starts_with(&heading));
        let row = if section == "route.respond" { format!("`respond.{key}`") } else { format!("| `{key}` |") };
        if !part.is_some_and(|part| part.contains(&row)) {
            missing.push(format!("{heading} {row}"));
        }
    }
    for overridable in OVERRIDABLE {
        for name in [overridable.flag, overridable.variable] {
            if !text.contains(&format!("`{name}`")) {
                missing.push(name.to_owned());
            }
        }
    }
    assert_eq!(missing, <[String; 0]>::default());
}

#[test]
fn the_documentation_has_the_defaults() {
    let text = read("docs/configuration.md");
    let defaults = load("[upstream.NAME]\nurl = \"http://127.0.0.1:5000\"\n");
    for (path, value) in defaults.effective.values() {
        let (section, key) = path.rsplit_once('.').unwrap();
        let heading = if section == "route" { "[[route]]".to_owned() } else { format!("[{section}]") };
        let part = text.split("\n## ").find(|part| part.starts_with(&format!("`{heading}`"))).unwrap();
        let row =
            part.lines().find(|line| line.starts_with(&format!("| `{key}` |"))).unwrap_or_else(|| panic!("{path}"));
        let (Some(value), false) = (value, path.ends_with(".url")) else { continue };
        // The only upstream is the default of a route only when there is no route.
        if path != "route.upstream" && path != "route.path" {
            assert!(row.contains(&format!("| `{value}` |")), "{path} = {value}: {row}");
        }
    }
}

#[test]
fn the_documentation_names_every_key_of_a_rule_and_every_dialect() {
    let text = read("docs/configuration.md");
    let missing: Vec<_> = mtls_gateway::policy::Key::ALL
        .into_iter()
        .map(mtls_gateway::policy::Key::as_str)
        .chain(["nginx", "rfc9440", "xfcc", "alb", "traefik"])
        .filter(|name| !text.contains(&format!("`{name}`")))
        .collect();
    assert_eq!(missing, <[&str; 0]>::default());
}
