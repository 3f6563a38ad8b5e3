//! The text format of Prometheus, version 0.0.4: families with what they mean, and a sample a line.

use std::fmt::{Display, Write as _};

/// What the page says of its form.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of numbers a family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
    /// They are spread over ranges.
    Histogram,
}

/// A page, family after family.
#[derive(Debug, Default)]
pub struct Exposition(String);

/// A family whose samples are being written. Labels are the same for each of them, and no two have the same values.
#[derive(Debug)]
pub struct Family<'a> {
    page: &'a mut String,
    name: &'static str,
}

impl Exposition {
    /// Begins a family; a name stands once on a page.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.0.push_str("# HELP ");
        self.0.push_str(name);
        self.0.push(' ');
        escape(&mut self.0, help, Quotes::Bare);
        let _ = writeln!(self.0, "\n# TYPE {name} {kind}");
        Family { page: &mut self.0, name }
    }

    /// The whole page.
    pub fn into_text(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// Writes a sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.part("", labels, value);
    }

    /// Writes a sample of a part of the family: `_bucket`, `_sum`, `_count`.
    pub(super) fn part(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.page.push_str(self.name);
        self.page.push_str(suffix);
        for (index, (name, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(self.page, "{before}{name}=\"");
            escape(self.page, value, Quotes::Escaped);
            self.page.push('"');
        }
        if !labels.is_empty() {
            self.page.push('}');
        }
        let _ = writeln!(self.page, " {value}");
    }
}

/// Whether a quotation mark ends the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Escaped,
    Bare,
}

fn escape(page: &mut String, text: &str, quotes: Quotes) {
    for character in text.chars() {
        match character {
            '\\' => page.push_str("\\\\"),
            '\n' => page.push_str("\\n"),
            '"' if quotes == Quotes::Escaped => page.push_str("\\\""),
            character => page.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a line as the format describes it: the labels' values, and the number.
    fn read(line: &str) -> (Vec<(String, String)>, String) {
        let mut rest = line.strip_prefix("x").unwrap().chars();
        let mut labels = Vec::new();
        let mut next = rest.next();
        while let Some('{' | ',') = next {
            let name: String = rest.by_ref().take_while(|character| *character != '=').collect();
            assert_eq!(rest.next(), Some('"'));
            let mut value = String::new();
            loop {
                match rest.next().unwrap() {
                    '"' => break,
                    '\\' => value.push(match rest.next().unwrap() {
                        'n' => '\n',
                        character @ ('\\' | '"') => character,
                        character => panic!("{character:?} is nothing that is escaped"),
                    }),
                    '\n' => panic!("a value goes on in the next line"),
                    character => value.push(character),
                }
            }
            labels.push((name, value));
            next = rest.next();
        }
        if next == Some('}') {
            next = rest.next();
        }
        assert_eq!(next, Some(' '));
        (labels, rest.collect())
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_to_the_same(values in prop::collection::vec("(?s).{0,20}|[\\\\\"\n{},= ]{0,12}", 0..4)) {
            let names = ["a", "b", "c"];
            let labels: Vec<_> = names.into_iter().zip(values.iter().map(String::as_str)).collect();
            let mut page = Exposition::default();
            page.family("x", Kind::Gauge, "Help.").sample(&labels, 7);
            let text = page.into_text();
            let line = text.strip_prefix("# HELP x Help.\n# TYPE x gauge\n").unwrap();
            let line = line.strip_suffix('\n').unwrap();
            prop_assert!(!line.contains('\n'), "{line:?}");
            let (read, number) = read(line);
            let read: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            prop_assert_eq!(read, labels);
            prop_assert_eq!(number, "7");
        }
    }

    #[test]
    fn what_a_family_means_stays_on_one_line() {
        let mut page = Exposition::default();
        page.family("x", Kind::Counter, "One \"line\",\nthat is \\ it.");
        assert_eq!(page.into_text(), "# HELP x One \"line\",\\nthat is \\\\ it.\n# TYPE x counter\n");
    }
}
