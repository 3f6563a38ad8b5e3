//! What is wrong with one value, before it is known which key it stands for.

use std::ops::Range;

use crate::config::diagnostic::{Diagnostic, Origin};

/// What is wrong with a value.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// In one line.
    pub message: String,
    /// How to mend it.
    pub hint: Option<String>,
    /// The part of the file that is meant, when it is not the whole value.
    pub span: Option<Range<usize>>,
}

impl Problem {
    /// A problem with the whole value.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, span: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn help(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same about a part of the file.
    #[must_use]
    pub fn at(mut self, span: Range<usize>) -> Self {
        self.span = Some(span);
        self
    }

    /// The diagnostic for it; `whole` is where the value is.
    pub fn into_error(self, locate: impl FnOnce(Range<usize>) -> Origin, whole: Range<usize>) -> Diagnostic {
        let mut diagnostic = Diagnostic::error(locate(self.span.unwrap_or(whole)), self.message);
        diagnostic.hint = self.hint;
        diagnostic
    }
}
