//! `gateway certs`: the command line of `pki`, one file per subcommand.
//!
//! Names, numbers and kinds are parsed here into types that cannot be wrong, so that a bad one ends with exit code 2
//! before anything is opened. What is printed never holds a private key: nothing here ever has one.

mod bootstrap;
mod bulk;
mod client;
mod csv;
mod describe;
mod export;
mod import_ca;
mod init;
mod intermediate;
mod list;
mod password;
mod renew;
mod report;
mod revoke;
mod rotate_ca;
mod server;
mod show;
mod sign;
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
    ///
    /// With --from, one line of a table for each client: the columns name, cn, san (names with spaces between them),
    /// days, key_type; only name is needed, and the other flags stand for cells that are empty. Clients that are
    /// there are skipped, so a run that was interrupted is run again.
    Client(client::Arguments),
    /// Make a CA below this one, in a folder of its own
    ///
    /// The new CA gets a folder of its own, in which every command works: gateway certs --dir FOLDER client. What it
    /// issues carries the chain, and is trusted by whoever trusts the CA above it.
    Intermediate(intermediate::Arguments),
    /// Take over a CA that openssl, easy-rsa, step or cfssl made
    ///
    /// The certificate stays as it is; what it issued before stays valid. The key may be PKCS#8, PKCS#1 or SEC 1,
    /// encrypted or not, and is kept as PKCS#8 without a password, mode 0600. Say with --crl or --index what the CA has
    /// revoked: it stays revoked.
    ImportCa(import_ca::Arguments),
    /// Put a new CA in the place of this one, step by step
    ///
    /// Three steps, in which nobody is refused at any moment:
    ///
    /// 1. `rotate-ca` makes the new CA, signed by the old one too, and puts both into ca.crt. From then on it issues.
    ///    Give ca.crt to everybody who has it; let the gateway reload.
    ///
    /// 2. `renew --previous-ca` renews what the old CA issued; `list` shows as previous_ca what is left, and so does
    ///    `rotate-ca` run again. Hand out the new certificates.
    ///
    /// 3. `rotate-ca --finish` drops the old CA. Give ca.crt to everybody once more; let the gateway reload.
    #[command(verbatim_doc_comment)]
    RotateCa(rotate_ca::Arguments),
    /// Make whatever of CA, server's and clients' certificates is missing; renew what ends soon
    ///
    /// Running it again changes nothing until a certificate ends within a third of its life, is no longer valid, or
    /// other hosts are named. The CA is made once and never replaced. A running gateway takes up what is new on
    /// SIGHUP.
    Bootstrap(bootstrap::Arguments),
    /// Sign somebody's certificate signing request, on your terms
    ///
    /// Of the request only the public key is taken. What else it asks for (CA:TRUE, key usages, subject, names) is
    /// told and ignored, unless a flag below takes it over. CA:TRUE and key usages never are.
    Sign(sign::Arguments),
    /// Issue certificates again: same names, new serial number, new key
    ///
    /// The new certificate takes the place of the old one, which stays valid until it ends or is revoked. Subject,
    /// names and lifetime are the old one's.
    Renew(renew::Arguments),
    /// Revoke certificates: in the index and on the revocation list
    ///
    /// A name stands for every certificate of that name that has not expired. What is revoked stays revoked. All that
    /// are named are revoked, or none.
    Revoke(revoke::RevokeArguments),
    /// Sign the revocation list anew
    ///
    /// The list keeps every entry it has, and its number grows. Commands that open the CA's key do this by themselves
    /// when the list has passed half its life.
    Crl(revoke::CrlArguments),
    /// Write a certificate and its key in another form: PKCS#12, one PEM file, DER
    ///
    /// A file with a private key in it is written with mode 0600. Java (keytool, KeyStore) reads PKCS#12 as it is;
    /// there is no JKS.
    Export(export::Arguments),
    /// List every certificate in the folder, and how it stands
    ///
    /// States: valid; previous_ca (issued by the CA that `rotate-ca` is replacing); replaced, missing, unrecorded,
    /// orphaned, not_yet_valid, expired, revoked.
    List(list::Arguments),
    /// Describe certificates, requests, revocation lists and keys in a file, or what a server shows
    ///
    /// Nothing is judged here, only told: see `gateway certs verify`.
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

/// A time from now in whole days, as in `30d` or `4w`.
fn days_ahead(text: &str) -> Result<u32, String> {
    let (number, unit) = match text.strip_suffix('w') {
        Some(number) => (number, 7),
        None => (text.strip_suffix('d').unwrap_or(text), 1),
    };
    let days = number.parse::<u32>().ok().and_then(|number| number.checked_mul(unit));
    days.filter(|&days| i64::from(days) <= *DAYS.end()).ok_or_else(|| "it is no time like 30d or 4w".to_owned())
}

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
        Command::Intermediate(arguments) => intermediate::run(&store, arguments, format),
        Command::ImportCa(arguments) => import_ca::run(&store, &arguments, format),
        Command::RotateCa(arguments) => rotate_ca::run(&store, arguments, format),
        Command::Bootstrap(arguments) => bootstrap::run(&store, arguments, format),
        Command::Sign(arguments) => sign::run(&store, arguments, format),
        Command::Renew(arguments) => renew::run(&store, arguments, format),
        Command::Revoke(arguments) => revoke::revoke(&store, &arguments, format),
        Command::Crl(arguments) => revoke::crl(&store, &arguments, format),
        Command::Export(arguments) => export::run(&store, &arguments, format),
        Command::List(arguments) => list::run(&store, &arguments, format),
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
