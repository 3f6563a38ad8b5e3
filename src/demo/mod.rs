//! Everything on one machine: a throw-away PKI, a small API found through a DNS server of its own, and the gateway in
//! front of it. For a first look, and for checking that an installation works.

mod names;
mod upstream;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::app::{App, Control};
use crate::clock::Clock;
use crate::config::{self, Overrides, Source, Valid};
use crate::pki::{AuthorityRequest, ClientRequest, Overwrite, ServerRequest, Store};
use crate::probe::{self, Answer, Question};
use crate::telemetry::{self, Log, LogSink, LogWriter, loss_line};
use crate::tls::{Connector, PemSource, ServerTrust};

/// The name that the API is found by.
const UPSTREAM_NAME: &str = "api.teste-api.local";
/// What a client posts.
const JSON: &str = r#"{"event":"hello"}"#;
const DEADLINE: Duration = Duration::from_secs(10);

/// A demo that is running.
pub struct Demo {
    /// Where the gateway listens.
    pub address: SocketAddr,
    folder: TempDir,
    control: Control,
    gateway: JoinHandle<()>,
    _names: names::NameServer,
    _upstream: upstream::Upstream,
    _writer: LogWriter,
}

/// What to run.
#[derive(Debug)]
pub struct Settings {
    /// Where to listen; when another program is there, a free port is taken.
    pub listen: SocketAddr,
    /// Where log lines go; `None` is nowhere.
    pub log: Option<telemetry::Settings>,
}

/// One of the three requests, and what should come of it.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What it shows.
    pub title: &'static str,
    /// Its path.
    pub path: &'static str,
    /// The JSON it posts, if it posts.
    pub json: Option<&'static str>,
    /// Whether it shows the client certificate.
    pub with_certificate: bool,
    /// The status that should come back.
    pub expected: u16,
}

/// The three checks of the system that the gateway replaces.
pub const CASES: [Case; 3] = [
    Case { title: "the health check, by anybody", path: "/health", json: None, with_certificate: false, expected: 200 },
    Case {
        title: "the API, without a certificate",
        path: "/api/webhook",
        json: Some(JSON),
        with_certificate: false,
        expected: 403,
    },
    Case { title: "the API, with one", path: "/api/webhook", json: Some(JSON), with_certificate: true, expected: 200 },
];

impl Demo {
    /// Makes the certificates and starts everything.
    ///
    /// # Errors
    /// Sentences that tell what could not be done.
    pub async fn start(settings: &Settings) -> Result<Self, Vec<String>> {
        let folder =
            tempfile::Builder::new().prefix("gateway-demo-").tempdir().map_err(because("cannot make a folder"))?;
        let clock = Clock::system();
        make_certificates(folder.path(), &clock).map_err(|problem| vec![problem])?;
        let upstream = upstream::Upstream::start().await.map_err(because("cannot start the API"))?;
        let names = names::NameServer::start(UPSTREAM_NAME, Ipv4Addr::LOCALHOST)
            .await
            .map_err(because("cannot start the DNS server"))?;
        let config = |listen| configuration(folder.path(), listen, upstream.port(), names.address());
        let (mut log_settings, output): (_, Box<dyn io::Write + Send>) = match settings.log {
            Some(log) => (log, Box::new(io::stdout())),
            None => (
                telemetry::Settings { format: telemetry::LogFormat::Json, access: false, health: false },
                Box::new(io::sink()),
            ),
        };
        log_settings.health = true;
        let losses = clock.clone();
        let (sink, writer) = LogSink::start(output, move |count| loss_line(log_settings.format, &losses, count))
            .map_err(because("cannot start the log"))?;
        let log = Log::new(sink, log_settings, clock.clone());
        let start = async |listen| {
            let load = Box::new(|| Err(vec!["the demo has no configuration to reload".to_owned()]));
            App::start(config(listen)?, load, clock.clone(), log.clone()).await
        };
        let app = match start(settings.listen).await {
            Ok(app) => app,
            Err(_) => start(SocketAddr::new(settings.listen.ip(), 0)).await?,
        };
        let address = app.addresses().first().copied().unwrap_or(settings.listen);
        let control = app.control();
        let gateway = tokio::spawn(app.run());
        Ok(Self { address, folder, control, gateway, _names: names, _upstream: upstream, _writer: writer })
    }

