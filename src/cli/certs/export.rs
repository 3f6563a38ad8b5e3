//! `gateway certs export`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use serde_json::json;

use super::password::{Asking, password};
use super::{Exit, Failure, Format, json_path};
use crate::cli::output;
use crate::pki::{Encryption, Form, Overwrite, Store};

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("form").required(true),
    after_help = "Examples:\n  gateway certs export client-1 --p12 --password-file secret.txt\n  gateway certs export \
                  client-1 --p12 --compat\n  gateway certs export ca --der"
)]
pub(super) struct Arguments {
    /// A name in the folder: server, or a client's; with --der also ca
    #[arg(value_name = "NAME")]
    name: String,

    /// PKCS#12: key, certificate and CA behind a password, for browsers, Java, Windows, macOS
    #[arg(long, group = "form")]
    p12: bool,

    /// PEM: key, certificate and CA in one file
    #[arg(long, group = "form")]
    pem: bool,

    /// The certificate alone, in DER
    #[arg(long, group = "form")]
    der: bool,

    /// For old readers of PKCS#12 (macOS before 15, Windows before 10 1709, Java before 8u301): triple DES and SHA-1,
    /// which protect less, so choose a long password
    #[arg(long, conflicts_with_all = ["pem", "der"])]
    compat: bool,

    /// The password is this file's first line [default: ask]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pem", "der"])]
    password_file: Option<PathBuf>,

    /// Where to write [default: beside the certificate, as NAME.p12, .pem or .der]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(store: &Store, arguments: &Arguments, format: Format) -> Result<Exit, Failure> {
    let secret;
    let form = if arguments.p12 {
        let what = format!("the PKCS#12 file of {}", arguments.name);
        secret = password(arguments.password_file.as_deref(), &what, Asking::New)?;
        Form::Pkcs12(&secret, if arguments.compat { Encryption::Compatible } else { Encryption::Modern })
    } else if arguments.pem {
        Form::Bundle
    } else {
        Form::Der
    };
    let overwrite = if arguments.force { Overwrite::Replace } else { Overwrite::Refuse };
    let path = store.export(&arguments.name, form, arguments.out.as_deref(), overwrite)?;
    let note = if arguments.der { "" } else { "  (secret: mode 0600)" };
    match format {
        Format::Text => output::line(format_args!("wrote {}{note}", path.display())),
        Format::Json => output::line(json!({ "file": json_path(&path), "form": form.extension() })),
    }
    Ok(Exit::Fine)
}
