//! A session against rustls's own client, over a socket whose every byte is under the test's control.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, ClientConnection, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::tls::client::Unverified;

const PATIENCE: Duration = Duration::from_secs(20);

/// A client that seals and opens; what goes over the wire is the test's doing.
struct Client {
    session: ClientConnection,
    socket: TcpStream,
    plaintext: Vec<u8>,
}

impl Client {
    fn new(socket: TcpStream, version: &'static rustls::SupportedProtocolVersion) -> Self {
        let config = ClientConfig::builder_with_protocol_versions(&[version])
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified::new(&aws_lc_rs::default_provider())))
            .with_no_client_auth();
        let session = ClientConnection::new(Arc::new(config), "gateway.test".try_into().unwrap()).unwrap();
        Self { session, socket, plaintext: Vec::new() }
    }

    /// What the session has to send.
    fn sealed(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.session.writer().write_all(plaintext).unwrap();
        self.sealed()
    }

    /// Receives once, and understands it. The number of bytes; 0 at the end.
    async fn receive(&mut self) -> usize {
        let mut bytes = vec![0; 256 * 1024];
        let count = self.socket.read(&mut bytes).await.unwrap();
        let mut bytes = bytes.get(..count).unwrap();
        while !bytes.is_empty() {
            self.session.read_tls(&mut bytes).unwrap();
            self.session.process_new_packets().unwrap();
            let _ = self.session.reader().read_to_end(&mut self.plaintext);
        }
        count
    }

    async fn shake_hands(mut self) -> Self {
        loop {
            let bytes = self.sealed();
            self.socket.write_all(&bytes).await.unwrap();
            if !self.session.is_handshaking() {
                return self;
            }
            assert_ne!(self.receive().await, 0);
        }
    }

    /// Reads so many bytes of plaintext.
    async fn read(&mut self, length: usize) -> Vec<u8> {
        while self.plaintext.len() < length {
            assert_ne!(self.receive().await, 0, "it ended after {} bytes", self.plaintext.len());
        }
        self.plaintext.drain(..length).collect()
    }
}

