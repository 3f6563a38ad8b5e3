//! `gateway certs show`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::describe::lines;
use super::{Exit, Failure, Format, json_path};
use crate::cli::output;
use crate::pki::{Store, describe};

/// No file of certificates is larger; a device given by mistake is not read to its end.
const LARGEST_FILE: u64 = 64 << 20;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A file (PEM or DER), or a name in the folder: ca, crl, server, or a client's
    #[arg(value_name = "FILE|NAME")]
    what: PathBuf,
}

pub(super) fn run(store: &Store, arguments: &Arguments, format: Format) -> Result<Exit, Failure> {
    let path = find(store, &arguments.what)?;
    let bytes = read(&path)?;
    let items =
        describe(&bytes, store.now()).map_err(|error| Failure::finding(format!("{} {error}", path.display())))?;
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
