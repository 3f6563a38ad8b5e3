//! From text to a [`Config`] that is valid by construction, or to every diagnostic at once.
//!
//! The only module that knows the file's format. Each part of the gateway owns the type of its settings; nothing but
//! this module and `app` sees them together. Text, flags and environment are handed in: nothing here reads the
//! environment, or any file but the configuration's own.
//!
//! ```text
//! text ── syntax ──▶ tree ── reader, file ──▶ File ── check ──▶ Config
//! ```

mod check;
mod diagnostic;
mod effective;
mod file;
mod interpolate;
mod overrides;
mod quantity;
mod reader;
mod settings;
mod source;
mod syntax;

pub use diagnostic::{Diagnostic, Excerpt, Origin, Place, Severity};
pub use effective::Effective;
pub use overrides::{OVERRIDABLE, Overridable, Override, Overrides};
pub use settings::{Config, Expected, HealthListener, PolicyTest};
pub use source::{LARGEST_FILE, Source};

use std::cmp::Reverse;
use std::collections::BTreeSet;

use reader::{Gathered, Reader, Section, Unknown};
use source::SourceText;
use syntax::Readable;

use crate::telemetry::LogFormat;

/// What became of a configuration.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration; `None` when there are errors.
    pub config: Option<Config>,
    /// Everything there is to say about it, in the file's order; what is not about a place of the file comes first.
    pub diagnostics: Vec<Diagnostic>,
    /// Every value and its origin.
    pub effective: Effective,
}

/// A configuration without an error.
#[derive(Debug, Clone)]
pub struct Valid {
    /// The configuration.
    pub config: Config,
    /// Every value and its origin.
    pub effective: Effective,
}

impl Loaded {
    /// The configuration, if it can be used.
    ///
    /// # Errors
    /// Every error, as it is shown to a person.
    pub fn valid(self) -> Result<Valid, Vec<String>> {
        let errors = self.diagnostics.iter().filter(|diagnostic| diagnostic.is_error());
        let errors: Vec<_> = errors.map(ToString::to_string).collect();
        self.config.map(|config| Valid { config, effective: self.effective }).ok_or(errors)
    }

    /// A configuration that could not even be read.
    pub fn refused(diagnostic: Diagnostic) -> Self {
        Self { config: None, diagnostics: vec![diagnostic], effective: Effective::default() }
    }

    /// Whether anything makes it unusable.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Loads a configuration: flags and variables over the file, the file over defaults. Without a file the former suffice.
///
/// `environment` looks up the variables that the file names. `is_terminal` says whether standard output is a terminal,
/// which decides the default of `logs.format`.
pub fn load(
    source: Option<&Source>,
    overrides: &Overrides,
    environment: &dyn Fn(&str) -> Option<String>,
    is_terminal: bool,
) -> Loaded {
    if let Some(source) = source.filter(|source| source.text.len() > LARGEST_FILE) {
        return Loaded::refused(source::too_large(&source.name));
    }
    let text = source.map(|source| SourceText::new(&source.name, &source.text));
    let readable = text.as_ref().map(Readable::of);
    let parsed = text.as_ref().zip(readable.as_ref()).map(|(text, readable)| syntax::parse(text, readable));
    let (table, errors, sections_unsure) = match &parsed {
        Some(parsed) => (Some(&parsed.table), parsed.errors.as_slice(), parsed.sections_unsure),
        None => (None, [].as_slice(), false),
    };
    let reader = Reader::new(text.as_ref(), overrides, environment, errors.is_empty());
    let default_format = if is_terminal { LogFormat::Text } else { LogFormat::Json };
    let file = file::read(&reader, table, default_format);
    let Gathered { mut diagnostics, entries, unknown, .. } = reader.finish();
    if !unknown.is_empty() {
        let known = known_keys();
        diagnostics.extend(unknown.iter().map(|unknown| refuse_unknown(unknown, &known)));
    }
    let mut config = None;
    if errors.is_empty() {
        config = check::check(file, &mut diagnostics);
    } else {
        // What was made of a line that could not be read is not worth another complaint.
        let broken: BTreeSet<_> = errors.iter().filter_map(line).collect();
        diagnostics
            .retain(|diagnostic| !sections_unsure && line(diagnostic).is_none_or(|line| !broken.contains(&line)));
        diagnostics.extend_from_slice(errors);
    }
    diagnostics.sort_by_key(|diagnostic| {
        diagnostic.origin.place().map(|place| (place.line, place.column, Reverse(diagnostic.is_error())))
    });
    if diagnostics.iter().any(Diagnostic::is_error) {
        config = None;
    }
    Loaded { config, diagnostics, effective: Effective::new(entries) }
}

/// Every section and key there is, by pattern (`upstream.NAME.dns`), found by reading a file that has one of each.
pub fn known_keys() -> BTreeSet<(String, &'static str)> {
    let text = "upstream.api = {}\nroute = [{ respond = {} }]\ntest = [{}]\nclient_auth.shadow = {}\n\
                tls.sni = [{ client_auth = { shadow = {} } }]";
    let text = SourceText::new("known", text);
    let readable = Readable::of(&text);
    let parsed = syntax::parse(&text, &readable);
    let overrides = Overrides::default();
    let reader = Reader::new(Some(&text), &overrides, &|_| None, false);
    file::read(&reader, Some(&parsed.table), LogFormat::Json);
    reader.finish().known
}

fn line(diagnostic: &Diagnostic) -> Option<usize> {
    diagnostic.origin.place().map(|place| place.line)
}

fn refuse_unknown(unknown: &Unknown, known: &BTreeSet<(String, &'static str)>) -> Diagnostic {
    let Unknown { section, key, is_table, hint, origin } = unknown;
    let is_root = *section == Section::Root;
    let shown = diagnostic::quoted(key);
    let shown = shown.trim_matches('"');
    let message = match (is_root, is_table) {
        (true, true) => format!("unknown section [{shown}]"),
        (false, true) => format!("unknown section [{}]", section.path(shown)),
        (true, false) => format!("unknown key `{shown}` outside of any section"),
        (false, false) => format!("unknown key `{shown}` in {section}"),
    };
    let elsewhere: Vec<_> =
        known.iter().filter(|(pattern, name)| name == key && !pattern.is_empty()).map(|(pattern, _)| pattern).collect();
    let mine: Vec<_> =
        known.iter().filter(|(pattern, _)| *pattern == section.pattern()).map(|(_, name)| *name).collect();
    let error = Diagnostic::error(origin.clone(), message);
    match (hint, elsewhere.as_slice()) {
        (Some(near), _) if *is_table && is_root => error.help(format!("did you mean [{near}]?")),
        (Some(near), _) => error.help(format!("did you mean `{near}`?")),
        (None, [pattern]) if !is_table && !["route", "test"].contains(&pattern.as_str()) => {
            error.help(format!("`{shown}` is a key of [{pattern}]"))
        }
        (None, [pattern]) if !is_table => error.help(format!("`{shown}` is a key of [[{pattern}]]")),
        (None, _) if is_root => error.help(format!("the sections are: {}", mine.join(", "))),
        (None, _) => error.help(format!("its keys are: {}", mine.join(", "))),
    }
}
