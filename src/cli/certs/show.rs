//! `gateway certs show`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rustls_pki_types::CertificateDer;
use serde_json::json;

use super::describe::lines;
use super::password::{Asking, password};
use super::{Exit, Failure, Format, json_path};
use crate::cli::output;
use crate::net::HostPort;
use crate::pki::{Store, describe, describe_chain, describe_pkcs12, is_pkcs12};
use crate::probe;

/// No file of certificates is larger; a device given by mistake is not read to its end.
const LARGEST_FILE: u64 = 64 << 20;

/// For a server to shake hands.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  gateway certs show client-1\n  gateway certs show api.example.com:443\n  gateway \
                        certs show client-1.p12 --password-file secret.txt"
)]
pub(super) struct Arguments {
    /// A file (PEM, DER or PKCS#12), a name in the folder (ca, crl, server, or a client's), or HOST:PORT of a TLS
    /// server
    #[arg(value_name = "FILE|NAME|HOST:PORT")]
    what: PathBuf,

    /// The password of a PKCS#12 file is this file's first line [default: ask]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub(super) fn run(store: &Store, arguments: &Arguments, format: Format) -> Result<Exit, Failure> {
    let (path, items) = match remote(store, &arguments.what) {
        Some(address) => {
            let items = shown_by(&address).and_then(|chain| describe_chain(&chain, store.now()));
            (arguments.what.clone(), items.map_err(Failure::finding)?)
        }
        None => {
            let path = find(store, &arguments.what)?;
            let bytes = read(&path)?;
            let items = if is_pkcs12(&bytes) {
                let what = path.display().to_string();
                let secret = password(arguments.password_file.as_deref(), &what, Asking::Known)?;
                describe_pkcs12(&bytes, &secret, store.now())
            } else {
                describe(&bytes, store.now())
            };
            let items = items.map_err(|error| Failure::finding(format!("{} {error}", path.display())))?;
            (path, items)
        }
    };
    match format {
        Format::Json => output::line(json!({ "file": json_path(&path), "items": items })),
        Format::Text => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    output::line("");
                }
                let position =
                    if items.len() > 1 { format!(" ({} of {})", index + 1, items.len()) } else { String::new() };
                output::line(format_args!("{}{position}", path.display()));
                lines(item).iter().for_each(output::line);
            }
        }
    }
    Ok(Exit::Fine)
}

/// What is neither a file nor a name, and has a port.
fn remote(store: &Store, what: &Path) -> Option<HostPort> {
    let text = what.to_str().filter(|text| text.contains(':') && !what.is_file() && store.find(text).is_none())?;
    HostPort::parse(text, 443).ok()
}

fn shown_by(address: &HostPort) -> Result<Vec<CertificateDer<'static>>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
    let shown = runtime.block_on(probe::shown_chain(address, PATIENCE));
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    shown
}

/// A file that is there, else what the name means in the folder.
pub(super) fn find(store: &Store, what: &Path) -> Result<PathBuf, Failure> {
    if what.is_file() {
        return Ok(what.to_path_buf());
    }
    what.to_str().and_then(|name| store.find(name)).ok_or_else(|| {
        let folder = store.root().display();
        Failure::usage(format!("there is no file {what:?}, and no certificate of that name in {folder}"))
    })
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut bytes))
        .map_err(|error| Failure::finding(format!("cannot read {}: {error}", path.display())))?;
    Ok(bytes)
}
