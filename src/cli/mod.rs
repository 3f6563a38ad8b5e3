//! The command line: one file per command, what they print in `output`, how they end in `exit`.

mod certs;
mod check;
mod demo;
mod exit;
mod health;
mod output;
mod overrides;
mod run;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An mTLS gateway: knows its callers by certificate and says why one was refused.
#[derive(Debug, Parser)]
#[command(name = "gateway", version, arg_required_else_help = true, max_term_width = 100)]
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
    /// Make and look at certificates: a small private CA in a folder
    Certs(certs::Arguments),
}

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
        Command::Certs(arguments) => certs::run(arguments).into(),
    }
}
