//! The stack of `compose.yaml` under a project name of its own, on a port that Docker chooses.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::docker::{docker, inspect, run, text};
use super::load::Caller;

/// A stack that is taken down with this.
pub struct Stack {
    project: String,
    certs: TempDir,
    address: OnceLock<SocketAddr>,
}

impl Stack {
    /// Brings everything up, waits until both replicas answer, and fetches the certificates out of the volume.
    pub fn up(name: &str) -> Self {
        let project = format!("gateway-test-{name}-{}", std::process::id());
        let stack = Self { project, certs: tempfile::tempdir().unwrap(), address: OnceLock::new() };
        stack.compose(&["up", "-d", "--no-build"]);
        let gateway = stack.gateway();
        for file in ["ca.crt", "clients"] {
            let from = format!("{gateway}:/certs/{file}");
            docker(["cp", &from, stack.certs().to_str().unwrap()]);
        }
        stack.until_healthy(2);
        stack
    }

    /// docker-compose on this stack.
    #[track_caller]
    pub fn compose(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("docker-compose");
        command.args(["-p", &self.project]).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
        // Empty: Docker chooses a free port.
        command.env("GATEWAY_PORT", "");
        text(run(&mut command))
    }

    /// The containers of a service.
    #[track_caller]
    pub fn containers(&self, service: &str) -> Vec<String> {
        self.compose(&["ps", "-q", service]).lines().map(str::to_owned).collect()
    }

    #[track_caller]
    pub fn gateway(&self) -> String {
        self.containers("gateway").pop().expect("a gateway")
    }

    /// Where Docker publishes the gateway.
    pub fn address(&self) -> SocketAddr {
        *self.address.get_or_init(|| {
            let address: SocketAddr = self.compose(&["port", "gateway", "8443"]).trim().parse().unwrap();
            assert!(address.ip().is_loopback(), "{address} is open to others");
            address
        })
    }

    /// Where `ca.crt` and `clients/` are.
    pub fn certs(&self) -> &Path {
        self.certs.path()
    }

    pub fn caller(&self) -> Caller {
        Caller::new(self.address(), self.certs())
    }

    /// Until so many replicas, and the gateway, say that they are healthy.
    #[track_caller]
    pub fn until_healthy(&self, replicas: usize) {
        until("the stack is healthy", Duration::from_secs(60), || {
            let containers = [self.containers("api"), self.containers("gateway")].concat();
            containers.len() == replicas + 1 && containers.iter().all(|container| health(container) == "healthy")
        });
    }

    /// curl with these arguments; what it prints, and the status.
    #[track_caller]
    pub fn curl(&self, arguments: &[&str]) -> (u16, String) {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "20", "--noproxy", "*", "--cacert", "ca.crt", "-w", "\n%{http_code}"]);
        let (path, options) = arguments.split_last().unwrap();
        let url = format!("https://localhost:{}{path}", self.address().port());
        let printed = text(run(command.args(options).arg(url).current_dir(self.certs())));
        let (body, status) = printed.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.compose(&["logs", "--no-color"]);
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains(r#""event":"request""#)).collect();
            eprintln!("{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
        self.compose(&["down", "-v", "-t", "2"]);
    }
}

/// What Docker's health check says.
#[track_caller]
pub fn health(container: &str) -> String {
    inspect(container, "{{.State.Health.Status}}")
}

/// Looks every 50 ms; for how long it took.
#[track_caller]
pub fn until(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < patience, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    start.elapsed()
}
