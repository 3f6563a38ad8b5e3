//! What can be wrong with certificates and keys.

/// What can be wrong with certificates and keys; each says where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(String, #[source] std::io::Error),
    /// A file that is not there.
    #[error(
        "there is no file {0}: paths are relative to the folder the gateway is started in; \
         `gateway certs init` and `gateway certs server` make certificates"
    )]
    Missing(String),
    /// PEM or DER that cannot be decoded.
    #[error("{0} is garbled: {1}")]
    Garbled(String, String),
    /// No certificate where one is expected.
    #[error("{0} holds no certificate: {1}")]
    NoCertificate(String, &'static str),
    /// No revocation list where one is expected.
    #[error("{0} holds no CRL: {1}; `openssl crl -in FILE -noout -text` shows one")]
    NoCrl(String, &'static str),
    /// No private key where one is expected.
    #[error("{0} holds no private key: {1}")]
    NoPrivateKey(String, &'static str),
    /// A key that TLS cannot use.
    #[error("the private key in {0} cannot be used: {1}")]
    UnusableKey(String, String),
    /// A certificate and a key that are not a pair.
    #[error("the private key in {key} does not belong to the certificate in {certificate}")]
    Mismatch {
        /// Where the certificate is.
        certificate: String,
        /// Where the key is.
        key: String,
    },
    /// A name that no certificate can be for.
    #[error("no certificate can be for the server name {0}; set `server_name` to the name in the upstream's")]
    ServerName(String),
    /// Something rustls refuses.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}
