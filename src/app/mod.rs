//! The composition root: from a checked configuration to a gateway that listens, reloads, drains and ends.
//!
//! The parts do not know the program; this module knows the parts and nothing of their insides. It holds no issuing
//! code: `pki` cannot be reached from here.

mod admin;
mod build;
mod limits;
mod reload;
mod revocation;
mod serve;
mod shadow;
mod shutdown;
mod watch;

pub use build::inspect;
pub use limits::{raise_open_files, worker_threads};
pub use watch::ConfigFile;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch as watch_channel};
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::{Config, Origin, Valid};
use crate::drain::Drain;
use crate::explain;
use crate::listen::Slots;
use crate::metrics::Counters;
use crate::proxy::Proxy;
use crate::telemetry::Log;

use admin::{Admin, InForce, View};
use reload::{Reloaded, Trigger};
use serve::{AcceptLoop, Acceptor};
use watch::Look;

/// Reads the configuration anew; the sentences say what is wrong with it.
pub type LoadConfig = Box<dyn Fn() -> Result<Valid, Vec<String>> + Send + Sync>;

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
    admin: Option<Admin>,
    in_force: Arc<ArcSwap<InForce>>,
    /// The configuration file, if it is to be watched.
    file: Option<PathBuf>,
    /// What the files were when they were read last.
    looked: watch_channel::Sender<Arc<Look>>,
    clock: Clock,
    reloads: Arc<Counters<Reloaded>>,
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
    FilesChanged(Vec<PathBuf>, oneshot::Sender<()>),
    Shutdown(Asker),
}

/// Who wants the gateway to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// The platform, or whoever stops the process: asked twice, it is meant at once.
    Signal,
    /// The admin listener. Its drain is not hurried by the signal that the platform sends in any case.
    Admin,
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

    /// Begins a drain; when there is one, lets it go on.
    pub async fn drain(&self) {
        // A gateway that has ended needs no telling.
        let _ = self.0.send(Command::Shutdown(Asker::Admin)).await;
    }

    /// Begins a drain; the second time, ends it at once.
    pub async fn shut_down(&self) {
        // A gateway that has ended needs no telling.
        let _ = self.0.send(Command::Shutdown(Asker::Signal)).await;
    }
}

impl App {
    /// Opens certificates, resolves nothing yet, binds, and begins to accept. `load` is for reloads.
    ///
    /// # Errors
    /// Every reason why it cannot start.
    pub async fn start(valid: Valid, load: LoadConfig, clock: Clock, log: Log) -> Result<Self, Vec<String>> {
        let Valid { config, effective } = valid;
        let open_files = raise_open_files();
        let drain = Drain::default();
        let generation = 1;
        let looked = watch_channel::Sender::new(Arc::new(Look::at(watch::files(&config))));
        let built = build::build(&config, None, generation, &clock).await.map_err(|refused| refused.problems)?;
        let proxy = Proxy::new(built.snapshot, clock.clone(), log.clone(), drain.watch());
        let slots = Slots::new(limits::effective_connections(config.listener.max_connections, open_files));
        let connections = TaskTracker::new();
        let acceptor = Acceptor { proxy: Arc::clone(&proxy), slots: slots.clone(), connections: connections.clone() };
        let (listeners, health) = serve::bind_all(&config, &acceptor)?;
        let (sender, commands) = mpsc::channel(8);
        let control = Control(sender);
        let in_force = Arc::new(ArcSwap::new(InForce::new(generation, &effective, &clock)));
        let reloads = Arc::new(Counters::default());
        let view = View {
            proxy: Arc::clone(&proxy),
            in_force: Arc::clone(&in_force),
            drain: drain.watch(),
            reloads: Arc::clone(&reloads),
            control: control.clone(),
        };
        let admin = match config.admin {
            None => None,
            Some(address) => match Admin::start(address, view).await {
                Ok(admin) => Some(admin),
                // Two gateways on one machine that say nothing of it need not agree on a port.
                Err(problem) if effective.origin("admin.address", 0) == Origin::Default => {
                    tracing::warn!("{problem}; the gateway serves without an admin listener");
                    None
                }
                Err(problem) => return Err(vec![problem]),
            },
        };
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
            admin,
            in_force,
            file: None,
            looked,
            clock: clock.clone(),
            reloads,
            commands,
            waiting: VecDeque::new(),
            control,
        };
        app.announce(&built.notes, clock);
        tokio::spawn(watch::watch(app.looked.subscribe(), app.control.0.clone()));
        Ok(app)
    }

    /// Watches the configuration file, too.
    #[must_use]
    pub fn watching(mut self, file: ConfigFile) -> Self {
        let ConfigFile { path, look } = file;
        self.looked.send_modify(|looked| *looked = Arc::new(Look::clone(looked).and(look)));
        self.file = path;
        self
    }

    /// Where it listens for TLS.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(AcceptLoop::address).collect()
    }

    /// Where it listens for plain health checks.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health.as_ref().map(AcceptLoop::address)
    }

    /// Where its admin listener is.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// A handle to tell it things.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Serves until told to end, and drains.
    pub async fn run(mut self) {
        let mut asker = Asker::Signal;
        while let Some(command) = self.next_command().await {
            match command {
                Command::Reload(reply) => {
                    let outcome = self.reload(Trigger::Asked).await;
                    reload::report(&outcome, &self.reloads);
                    let _ = reply.send(outcome);
                }
                Command::FilesChanged(files, done) => {
                    let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
                    tracing::info!(files = files.join(", "), "files of the configuration have changed");
                    reload::report(&self.reload(Trigger::FilesChanged).await, &self.reloads);
                    let _ = done.send(());
                }
                Command::Shutdown(by) => {
                    asker = by;
                    break;
                }
            }
        }
        self.shut_down(asker).await;
    }

    async fn next_command(&mut self) -> Option<Command> {
        // The end comes before reloads that wait.
        if let Some(end) = self.waiting.iter().position(|command| matches!(command, Command::Shutdown(_))) {
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
        // A gateway that is started again at night must not stay away because the certificate of a test has expired.
        let failed = explain::failures(&self.config, self.proxy.snapshot().profiles().host_trust(), clock.now());
        for failure in failed {
            tracing::error!("a test of the configuration fails, and the next reload will be refused for it: {failure}");
        }
        let listener = &self.config.listener;
        let addresses: Vec<_> = self.addresses().iter().map(SocketAddr::to_string).collect();
        tracing::info!(
            addresses = addresses.join(", "),
            health = self.health_address().map(tracing::field::display),
            admin = self.admin_address().map(tracing::field::display),
            max_connections = limits::effective_connections(listener.max_connections, self.open_files),
            open_files = self.open_files,
            version = env!("CARGO_PKG_VERSION"),
            "the gateway serves"
        );
        revocation::announce(self.proxy.snapshot().profiles());
        shadow::announce(&self.config);
        let proxy = Arc::downgrade(&self.proxy);
        tokio::spawn(revocation::watch(std::sync::Weak::clone(&proxy), clock.clone()));
        tokio::spawn(build::watch_own_certificate(proxy, clock));
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}
