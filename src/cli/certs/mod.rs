//! `gateway certs`: the command line of `pki`, one file per subcommand.
//!
//! Names, numbers and kinds are parsed here into types that cannot be wrong, so that a bad one ends with exit code 2
//! before anything is opened. What is printed never holds a private key: nothing here ever has one.

mod client;
mod describe;
mod init;
mod list;
mod report;
mod server;
mod show;
mod verify;

use std::io;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValue;
use clap::{Args, Subcommand, ValueEnum};

use super::exit::Exit;
use super::output;
use crate::clock::Clock;
use crate::pki::{self, KeyType, Overwrite, Store};

/// Arguments of `gateway certs`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Arguments {
    /// The folder with the CA and what it issued
    #[arg(long, global = true, value_name = "DIR", env = "GATEWAY_CERTS_DIR", default_value = DEFAULT_FOLDER)]
    dir: PathBuf,

    /// How to print the answer
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    output: Format,

    #[command(subcommand)]
    command: Command,
}

const DEFAULT_FOLDER: &str = "certs";

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the CA and its first, empty revocation list
    Init(init::Arguments),
    /// Issue the certificate that the gateway shows to its clients
    Server(server::Arguments),
    /// Issue a certificate for one client
    Client(client::Arguments),
    /// List every certificate in the folder, and how it stands
    List,
    /// Describe certificates, revocation lists and keys in a file
    Show(show::Arguments),
    /// Say whether the gateway would accept a client's certificate, or clients the server's
    Verify(verify::Arguments),
}

/// For people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// What every issuing subcommand takes.
#[derive(Debug, Args)]
struct Issuing {
    /// Kind of the private key
    #[arg(long, value_name = "KIND", value_enum, default_value = "p256", ignore_case = true)]
    key_type: KeyType,

    /// Replace the files if they are there
    #[arg(long)]
    force: bool,
}

impl Issuing {
    fn overwrite(&self) -> Overwrite {
        if self.force { Overwrite::Replace } else { Overwrite::Refuse }
    }
}

/// A century: longer is a typing error.
const DAYS: std::ops::RangeInclusive<i64> = 1..=36_500;

/// How a subcommand that failed ends, and what it says.
struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    fn usage(message: String) -> Self {
        Self { exit: Exit::Usage, message }
    }

    fn finding(message: String) -> Self {
        Self { exit: Exit::Finding, message }
    }
}

impl From<pki::Error> for Failure {
    fn from(error: pki::Error) -> Self {
        let message = error.to_string();
        match error {
            pki::Error::Busy { .. } | pki::Error::Key(_) => Self::finding(message),
            pki::Error::Authority { problem: pki::AuthorityProblem::Signing(_), .. } => Self::finding(message),
            // A folder that is a file, and the like, is the caller's mistake; a full disk is not.
            pki::Error::Io { source, .. } => match source.kind() {
                io::ErrorKind::AlreadyExists
                | io::ErrorKind::NotFound
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::NotADirectory => Self::usage(message),
                _ => Self::finding(message),
            },
            _ => Self::usage(message),
        }
    }
}

/// Runs a subcommand.
pub(super) fn run(arguments: Arguments) -> Exit {
    let Arguments { dir, output: format, command } = arguments;
    let store = Store::new(dir, Clock::system());
    let outcome = match command {
        Command::Init(arguments) => init::run(&store, arguments, format),
        Command::Server(arguments) => server::run(&store, arguments, format),
        Command::Client(arguments) => client::run(&store, arguments, format),
        Command::List => list::run(&store, format),
        Command::Show(arguments) => show::run(&store, &arguments, format),
        Command::Verify(arguments) => verify::run(&store, arguments, format),
    };
    outcome.unwrap_or_else(|failure| {
        output::error(failure.message);
        failure.exit
    })
}

/// The command that was typed, with the folder if it is not the default one: to be pasted.
fn command_line(store: &Store, rest: &str) -> String {
    if store.root() == DEFAULT_FOLDER {
        format!("gateway certs {rest}")
    } else {
        format!("gateway certs --dir {} {rest}", quoted(&store.root().to_string_lossy()))
    }
}

/// A path as JSON can hold it; one that is not UTF-8 loses what is not.
fn json_path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// As a POSIX shell reads it back.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

impl ValueEnum for KeyType {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::EcdsaP256 => PossibleValue::new("p256").aliases(["p-256", "ecdsa", "ecdsa-p256"]),
            Self::EcdsaP384 => PossibleValue::new("p384").aliases(["p-384", "ecdsa-p384"]),
            Self::Ed25519 => PossibleValue::new("ed25519").help("browsers do not take it"),
            Self::Rsa2048 => PossibleValue::new("rsa2048").aliases(["rsa-2048", "rsa"]),
            Self::Rsa3072 => PossibleValue::new("rsa3072").alias("rsa-3072"),
            Self::Rsa4096 => PossibleValue::new("rsa4096").alias("rsa-4096"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_to_be_pasted_survives_the_shell() {
        let cases = [
            ("certs", "certs"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("/x/y-1", "/x/y-1"),
            ("$(x)", "'$(x)'"),
        ];
        for (text, expected) in cases {
            assert_eq!(quoted(text), expected);
        }
        let store = |root: &str| Store::new(root, Clock::system());
        assert_eq!(command_line(&store("certs"), "list"), "gateway certs list");
        assert_eq!(command_line(&store("my certs"), "list"), "gateway certs --dir 'my certs' list");
    }
}