    /// Where the certificates are.
    pub fn certificates(&self) -> &Path {
        self.folder.path()
    }

    /// The URL of a case.
    pub fn url(&self, case: &Case) -> String {
        format!("https://localhost:{}{}", self.address.port(), case.path)
    }

    /// A case as a line for the shell.
    pub fn curl(&self, case: &Case) -> String {
        let folder = self.folder.path().display();
        let mut line = format!("curl -i --cacert {folder}/ca.crt");
        if case.with_certificate {
            line += &format!(" --cert {folder}/clients/client-1.crt --key {folder}/clients/client-1.key");
        }
        if let Some(json) = case.json {
            line += &format!(" -H 'Content-Type: application/json' -d '{json}'");
        }
        format!("{line} {}", self.url(case))
    }

    /// Makes a case's request.
    ///
    /// # Errors
    /// A sentence when there is no answer at all.
    pub async fn ask(&self, case: &Case) -> Result<Answer, String> {
        let file = |name: &str| PemSource::File(self.folder.path().join(name));
        let trust = ServerTrust::Authorities(file("ca.crt"));
        let (chain, key) = (file("clients/client-1.crt"), file("clients/client-1.key"));
        let identity = case.with_certificate.then_some((&chain, &key));
        let connector = Connector::new(&trust, identity).map_err(|error| error.to_string())?;
        let url = self.url(case);
        probe::ask(&Question { json: case.json, url: &url, tls: Some(&connector), deadline: DEADLINE }).await
    }

    /// Ends everything; the folder goes, too.
    pub async fn stop(self) {
        self.control.shut_down().await;
        let _ = self.gateway.await;
    }
}

impl std::fmt::Debug for Demo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Demo").field("address", &self.address).finish_non_exhaustive()
    }
}

fn because(what: &'static str) -> impl Fn(io::Error) -> Vec<String> {
    move |error| vec![format!("{what}: {error}")]
}

fn make_certificates(folder: &Path, clock: &Clock) -> Result<(), String> {
    let store = Store::new(folder, clock.clone());
    let client = "client-1".parse().map_err(|error| format!("client-1: {error}"))?;
    store
        .init(&AuthorityRequest::new(None), Overwrite::Refuse)
        .and_then(|_| store.issue_server(&ServerRequest::new(Vec::new()), Overwrite::Refuse))
        .and_then(|_| store.issue_client(&ClientRequest::new(client), Overwrite::Refuse))
        .map(|_| ())
        .map_err(|error| error.to_string())
}

fn configuration(
    folder: &Path,
    listen: SocketAddr,
    upstream_port: u16,
    resolver: SocketAddr,
) -> Result<Valid, Vec<String>> {
    let file = |name: &str| -> PathBuf { folder.join(name) };
    let text = format!(
        "[listener]\naddress = \"{listen}\"\n[tls]\ncertificate = {:?}\nprivate_key = {:?}\n[client_auth]\nca = {:?}\n\
         [upstream.api]\nurl = \"http://{UPSTREAM_NAME}:{upstream_port}\"\n[upstream.api.dns]\nresolvers = \
         [\"{resolver}\"]\n[drain]\ndelay = \"0s\"\ntimeout = \"5s\"\n[admin]\naddress = \"off\"\n",
        file("server.crt"),
        file("server.key"),
        file("ca.crt"),
    );
    let source = Source { name: "the demo's configuration".into(), text };
    config::load(Some(&source), &Overrides::default(), &|_| None, false).valid()
}
