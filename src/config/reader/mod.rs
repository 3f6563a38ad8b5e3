//! Reading typed values out of a tree of TOML, with their places, and never stopping at the first mistake.
//!
//! A section of the file is read by asking its [`Table`] for keys. What is asked for is what is known: an unknown key
//! is one that nobody asked for, so the list of keys cannot drift from the code. Each answer is recorded with its
//! origin, which is what `gateway check --print` shows.

mod item;
mod key;
mod nearest;
mod problem;
mod section;
mod shape;
mod table;

pub use item::Item;
pub use key::{Key, List};
pub use nearest::nearest;
pub use problem::Problem;
pub use section::Section;
pub use shape::{Shape, Size, choose, toml_string};
pub use table::Table;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use super::diagnostic::{Diagnostic, Origin};
use super::overrides::Overrides;
use super::source::SourceText;

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
    /// `false` for the stand-in of a value that was refused: nothing more is to be said about it.
    pub sound: bool,
}

/// A key as it was read, for printing and for later diagnostics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its section.
    pub section: Section,
    /// Its name.
    pub key: &'static str,
    /// Its value as TOML; `None` when it is not set and has no default.
    pub value: Option<String>,
    /// Where the value comes from.
    pub origin: Origin,
    /// Where the items of a list come from.
    pub items: Vec<Origin>,
}

/// Everything that reading a configuration needs and yields besides the values.
pub struct Reader<'a> {
    source: Option<&'a SourceText<'a>>,
    overrides: &'a Overrides,
    environment: &'a dyn Fn(&str) -> Option<String>,
    /// Whether all of the file could be parsed; if not, what seems to be missing may just not have been understood.
    complete: bool,
    diagnostics: RefCell<Vec<Diagnostic>>,
    entries: RefCell<Vec<Entry>>,
    known: RefCell<BTreeSet<(String, &'static str)>>,
    unknown: RefCell<Vec<Unknown>>,
}

/// A key that nobody asked for.
#[derive(Debug, Clone)]
pub struct Unknown {
    /// The section it stands in.
    pub section: Section,
    /// Its name.
    pub key: String,
    /// Whether it is a table.
    pub is_table: bool,
    /// The nearest key or keys of its own section, as a hint.
    pub hint: Option<String>,
    /// Where it is.
    pub origin: Origin,
}

/// What a reader has gathered.
#[derive(Debug, Default)]
pub struct Gathered {
    /// What is wrong.
    pub diagnostics: Vec<Diagnostic>,
    /// What was read.
    pub entries: Vec<Entry>,
    /// Every key that was asked for, by the pattern of its section.
    pub known: BTreeSet<(String, &'static str)>,
    /// Keys that nobody asked for.
    pub unknown: Vec<Unknown>,
}

impl<T> Located<T> {
    /// A default.
    pub fn default(value: T) -> Self {
        Self { value, origin: Origin::Default, sound: true }
    }
}

impl<'a> Reader<'a> {
    /// A reader that has read nothing yet.
    pub fn new(
        source: Option<&'a SourceText<'a>>,
        overrides: &'a Overrides,
        environment: &'a dyn Fn(&str) -> Option<String>,
        complete: bool,
    ) -> Self {
        Self {
            source,
            overrides,
            environment,
            complete,
            diagnostics: RefCell::default(),
            entries: RefCell::default(),
            known: RefCell::default(),
            unknown: RefCell::default(),
        }
    }

    /// What flags and variables say.
    pub fn overrides(&self) -> &'a Overrides {
        self.overrides
    }

    /// Looks up a variable of the environment.
    pub fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name)
    }

    /// Says something.
    pub fn report(&self, diagnostic: Diagnostic) {
        self.diagnostics.borrow_mut().push(diagnostic);
    }

    /// Says that something is missing, unless part of the file could not be read.
    pub fn report_missing(&self, diagnostic: Diagnostic) {
        if self.complete {
            self.report(diagnostic);
        }
    }

    /// Where a part of the file is.
    pub fn origin(&self, span: Range<usize>) -> Origin {
        self.source.map_or(Origin::Default, |source| source.origin(span))
    }

    /// The file as a whole, if there is one.
    pub fn document(&self) -> Origin {
        self.source.map_or(Origin::Default, SourceText::document)
    }

    /// A part of the file as it is written.
    pub fn raw(&self, span: Range<usize>) -> &'a str {
        self.source.and_then(|source| source.text().get(span)).unwrap_or_default()
    }

    /// Takes what was gathered.
    pub fn finish(self) -> Gathered {
        Gathered {
            diagnostics: self.diagnostics.into_inner(),
            entries: self.entries.into_inner(),
            known: self.known.into_inner(),
            unknown: self.unknown.into_inner(),
        }
    }

    fn record(&self, entry: Entry) {
        self.entries.borrow_mut().push(entry);
    }
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("source", &self.source)
            .field("overrides", &self.overrides)
            .finish_non_exhaustive()
    }
}
