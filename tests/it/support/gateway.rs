//! A gateway in this process, on free ports, whose log can be read and whose clock can be moved.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use mtls_gateway::app::{App, Control};
use mtls_gateway::clock::{Clock, ClockHand};
use mtls_gateway::config::{self, Overrides, Source, Valid};
use mtls_gateway::telemetry::{Log, LogFormat, LogSink, LogWriter};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{Pki, eventually};

/// A running gateway.
pub struct Gateway {
    pub address: SocketAddr,
    pub health: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
    pub control: Control,
    pub clock: ClockHand,
    lines: Lines,
    text: Arc<Mutex<String>>,
    running: Option<JoinHandle<()>>,
    _writer: LogWriter,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Gateway {
    /// Starts a gateway with the certificates of `pki`; `more` is appended to its configuration. Sections that the
    /// configuration already has are `[listener]`, `[tls]`, `[client_auth]`, `[drain]` and `[admin]`: see [`base`].
    pub async fn start(pki: &Pki, more: &str) -> Self {
        Self::start_with(&format!("{}\n{more}", base(pki))).await
    }

    /// Starts a gateway with this configuration and no other.
    pub async fn start_with(text: &str) -> Self {
        Self::try_start_with(text).await.unwrap_or_else(|problems| panic!("{}", problems.join("\n")))
    }

    pub async fn try_start_with(text: &str) -> Result<Self, Vec<String>> {
        let lines = Lines::default();
        let (sink, writer) = LogSink::start(lines.clone(), |_| Vec::new()).unwrap();
        let (clock, hand) = Clock::adjustable();
        let text = Arc::new(Mutex::new(text.to_owned()));
        let config = load(&text.lock().unwrap())?;
        let log = Log::new(sink, config.config.logs, clock.clone());
        let again = Arc::clone(&text);
        let reload = Box::new(move || load(&again.lock().unwrap()));
        let app = App::start(config, reload, clock, log).await?;
        Ok(Self {
            address: app.addresses()[0],
            health: app.health_address(),
            admin: app.admin_address(),
            control: app.control(),
            clock: hand,
            lines,
            text,
            running: Some(tokio::spawn(app.run())),
            _writer: writer,
        })
    }

    /// Replaces the configuration and reloads.
    pub async fn reload_with(&self, text: &str) -> Result<(), Vec<String>> {
        text.clone_into(&mut self.text.lock().unwrap());
        self.control.reload().await
    }

    /// The configuration in force, as text.
    pub fn configuration(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// Waits until the gateway has ended.
    pub async fn ended(&mut self) {
        self.running.take().unwrap().await.unwrap();
    }

    /// Every log line so far.
    pub fn log(&self) -> Vec<Value> {
        let bytes = self.lines.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }

    /// The first log line of this event that fits.
    pub async fn logged(&self, event: &str, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("a log line of the event {event}"), async || {
            self.log().into_iter().find(|line| line["event"] == event && fits(line))
        })
        .await
    }
}

/// `[listener]`, `[tls]`, `[client_auth]`, `[drain]` and `[admin]` for a test. The drain has no delay.
pub fn base(pki: &Pki) -> String {
    format!(
        "[listener]\naddress = \"127.0.0.1:0\"\n[tls]\ncertificate = {:?}\nprivate_key = {:?}\n[client_auth]\nca = \
         [{:?}]\n[drain]\ndelay = \"0s\"\ntimeout = \"5s\"\n[admin]\naddress = \"127.0.0.1:0\"\n",
        pki.path("server.crt"),
        pki.path("server.key"),
        pki.path("ca.crt"),
    )
}

/// An upstream of this name at this address, as configuration.
pub fn upstream(name: &str, address: SocketAddr) -> String {
    format!("[upstream.{name}]\nurl = \"http://{address}\"\n")
}

fn load(text: &str) -> Result<Valid, Vec<String>> {
    let source = Source { name: "test.toml".into(), text: text.into() };
    let loaded = config::load(Some(&source), &Overrides::default(), &|_| None, false);
    let valid = loaded.valid()?;
    assert_eq!(valid.config.logs.format, LogFormat::Json);
    Ok(valid)
}
