//! What commands say to the person or program that called them; the only module that prints.
//!
//! A reader that went away (`gateway certs list | head -1`) is no error.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};

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

/// How far something has come, in one line that is written over; only for people who look on.
pub fn progress(text: impl Display) {
    let mut stderr = std::io::stderr().lock();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r{text}");
        let _ = stderr.flush();
    }
}

/// The line of [`progress`] is over.
pub fn progress_done() {
    let mut stderr = std::io::stderr().lock();
    if stderr.is_terminal() {
        let _ = writeln!(stderr);
    }
}
