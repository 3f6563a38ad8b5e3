//! `gateway explain`: why a client would be let in or refused, step by step.

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use http::Method;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::exit::Exit;
use super::output;
use super::overrides::RunFlags;
use crate::clock::Clock;
use crate::explain::{Answer, Asked, Explanation, Gate, Logged, Mark, ThenAndNow};
use crate::identity::{hex_lower, sha256};
use crate::net::Authority;
use crate::pki::{CipherProblem, KeystoreError, certificates_of_keystore, is_pkcs12};
use crate::policy::Told;
use crate::tls::{self, HostTrust, PemSource};

/// No certificate is longer.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;
/// How DER begins, and PEM never does.
const DER_SEQUENCE: u8 = 0x30;

/// Says why a client would be let in or refused, step by step: exit code 0 when it is let in, 1 when it is refused, 2
/// for wrong usage or configuration
#[derive(Debug, Args)]
pub struct Explain {
    #[command(flatten)]
    flags: RunFlags,
    /// The client's certificate with the intermediates it sends: PEM, PKCS#12, or one certificate in DER
    #[arg(long, value_name = "FILE", required_unless_present_any = ["no_cert", "log"])]
    cert: Option<PathBuf>,
    /// A file with the password of a PKCS#12 file
    #[arg(long, value_name = "FILE", requires = "cert")]
    password_file: Option<PathBuf>,
    /// A client that sends no certificate
    #[arg(long, conflicts_with = "cert")]
    no_cert: bool,
    /// The path it asks for [default: /]
    #[arg(long, value_name = "PATH", conflicts_with = "log")]
    path: Option<String>,
    /// The host it calls; without one, only routes for every host are looked at
    #[arg(long, value_name = "HOST", conflicts_with = "log")]
    host: Option<String>,
    /// The method it uses [default: GET]
    #[arg(long, value_name = "METHOD", conflicts_with = "log")]
    method: Option<String>,
    /// An access log to take a request from; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "request_id")]
    log: Option<PathBuf>,
    /// The request's id, as the client was told it
    #[arg(long, value_name = "ID", requires = "log")]
    request_id: Option<String>,
    /// How to say it
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Output,
}

/// How to say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Output {
    /// For a person
    #[default]
    Text,
    /// One JSON object
    Json,
}

impl Explain {
    /// Runs the command.
    pub fn run(&self) -> Exit {
        match self.explain() {
            Ok(exit) => exit,
            Err(problem) => {
                output::error(problem);
                Exit::Usage
            }
        }
    }

    fn explain(&self) -> Result<Exit, String> {
        let loaded = self.flags.clone().with_some_upstream().load();
        let Some(config) = &loaded.config else {
            let errors: Vec<_> = loaded.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).collect();
            return Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n"));
        };
        let trust = HostTrust::open(&config.tls).map_err(|error| error.to_string())?;
        let gate = Gate::new(config, trust)?;
        let chain = self.cert.as_deref().map(|path| self.chain(path)).transpose()?.unwrap_or_default();
        let explanation = match &self.log {
            None => gate.explain(&chain, &self.asked()?, Clock::system().now()),
            Some(log) => {
                let logged = find(log, self.request_id.as_deref().unwrap_or_default())?;
                match (chain.first(), logged.certificate()) {
                    (None, _) => logged.explain(&gate)?,
                    (Some(leaf), Some(shown)) if hex_lower(&sha256(leaf)) == shown => {
                        logged.explain_with(&gate, &chain, Clock::system().now())?
                    }
                    (Some(_), Some(shown)) => {
                        return Err(format!("the request came with another certificate: its SHA-256 is {shown}"));
                    }
                    (Some(_), None) => {
                        return Err("the request came without a certificate: leave --cert out".to_owned());
                    }
                }
            }
        };
        match self.output {
            Output::Json => output::line(json(&explanation)),
            Output::Text => tell(&explanation),
        }
        Ok(if explanation.answer.lets_in() { Exit::Fine } else { Exit::Finding })
    }

    /// The certificates of a file, the client's own first.
    fn chain(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
        let bytes = read(path)?;
        if is_pkcs12(&bytes) {
            let password = match &self.password_file {
                Some(file) => {
                    Zeroizing::new(String::from_utf8_lossy(&read(file)?).trim_end_matches(['\r', '\n']).to_owned())
                }
                None => Zeroizing::default(),
            };
            let hint = if self.password_file.is_some() { "" } else { " (--password-file gives one)" };
            return certificates_of_keystore(&bytes, &password).map_err(|error| match error {
                KeystoreError::Cipher(CipherProblem::Password) => format!("{} {error}{hint}", path.display()),
                error => format!("{} {error}", path.display()),
            });
        }
        if bytes.first() == Some(&DER_SEQUENCE) {
            return Ok(vec![bytes.into()]);
        }
        tls::certificates(&PemSource::File(path.to_owned())).map_err(|error| error.to_string())
    }

    fn asked(&self) -> Result<Asked, String> {
        let method = match &self.method {
            None => Method::GET,
            Some(text) => Method::from_bytes(text.as_bytes()).map_err(|_| format!("{text:?} is not a method"))?,
        };
        let host = match &self.host {
            None => None,
            Some(text) => Some(Authority::parse(text).map_err(|_| format!("{text:?} is not a host"))?.host),
        };
        let path = self.path.clone().unwrap_or_else(|| "/".to_owned());
        if !path.starts_with('/') {
            return Err(format!("{path:?} is not a path: it begins with '/'"));
        }
        Ok(Asked { method, host, path })
    }
}

