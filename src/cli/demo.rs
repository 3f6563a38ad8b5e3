//! `gateway demo`: everything on one machine.

use std::net::SocketAddr;

use clap::Args;

use super::exit::Exit;
use super::output;
use crate::demo::{CASES, Demo, Settings};
use crate::telemetry::{self, LogFormat};

/// Shows the gateway at work: makes throw-away certificates, starts a small API behind a DNS name, and serves it.
///
/// Prints the curl lines to try and runs until Ctrl-C.
#[derive(Debug, Args)]
pub(super) struct RunDemo {
    /// Make the three requests, print what came back, and end: exit code 0 when all is as it should be
    #[arg(long)]
    once: bool,
    /// Where to listen; a free port is taken when this one is not
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
}

impl RunDemo {
    pub(super) fn run(&self) -> Exit {
        let runtime = match tokio::runtime::Runtime::new() {
            Ok(runtime) => runtime,
            Err(error) => {
                output::error(format_args!("cannot start the runtime: {error}"));
                return Exit::Finding;
            }
        };
        runtime.block_on(async {
            let text = telemetry::Settings { format: LogFormat::Text, access: true, health: true };
            let settings = Settings { listen: self.listen, log: (!self.once).then_some(text) };
            match Demo::start(&settings).await {
                Ok(demo) if self.once => try_once(demo).await,
                Ok(demo) => run_until_interrupted(demo).await,
                Err(problems) => {
                    for problem in problems {
                        output::error(problem);
                    }
                    Exit::Finding
                }
            }
        })
    }
}

async fn run_until_interrupted(demo: Demo) -> Exit {
    output::line(format_args!(
        "The gateway listens on {}; the certificates are in {} and go when it ends.\n\nTry, in another terminal:",
        demo.address,
        demo.certificates().display()
    ));
    for case in &CASES {
        output::line(format_args!("\n# {}: {}\n{}", case.title, case.expected, demo.curl(case)));
    }
    output::line("\nCtrl-C ends it. What it logs:\n");
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            output::error(format_args!("cannot listen for signals: {error}"));
            return Exit::Finding;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    demo.stop().await;
    Exit::Fine
}

async fn try_once(demo: Demo) -> Exit {
    let mut exit = Exit::Fine;
    for case in &CASES {
        output::line(format_args!("# {}\n{}", case.title, demo.curl(case)));
        match demo.ask(case).await {
            Ok(answer) => {
                output::line(format_args!("{} {}\n", answer.status, answer.body.trim_end()));
                if answer.status != case.expected {
                    output::error(format_args!("{} should have come back", case.expected));
                    exit = Exit::Finding;
                }
            }
            Err(problem) => {
                output::error(problem);
                exit = Exit::Finding;
            }
        }
    }
    demo.stop().await;
    exit
}
