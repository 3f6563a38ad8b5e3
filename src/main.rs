//! The binary `gateway`: hands the command line to the library and ends the process with its exit code.

use std::process::ExitCode;

/// Holds less for each idle connection than glibc's, and gives back what is free.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    mtls_gateway::cli::run(std::env::args_os())
}
