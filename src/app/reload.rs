//! Reload: all or nothing. A set that is bad in any part is refused, and the old one serves on.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::admin::InForce;
use super::serve::{self, AcceptLoop, Acceptor};
use super::watch::{self, Look};
use super::{App, Command, build, limits, shadow};
use crate::config::{Config, Valid};
use crate::explain;
use crate::listen::Listener;
use crate::metrics::{Counters, Label};

/// A certificate and its key are two files, and whoever replaces them does so one after the other; and a file that was
/// seen to change may be half written.
const RETRY_FOR: Duration = Duration::from_secs(5);
const RETRY_EVERY: Duration = Duration::from_millis(250);
/// Commands that may wait for a reload to end.
const MOST_WAITING: usize = 8;

/// Who wants a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trigger {
    /// The operator, who means that all is in place.
    Asked,
    /// The watch, which may have come while files were being written.
    FilesChanged,
}

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reloaded {
    /// The new configuration is in force.
    Success,
    /// The old one stays.
    Refused,
}

/// Why there was no reload, and for whom another try is worth it.
struct NotYet {
    problems: Vec<String>,
    may_pass: MayPass,
}

enum MayPass {
    No,
    /// For who came early.
    IfFilesChange,
    Yes,
}

impl App {
    /// # Errors
    /// What is wrong. Nothing, when files had changed and somebody asked for a reload before they were good.
    pub(super) async fn reload(&mut self, trigger: Trigger) -> Result<(), Vec<String>> {
        let deadline = Instant::now() + RETRY_FOR;
        loop {
            let Err(NotYet { problems, may_pass }) = self.try_reload().await else { return Ok(()) };
            let is_final = match may_pass {
                MayPass::No => true,
                MayPass::IfFilesChange => trigger == Trigger::Asked,
                MayPass::Yes => false,
            };
            if is_final || Instant::now() >= deadline || self.is_to_end() {
                return Err(problems);
            }
            if trigger == Trigger::FilesChanged && self.is_asked() {
                return Err(Vec::new());
            }
            self.wait_for_commands().await;
        }
    }

    async fn try_reload(&mut self) -> Result<(), NotYet> {
        // Before they are read: what changes from now on is a change.
        let file = Look::at(self.file.clone());
        let loaded = (self.load)();
        let files = watch::files(loaded.as_ref().map_or(&self.config, |valid| &valid.config));
        self.looked.send_replace(Arc::new(Look::at(files).and(file)));
        let Valid { config, effective } =
            loaded.map_err(|problems| NotYet { problems, may_pass: MayPass::IfFilesChange })?;
        let fixed = what_cannot_change(&self.config, &config);
        if !fixed.is_empty() {
            return Err(NotYet { problems: fixed, may_pass: MayPass::No });
        }
        let generation = self.generation + 1;
        let running = self.proxy.snapshot();
        let built = build::build(&config, Some(&running), generation, &self.clock).await;
        let built = built.map_err(|refused| NotYet {
            problems: refused.problems,
            may_pass: if refused.may_pass { MayPass::Yes } else { MayPass::IfFilesChange },
        })?;
        let failed = explain::failures(&config, built.snapshot.profiles().host_trust(), self.clock.now());
        if !failed.is_empty() {
            return Err(NotYet { problems: failed, may_pass: MayPass::No });
        }
        let (added, health) = self.bind_new(&config).map_err(|problems| NotYet { problems, may_pass: MayPass::No })?;
        // From here on nothing can fail.
        let acceptor = Acceptor {
            proxy: Arc::clone(&self.proxy),
            slots: self.slots.clone(),
            connections: self.connections.clone(),
        };
        self.generation = generation;
        self.proxy.publish(built.snapshot);
        self.in_force.store(InForce::new(generation, &effective, &self.clock));
        self.log.adjust(config.logs);
        self.slots.resize(limits::effective_connections(config.listener.max_connections, self.open_files));
        for listener in added {
            self.listeners.push(acceptor.serve_tls(listener.0, listener.1));
        }
        self.listeners.retain(|running| config.listener.addresses.contains(&running.configured()));
        match (health, &config.health) {
            (Some((configured, listener)), _) => self.health = Some(acceptor.serve_health(configured, listener)),
            (None, None) => self.health = None,
            (None, Some(_)) => {}
        }
        for note in &built.notes {
            tracing::warn!("{note}");
        }
        shadow::announce(&config);
        self.config = config;
        Ok(())
    }

    /// Waits before the next try. Other reloads have time; the end has not.
    async fn wait_for_commands(&mut self) {
        let until = Instant::now() + RETRY_EVERY;
        while !self.is_to_end() {
            match timeout_at(until, self.commands.recv()).await {
                Ok(Some(Command::Reload(reply))) if self.waiting.len() >= MOST_WAITING => {
                    // Those that wait will read the same files.
                    let _ = reply.send(Err(vec!["other reloads are waiting already".to_owned()]));
                }
                Ok(Some(command)) => self.waiting.push_back(command),
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn is_asked(&self) -> bool {
        self.waiting.iter().any(|command| matches!(command, Command::Reload(_)))
    }

    fn is_to_end(&self) -> bool {
        self.waiting.iter().any(|command| matches!(command, Command::Shutdown(_)))
    }

    /// New addresses are bound before anything is changed.
    fn bind_new(
        &self,
        config: &Config,
    ) -> Result<(Vec<(std::net::SocketAddr, Listener)>, Option<(std::net::SocketAddr, Listener)>), Vec<String>> {
        let mut problems = Vec::new();
        let mut added = Vec::new();
        for address in &config.listener.addresses {
            if self.listeners.iter().any(|running| running.configured() == *address) {
                continue;
            }
            match serve::bind(*address, "listener") {
                Ok(listener) => added.push((*address, listener)),
                Err(problem) => problems.push(problem),
            }
        }
        let mut health = None;
        if let Some(settings) = &config.health
            && self.health.as_ref().map(AcceptLoop::configured) != Some(settings.address)
        {
            match serve::bind(settings.address, "health") {
                Ok(listener) => health = Some((settings.address, listener)),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok((added, health)) } else { Err(problems) }
    }
}

/// Tells the operator how a reload went, and counts it.
pub(super) fn report(outcome: &Result<(), Vec<String>>, reloads: &Counters<Reloaded>) {
    match outcome {
        Ok(()) => {
            reloads.count(Reloaded::Success);
            tracing::info!("the configuration was reloaded");
        }
        // Somebody else has asked for it meanwhile, and that one counts.
        Err(problems) if problems.is_empty() => {}
        Err(problems) => {
            reloads.count(Reloaded::Refused);
            for problem in problems {
                tracing::error!("reload refused, the old configuration stays in force: {problem}");
            }
        }
    }
}

impl Label for Reloaded {
    const NAME: &'static str = "result";
    const ALL: &'static [Self] = &[Self::Success, Self::Refused];

    fn index(self) -> usize {
        self as usize
    }

    fn value(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Refused => "refused",
        }
    }
}

fn what_cannot_change(old: &Config, new: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    if old.workers != new.workers {
        keys.push("[runtime] workers");
    }
    if old.logs.format != new.logs.format {
        keys.push("[logs] format");
    }
    if old.admin != new.admin {
        keys.push("[admin] address");
    }
    keys.into_iter().map(|key| format!("{key} cannot be changed by a reload; restart the gateway")).collect()
}
