//! Certificates in the forms that other programs want.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::change::Access;
use super::cipher::{CipherProblem, Encryption};
use super::error::{ChoiceProblem, Error};
use super::folder::Folder;
use super::keyfile::PrivateKey;
use super::renew::Filed;
use super::request::Overwrite;
use super::store::Store;
use super::verify::certificates;
use super::{p12, pem};

/// The form to write.
#[derive(Debug, Clone, Copy)]
pub enum Form<'a> {
    /// PKCS#12: key, certificate, and the CAs above it.
    Pkcs12(&'a str, Encryption),
    /// PEM: key, certificate and the CAs above it in one file.
    Bundle,
    /// The certificate alone in DER.
    Der,
}

impl Form<'_> {
    /// How its files end.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Pkcs12(..) => "p12",
            Self::Bundle => "pem",
            Self::Der => "der",
        }
    }

    const fn access(self) -> Access {
        match self {
            Self::Pkcs12(..) | Self::Bundle => Access::Owner,
            Self::Der => Access::Everybody,
        }
    }
}

impl Store {
    /// Writes the certificate of this name in another form; beside the certificate when `to` does not say where.
    /// Returns the file.
    ///
    /// # Errors
    /// When there is no such certificate or its key, something is in the way, or the file cannot be written.
    pub fn export(
        &self,
        name: &str,
        form: Form<'_>,
        to: Option<&Path>,
        overwrite: Overwrite,
    ) -> Result<PathBuf, Error> {
        let refused = |problem| Error::Choice { what: name.to_owned(), problem };
        let authority = Folder::read(&self.authority_certificate())?.unwrap_or_default();
        let authorities = certificates(&authority).unwrap_or_default();
        if name == "ca" {
            if !matches!(form, Form::Der) {
                return Err(refused(ChoiceProblem::NotLeaf));
            }
            let ca = self.authority_certificate();
            let der = authorities.first().ok_or(Error::NoAuthority { path: ca.clone() })?;
            return place(to.map_or_else(|| ca.with_extension("der"), Path::to_path_buf), der, form, overwrite);
        }
        let Filed { certificate, key: key_path, mut chain, .. } = self.filed_pair(name)?;
        let beside = || certificate.with_file_name(format!("{name}.{}", form.extension()));
        let target = to.map_or_else(beside, Path::to_path_buf);
        if matches!(form, Form::Der) {
            let der = chain.first().ok_or_else(|| refused(ChoiceProblem::NoCertificate))?;
            return place(target, der, form, overwrite);
        }
        let key_bytes = Folder::read(&key_path)?.map(zeroize::Zeroizing::new);
        let key_bytes = key_bytes.ok_or_else(|| refused(ChoiceProblem::NoKey))?;
        let key = PrivateKey::from_pem(&key_bytes)?;
        for above in authorities {
            if !chain.contains(&above) {
                chain.push(above);
            }
        }
        let bytes = match form {
            Form::Pkcs12(password, how) => p12::write(name, &key.pkcs8(), &chain, password, how)
                .map_err(|problem: CipherProblem| Error::Key(problem.into()))?,
            _ => {
                let chain: String = chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
                [key.pem().as_bytes(), chain.as_bytes()].concat()
            }
        };
        place(target, &zeroize::Zeroizing::new(bytes), form, overwrite)
    }
}

/// Writes beside the place and renames, so that nobody reads half a file, and nobody else a secret one.
fn place(path: PathBuf, bytes: &[u8], form: Form<'_>, overwrite: Overwrite) -> Result<PathBuf, Error> {
    write_file(&path, bytes, form.access(), overwrite)?;
    Ok(path)
}

/// A file outside of what the index knows.
pub(super) fn write_file(path: &Path, bytes: &[u8], access: Access, overwrite: Overwrite) -> Result<(), Error> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error| Error::io("write", path)(error);
    let mut file = tempfile::Builder::new().prefix(".export.").tempfile_in(directory).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    fs::set_permissions(file.path(), Permissions::from_mode(access.mode())).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    if overwrite == Overwrite::Replace {
        return file.persist(path).map(drop).map_err(|error| failed(error.error));
    }
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::Exists { path: path.to_path_buf() })
        }
        Err(error) => Err(failed(error.error)),
    }
}
