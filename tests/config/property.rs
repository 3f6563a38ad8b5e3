//! Whatever a file holds, loading it ends with a configuration or an error, and not with a panic.

use mtls_gateway::config::{self, Overrides, Source};
use proptest::prelude::*;

use super::{environment, load};

/// Lines that a mutation of a real file is made of.
fn line() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "[listener]",
        "[[route]]",
        "[route]",
        "[upstream.api]",
        "[upstream.api.dns]",
        "[upstream]",
        "[tls]",
        "[logs]",
        "[[test]]",
        "expect",
        "allow",
        "deny",
        "{ san_dns = \"*.x\" }",
        "{ spiffe = [\"spiffe://x/*\", 1] }",
        "[drain]",
        "address",
        "path",
        "url",
        "upstream",
        "respond",
        "methods",
        "certificate",
        "format",
        "delay",
        "=",
        "= \"",
        "\"",
        "'''",
        "\"\"\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ".",
        "#",
        "1",
        "true",
        "5s",
        "\"5s\"",
        "\"/x/*\"",
        "\"http://x\"",
        "${",
        "${NOPE}",
        "$$",
        "é",
        "\u{feff}",
        "\r",
        "\\",
        "\\u",
        "env",
        "status",
        "1979-05-27",
        "-1",
        " ",
        "\t",
        "\u{0}",
    ]);
    prop::collection::vec(words, 0..6).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_is_loaded_or_refused(text in any::<String>()) {
        let loaded = load(&text);
        prop_assert_eq!(loaded.config.is_none(), loaded.has_errors());
    }

    #[test]
    fn mangled_configurations_are_loaded_or_refused(lines in prop::collection::vec(line(), 0..12)) {
        let loaded = load(&lines.join("\n"));
        prop_assert_eq!(loaded.config.is_none(), loaded.has_errors());
        for diagnostic in &loaded.diagnostics {
            let text = diagnostic.to_string();
            prop_assert!(!text.chars().any(|character| character.is_control() && character != '\n'), "{:?}", text);
        }
    }

    #[test]
    fn a_byte_changed_in_an_example_is_no_panic(at in any::<prop::sample::Index>(), with in any::<char>()) {
        let mut text = include_str!("../../config/reference.toml").to_owned();
        let mut at = at.index(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        text.insert(at, with);
        let loaded = load(&text);
        prop_assert_eq!(loaded.config.is_none(), loaded.has_errors());
        // What can be loaded can be printed, and loaded from that.
        if let Some(config) = loaded.config {
            let printed = Source { name: "printed".to_owned(), text: loaded.effective.to_string() };
            let again = config::load(Some(&printed), &Overrides::default(), &environment, false);
            prop_assert_eq!(again.config, Some(config), "{}", printed.text);
        }
    }

    #[test]
    fn arbitrary_overrides_are_taken_or_refused(text in any::<String>(), index in any::<prop::sample::Index>()) {
        let overridable = index.get(&config::OVERRIDABLE);
        let overrides = Overrides::default().with_variable(overridable, &text).set("upstream.url", "http://x");
        let loaded = config::load(None, &overrides, &environment, false);
        prop_assert_eq!(loaded.config.is_none(), loaded.has_errors());
    }
}
