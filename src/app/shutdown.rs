//! The end: announced, then closing, then cut.

use tokio::time::{Instant, sleep_until, timeout};

use super::{App, Asker, Command};
use crate::drain::Phase;

/// How long connections may take to notice that they were cut, and write their last log line.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(1);

impl App {
    pub(super) async fn shut_down(mut self, mut asker: Asker) {
        let begun = Instant::now();
        // Whoever waits for a reload is told that there is none.
        self.waiting.clear();
        let settings = self.config.drain;
        self.drain.enter(Phase::Announced);
        tracing::info!(delay = ?settings.delay, timeout = ?settings.timeout, "draining");
        let hurried = tokio::select! {
            () = sleep_until(begun + settings.delay) => false,
            () = second_signal(&mut self.commands, &mut asker) => true,
        };
        self.listeners.clear();
        self.connections.close();
        if !hurried {
            self.drain.enter(Phase::Closing);
            tokio::select! {
                () = self.connections.wait() => {}
                () = sleep_until(begun + settings.timeout) => {}
                () = second_signal(&mut self.commands, &mut asker) => {}
            }
        }
        let left = self.connections.len();
        self.drain.enter(Phase::Cut);
        let _ = timeout(LAST_WORDS, self.connections.wait()).await;
        tracing::info!(cut = left, "drained");
    }
}

/// A reload during a drain is refused: its asker sees the channel close. `asker` is who was heard last.
async fn second_signal(commands: &mut tokio::sync::mpsc::Receiver<Command>, asker: &mut Asker) {
    while let Some(command) = commands.recv().await {
        if let Command::Shutdown(Asker::Signal) = command
            && std::mem::replace(asker, Asker::Signal) == Asker::Signal
        {
            return;
        }
    }
    std::future::pending().await
}
