//! Reading certificates and keys from PEM, with errors that tell a swapped or wrong file from a garbled one.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use rustls::pki_types::pem::{PemObject as _, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::Error;
use super::settings::PemSource;

/// A trust store of thousands of authorities fits in here.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;

/// A million serial numbers in PEM take 50 to 80 MiB.
const LARGEST_CRL: u64 = 128 * 1024 * 1024;

/// The PEM text behind a source.
pub(super) fn read(source: &PemSource) -> Result<Zeroizing<Vec<u8>>, Error> {
    read_up_to(LARGEST_FILE, source)
}

/// The bytes behind a source of revocation lists.
pub(super) fn read_large(source: &PemSource) -> Result<Zeroizing<Vec<u8>>, Error> {
    read_up_to(LARGEST_CRL, source)
}

fn read_up_to(largest: u64, source: &PemSource) -> Result<Zeroizing<Vec<u8>>, Error> {
    match source {
        PemSource::File(_) => raw_up_to(largest, source),
        PemSource::Environment { value, .. } => Ok(Zeroizing::new(pem_of_variable(value))),
    }
}

/// The bytes behind a source, as they are.
pub(super) fn raw(source: &PemSource) -> Result<Zeroizing<Vec<u8>>, Error> {
    raw_up_to(LARGEST_FILE, source)
}

fn raw_up_to(largest: u64, source: &PemSource) -> Result<Zeroizing<Vec<u8>>, Error> {
    match source {
        PemSource::File(path) => read_file(path, largest).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::Missing(source.to_string()),
            _ => Error::Unreadable(source.to_string(), error),
        }),
        PemSource::Environment { value, .. } => Ok(Zeroizing::new(value.as_bytes().to_vec())),
    }
}

fn read_file(path: &Path, largest: u64) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path)?.take(largest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > largest {
        return Err(std::io::Error::other(format!("larger than {} MiB", largest >> 20)));
    }
    Ok(bytes)
}

/// Secrets reach a container as one line: with `\n` for line ends, or in base64.
fn pem_of_variable(value: &str) -> Vec<u8> {
    if value.contains("-----BEGIN") {
        return value.replace("\\r\\n", "\n").replace("\\n", "\n").into_bytes();
    }
    base64(value).unwrap_or_else(|| value.as_bytes().to_vec())
}

/// What a text in base64 stands for.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    // PEM's own decoder reads it: wrapped as a section, its contents are what was encoded.
    let wrapped = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", text.trim());
    CertificateDer::from_pem_slice(wrapped.as_bytes()).ok().map(|decoded| decoded.to_vec())
}

/// Every certificate of a source, at least one.
///
/// # Errors
/// [`Error`] when it cannot be read, is garbled, or holds none.
pub fn certificates(source: &PemSource) -> Result<Vec<CertificateDer<'static>>, Error> {
    certificates_in(&source.to_string(), &read(source)?)
}

/// Every certificate of a PEM text, at least one; `origin` is for the error.
pub(super) fn certificates_in(origin: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = without_mark(pem);
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::Garbled(origin.to_owned(), error.to_string()))?;
    if certificates.is_empty() {
        return Err(Error::NoCertificate(origin.to_owned(), what_else(pem)));
    }
    Ok(certificates)
}

/// The one private key of a source: PKCS#8, PKCS#1 or SEC1.
pub(super) fn private_key(source: &PemSource) -> Result<PrivateKeyDer<'static>, Error> {
    let pem = read(source)?;
    let origin = source.to_string();
    match PrivateKeyDer::from_pem_slice(without_mark(&pem)) {
        Ok(key) => Ok(key),
        Err(rustls::pki_types::pem::Error::NoItemsFound) => Err(Error::NoPrivateKey(origin, what_else(&pem))),
        Err(error) => Err(Error::Garbled(origin, error.to_string())),
    }
}

/// Text without the byte order mark that some editors put before it, and which would hide the first block.
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// What a file holds instead of what was expected.
pub(super) fn what_else(pem: &[u8]) -> &'static str {
    let text = String::from_utf8_lossy(pem.get(..1 << 20).unwrap_or(pem));
    if text.trim().is_empty() {
        return "it is empty";
    }
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return "it holds an encrypted private key; decrypt it with `openssl pkcs8 -in FILE -out NEW`";
    }
    let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem);
    match sections.next() {
        Some(Ok((SectionKind::Certificate, _))) => "it holds a certificate; are certificate and key swapped?",
        Some(Ok((SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey, _))) => {
            "it holds a private key; are certificate and key swapped?"
        }
        Some(Ok((SectionKind::Crl, _))) => "it holds a CRL",
        Some(Ok((SectionKind::Csr, _))) => "it holds a certificate request, which a CA has yet to sign",
        _ if pem.first() == Some(&0x30) => "it looks like DER; convert it to PEM",
        _ => "it is no PEM text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_may_hold_pem_with_escaped_line_ends_or_base64() {
        let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        assert_eq!(pem_of_variable(&pem.replace('\n', "\\n")), pem.as_bytes());
        assert_eq!(pem_of_variable(pem), pem.as_bytes());
        let base64 = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUIKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=";
        assert_eq!(pem_of_variable(base64), pem.as_bytes());
        assert_eq!(pem_of_variable("nonsense!"), b"nonsense!");
    }

    #[test]
    fn a_byte_order_mark_hides_no_certificate() {
        let one = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        let text = format!("\u{feff}{one}{one}");
        assert_eq!(certificates_in("x", text.as_bytes()).unwrap().len(), 2);
    }

    #[test]
    fn tells_what_a_file_holds_instead() {
        assert_eq!(what_else(b" \n"), "it is empty");
        assert_eq!(what_else(b"hello"), "it is no PEM text");
        assert!(what_else(b"\x30\x82").contains("DER"));
        assert!(what_else(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").contains("swapped"));
    }
}
