//! The import law of ARCHITECTURE.md, and the house rules that a compiler does not check.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const LONGEST_FILE: usize = 600;

#[test]
fn modules_import_only_what_the_law_allows() {
    let law = law();
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let Some(module) = top_level_module(&path) else { continue };
        let allowed = law.get(&module).unwrap_or_else(|| panic!("{module} is not in the law of ARCHITECTURE.md"));
        for imported in imports(&text) {
            if imported != module && !allowed.contains(&imported) {
                broken.push(format!("{}: {module} may not import {imported}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_law_is_in_dependency_order_and_names_every_module() {
    let text = read(&root().join("ARCHITECTURE.md"));
    let mut seen: Vec<String> = Vec::new();
    for (module, allowed) in law_lines(&text) {
        for import in &allowed {
            assert!(seen.contains(import), "{module} imports {import}, which stands below it in the law");
        }
        seen.push(module);
    }
    let mut declared: Vec<String> = read(&root().join("src/lib.rs"))
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';').map(str::to_owned))
        .collect();
    declared.sort();
    seen.sort();
    assert_eq!(declared, seen, "lib.rs and the law name the same modules");
}

#[test]
fn the_serving_path_holds_no_issuing_code() {
    let law = law();
    let mut reachable = vec!["app".to_owned()];
    let mut next = 0;
    while let Some(module) = reachable.get(next).cloned() {
        next += 1;
        for import in &law[&module] {
            if !reachable.contains(import) {
                reachable.push(import.clone());
            }
        }
    }
    assert!(!reachable.contains(&"pki".to_owned()), "app reaches pki");
}

#[test]
fn every_module_opens_with_its_purpose_and_fits_in_the_head() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        if !text.starts_with("//! ") {
            broken.push(format!("{}: does not open with //!", path.display()));
        }
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            broken.push(format!("{}: {lines} lines, more than {LONGEST_FILE}", path.display()));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn super_does_not_climb_out_of_a_module_and_the_root_exports_nothing() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let depth = path.strip_prefix(root().join("src")).unwrap().components().count();
        let is_mod = path.file_name().is_some_and(|name| name == "mod.rs");
        // `super` from src/x/mod.rs, or from src/x.rs, is the crate root; a tests module inside adds one level.
        let levels = if is_mod { depth.saturating_sub(2) } else { depth.saturating_sub(1) };
        let in_tests = text.find("mod tests {").unwrap_or(usize::MAX);
        for (offset, _) in text.match_indices("super::") {
            let climbs = 1 + text[..offset].rmatches("super::").count().min(preceding_supers(&text[..offset]));
            let levels = if offset > in_tests { levels + 1 } else { levels };
            if climbs > levels {
                broken.push(format!("{}: super climbs out of its module", path.display()));
            }
        }
    }
    let root_module = read(&root().join("src/lib.rs"));
    assert!(!root_module.contains("pub use"), "root re-exports hide edges of the import graph");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_grant_is_made_in_one_place() {
    let makers: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| text.contains("Grant {") && !text.contains("-> Grant {"))
        .map(|(path, _)| path.strip_prefix(root()).unwrap().display().to_string())
        .collect();
    assert_eq!(makers, ["src/policy/mod.rs"], "only the policy makes a Grant");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn law() -> BTreeMap<String, Vec<String>> {
    law_lines(&read(&root().join("ARCHITECTURE.md"))).into_iter().collect()
}

fn law_lines(text: &str) -> Vec<(String, Vec<String>)> {
    let block = text.split("```law\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a law block");
    block
        .lines()
        .map(|line| {
            let (module, imports) = line.split_once(':').expect("module: imports");
            (module.to_owned(), imports.split_whitespace().map(str::to_owned).collect())
        })
        .collect()
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = read(&path);
                found.push((path, text));
            }
        }
    }
    found.sort();
    found
}

/// `None` for `lib.rs` and `main.rs`, which stand above all modules.
fn top_level_module(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    match first.as_str() {
        "lib.rs" | "main.rs" => None,
        other => Some(other.trim_end_matches(".rs").to_owned()),
    }
}

/// The modules behind every `crate::`, those in `crate::{a, b::c}` too. Comments do not count.
fn imports(text: &str) -> Vec<String> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect();
    let mut found = Vec::new();
    for (offset, _) in code.match_indices("crate::") {
        let preceded =
            code[..offset].chars().next_back().is_some_and(|before| before.is_alphanumeric() || before == '_');
        if preceded {
            continue;
        }
        let rest = &code[offset + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => {
                let mut depth = 0_usize;
                let mut item = String::new();
                for character in group.chars() {
                    match character {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            found.push(first_segment(item.trim()));
                            item.clear();
                            continue;
                        }
                        _ => {}
                    }
                    item.push(character);
                }
                if !item.trim().is_empty() {
                    found.push(first_segment(item.trim()));
                }
            }
            None => found.push(first_segment(rest)),
        }
    }
    found
}

fn first_segment(path: &str) -> String {
    path.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

fn preceding_supers(before: &str) -> usize {
    let mut rest = before;
    let mut count = 0;
    while let Some(shorter) = rest.strip_suffix("super::") {
        count += 1;
        rest = shorter;
    }
    count
}
