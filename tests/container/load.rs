//! Constant load over keep-alive mTLS connections, counting what is lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Answers by the replica that gave them.
type Replicas = Arc<Mutex<BTreeMap<String, usize>>>;

const CLIENTS: usize = 4;
/// Longer than any answer may take: a connect timeout of the gateway's, and then some.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the load went.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answers with status 200.
    pub answered: usize,
    /// Other answers, and requests that were sent and got none.
    pub lost: Vec<String>,
    /// TCP connections that could not be had, or ended before the handshake did.
    pub refused: usize,
    /// Connections that were used.
    pub connections: usize,
}

/// Load that goes on until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    replicas: Replicas,
    clients: JoinSet<Tally>,
}

/// What a client needs to call the gateway.
#[derive(Clone)]
pub struct Caller {
    address: SocketAddr,
    connector: TlsConnector,
}

impl Caller {
    /// With the certificates of this folder.
    pub fn new(address: SocketAddr, certs: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certs.join("ca.crt")).unwrap()).unwrap();
        let chain = vec![CertificateDer::from_pem_file(certs.join("clients/client-1.crt")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(certs.join("clients/client-1.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        Self { address, connector: TlsConnector::from(Arc::new(config)) }
    }

    /// The certificate that the gateway shows.
    pub async fn server_certificate(&self) -> CertificateDer<'static> {
        let socket = TcpStream::connect(self.address).await.unwrap();
        let stream = self.connector.connect(ServerName::try_from("localhost").unwrap(), socket).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }

    async fn connect(&self) -> std::io::Result<SendRequest<Full<Bytes>>> {
        let socket = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = timeout(PATIENCE, self.connector.connect(name, socket)).await??;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Asks on and on who answers, over as few connections as the gateway lets it.
    async fn ask(self, stop: Arc<AtomicBool>, replicas: Replicas) -> Tally {
        let mut tally = Tally::default();
        let mut kept = None;
        while !stop.load(Ordering::Relaxed) {
            let mut sender = match kept.take() {
                Some(sender) => sender,
                None => match self.connect().await {
                    Ok(sender) => {
                        tally.connections += 1;
                        sender
                    }
                    Err(_) => {
                        tally.refused += 1;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                },
            };
            match timeout(PATIENCE, Self::answer(&mut sender)).await {
                Ok(Ok(replica)) => {
                    tally.answered += 1;
                    *replicas.lock().unwrap().entry(replica).or_default() += 1;
                    // hyper's connection learns of `Connection: close` with the answer.
                    if sender.ready().await.is_ok() {
                        kept = Some(sender);
                    }
                }
                Ok(Err(problem)) => tally.lost.push(problem),
                Err(_) => tally.lost.push(format!("no answer within {PATIENCE:?}")),
            }
        }
        tally
    }

    /// Which replica answered.
    async fn answer(sender: &mut SendRequest<Full<Bytes>>) -> Result<String, String> {
        let request = Request::get("/api/whoami").header("host", "localhost").body(Full::default()).unwrap();
        let answer = sender.send_request(request).await.map_err(|error| format!("{error:?}"))?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| format!("cut short: {error:?}"))?.to_bytes();
        if status != 200 {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body)));
        }
        let body: serde_json::Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        assert_eq!(body["client"]["subject"], "CN=client-1");
        Ok(body["replica"].as_str().unwrap().to_owned())
    }
}

impl Load {
    pub fn start(caller: &Caller) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let replicas = Replicas::default();
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(caller.clone().ask(Arc::clone(&stop), Arc::clone(&replicas)));
        }
        Self { stop, replicas, clients }
    }

    /// Which replicas have answered since the last time this was asked.
    pub fn replicas(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut *self.replicas.lock().unwrap())
    }

    /// Lets the requests under way end.
    pub async fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Tally::default();
        for tally in self.clients.join_all().await {
            sum.answered += tally.answered;
            sum.lost.extend(tally.lost);
            sum.refused += tally.refused;
            sum.connections += tally.connections;
        }
        sum
    }
}