fn server_config() -> Arc<ServerConfig> {
    let pair = rcgen::generate_simple_self_signed(["gateway.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![pair.cert.der().clone()], key);
    let mut config = config.unwrap();
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (client.unwrap(), server.unwrap().0)
}

fn stream(socket: TcpStream) -> TlsStream {
    let session = UnbufferedServerConnection::new(server_config()).unwrap();
    TlsStream::new(Socket::from(socket), session, Received::default())
}

async fn connected(version: &'static rustls::SupportedProtocolVersion) -> (TlsStream, Client) {
    let (client, server) = sockets().await;
    let mut stream = stream(server);
    let (shaken, client) = tokio::join!(stream.shake_hands(), Client::new(client, version).shake_hands());
    shaken.unwrap();
    (stream, client)
}

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// Lets the stream find out that nothing has come.
async fn rest(stream: &mut TlsStream) {
    let read = poll_fn(|context| {
        Poll::Ready(Pin::new(&mut *stream).poll_read(context, &mut ReadBuf::new(&mut [0; 8])).is_pending())
    });
    assert!(read.await);
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from(index * 31 % 251).unwrap()).collect()
}

#[tokio::test]
async fn what_comes_in_any_pieces_is_read_into_any_room_and_leaves_no_buffer_behind() {
    for version in VERSIONS {
        for (length, piece, room) in [
            (1, 1, 1),
            (100, 1, 7),
            (16 * 1024, 4096, 100_000),
            (16 * 1024 + 1, 1000, 8192),
            (300_000, 300_000, 8192),
            (300_000, 16_406, 100_000),
            (300_000, 1_000_000, 333),
        ] {
            let (mut stream, mut client) = connected(version).await;
            let plaintext = pattern(length);
            let expected = plaintext.clone();
            let writing = async {
                for plaintext in plaintext.chunks(40_000) {
                    for piece in client.seal(plaintext).chunks(piece) {
                        client.socket.write_all(piece).await.unwrap();
                    }
                }
            };
            let reading = async {
                let mut read = Vec::new();
                let mut buffer = vec![0; room];
                while read.len() < length {
                    let count = stream.read(&mut buffer).await.unwrap();
                    assert_ne!(count, 0);
                    read.extend_from_slice(buffer.get(..count).unwrap());
                }
                read
            };
            let ((), read) = timeout(PATIENCE, async { tokio::join!(writing, reading) }).await.unwrap();
            assert!(read == expected, "{length} in pieces of {piece} read by {room}");
            rest(&mut stream).await;
            assert!(stream.records.holds_nothing());
        }
    }
}

#[tokio::test]
async fn what_is_written_in_any_pieces_arrives_in_full_records() {
    for version in VERSIONS {
        for (pieces, records) in [
            (vec![24], 1),
            (vec![200, 24], 1),
            (vec![0, 200, 0], 1),
            (vec![16_384], 1),
            (vec![16_385], 2),
            // As h2 writes: the head of a frame with the beginning of its data, and the rest.
            ([256, 16_137].repeat(8), 9),
            (vec![300, 262_144], 17),
            (vec![10; 5000], 4),
        ] {
            let (mut stream, mut client) = connected(version).await;
            let plaintext = pattern(pieces.iter().sum());
            let mut slices = Vec::new();
            let mut rest: &[u8] = &plaintext;
            for piece in &pieces {
                let (now, later) = rest.split_at(*piece);
                slices.push(IoSlice::new(now));
                rest = later;
            }
            let writing = async {
                for pair in slices.chunks(2) {
                    let mut pair: Vec<_> = pair.to_vec();
                    let mut left: &mut [IoSlice<'_>] = &mut pair;
                    IoSlice::advance_slices(&mut left, 0);
                    while !left.is_empty() {
                        let count = stream.write_vectored(left).await.unwrap();
                        assert_ne!(count, 0);
                        IoSlice::advance_slices(&mut left, count);
                    }
                }
                stream.flush().await.unwrap();
            };
            let reading = async {
                let mut count = 0;
                let mut wire = Vec::new();
                let mut read = Vec::new();
                while read.len() < plaintext.len() {
                    wire.clear();
                    // A whole record of the wire.
                    wire.resize(5, 0);
                    client.socket.read_exact(&mut wire).await.unwrap();
                    let length = usize::from(u16::from_be_bytes([wire[3], wire[4]]));
                    wire.resize(5 + length, 0);
                    client.socket.read_exact(&mut wire[5..]).await.unwrap();
                    let mut bytes: &[u8] = &wire;
                    while !bytes.is_empty() {
                        client.session.read_tls(&mut bytes).unwrap();
                    }
                    client.session.process_new_packets().unwrap();
                    let _ = client.session.reader().read_to_end(&mut read);
                    count += 1;
                }
                (count, read)
            };
            let ((), (count, read)) = timeout(PATIENCE, async { tokio::join!(writing, reading) }).await.unwrap();
            assert!(read == plaintext, "{pieces:?}");
            assert_eq!(count, records, "{pieces:?}");
            assert!(stream.records.sealed().is_empty());
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_writer_at_a_bound() {
    let (mut stream, mut client) = connected(VERSIONS[1]).await;
    let plaintext = pattern(64 * 1024);
    let mut written = 0;
    let stalled = poll_fn(|context| {
        loop {
            let stream = &mut stream;
            match Pin::new(&mut *stream).poll_write(context, &plaintext) {
                Poll::Ready(count) => written += count.unwrap(),
                Poll::Pending => return Poll::Ready(true),
            }
            assert!(stream.records.sealed().len() < 140 * 1024);
            assert!(written < 64 << 20, "the socket takes everything");
        }
    });
    assert!(stalled.await);
    let flushing = async {
        stream.flush().await.unwrap();
        stream.shutdown().await.unwrap();
    };
    let (read, ()) = timeout(PATIENCE, async { tokio::join!(client.read(written), flushing) }).await.unwrap();
    assert_eq!(read.len(), written);
}

#[tokio::test]
async fn an_end_is_one_only_when_the_client_says_so() {
    for version in VERSIONS {
        let (mut stream, mut client) = connected(version).await;
        let mut bytes = client.seal(b"last words");
        client.session.send_close_notify();
        bytes.extend(client.sealed());
        client.socket.write_all(&bytes).await.unwrap();
        let mut read = Vec::new();
        assert_eq!(stream.read_to_end(&mut read).await.unwrap(), 10);
        // Only the other half is closed.
        stream.write_all(b"answer").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(client.read(6).await, b"answer");
        while client.receive().await > 0 {}
        let state = client.session.process_new_packets().unwrap();
        assert!(state.peer_has_closed());

        let (mut stream, mut client) = connected(version).await;
        let mut bytes = client.seal(b"cut off");
        bytes.pop();
        client.socket.write_all(&bytes).await.unwrap();
        client.socket.shutdown().await.unwrap();
        let error = stream.read(&mut [0; 16]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[tokio::test]
async fn a_changed_record_ends_the_session_with_an_alert() {
    for version in VERSIONS {
        let (mut stream, mut client) = connected(version).await;
        let mut bytes = client.seal(b"GET / HTTP/1.1\r\n");
        *bytes.last_mut().unwrap() ^= 1;
        client.socket.write_all(&bytes).await.unwrap();
        let error = stream.read(&mut [0; 16]).await.unwrap_err();
        assert_eq!(error.get_ref().and_then(|error| error.downcast_ref()), Some(&Error::DecryptError));
        let write = async { stream.write_all(b"x").await.and(stream.flush().await) };
        assert!(write.await.is_err(), "nothing is sealed any more");
        stream.shutdown().await.unwrap();
        let mut bytes = Vec::new();
        client.socket.read_to_end(&mut bytes).await.unwrap();
        let mut bytes: &[u8] = &bytes;
        client.session.read_tls(&mut bytes).unwrap();
        let error = client.session.process_new_packets().unwrap_err();
        assert_eq!(error, Error::AlertReceived(rustls::AlertDescription::BadRecordMac));
    }
}

#[tokio::test]
async fn what_is_wrong_behind_what_is_right_is_told_after_it() {
    for version in VERSIONS {
        let (mut stream, mut client) = connected(version).await;
        let mut bytes = client.seal(b"right");
        // Nonsense makes the client give up with an alert.
        let mut nonsense: &[u8] = b"\x17\x03\x03\x00\x20nonsense nonsense nonsense nonse";
        client.session.read_tls(&mut nonsense).unwrap();
        assert!(client.session.process_new_packets().is_err());
        bytes.extend(client.sealed());
        client.socket.write_all(&bytes).await.unwrap();
        let mut read = [0; 16];
        assert_eq!(stream.read(&mut read).await.unwrap(), 5);
        let error = timeout(PATIENCE, stream.read(&mut read)).await.unwrap().unwrap_err();
        let told = error.get_ref().and_then(|error| error.downcast_ref());
        assert_eq!(told, Some(&Error::AlertReceived(rustls::AlertDescription::BadRecordMac)));
    }
}

#[tokio::test]
async fn keys_change_when_the_client_says_so() {
    let (mut stream, mut client) = connected(VERSIONS[1]).await;
    for round in 0..20_u8 {
        client.session.refresh_traffic_keys().unwrap();
        let bytes = client.seal(&[round]);
        client.socket.write_all(&bytes).await.unwrap();
        let mut read = [0xff];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(read, [round]);
        stream.write_all(&[round]).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(client.read(1).await, [round]);
    }
    rest(&mut stream).await;
    assert!(stream.records.holds_nothing());
}

#[tokio::test]
async fn part_of_a_record_is_held_in_no_more_room_than_twice_its_length() {
    let (mut stream, mut client) = connected(VERSIONS[1]).await;
    let bytes = client.seal(&pattern(16 * 1024));
    for part in bytes.get(..bytes.len() - 1).unwrap().chunks(1000) {
        client.socket.write_all(part).await.unwrap();
        stream.socket.readable().await.unwrap();
        rest(&mut stream).await;
        let received = stream.records.received();
        let length = received.bytes().len();
        assert!(received.capacity() <= 2 * length + 4096, "{} for {length}", received.capacity());
    }
}

#[tokio::test]
async fn a_riddle_without_end_is_not_kept() {
    let (client, server) = sockets().await;
    let mut stream = stream(server);
    let riddle = async {
        let mut client = client;
        // A handshake message of 16 MiB, in records of one byte each.
        let mut bytes = b"\x16\x03\x01\x00\x04\x01\xff\xff\xff".to_vec();
        bytes.extend_from_slice(&b"\x16\x03\x01\x00\x01\x00".repeat(100_000));
        let _ = client.write_all(&bytes).await;
        let _ = client.read_to_end(&mut Vec::new()).await;
    };
    let (shaken, ()) = timeout(PATIENCE, async {
        tokio::join!(
            async {
                let shaken = stream.shake_hands().await;
                let held = stream.records.received().bytes().len();
                drop(stream);
                (shaken, held)
            },
            riddle
        )
    })
    .await
    .unwrap();
    assert!(shaken.0.is_err());
    assert!(shaken.1 < 128 * 1024, "{} bytes are held", shaken.1);
}
