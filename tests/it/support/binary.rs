//! The real program, as a process of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Pki;

/// A running `gateway run`; dropping it kills it.
pub struct Binary {
    child: Child,
    pub address: SocketAddr,
    pub pki: Pki,
    pub config: PathBuf,
    lines: Arc<Mutex<Vec<String>>>,
}

/// The program, with a clean environment.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GATEWAY_")) {
        command.env_remove(name);
    }
    command.env_remove("RUST_LOG");
    command
}

/// An address that was free a moment ago.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port(&[[127, 0, 0, 1].into()])))
}

/// A port that was free a moment ago at all these addresses. It is below those that the system gives to clients: one
/// of them could take it, and a client that asks whether somebody listens there could meet itself.
pub fn free_port(addresses: &[IpAddr]) -> u16 {
    loop {
        let port = fastrand::u16(15_000..30_000);
        if addresses.iter().all(|address| TcpListener::bind((*address, port)).is_ok()) {
            return port;
        }
    }
}

/// Runs the program to its end, which has to come soon.
pub fn run_to_end(command: &mut Command) -> Output {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it does not end: {:?}", child.wait_with_output().unwrap());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

impl Binary {
    /// Starts the program and waits until it serves. `more` is appended to the configuration.
    pub fn start(more: &str) -> Self {
        let mut binary = Self::start_unread(more);
        let stdout = binary.child.stdout.take().unwrap();
        let lines = Arc::clone(&binary.lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        binary
    }

    /// Starts the program with nobody to read what it says.
    pub fn start_unread(more: &str) -> Self {
        let pki = Pki::new();
        let address = free_address();
        let config = pki.path("gateway.toml");
        let base = super::gateway::base(&pki).replacen("127.0.0.1:0", &address.to_string(), 1);
        std::fs::write(&config, format!("{base}{more}")).unwrap();
        let child = program()
            .args(["run", "-c"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let binary = Self { child, address, pki, config, lines: Arc::default() };
        binary.wait_until_it_serves()
    }

    fn wait_until_it_serves(mut self) -> Self {
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended with {status}: {}", self.stderr());
            }
            assert!(Instant::now() < deadline, "it does not begin to serve");
            std::thread::sleep(Duration::from_millis(10));
        }
        self
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([format!("-{name}"), pid]).status().unwrap().success());
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it said on standard error; it has to have ended.
    pub fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// Its standard output, when nobody reads it.
    pub fn stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().unwrap()
    }

    /// Every line of its log so far.
    pub fn log(&self) -> Vec<Value> {
        let lines = self.lines.lock().unwrap().clone();
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }

    /// Waits for a line.
    pub fn logged(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(line) = self.log().into_iter().find(|line| fits(line)) {
                return line;
            }
            assert!(Instant::now() < deadline, "was not logged: {what}; {:?}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a tool is here. Where everything is to be tested, it has to be.
pub fn have(tool: &str) -> bool {
    let here = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| Path::new(&folder).join(tool).is_file()));
    assert!(here || std::env::var_os("CI").is_none(), "{tool} is needed for this test");
    if !here {
        eprintln!("skipped: {tool} is not installed");
    }
    here
}
