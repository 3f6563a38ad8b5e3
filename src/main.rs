//! The binary `gateway`: hands the command line to the library and ends the process with its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    mtls_gateway::cli::run(std::env::args_os())
}
