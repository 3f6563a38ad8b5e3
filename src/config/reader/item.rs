//! One value as it was given: in the file, or as the text of a flag or a variable.

use std::borrow::Cow;
use std::ops::Range;

use toml::de::DeValue;

use super::{Problem, Reader};
use crate::config::diagnostic::{Diagnostic, Origin};
use crate::config::interpolate::interpolate;
use crate::config::overrides::Override;

/// A value that is yet to be understood.
#[derive(Debug)]
pub struct Item<'a> {
    reader: &'a Reader<'a>,
    given: Given<'a>,
}

#[derive(Debug)]
enum Given<'a> {
    Toml { value: &'a DeValue<'a>, span: Range<usize> },
    Text(&'a Override),
}

impl<'a> Item<'a> {
    /// A value of the file.
    pub fn toml(reader: &'a Reader<'a>, value: &'a DeValue<'a>, span: Range<usize>) -> Self {
        Self { reader, given: Given::Toml { value, span } }
    }

    /// A value of a flag or a variable.
    pub fn text(reader: &'a Reader<'a>, text: &'a Override) -> Self {
        Self { reader, given: Given::Text(text) }
    }

    /// Looks up a variable of the environment.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.reader.variable(name)
    }

    /// Where the value is.
    pub fn origin(&self) -> Origin {
        match &self.given {
            Given::Toml { span, .. } => self.reader.origin(span.clone()),
            Given::Text(text) => text.origin.clone(),
        }
    }

    /// The value as TOML has it; `None` for the text of a flag or a variable.
    pub fn value(&self) -> Option<&'a DeValue<'a>> {
        match &self.given {
            Given::Toml { value, .. } => Some(value),
            Given::Text(_) => None,
        }
    }

    /// A value inside of this one: of a table in braces, or of a list.
    pub fn inside(&self, value: &'a DeValue<'a>, span: Range<usize>) -> Self {
        Self::toml(self.reader, value, span)
    }

    /// The value's place in the file; empty for the text of a flag or a variable.
    pub fn span(&self) -> Range<usize> {
        match &self.given {
            Given::Toml { span, .. } => span.clone(),
            Given::Text(_) => 0..0,
        }
    }

    /// The text of a flag or a variable; `None` for a value of the file.
    pub fn given_text(&self) -> Option<&'a str> {
        match &self.given {
            Given::Toml { .. } => None,
            Given::Text(text) => Some(&text.text),
        }
    }

    /// The diagnostic for a problem with this value; the file's name the key, flags and variables name themselves.
    pub fn diagnostic(&self, path: &str, mut problem: Problem) -> Diagnostic {
        match &self.given {
            Given::Toml { span, .. } => {
                problem.message = format!("{path}: {}", problem.message);
                problem.into_error(|span| self.reader.origin(span), span.clone())
            }
            Given::Text(text) => {
                let origin = text.origin.clone();
                problem.into_error(|_| origin, 0..0)
            }
        }
    }

    /// The text of a string after `${…}` were replaced.
    ///
    /// # Errors
    /// When it is no string, or a variable in it is not set; `expected` says what it should be.
    pub fn string(&self, expected: &str) -> Result<Cow<'a, str>, Problem> {
        match &self.given {
            Given::Text(text) => Ok(Cow::Borrowed(&text.text)),
            Given::Toml { value: DeValue::String(text), span } => self.interpolated(text, span).map(|(text, _)| text),
            Given::Toml { .. } => Err(self.unexpected(expected)),
        }
    }

    /// An integer: written as one, or the text of a flag, a variable or a string made of `${…}`.
    ///
    /// # Errors
    /// When it is none.
    pub fn integer(&self, expected: &str) -> Result<i64, Problem> {
        match &self.given {
            Given::Toml { value: DeValue::Integer(integer), .. } => {
                i64::from_str_radix(integer.as_str(), integer.radix())
                    .map_err(|_| Problem::new(format!("{integer} is out of range")))
            }
            _ => self.parsed(expected, |text| text.parse().ok()),
        }
    }

    /// A boolean: written as one, or the text of a flag, a variable or a string made of `${…}`.
    ///
    /// # Errors
    /// When it is none.
    pub fn boolean(&self) -> Result<bool, Problem> {
        match &self.given {
            Given::Toml { value: DeValue::Boolean(boolean), .. } => Ok(*boolean),
            _ => self.parsed("true or false", |text| text.parse().ok()),
        }
    }

    /// What to say of a value of another type than was expected.
    pub fn unexpected(&self, expected: &str) -> Problem {
        let found = match self.value() {
            None | Some(DeValue::String(_)) => "a string",
            Some(DeValue::Integer(_)) => "an integer",
            Some(DeValue::Float(_)) => "a floating-point number",
            Some(DeValue::Boolean(_)) => "a boolean",
            Some(DeValue::Datetime(_)) => "a date or time",
            Some(DeValue::Array(_)) => "a list",
            Some(DeValue::Table(_)) => "a table",
        };
        Problem::new(format!("expected {expected}, found {found}"))
    }

    fn parsed<T>(&self, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Problem> {
        match &self.given {
            Given::Text(text) => parse(text.text.trim()).ok_or_else(|| {
                Problem::new(format!("expected {expected}, found {}", crate::config::diagnostic::quoted(&text.text)))
            }),
            Given::Toml { value: DeValue::String(text), span } => {
                let (text, substituted) = self.interpolated(text, span)?;
                let value = parse(text.trim());
                match (substituted, value) {
                    (true, Some(value)) => Ok(value),
                    (false, Some(_)) => Err(self.unexpected(expected).help("remove the quotes")),
                    (true, None) => Err(Problem::new(format!(
                        "expected {expected}, found {}",
                        crate::config::diagnostic::quoted(&text)
                    ))),
                    (false, None) => Err(self.unexpected(expected)),
                }
            }
            Given::Toml { .. } => Err(self.unexpected(expected)),
        }
    }

    fn interpolated(&self, text: &'a str, span: &Range<usize>) -> Result<(Cow<'a, str>, bool), Problem> {
        match interpolate(text, &|name| self.reader.variable(name)) {
            Ok(result) => Ok((result.text, result.substituted)),
            Err(fault) => {
                let problem = Problem::new(fault.message).help(fault.hint);
                let raw = self.reader.raw(span.clone());
                Err(match expression(raw, fault.occurrence) {
                    Some(inside) => problem.at(span.start + inside.start..span.start + inside.end),
                    None => problem,
                })
            }
        }
    }
}

/// Where the `${…}` of this number is in a string as it is written.
fn expression(raw: &str, occurrence: usize) -> Option<Range<usize>> {
    let mut offset = 0;
    let mut seen = 0;
    while let Some(rest) = raw.get(offset..) {
        let start = offset + rest.find('$')?;
        let after = raw.get(start + 1..)?;
        if after.starts_with('$') {
            offset = start + 2;
        } else if after.starts_with('{') {
            if seen == occurrence {
                let length = after.find('}').map_or(2, |end| end + 2);
                return Some(start..start + length);
            }
            seen += 1;
            offset = start + 2;
        } else {
            offset = start + 1;
        }
    }
    None
}
