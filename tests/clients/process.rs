//! Other people's programs as processes: few at a time, each with a deadline, and none left behind.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How many run at once; a browser is several processes by itself.
static PLACES: Semaphore = Semaphore::const_new(2);

/// What a program said.
#[derive(Debug)]
pub struct Ran {
    pub succeeded: bool,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Standard output of what must have gone well.
    #[track_caller]
    pub fn fine(self) -> String {
        assert!(self.succeeded, "{}{}", self.out, self.err);
        self.out
    }
}

/// Ends a process and those that it started.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Runs a program to its end. Its standard input has `input` and stays open until it ends: some take the end of their
/// input for the end of the conversation.
pub async fn run(command: &mut Command, input: &str, patience: Duration) -> Ran {
    let _place = PLACES.acquire().await.unwrap();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let leader = child.id().and_then(|id| Pid::from_raw(id.try_into().unwrap()));
    let mut group = Group(leader);
    let mut stdin = child.stdin.take().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let ended = timeout(patience, async {
        let write = async {
            // Who does not read all of it has ended already, and says why.
            let _ = stdin.write_all(input.as_bytes()).await;
            let _ = stdin.flush().await;
        };
        let (_, read_out, read_err) = tokio::join!(write, stdout.read_to_end(&mut out), stderr.read_to_end(&mut err));
        read_out.unwrap();
        read_err.unwrap();
        child.wait().await.unwrap()
    })
    .await;
    let [out, err] = [out, err].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let Ok(status) = ended else { panic!("no end within {patience:?}: {command:?}\n{out}\n{err}") };
    // The group is empty, and its number may become somebody else's.
    group.0 = None;
    Ran { succeeded: status.success(), out, err }
}
