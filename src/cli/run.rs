//! `gateway run`: serve until told to end.

use std::io;
use std::process::ExitCode;

use clap::Args;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::Exit;
use super::output;
use super::overrides::RunFlags;
use crate::app::{App, ConfigFile, Control, LoadConfig, worker_threads};
use crate::clock::Clock;
use crate::config::Valid;
use crate::telemetry::{self, Log, LogSink, loss_line};

/// Serves until it is told to end by SIGTERM or SIGINT; SIGHUP reloads the configuration and all certificates.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    flags: RunFlags,
}

impl Run {
    pub(super) fn run(self) -> ExitCode {
        let file = ConfigFile::at(self.flags.file().cloned());
        let loaded = self.flags.load();
        for diagnostic in &loaded.diagnostics {
            output::note(format_args!("{diagnostic}\n"));
        }
        let Ok(valid) = loaded.valid() else { return Exit::Usage.into() };
        match self.serve(valid, file) {
            Ok(()) => Exit::Fine.into(),
            Err(problems) => {
                for problem in problems {
                    output::error(problem);
                }
                Exit::Usage.into()
            }
        }
    }

    fn serve(self, valid: Valid, file: ConfigFile) -> Result<(), Vec<String>> {
        let config = &valid.config;
        let clock = Clock::system();
        let format = config.logs.format;
        let losses = clock.clone();
        let loss = move |count| loss_line(format, &losses, count);
        // Dropped last: what the runtime's end has to say is still written.
        let (sink, _writer) = LogSink::start(io::stdout(), loss).map_err(sentence("cannot start the log"))?;
        let filter = std::env::var("RUST_LOG").ok();
        telemetry::install(sink.clone(), format, clock.clone(), filter.as_deref()).map_err(|error| vec![error])?;
        log_panics();
        let log = Log::new(sink, config.logs, clock.clone());
        let runtime = runtime(config.workers).map_err(sentence("cannot start the runtime"))?;
        let flags = self.flags;
        let load: LoadConfig = Box::new(move || flags.load().valid());
        runtime.block_on(async {
            let signals = Signals::listen().map_err(sentence("cannot listen for signals"))?;
            let app = App::start(valid, load, clock, log).await?.watching(file);
            tokio::spawn(signals.obey(app.control()));
            app.run().await;
            Ok(())
        })
    }
}

fn sentence(what: &'static str) -> impl Fn(io::Error) -> Vec<String> {
    move |error| vec![format!("{what}: {error}")]
}

/// One worker needs no threads that hand tasks to each other.
fn runtime(configured: usize) -> io::Result<Runtime> {
    match worker_threads(configured) {
        1 => Builder::new_current_thread().enable_all().build(),
        workers => Builder::new_multi_thread().worker_threads(workers).enable_all().build(),
    }
}

/// A panic ends the connection it happens in and no other; it is a bug of ours, and must not go unnoticed.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, "a connection ended by a bug in the gateway; please report it: {message}");
    }));
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn obey(mut self, control: Control) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => control.shut_down().await,
                _ = self.interrupt.recv() => control.shut_down().await,
                // How it went is in the log.
                _ = self.hangup.recv() => {
                    let control = control.clone();
                    tokio::spawn(async move { control.reload().await });
                }
            }
        }
    }
}
