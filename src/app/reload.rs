//! Reload: all or nothing. A set that is bad in any part is refused, and the old one serves on.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::serve::{self, AcceptLoop, Acceptor};
use super::{App, Command, build, limits};
use crate::config::Config;
use crate::listen::Listener;

/// A certificate and its key are two files, and whoever replaces them does so one after the other.
const RETRY_FOR: Duration = Duration::from_secs(5);
const RETRY_EVERY: Duration = Duration::from_millis(250);
/// Commands that may wait for a reload to end.
const MOST_WAITING: usize = 8;

impl App {
    pub(super) async fn reload(&mut self) -> Result<(), Vec<String>> {
        let config = (self.load)()?;
        let fixed = what_cannot_change(&self.config, &config);
        if !fixed.is_empty() {
            return Err(fixed);
        }
        let generation = self.generation + 1;
        let built = self.build_patiently(&config, generation).await?;
        let (added, health) = self.bind_new(&config)?;
        // From here on nothing can fail.
        let acceptor = Acceptor {
            proxy: Arc::clone(&self.proxy),
            slots: self.slots.clone(),
            connections: self.connections.clone(),
        };
        self.generation = generation;
        self.proxy.publish(built.snapshot);
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
        self.config = config;
        Ok(())
    }

    async fn build_patiently(&mut self, config: &Config, generation: u64) -> Result<build::Built, Vec<String>> {
        let deadline = Instant::now() + RETRY_FOR;
        loop {
            let running = self.proxy.snapshot();
            match build::build(config, running.clusters(), generation) {
                Ok(built) => return Ok(built),
                Err(refused) if refused.may_pass && Instant::now() < deadline && !self.is_to_end() => {
                    self.wait_for_commands().await;
                }
                Err(refused) => return Err(refused.problems),
            }
        }
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

    fn is_to_end(&self) -> bool {
        self.waiting.iter().any(|command| matches!(command, Command::Shutdown))
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

/// Tells the operator how a reload went.
pub(super) fn report(outcome: &Result<(), Vec<String>>) {
    match outcome {
        Ok(()) => tracing::info!("the configuration was reloaded"),
        Err(problems) => {
            for problem in problems {
                tracing::error!("reload refused, the old configuration stays in force: {problem}");
            }
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
    keys.into_iter().map(|key| format!("{key} cannot be changed by a reload; restart the gateway")).collect()
}
