//! Everything an operator may write wrongly, and the words that say so: `refused.txt`, case by case.
//!
//! A case is a configuration, `=> ` and what is said of it, with the hint below. An upstream is added at the end of
//! each configuration, unless the case is `alone`.

use super::load;

const CASES: &str = include_str!("refused.txt");
const UPSTREAM: &str = "\n[upstream.api]\nurl = \"http://x\"\n";

#[test]
fn every_mistake_is_told_where_it_is_and_how_to_mend_it() {
    let cases: Vec<&str> = CASES.split("--- ").skip(1).collect();
    assert!(cases.len() >= 150, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let (title, body) = case.split_once('\n').unwrap();
        let (text, expected) = body.split_once("=> ").unwrap();
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = if title.ends_with("alone") { text.to_owned() } else { format!("{text}{UPSTREAM}") };
        let loaded = load(&text);
        assert!(loaded.config.is_none() && loaded.has_errors(), "accepted:\n{text}");
        let said: String = loaded.diagnostics.iter().map(told).collect();
        let expected = format!("=> {}", expected.trim_end());
        if said.trim_end() != expected {
            wrong.push(format!("{text}\n{said}instead of\n{expected}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A diagnostic as `refused.txt` has it: without the file's name and the line it shows.
fn told(diagnostic: &mtls_gateway::config::Diagnostic) -> String {
    let hint = diagnostic.hint.as_ref().map(|hint| format!("   help: {hint}\n")).unwrap_or_default();
    format!("=> {}\n{hint}", super::brief(diagnostic))
}
