//! A section of the file, asked for its keys.

use std::cell::{Cell, RefCell};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Entry, Item, Key, List, Located, Problem, Reader, Section, Shape, Unknown, nearest};
use crate::config::diagnostic::{Diagnostic, Origin};

/// A section of the file, or its absence.
#[derive(Debug)]
pub struct Table<'a> {
    reader: &'a Reader<'a>,
    section: Section,
    content: Option<&'a DeTable<'a>>,
    origin: Origin,
    asked: RefCell<Vec<&'static str>>,
    /// Whether the keys are names that the operator chooses.
    open: Cell<bool>,
}

/// A table of the file by its name.
#[derive(Debug)]
pub struct Named<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where the name is.
    pub origin: Origin,
    content: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    /// The whole file.
    pub fn root(reader: &'a Reader<'a>, content: Option<&'a DeTable<'a>>) -> Self {
        Self {
            reader,
            section: Section::Root,
            content,
            origin: reader.document(),
            asked: RefCell::default(),
            open: Cell::default(),
        }
    }

    /// The reader behind it.
    pub fn reader(&self) -> &'a Reader<'a> {
        self.reader
    }

    /// Which section it is.
    pub fn section(&self) -> &Section {
        &self.section
    }

    /// Where the section begins.
    pub fn origin(&self) -> Origin {
        self.origin.clone()
    }

    /// Whether the file sets a key, to whatever value.
    pub fn has(&self, key: &str) -> bool {
        self.content.is_some_and(|content| content.contains_key(key))
    }

    /// Asks for a key.
    pub fn key<T: Shape>(&self, name: &'static str) -> Key<'_, 'a, T> {
        self.ask(name);
        let item = self.overridden(name).pop().or_else(|| self.given(name));
        Key::new(self, name, item.map(|item| self.read(name, &item)))
    }

    /// Asks for a key that holds a list; a single value that is no list is taken for a list of one.
    pub fn list<T: Shape>(&self, name: &'static str) -> List<'_, 'a, T> {
        self.ask(name);
        let overridden = self.overridden(name);
        let items = if overridden.is_empty() {
            self.given(name).map(|item| {
                let origin = item.origin();
                match item.value() {
                    Some(DeValue::Array(array)) => (
                        array.iter().map(|value| Item::toml(self.reader, value.get_ref(), value.span())).collect(),
                        origin,
                    ),
                    _ => (vec![item], origin),
                }
            })
        } else {
            let origin = overridden.first().map_or(Origin::Default, Item::origin);
            Some((overridden, origin))
        };
        let given = items.map(|(items, origin): (Vec<Item<'_>>, Origin)| {
            (items.iter().map(|item| self.read(name, item)).collect(), origin)
        });
        List::new(self, name, given)
    }

    /// Asks for a section below this one and reads it; every key that is not asked for is unknown.
    pub fn subsection<R>(&self, key: &'static str, section: Section, read: impl FnOnce(&Self) -> R) -> R {
        self.ask(key);
        let (content, origin) = match self.content.and_then(|content| content.get_key_value(key)) {
            None => (None, self.origin.clone()),
            Some((_, value)) => {
                let item = Item::toml(self.reader, value.get_ref(), value.span());
                if let DeValue::Table(content) = value.get_ref() {
                    (Some(content), item.origin())
                } else {
                    let problem = item.unexpected("a section").help(format!("write it as {section}"));
                    self.reader.report(item.diagnostic(&self.section.path(key), problem));
                    (None, self.origin.clone())
                }
            }
        };
        self.below(section, content, origin, read)
    }

    /// Asks for an inline table; `None` when it is not there or no table.
    pub fn inline<R>(&self, key: &'static str, section: Section, read: impl FnOnce(&Self) -> R) -> Option<R> {
        self.ask(key);
        let (_, value) = self.content?.get_key_value(key)?;
        let item = Item::toml(self.reader, value.get_ref(), value.span());
        let DeValue::Table(content) = value.get_ref() else {
            let problem = item.unexpected("a table in braces");
            self.reader.report(item.diagnostic(&self.section.path(key), problem));
            return None;
        };
        Some(self.below(section, Some(content), item.origin(), read))
    }

    /// Asks for a list of sections, `[[route]]`, and reads each; `None` when all there was had to be refused.
    pub fn sections<R>(
        &self,
        key: &'static str,
        make: fn(usize) -> Section,
        read: impl Fn(usize, &Self) -> R,
    ) -> Option<Vec<R>> {
        self.ask(key);
        let Some((_, value)) = self.content.and_then(|content| content.get_key_value(key)) else {
            return Some(Vec::new());
        };
        let header = make(0);
        let item = Item::toml(self.reader, value.get_ref(), value.span());
        let DeValue::Array(array) = value.get_ref() else {
            let problem = item.unexpected("a list of sections").help(format!("write {header} above each"));
            self.reader.report(item.diagnostic(&self.section.path(key), problem));
            return None;
        };
        let mut read_ones = Vec::new();
        for (index, value) in array.iter().enumerate() {
            let item = Item::toml(self.reader, value.get_ref(), value.span());
            if let DeValue::Table(content) = value.get_ref() {
                read_ones.push(self.below(make(index), Some(content), item.origin(), |table| read(index, table)));
            } else {
                let problem = item.unexpected("a section").help(format!("write {header} above each"));
                self.reader.report(item.diagnostic(&self.section.path(key), problem));
            }
        }
        (!read_ones.is_empty() || array.is_empty()).then_some(read_ones)
    }

    /// Every table in this section, whatever its name, in the file's order; anything else is reported. `None` when all
    /// there was had to be refused.
    pub fn named(&self) -> Option<Vec<Named<'a>>> {
        self.open.set(true);
        let mut entries: Vec<_> = self.content.into_iter().flat_map(DeTable::iter).collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let is_empty = entries.is_empty();
        let mut named = Vec::new();
        for (name, value) in entries {
            let item = Item::toml(self.reader, value.get_ref(), value.span());
            if let DeValue::Table(content) = value.get_ref() {
                named.push(Named { name: name.get_ref(), origin: self.reader.origin(name.span()), content });
            } else {
                let problem =
                    item.unexpected("a section").help("an upstream has a name: write [upstream.api] above its keys");
                self.reader.report(item.diagnostic(&self.section.path(name.get_ref()), problem));
            }
        }
        (is_empty || !named.is_empty()).then_some(named)
    }

    /// Reads a table that [`Table::named`] found.
    pub fn read_named<R>(&self, named: &Named<'a>, section: Section, read: impl FnOnce(&Self) -> R) -> R {
        self.below(section, Some(named.content), named.origin.clone(), read)
    }

    /// Reads a section that is not in the file: every key has its default, or what flags and variables say.
    pub fn absent<R>(&self, section: Section, origin: Origin, read: impl FnOnce(&Self) -> R) -> R {
        self.below(section, None, origin, read)
    }

    fn below<R>(
        &self,
        section: Section,
        content: Option<&'a DeTable<'a>>,
        origin: Origin,
        read: impl FnOnce(&Self) -> R,
    ) -> R {
        let table =
            Table { reader: self.reader, section, content, origin, asked: RefCell::default(), open: Cell::default() };
        let result = read(&table);
        table.finish();
        result
    }

    /// Reports every key that was not asked for.
    pub fn finish(self) {
        let asked = self.asked.into_inner();
        self.reader.known.borrow_mut().extend(asked.iter().map(|key| (self.section.pattern(), *key)));
        if self.open.get() {
            return;
        }
        let mut unknown: Vec<_> = self
            .content
            .into_iter()
            .flat_map(DeTable::iter)
            .filter(|(name, _)| !asked.contains(&&**name.get_ref()))
            .collect();
        unknown.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in unknown {
            let is_table = match value.get_ref() {
                DeValue::Table(_) => true,
                DeValue::Array(array) => matches!(array.first().map(Spanned::get_ref), Some(DeValue::Table(_))),
                _ => false,
            };
            let hint = nearest(name.get_ref(), asked.iter().copied()).map(str::to_owned);
            self.reader.unknown.borrow_mut().push(Unknown {
                section: self.section.clone(),
                key: name.get_ref().to_string(),
                is_table,
                hint,
                origin: self.reader.origin(name.span()),
            });
        }
    }

    fn ask(&self, key: &'static str) {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
    }

    fn given(&self, key: &str) -> Option<Item<'a>> {
        let (_, value) = self.content?.get_key_value(key)?;
        Some(Item::toml(self.reader, value.get_ref(), value.span()))
    }

    fn overridden(&self, key: &str) -> Vec<Item<'a>> {
        let path = match self.section {
            Section::Plain(_) => self.section.path(key),
            // `--upstream` is for the only upstream; the reader of upstreams sees to that.
            Section::Upstream(_) if key == "url" => "upstream.url".to_owned(),
            _ => String::new(),
        };
        let reader = self.reader;
        reader.overrides().of(&path).into_iter().map(|text| Item::text(reader, text)).collect()
    }

    fn read<T: Shape>(&self, key: &str, item: &Item<'a>) -> Result<Located<T>, Origin> {
        match T::read(item) {
            Ok(value) => Ok(Located { value, origin: item.origin(), sound: true }),
            Err(problem) => {
                self.reader.report(item.diagnostic(&self.section.path(key), problem));
                Err(item.origin())
            }
        }
    }

    /// Reports a problem with a value that was already read.
    pub(super) fn refuse(&self, key: &str, origin: &Origin, problem: Problem) {
        let message = match origin {
            Origin::File(_) => format!("{}: {}", self.section.path(key), problem.message),
            _ => problem.message,
        };
        let mut diagnostic = Diagnostic::error(origin.clone(), message);
        diagnostic.hint = problem.hint;
        self.reader.report(diagnostic);
    }

    pub(super) fn record(&self, key: &'static str, value: Option<String>, origin: Origin, items: Vec<Origin>) {
        self.reader.record(Entry { section: self.section.clone(), key, value, origin, items });
    }
}
