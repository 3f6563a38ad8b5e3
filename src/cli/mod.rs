//! The command line: one file per command, what they print in `output`, how they end in `exit`.

mod certs;
mod check;
mod demo;
mod exit;
mod explain;
mod health;
mod output;
mod overrides;
mod run;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{Parser, Subcommand};

/// An mTLS gateway: knows its callers by certificate and says why one was refused.
#[derive(Debug, Parser)]
#[command(name = "gateway", version = VERSION.as_str(), arg_required_else_help = true, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Demo(demo::RunDemo),
    Check(check::Check),
    Health(health::Health),
    Explain(Box<explain::Explain>),
    /// Make and look at certificates: a small private CA in a folder
    Certs(certs::Arguments),
}

/// The package's version and, when the build was told it, what git calls the source.
static VERSION: LazyLock<String> = LazyLock::new(|| match option_env!("GATEWAY_BUILD_VERSION") {
    Some(source) if !source.is_empty() => format!("{} ({source})", env!("CARGO_PKG_VERSION")),
    _ => env!("CARGO_PKG_VERSION").to_owned(),
});

/// Runs the command that `arguments` name (the first is the program's own name).
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command_line = match CommandLine::try_parse_from(arguments) {
        Ok(command_line) => command_line,
        Err(error) => {
            // `--help` and `--version` come this way too, with exit code 0.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match command_line.command {
        Command::Run(run) => run.run(),
        Command::Demo(demo) => demo.run().into(),
        Command::Check(check) => check.run().into(),
        Command::Health(health) => health.run().into(),
        Command::Explain(explain) => explain.run().into(),
        Command::Certs(arguments) => certs::run(arguments).into(),
    }
}
