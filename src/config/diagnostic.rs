//! What is wrong with a configuration, where, and how to mend it.
//!
//! A diagnostic is the product of this module as far as an operator is concerned, so its text is tested to the letter.
//! What is quoted from a file is stripped of control characters: a file may come from somebody else.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used and probably should not.
    Warning,
    /// Worth knowing; does not change an exit code.
    Note,
}

/// Where a value comes from, or what a diagnostic is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said it: a default, or the absence of something.
    Default,
    /// The file as a whole.
    Document(Arc<str>),
    /// A place in the file.
    File(Place),
    /// A flag, such as `--upstream`.
    Flag(&'static str),
    /// An environment variable, such as `GATEWAY_UPSTREAM`.
    Variable(&'static str),
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's name as it was given.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The line itself, unless the file holds a private key.
    pub excerpt: Option<Arc<Excerpt>>,
}

/// A line of a file, cut to what fits on a screen, and the part of it that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The text, without control characters.
    pub text: Arc<str>,
    /// Characters before the part that is meant.
    pub offset: usize,
    /// Characters of the part that is meant; at least 1.
    pub width: usize,
}

/// One thing to say about a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// How to mend it.
    pub hint: Option<String>,
    /// Where.
    pub origin: Origin,
}

impl Diagnostic {
    /// Something that makes the configuration unusable.
    pub fn error(origin: Origin, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), hint: None, origin }
    }

    /// Something that is probably a mistake.
    pub fn warning(origin: Origin, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, message: message.into(), hint: None, origin }
    }

    /// Something worth knowing.
    pub fn note(origin: Origin, message: impl Into<String>) -> Self {
        Self { severity: Severity::Note, message: message.into(), hint: None, origin }
    }

    /// The same with a hint.
    #[must_use]
    pub fn help(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether it makes the configuration unusable.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl Severity {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl Origin {
    /// The place in the file, when it is one.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::File(place) => Some(place),
            _ => None,
        }
    }
}

/// `config/x.toml:12:5`, `--upstream`, `GATEWAY_UPSTREAM` or `default`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Document(name) => f.write_str(name),
            Self::File(place) => place.fmt(f),
            Self::Flag(name) | Self::Variable(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The message in one line, then the line it is about with a mark below, then the hint; no line end after the last.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != Origin::Default {
            write!(f, "{}: ", without_controls(&self.origin.to_string()))?;
        }
        if self.severity != Severity::Error {
            write!(f, "{}: ", self.severity.as_str())?;
        }
        f.write_str(&without_controls(&self.message))?;
        if let Some((place, excerpt)) = self.origin.place().and_then(|place| Some((place, place.excerpt.as_ref()?))) {
            let number = place.line.to_string();
            write!(f, "\n {number} | {}", excerpt.text)?;
            write!(f, "\n {:blank$} | {:offset$}", "", "", blank = number.len(), offset = excerpt.offset)?;
            write!(f, "{:^<width$}", "", width = excerpt.width)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhelp: {}", without_controls(hint))?;
        }
        Ok(())
    }
}

/// A text without what a terminal would obey: names from a file stand in messages and in origins.
pub fn without_controls(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        return text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect();
    }
    Cow::Borrowed(text)
}

/// A text from outside as a message quotes it: in double quotes, escaped, and cut when it is long.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.contains("PRIVATE KEY") {
        return "the text given".to_owned();
    }
    match text.char_indices().nth(LONGEST) {
        None => format!("{text:?}"),
        Some((cut, _)) => format!("{:?}...", text.get(..cut).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_place_the_line_and_the_way_out() {
        let origin = Origin::File(Place {
            file: "config/x.toml".into(),
            line: 12,
            column: 3,
            excerpt: Some(Arc::new(Excerpt { text: "  addres = 1".into(), offset: 2, width: 6 })),
        });
        let diagnostic = Diagnostic::error(origin.clone(), "unknown key `addres` in [listener]").help("like this");
        assert_eq!(
            diagnostic.to_string(),
            "config/x.toml:12:3: unknown key `addres` in [listener]\n 12 |   addres = 1\n    |   ^^^^^^\nhelp: like this"
        );
        assert!(Diagnostic::warning(origin, "odd").to_string().starts_with("config/x.toml:12:3: warning: odd\n 12 |"));
        assert_eq!(Diagnostic::error(Origin::Flag("--upstream"), "bad").to_string(), "--upstream: bad");
        assert_eq!(Diagnostic::note(Origin::Variable("GATEWAY_X"), "so").to_string(), "GATEWAY_X: note: so");
        assert_eq!(Diagnostic::error(Origin::Default, "nothing to do").to_string(), "nothing to do");
    }

    #[test]
    fn quotes_are_escaped_cut_and_never_a_key() {
        assert_eq!(quoted("a\u{1b}[31m\n"), r#""a\u{1b}[31m\n""#);
        assert_eq!(quoted(&"é".repeat(61)), format!("\"{}\"...", "é".repeat(60)));
        assert_eq!(quoted("-----BEGIN PRIVATE KEY-----\nMIIE"), "the text given");
    }
}
