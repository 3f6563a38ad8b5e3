//! Passwords: from a file, or asked for at the terminal. Never an argument, which every process on the machine can see.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::Failure;

/// More is no password.
const LONGEST: u64 = 4096;

/// Whether a password that is asked for is new, and so asked for twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// It opens something.
    Known,
    /// It will protect something.
    New,
}

/// The password in the first line of this file, or else from the terminal.
pub(super) fn password(file: Option<&Path>, what: &str, asking: Asking) -> Result<Zeroizing<String>, Failure> {
    let password = match file {
        Some(path) => from_file(path)?,
        None => from_terminal(what, asking)?,
    };
    if password.is_empty() {
        return Err(Failure::usage("an empty password protects nothing and is not taken".to_owned()));
    }
    Ok(password)
}

fn from_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path)
        .and_then(|file| file.take(LONGEST).read_to_end(&mut bytes))
        .map_err(|error| Failure::usage(format!("cannot read the password in {}: {error}", path.display())))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Failure::usage(format!("the password in {} is not UTF-8", path.display())))?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

fn from_terminal(what: &str, asking: Asking) -> Result<Zeroizing<String>, Failure> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_| {
        Failure::usage(format!("{what} needs a password and there is no terminal to ask at; say --password-file FILE"))
    })?;
    let failed = |error: std::io::Error| Failure::finding(format!("cannot ask for a password: {error}"));
    let first = ask(&terminal, &format!("Password of {what}: ")).map_err(failed)?;
    if asking == Asking::New && *first != *ask(&terminal, "Again: ").map_err(failed)? {
        return Err(Failure::usage("the two passwords are not the same".to_owned()));
    }
    Ok(first)
}

/// Without an echo; what the terminal was before, it is afterwards.
fn ask(mut terminal: &File, question: &str) -> std::io::Result<Zeroizing<String>> {
    let before = tcgetattr(terminal)?;
    let mut silent = before.clone();
    silent.local_modes &= !(LocalModes::ECHO | LocalModes::ECHONL);
    // Before the question, because it throws away what was typed up to then.
    tcsetattr(terminal, OptionalActions::Flush, &silent)?;
    let asked = terminal.write_all(question.as_bytes());
    let mut line = Zeroizing::new(String::new());
    let read = asked.and_then(|()| BufReader::new(terminal.take(LONGEST)).read_line(&mut line));
    tcsetattr(terminal, OptionalActions::Flush, &before)?;
    terminal.write_all(b"\n")?;
    read?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
