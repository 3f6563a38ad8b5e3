//! What commands say to the person or program that called them; the only module that prints.
//!
//! A reader that went away (`gateway certs list | head -1`) is no error.

use std::fmt::Display;
use std::io::Write as _;

/// One line to standard output.
pub fn line(text: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// One message to standard error.
pub fn error(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "error: {text}");
}

/// One message to standard error that does not make the command fail.
pub fn warning(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "warning: {text}");
}

/// A line to standard error that is neither: the summary below the messages.
pub fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
