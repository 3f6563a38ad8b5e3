//! `gateway certs import-ca`.

use std::path::PathBuf;

use clap::Args;

use super::password::{Asking, password};
use super::report::{Next, report};
use super::show::read;
use super::{Exit, Failure, Format};
use crate::pki::{Adopted, AuthorityProblem, KeyProblem, Overwrite, PrivateKey, Store};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  gateway certs import-ca --cert pki/ca.crt --key pki/private/ca.key --crl \
                        pki/crl.pem --index pki/index.txt\n  gateway certs import-ca --cert root_ca.crt --key root_ca_key --password-file \
                        secret.txt")]
pub(super) struct Arguments {
    /// The CA's certificate, PEM or DER; below another CA, the chain in PEM
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,

    /// Its private key in PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// Its last revocation list, PEM or DER: what is on it stays revoked
    #[arg(long, value_name = "FILE")]
    crl: Option<PathBuf>,

    /// Its index.txt, as openssl ca and easy-rsa keep it: what it calls revoked is revoked, on the last list or not
    #[arg(long, value_name = "FILE")]
    index: Option<PathBuf>,

    /// The key's password is this file's first line [default: ask when the key is encrypted]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Replace the CA if there is one
    #[arg(long)]
    force: bool,
}

pub(super) fn run(store: &Store, arguments: &Arguments, format: Format) -> Result<Exit, Failure> {
    let key_bytes = zeroize::Zeroizing::new(read(&arguments.key)?);
    let about =
        |path: &PathBuf, problem: &dyn std::fmt::Display| Failure::usage(format!("{} {problem}", path.display()));
    let key = match PrivateKey::from_pem(&key_bytes) {
        Err(KeyProblem::Encrypted) => {
            let what = arguments.key.display().to_string();
            let secret = password(arguments.password_file.as_deref(), &what, Asking::Known)?;
            PrivateKey::from_pem_with(&key_bytes, &secret)
        }
        other => other,
    };
    let key = key.map_err(|problem| about(&arguments.key, &problem))?;
    let certificate = read(&arguments.cert)?;
    let mut adopted = Adopted::read(&certificate, key, store.now()).map_err(|problem| match problem {
        AuthorityProblem::KeyMismatch => {
            let cert = arguments.cert.display();
            about(&arguments.key, &format_args!("does not belong to {cert}: their public keys differ. Give a pair"))
        }
        problem if problem.concerns_key() => about(&arguments.key, &problem),
        problem => about(&arguments.cert, &problem),
    })?;
    if let Some(path) = &arguments.crl {
        adopted.take_list(&read(path)?).map_err(|problem| about(path, &problem))?;
    }
    if let Some(path) = &arguments.index {
        adopted.take_index(&read(path)?).map_err(|problem| about(path, &problem))?;
    }
    let overwrite = if arguments.force { Overwrite::Replace } else { Overwrite::Refuse };
    let issued = store.adopt(adopted, overwrite)?;
    report(store, &issued, Next::Server, format);
    Ok(Exit::Fine)
}
