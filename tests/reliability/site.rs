//! The gateway as a process of its own, in front of endpoints that are found by name.

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::endpoint::Endpoint;
use crate::names::{NAME, Names, Says};
use crate::support::binary::program;
use crate::support::{Client, Pki, eventually};

/// How long an endpoint may take to take a connection, in these tests.
pub const CONNECT: Duration = Duration::from_millis(500);
/// And to begin to answer.
pub const FIRST_BYTE: Duration = Duration::from_secs(1);

/// A gateway and everything around it.
pub struct Site {
    pub pki: Pki,
    pub names: Names,
    pub gateway: Gateway,
    /// Has a certificate that is let in.
    pub client: Client,
    /// The endpoints' port.
    port: u16,
}

/// A process of `gateway run`; dropping it kills it.
pub struct Gateway {
    child: Child,
    admin: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Site {
    /// A gateway in front of an endpoint at each of these addresses, and ready.
    pub async fn start(hosts: &[&str]) -> (Self, Vec<Endpoint>) {
        let site = Self::unresolved("").await;
        let endpoints = site.endpoints(hosts).await;
        site.names.set(&ips(&endpoints));
        site.is_ready().await;
        (site, endpoints)
    }

    /// A gateway that has found nothing behind its upstream's name yet. `more` is appended to its configuration.
    pub async fn unresolved(more: &str) -> Self {
        let pki = Pki::new();
        let names = Names::start(Says::NoSuchName).await;
        let port = endpoint_port();
        let config = pki.path("gateway.toml");
        let text = format!(
            "[listener]\naddress = \"127.0.0.1:0\"\n[tls]\ncertificate = {:?}\nprivate_key = {:?}\n[client_auth]\nca = \
             [{:?}]\n[drain]\ndelay = \"6s\"\ntimeout = \"20s\"\n[admin]\naddress = \"127.0.0.1:0\"\n[upstream.api]\nurl = \
             \"http://{NAME}:{port}\"\n[upstream.api.dns]\nresolvers = [\"{}\"]\nmin_ttl = \"100ms\"\nmax_ttl = \
             \"1s\"\n[upstream.api.timeouts]\nconnect = \"{}ms\"\nfirst_byte = \"{}ms\"\n{more}",
            pki.path("server.crt"),
            pki.path("server.key"),
            pki.path("ca.crt"),
            names.address,
            CONNECT.as_millis(),
            FIRST_BYTE.as_millis(),
        );
        std::fs::write(&config, text).unwrap();
        let mut child = program()
            .args(["run", "-c"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let (stdout, lines) = (child.stdout.take().unwrap(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        let serves = eventually("the gateway's start", async || {
            let lines = log.lock().unwrap().clone();
            let mut lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| line["message"] == "the gateway serves")
        })
        .await;
        let [address, admin] = ["addresses", "admin"].map(|field| serves[field].as_str().unwrap().parse().unwrap());
        let gateway = Gateway { child, admin, log };
        let client = Client::new(&pki, address).with(&pki.client("client-1"));
        Self { pki, names, gateway, client, port }
    }

    /// An endpoint at each of these addresses; its name does not stand for them yet.
    pub async fn endpoints(&self, hosts: &[&str]) -> Vec<Endpoint> {
        let mut endpoints = Vec::new();
        for host in hosts {
            endpoints.push(Endpoint::start(self.at(host.parse().unwrap())).await);
        }
        endpoints
    }

    /// This address and the endpoints' port.
    pub fn at(&self, address: IpAddr) -> SocketAddr {
        SocketAddr::new(address, self.port)
    }

    /// Waits until the gateway has an endpoint.
    pub async fn is_ready(&self) {
        eventually("readiness", async || (self.gateway.asked("GET", "/ready").await.0 == 200).then_some(())).await;
    }

    /// Waits until the gateway's endpoints are these.
    pub async fn follows(&self, endpoints: &[IpAddr]) {
        eventually("the gateway to follow the name", async || {
            let mut known = self.gateway.endpoints().await;
            known.retain(|endpoint| endpoint["state"] != "retired");
            let is_known =
                |address: &IpAddr| known.iter().any(|endpoint| endpoint["address"] == self.at(*address).to_string());
            (known.len() == endpoints.len() && endpoints.iter().all(is_known)).then_some(())
        })
        .await;
    }
}

impl Gateway {
    /// A question to the admin listener: status and JSON, or text as a JSON string.
    pub async fn asked(&self, method: &str, path: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.admin);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let body = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
        (head[9..12].parse().unwrap(), body)
    }

    /// The endpoints as `/upstreams` shows them.
    pub async fn endpoints(&self) -> Vec<Value> {
        let (_, shown) = self.asked("GET", "/upstreams").await;
        shown["upstreams"][0]["endpoints"].as_array().unwrap().clone()
    }

    /// How this endpoint is, in the gateway's words.
    pub async fn state_of(&self, address: SocketAddr) -> Option<String> {
        let endpoints = self.endpoints().await;
        let endpoint = endpoints.iter().find(|endpoint| endpoint["address"] == address.to_string())?;
        endpoint["state"].as_str().map(str::to_owned)
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([format!("-{name}"), pid]).status().unwrap().success());
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        for _ in 0..3000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it does not end");
    }

    /// Its log lines that hold this text.
    pub fn logged(&self, text: &str) -> Vec<String> {
        self.log.lock().unwrap().iter().filter(|line| line.contains(text)).cloned().collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port for endpoints that no other test of this process has, free at the addresses that are used most.
fn endpoint_port() -> u16 {
    static FIRST: LazyLock<u16> = LazyLock::new(|| fastrand::u16(15_000..29_000));
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let port = *FIRST + NEXT.fetch_add(1, Ordering::SeqCst) % 1000;
        if [11, 12, 13].iter().all(|host| TcpListener::bind((Ipv4Addr::new(127, 0, 0, *host), port)).is_ok()) {
            return port;
        }
    }
}

/// The addresses of endpoints, for the DNS server.
pub fn ips(endpoints: &[Endpoint]) -> Vec<IpAddr> {
    endpoints.iter().map(|endpoint| endpoint.address.ip()).collect()
}
