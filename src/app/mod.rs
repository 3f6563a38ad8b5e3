//! The composition root: from a checked configuration to a gateway that listens, reloads, drains and ends.
//!
//! The parts do not know the program; this module knows the parts and nothing of their insides. It holds no issuing
//! code: `pki` cannot be reached from here.

mod build;
mod limits;
mod reload;
mod serve;
mod shutdown;

pub use build::inspect;
pub use limits::{raise_open_files, worker_threads};

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::Config;
use crate::drain::Drain;
use crate::listen::Slots;
use crate::proxy::Proxy;
use crate::telemetry::Log;

use serve::{AcceptLoop, Acceptor};

/// Reads the configuration anew; the sentences say what is wrong with it.
pub type LoadConfig = Box<dyn Fn() -> Result<Config, Vec<String>> + Send + Sync>;

/// A gateway that has bound its listeners.
pub struct App {
    config: Config,
    load: LoadConfig,
    log: Log,
    proxy: Arc<Proxy>,
    drain: Drain,
    connections: TaskTracker,
    slots: Slots,
    open_files: u64,
    generation: u64,
    listeners: Vec<AcceptLoop>,
    health: Option<AcceptLoop>,
    commands: mpsc::Receiver<Command>,
    /// Commands that came while another was being obeyed.
    waiting: VecDeque<Command>,
    control: Control,
}

/// What a running gateway can be told from outside.
#[derive(Debug, Clone)]
pub struct Control(mpsc::Sender<Command>);

#[derive(Debug)]
enum Command {
    Reload(oneshot::Sender<Result<(), Vec<String>>>),
    Shutdown,
}

impl Control {
    /// Reads the configuration and all certificates anew.
    ///
    /// # Errors
    /// What is wrong with them; the old ones stay in force.
    pub async fn reload(&self) -> Result<(), Vec<String>> {
        let (reply, outcome) = oneshot::channel();
        let gone = || vec!["the gateway is ending".to_owned()];
        self.0.send(Command::Reload(reply)).await.map_err(|_| gone())?;
        outcome.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Begins a drain; the second time, ends it at once.
    pub async fn shut_down(&self) {
        // A gateway that has ended needs no telling.
        let _ = self.0.send(Command::Shutdown).await;
    }
}

impl App {
    /// Opens certificates, resolves nothing yet, binds, and begins to accept. `load` is for reloads.
    ///
    /// # Errors
    /// Every reason why it cannot start.
    pub async fn start(config: Config, load: LoadConfig, clock: Clock, log: Log) -> Result<Self, Vec<String>> {
        let open_files = raise_open_files();
        let drain = Drain::default();
        let generation = 1;
        let built = build::build(&config, &[], generation).map_err(|refused| refused.problems)?;
        let proxy = Proxy::new(built.snapshot, clock.clone(), log.clone(), drain.watch());
        let slots = Slots::new(limits::effective_connections(config.listener.max_connections, open_files));
        let connections = TaskTracker::new();
        let acceptor = Acceptor { proxy: Arc::clone(&proxy), slots: slots.clone(), connections: connections.clone() };
        let (listeners, health) = serve::bind_all(&config, &acceptor)?;
        let (sender, commands) = mpsc::channel(8);
        let app = Self {
            config,
            load,
            log,
            proxy,
            drain,
            connections,
            slots,
            open_files,
            generation,
            listeners,
            health,
            commands,
            waiting: VecDeque::new(),
            control: Control(sender),
        };
        app.announce(&built.notes, clock);
        Ok(app)
    }

    /// Where it listens for TLS.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(AcceptLoop::address).collect()
    }

    /// Where it listens for plain health checks.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health.as_ref().map(AcceptLoop::address)
    }

    /// A handle to tell it things.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Serves until told to end, and drains.
    pub async fn run(mut self) {
        while let Some(command) = self.next_command().await {
            match command {
                Command::Reload(reply) => {
                    let outcome = self.reload().await;
                    reload::report(&outcome);
                    let _ = reply.send(outcome);
                }
                Command::Shutdown => break,
            }
        }
        self.shut_down().await;
    }

    async fn next_command(&mut self) -> Option<Command> {
        // The end comes before reloads that wait.
        if let Some(end) = self.waiting.iter().position(|command| matches!(command, Command::Shutdown)) {
            return self.waiting.remove(end);
        }
        match self.waiting.pop_front() {
            Some(command) => Some(command),
            None => self.commands.recv().await,
        }
    }

    fn announce(&self, notes: &[String], clock: Clock) {
        for note in notes {
            tracing::warn!("{note}");
        }
        let listener = &self.config.listener;
        let addresses: Vec<_> = self.addresses().iter().map(SocketAddr::to_string).collect();
        tracing::info!(
            addresses = addresses.join(", "),
            health = self.health_address().map(tracing::field::display),
            max_connections = limits::effective_connections(listener.max_connections, self.open_files),
            open_files = self.open_files,
            version = env!("CARGO_PKG_VERSION"),
            "the gateway serves"
        );
        if self.proxy.snapshot().profile().trust().is_some() {
            tracing::info!("client certificates are not checked for revocation: no CRL is configured");
        }
        let proxy = Arc::downgrade(&self.proxy);
        tokio::spawn(build::watch_own_certificate(proxy, clock));
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}
