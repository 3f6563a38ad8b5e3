//! A configuration that anybody may have written: reading it ends, says where each mistake is, and gives a
//! configuration exactly when there is no mistake.

use mtls_gateway::config::{Overrides, Source, load};

/// The property.
pub fn check(data: &[u8]) {
    let Ok(source) = Source::from_bytes("fuzz.toml", data.to_vec()) else { return };
    let environment = |name: &str| (name == "SET").then(|| "value-of-the-variable".to_owned());
    let loaded = load(Some(&source), &Overrides::default(), &environment, false);
    assert_eq!(loaded.config.is_some(), !loaded.has_errors(), "{:?}", loaded.diagnostics);
    let lines: Vec<&str> = source.text.split('\n').collect();
    for diagnostic in &loaded.diagnostics {
        let shown = diagnostic.to_string();
        assert!(!shown.chars().any(|one| one.is_control() && one != '\n'), "{shown:?}");
        if let Some(place) = diagnostic.origin.place() {
            assert!((1..=lines.len()).contains(&place.line), "line {} of {}: {shown}", place.line, lines.len());
            let width = lines[place.line - 1].chars().count();
            assert!((1..=width + 2).contains(&place.column), "column {} of {width}: {shown}", place.column);
        }
    }
    // The same text says the same again.
    let again = load(Some(&source), &Overrides::default(), &environment, false);
    let texts = |all: &[mtls_gateway::config::Diagnostic]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&again.diagnostics), texts(&loaded.diagnostics));
}
