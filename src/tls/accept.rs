//! The handshake, and what is known of a connection once it is done.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, ServerConnection};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::possession::UnusableCertificate;
use super::profile::TlsProfile;
use crate::identity::Reason;

/// The application protocol, chosen by ALPN. A client that offers none speaks HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 and HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What is known of a finished handshake. Only [`accept`] makes one.
#[derive(Debug)]
pub struct TlsInfo {
    /// The application protocol.
    pub protocol: Protocol,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite's IANA name.
    pub cipher: &'static str,
    /// The key exchange group's name.
    pub group: &'static str,
    /// The server name the client asked for, as it wrote it.
    pub sni: Option<Box<str>>,
    /// The chain the client sent; the first is the one whose key it holds. Empty when it sent none.
    chain: Box<[CertificateDer<'static>]>,
}

impl TlsInfo {
    /// The chain the client sent; it has proven that it holds the key of the first. Empty when it sent none.
    pub fn client_chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub enum HandshakeFailure {
    /// It was closed before a byte was sent: a load balancer's probe.
    Probe,
    /// It did not finish in time.
    TimedOut,
    /// It sent an HTTP request instead of a handshake.
    PlainHttp(TcpStream),
    /// The client's certificate has a key that nothing can be verified with.
    Certificate(Reason),
    /// Anything else.
    Failed(io::Error),
}

impl fmt::Display for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe => f.write_str("closed before the first byte"),
            Self::TimedOut => f.write_str("the handshake did not finish in time"),
            Self::PlainHttp(_) => f.write_str("plain HTTP was sent to the TLS port"),
            Self::Certificate(reason) => f.write_str(reason.as_str()),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// Shakes hands within `deadline`.
///
/// # Errors
/// [`HandshakeFailure`]; the socket is closed, but for plain HTTP, which deserves an answer.
pub async fn accept(
    profile: &TlsProfile,
    socket: TcpStream,
    deadline: Duration,
) -> Result<(TlsStream<TcpStream>, TlsInfo), HandshakeFailure> {
    timeout(deadline, handshake(profile, socket)).await.unwrap_or(Err(HandshakeFailure::TimedOut))
}

async fn handshake(
    profile: &TlsProfile,
    socket: TcpStream,
) -> Result<(TlsStream<TcpStream>, TlsInfo), HandshakeFailure> {
    let mut first = [0; 4];
    match socket.peek(&mut first).await {
        Ok(0) => return Err(HandshakeFailure::Probe),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(HandshakeFailure::Probe),
        Err(error) => return Err(HandshakeFailure::Failed(error)),
    }
    if matches!(&first, b"GET " | b"HEAD" | b"POST" | b"PUT " | b"OPTI" | b"DELE" | b"PATC" | b"PRI ") {
        return Err(HandshakeFailure::PlainHttp(socket));
    }
    let acceptor = TlsAcceptor::from(Arc::clone(&profile.server));
    let stream = acceptor.accept(socket).await.map_err(failure)?;
    let info = info(stream.get_ref().1);
    Ok((stream, info))
}

fn info(connection: &ServerConnection) -> TlsInfo {
    TlsInfo {
        protocol: match connection.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        },
        version: match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "",
        },
        cipher: connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default(),
        group: connection.negotiated_key_exchange_group().and_then(|group| group.name().as_str()).unwrap_or_default(),
        sni: connection.server_name().map(Into::into),
        chain: connection.peer_certificates().map(|chain| chain.to_vec().into_boxed_slice()).unwrap_or_default(),
    }
}

fn failure(error: io::Error) -> HandshakeFailure {
    let reason =
        error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()).and_then(|error| match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
                other.0.downcast_ref::<UnusableCertificate>().map(|certificate| certificate.0)
            }
            rustls::Error::InvalidCertificate(CertificateError::BadSignature) => Some(Reason::BadSignature),
            _ => None,
        });
    reason.map_or(HandshakeFailure::Failed(error), HandshakeFailure::Certificate)
}
