//! The handshake, and what is known of a connection once it is done.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::server::{Accepted, Acceptor, UnbufferedServerConnection};
use rustls::{CommonState, HandshakeKind, ServerConfig};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::possession::reason_of;
use super::profiles::TlsProfiles;
use super::received::Received;
use super::stream::TlsStream;
use crate::clock::Clock;
use crate::identity::Reason;
use crate::net::Socket;

/// A fatal alert in the clear, `handshake_failure` (RFC 5246 section 7.2, RFC 8446 section 6).
const HANDSHAKE_FAILURE: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];

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
    /// Whether an earlier session was resumed: the key was proven then, and the chain is of then.
    pub resumed: bool,
    /// The server name the client asked for, as it wrote it.
    pub sni: Option<Box<str>>,
    /// The chain the client sent; the first is the one whose key it holds. Empty when it sent none.
    chain: Box<[CertificateDer<'static>]>,
}

impl TlsInfo {
    /// The chain the client sent; it has proven that it holds the key of the first. Empty when it sent none, and from
    /// the second time on.
    pub fn take_client_chain(&mut self) -> Box<[CertificateDer<'static>]> {
        std::mem::take(&mut self.chain)
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
    /// The client's certificate, or that there is none. The alert is on its way.
    Certificate(Reason, TcpStream),
    /// Anything else.
    Failed(io::Error),
}

impl fmt::Display for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe => f.write_str("closed before the first byte"),
            Self::TimedOut => f.write_str("the handshake did not finish in time"),
            Self::PlainHttp(_) => f.write_str("plain HTTP was sent to the TLS port"),
            Self::Certificate(reason, _) => f.write_str(reason.as_str()),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// Shakes hands within `deadline`.
///
/// # Errors
/// [`HandshakeFailure`]; the socket is closed, but for plain HTTP, which deserves an answer.
pub async fn accept(
    profiles: &TlsProfiles,
    socket: TcpStream,
    deadline: Duration,
    clock: &Clock,
) -> Result<(TlsStream, TlsInfo), HandshakeFailure> {
    timeout(deadline, handshake(profiles, socket, clock)).await.unwrap_or(Err(HandshakeFailure::TimedOut))
}

async fn handshake(
    profiles: &TlsProfiles,
    socket: TcpStream,
    clock: &Clock,
) -> Result<(TlsStream, TlsInfo), HandshakeFailure> {
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
    let mut socket = Socket::from(socket);
    let Opening { received, hello } = read_hello(&mut socket).await?;
    let sni: Option<Box<str>> = hello.client_hello().server_name().map(Into::into);
    let server = profiles.get(profiles.of_server_name(sni.as_deref())).of_connection(clock);
    if !can_verify(&hello, &server) {
        return Err(turned_away(socket).await);
    }
    // It has served to choose the profile; the session reads it anew.
    drop(hello);
    let session =
        UnbufferedServerConnection::new(server).map_err(io::Error::other).map_err(HandshakeFailure::Failed)?;
    let mut stream = TlsStream::new(socket, session, received);
    match stream.shake_hands().await {
        Ok(()) => {
            let info = info(stream.session(), sni);
            Ok((stream, info))
        }
        Err(error) => Err(failure(error, stream)),
    }
}

/// A whole ClientHello, and the bytes it was read from.
struct Opening {
    received: Received,
    hello: Accepted,
}

/// rustls puts the ClientHello together, however many records and segments it comes in; whoever looks for the name in
/// the first of them gives a client that splits it the wrong profile (CVE-2026-32305).
async fn read_hello(socket: &mut Socket) -> Result<Opening, HandshakeFailure> {
    let mut acceptor = Acceptor::default();
    let mut received = Received::default();
    loop {
        let before = received.bytes().len();
        let count = poll_fn(|context| received.poll_fill(context, socket)).await;
        if count.map_err(HandshakeFailure::Failed)? == 0 {
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof");
            return Err(HandshakeFailure::Failed(error));
        }
        let mut new = received.bytes().get(before..).unwrap_or_default();
        while !new.is_empty() {
            acceptor.read_tls(&mut new).map_err(HandshakeFailure::Failed)?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(hello)) => return Ok(Opening { received, hello }),
                Err((error, mut alert)) => {
                    let mut bytes = Vec::new();
                    // A Vec takes everything.
                    let _ = alert.write_all(&mut bytes);
                    let _ = socket.write_all(&bytes).await;
                    let error = io::Error::new(io::ErrorKind::InvalidData, error);
                    return Err(HandshakeFailure::Failed(error));
                }
            }
        }
    }
}

/// Whether the client understands a signature of the key that it would get. rustls finds that out too late for a
/// useful alert: in TLS 1.2 it closes without any, in TLS 1.3 it has answered before, so that browsers speak of a
/// broken protocol.
fn can_verify(hello: &Accepted, server: &ServerConfig) -> bool {
    let offered = hello.client_hello();
    let schemes = offered.signature_schemes().to_vec();
    let certified = server.cert_resolver.resolve(offered);
    certified.is_some_and(|certified| certified.key.choose_scheme(&schemes).is_some())
}

/// Says that there is nothing to agree on. Nothing has been sent before, so the alert goes in the clear.
async fn turned_away(mut socket: Socket) -> HandshakeFailure {
    match socket.write_all(&HANDSHAKE_FAILURE).await {
        Ok(()) => HandshakeFailure::Failed(io::Error::other("the client verifies no signature of this server's keys")),
        Err(error) => HandshakeFailure::Failed(error),
    }
}

fn info(connection: &CommonState, sni: Option<Box<str>>) -> TlsInfo {
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
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        sni,
        chain: connection.peer_certificates().map(|chain| chain.to_vec().into_boxed_slice()).unwrap_or_default(),
    }
}

fn failure(error: io::Error, stream: TlsStream) -> HandshakeFailure {
    let reason = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()).and_then(reason_of);
    match reason {
        Some(reason) => HandshakeFailure::Certificate(reason, stream.into_socket().into_stream()),
        None => HandshakeFailure::Failed(error),
    }
}