fn find(log: &Path, id: &str) -> Result<Logged, String> {
    let found = if log == Path::new("-") {
        Logged::find(io::stdin().lock(), id)
    } else {
        File::open(log).and_then(|file| Logged::find(BufReader::new(file), id))
    };
    let found = found.map_err(|error| format!("{}: {error}", log.display()))?;
    found.ok_or_else(|| format!("{}: no line of the access log has the request id {id:?}", log.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn tell(explanation: &Explanation) {
    for step in &explanation.steps {
        let mark = match step.mark {
            Mark::Fact => "-",
            Mark::Yes => "ok",
            Mark::No => "NO",
        };
        output::line(format_args!("{mark:<2}  {:<11}  {}", step.what, step.text));
    }
    match &explanation.logged {
        None => output::line(format_args!("=>  {}", verdict(&explanation.answer))),
        Some(ThenAndNow { then, now, .. }) => {
            output::line(format_args!("=>  then: {then}"));
            let now = now.as_ref().map_or_else(|| "not known".to_owned(), verdict);
            output::line(format_args!("=>  now: {now}"));
        }
    }
    if let Some(mend) = &explanation.mend {
        output::line(format_args!("    {mend}"));
    }
}

fn verdict(answer: &Answer) -> String {
    format!("{}: {answer}", if answer.lets_in() { "let in" } else { "refused" })
}

fn json(explanation: &Explanation) -> Value {
    let steps: Vec<_> = explanation
        .steps
        .iter()
        .map(|step| {
            let passed = match step.mark {
                Mark::Fact => None,
                Mark::Yes => Some(true),
                Mark::No => Some(false),
            };
            let mut json = json!({ "step": step.what, "passed": passed, "text": step.text });
            if let (Some(told), Some(object)) = (step.rule, json.as_object_mut()) {
                object.insert("rule".to_owned(), rule_word(told).into());
            }
            json
        })
        .collect();
    let mut json = json!({
        "let_in": explanation.answer.lets_in(),
        "status": explanation.answer.status,
        "reason": explanation.answer.reason,
        "route": explanation.route,
        "mend": explanation.mend,
        "steps": steps,
    });
    if let (Some(logged), Some(object)) = (&explanation.logged, json.as_object_mut()) {
        object.insert("then".to_owned(), of_answer(&logged.then, logged.then_route.as_deref()));
        let now = logged.now.as_ref().map(|now| of_answer(now, logged.now_route.as_deref()));
        object.insert("now".to_owned(), now.unwrap_or_default());
        object.insert("untold".to_owned(), logged.untold.clone().into());
    }
    json
}

fn of_answer(answer: &Answer, route: Option<&str>) -> Value {
    json!({ "let_in": answer.lets_in(), "status": answer.status, "reason": answer.reason, "route": route })
}

const fn rule_word(told: Told) -> &'static str {
    match told {
        Told::Matches => "matches",
        Told::Misses => "does_not_match",
        Told::Unknown => "not_told",
    }
}
