//! `gateway certs verify`: what the gate would say of a client's certificate, and clients of the server's.
//!
//! Client certificates go through the gate's own function; there is no second opinion here.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use rustls_pki_types::CertificateDer;
use serde_json::json;

use super::show::{find, read};
use super::{Exit, Failure, Format, json_path};
use crate::cli::output;
use crate::identity::{CertificateFacts, hex_lower, sha256};
use crate::pki::{Kind, Store, certificates, revoked_on, rfc3339, verify_server};
use crate::tls::TrustStore;

/// As many intermediates as the gateway takes unless it is configured otherwise.
const MAX_CHAIN_DEPTH: usize = 4;

#[derive(Debug, Args)]
#[command(after_help = "Example: gateway certs verify client-1")]
pub(super) struct Arguments {
    /// A file, or a name in the folder: server, or a client's
    #[arg(value_name = "FILE|NAME")]
    what: PathBuf,

    /// The CAs to trust [default: ca.crt in the folder]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// The revocation lists to look it up in [default: ca.crl in the folder, unless --ca names other CAs]
    #[arg(long, value_name = "FILE")]
    crl: Option<PathBuf>,

    /// Judge it as this [default: what it was issued for, and client for what was not issued here]
    #[arg(long, value_enum)]
    purpose: Option<Purpose>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Purpose {
    /// As the gateway judges its clients
    Client,
    /// As clients judge the gateway
    Server,
}

/// A stable word and a sentence.
struct Verdict {
    word: &'static str,
    sentence: String,
}

pub(super) fn run(store: &Store, arguments: Arguments, format: Format) -> Result<Exit, Failure> {
    let path = find(store, &arguments.what)?;
    let chain = chain_of(&path)?;
    let purpose = match arguments.purpose {
        Some(purpose) => purpose,
        None => purpose_of(store, &chain)?,
    };
    let own = store.authority_certificate().with_file_name("ca.crl");
    let lists = arguments.crl.or_else(|| (arguments.ca.is_none() && own.exists()).then_some(own));
    let ca = arguments.ca.unwrap_or_else(|| store.authority_certificate());
    let ca_bytes = read(&ca).map_err(|failure| Failure { exit: Exit::Usage, ..failure })?;
    let trust = TrustStore::from_pem(&[(ca.display().to_string(), ca_bytes.clone())], MAX_CHAIN_DEPTH)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let refusal = match purpose {
        Purpose::Client => trust
            .judge(&chain, store.now())
            .err()
            .map(|reason| Verdict { word: reason.as_str(), sentence: reason.advice().to_owned() }),
        Purpose::Server => {
            let anchors =
                certificates(&ca_bytes).map_err(|error| Failure::usage(format!("{}: {error}", ca.display())))?;
            verify_server(&chain, &anchors, store.now())
                .err()
                .map(|problem| Verdict { word: problem.as_str(), sentence: problem.to_string() })
        }
    };
    let refusal = match (refusal, lists) {
        (None, Some(lists)) => on_list(&lists, &chain)?,
        (refusal, _) => refusal,
    };
    say(&path, &ca, purpose, &chain, refusal.as_ref(), format);
    Ok(if refusal.is_none() { Exit::Fine } else { Exit::Finding })
}

fn on_list(path: &Path, chain: &[CertificateDer<'_>]) -> Result<Option<Verdict>, Failure> {
    let lists = read(path).map_err(|failure| Failure { exit: Exit::Usage, ..failure })?;
    for der in chain {
        let found =
            revoked_on(&lists, der).map_err(|problem| Failure::usage(format!("{} {problem}", path.display())))?;
        if let Some((since, reason)) = found {
            let (since, reason) = (rfc3339(since), reason.as_str());
            let sentence = format!("It was revoked at {since} ({reason}), says {}.", path.display());
            return Ok(Some(Verdict { word: "revoked", sentence }));
        }
    }
    Ok(None)
}

fn say(
    path: &Path,
    ca: &Path,
    purpose: Purpose,
    chain: &[CertificateDer<'_>],
    refusal: Option<&Verdict>,
    format: Format,
) {
    let subject = chain.first().and_then(|leaf| CertificateFacts::from_der(leaf).ok()).map(|facts| facts.subject);
    let role = match purpose {
        Purpose::Client => "client",
        Purpose::Server => "server",
    };
    match format {
        Format::Json => output::line(json!({
            "file": json_path(path),
            "ca": json_path(ca),
            "purpose": role,
            "subject": subject,
            "ok": refusal.is_none(),
            "reason": refusal.map(|verdict| verdict.word),
            "detail": refusal.map(|verdict| &verdict.sentence),
        })),
        Format::Text => match refusal {
            None => output::line(format_args!(
                "OK: {} ({}) is good for a {role} under {}",
                path.display(),
                subject.unwrap_or_default(),
                ca.display()
            )),
            Some(verdict) => output::line(format_args!("{}: {}", verdict.word, verdict.sentence)),
        },
    }
}

/// The certificates of the file, PEM or DER. What is no certificate at all is for the judge to call malformed.
fn chain_of(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let bytes = read(path)?;
    let chain = certificates(&bytes).map_err(|error| Failure::finding(format!("{}: {error}", path.display())))?;
    if !chain.is_empty() {
        return Ok(chain);
    }
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes.into()]);
    }
    Err(Failure::finding(format!("{} holds no certificate", path.display())))
}

/// A file that lies elsewhere may be a copy of what was issued here: the index is asked for the certificate, not for
/// the path.
fn purpose_of(store: &Store, chain: &[CertificateDer<'_>]) -> Result<Purpose, Failure> {
    let digest = chain.first().map(|leaf| hex_lower(&sha256(leaf))).unwrap_or_default();
    Ok(match store.recorded_kind(&digest)? {
        Some(Kind::Server) => Purpose::Server,
        Some(Kind::Client | Kind::Authority | Kind::Intermediate) | None => Purpose::Client,
    })
}
