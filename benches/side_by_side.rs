//! CPU time per keep-alive mTLS request, the gateway beside nginx: same certificates, same upstream, one core for the
//! one measured, the other for load and upstream, rounds interleaved.
//!
//! `cargo bench --bench side_by_side`; needs Debian's `nginx-light` and `taskset`. Prints microseconds of CPU per
//! request and the ratio. Wall time says nothing on a shared machine, so none is printed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measuring tool: what goes wrong is said by a panic"
)]

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mtls_gateway::clock::Clock;
use mtls_gateway::pki::{AuthorityRequest, ClientRequest, Overwrite, ServerRequest, Store, parse_server_name};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const CONNECTIONS: usize = 32;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().join("certs");
    make_certificates(&certs);
    let upstream = free_address();
    let _upstream = Running(
        pinned(1, "nginx").arg("-c").arg(configured("upstream.conf", &folder, &certs, upstream, 0)).spawn().unwrap(),
    );
    let nginx = free_address();
    let nginx_config = configured("nginx.conf", &folder, &certs, upstream, nginx.port());
    let nginx_process = Running(pinned(0, "nginx").arg("-c").arg(nginx_config).spawn().unwrap());
    let gateway = free_address();
    let gateway_process = |access_log: bool| {
        let log = fs::File::create(folder.path().join("gateway.log")).unwrap();
        Running(
            pinned(0, env!("CARGO_BIN_EXE_gateway"))
                .args(["run", "--workers", "1", "--log-format", "json", "--access-log", &access_log.to_string()])
                .args(["--drain-delay", "0s"])
                .arg("--listen")
                .arg(gateway.to_string())
                .arg("--upstream")
                .arg(format!("http://{upstream}"))
                .arg("--tls-certificate")
                .arg(certs.join("server.crt"))
                .arg("--tls-private-key")
                .arg(certs.join("server.key"))
                .arg("--client-ca")
                .arg(certs.join("ca.crt"))
                .stdout(log)
                .spawn()
                .unwrap(),
        )
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connector = connector(&certs);
    let mut ratios = Vec::new();
    println!("CPU µs per request, keep-alive mTLS HTTP/1.1, {CONNECTIONS} connections");
    println!("{:>8} {:>8} {:>8} {:>14}", "nginx", "gateway", "ratio", "with its log");
    for _ in 0..ROUNDS {
        let peer = runtime.block_on(measure(&connector, nginx, &nginx_process));
        let silent = gateway_process(false);
        let ours = runtime.block_on(measure(&connector, gateway, &silent));
        drop(silent);
        let logging = gateway_process(true);
        let logged = runtime.block_on(measure(&connector, gateway, &logging));
        drop(logging);
        ratios.push(ours / peer);
        println!("{peer:>8.2} {ours:>8.2} {:>8.3} {logged:>14.2}", ours / peer);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio to nginx without logs: {:.3}", ratios[ratios.len() / 2]);
}

async fn measure(connector: &TlsConnector, address: SocketAddr, process: &Running) -> f64 {
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).await.is_err() {
        assert!(Instant::now() < deadline, "{address} does not listen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), socket).await.unwrap();
        request(&mut stream).await;
        connections.push(stream);
    }
    let before = process.cpu();
    let end = Instant::now() + ROUND;
    let mut tasks = tokio::task::JoinSet::new();
    for mut stream in connections {
        tasks.spawn(async move {
            let mut count = 0_u64;
            while Instant::now() < end {
                request(&mut stream).await;
                count += 1;
            }
            count
        });
    }
    let requests: u64 = tasks.join_all().await.into_iter().sum();
    (process.cpu() - before).as_secs_f64() * 1e6 / requests as f64
}

async fn request(stream: &mut tokio_rustls::client::TlsStream<TcpStream>) {
    stream
        .write_all(b"GET /api/hello HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nUser-Agent: bench\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 4096];
    let mut filled = 0;
    while !answer[..filled].ends_with(b"hello from the upstream\n") {
        let read = stream.read(&mut answer[filled..]).await.unwrap();
        assert!(read > 0 && answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..filled]));
        filled += read;
    }
}

fn make_certificates(folder: &Path) {
    let store = Store::new(folder, Clock::system());
    store.init(&AuthorityRequest::new(None), Overwrite::Refuse).unwrap();
    let server = ServerRequest::new(vec![parse_server_name("localhost").unwrap()]);
    store.issue_server(&server, Overwrite::Refuse).unwrap();
    store.issue_client(&ClientRequest::new("client-1".parse().unwrap()), Overwrite::Refuse).unwrap();
}

fn connector(certs: &Path) -> TlsConnector {
    let chain =
        |name: &str| CertificateDer::pem_file_iter(certs.join(name)).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(chain("ca.crt"));
    let key = PrivateKeyDer::from_pem_file(certs.join("clients/client-1.key")).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain("clients/client-1.crt"), key)
        .unwrap();
    TlsConnector::from(Arc::new(config))
}

fn configured(
    name: &str,
    folder: &tempfile::TempDir,
    certs: &Path,
    upstream: SocketAddr,
    port: u16,
) -> std::path::PathBuf {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(name);
    let text = fs::read_to_string(template)
        .unwrap()
        .replace("FOLDER", &folder.path().display().to_string())
        .replace("CERTS", &certs.display().to_string())
        .replace("UPSTREAM", &upstream.to_string())
        .replace("PORT", &port.to_string());
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn pinned(core: usize, program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(program).stderr(Stdio::null());
    command
}

/// A process that ends with this.
struct Running(Child);

impl Running {
    /// CPU time of the process and its children.
    fn cpu(&self) -> Duration {
        let mut total = process_cpu(self.0.id());
        let children = format!("/proc/{0}/task/{0}/children", self.0.id());
        for child in fs::read_to_string(children).unwrap_or_default().split_whitespace() {
            total += process_cpu(child.parse().unwrap());
        }
        total
    }
}

/// Fields 14 and 15 of `/proc/PID/stat`, in ticks of 10 ms.
fn process_cpu(id: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let after_name = &text[text.rfind(')').unwrap() + 2..];
    let fields: Vec<_> = after_name.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg("-TERM").arg(self.0.id().to_string()).status();
        if !wait(&mut self.0, Duration::from_secs(7)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

fn wait(child: &mut Child, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if child.try_wait().is_ok_and(|status| status.is_some()) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}
