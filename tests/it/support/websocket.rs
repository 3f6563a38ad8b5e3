//! WebSockets by hand: both ends of a handshake, and frames.

use tokio::sync::mpsc;

use super::Upstream;
use super::client::{Client, Raw};
use super::wire::{Wire, soon};

/// A request for a WebSocket. The key and its answer are those of RFC 6455.
pub const ASK: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// The upstream's agreement.
pub const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// An upstream whose connections are handed to the test.
pub async fn by_hand() -> (Upstream, mpsc::UnboundedReceiver<Wire>) {
    let (give, given) = mpsc::unbounded_channel();
    let upstream = Upstream::raw(move |_, stream| {
        let give = give.clone();
        async move { drop(give.send(Wire::new(stream))) }
    })
    .await;
    (upstream, given)
}

/// Both ends of a WebSocket through a gateway.
pub async fn open(client: &Client, wires: &mut mpsc::UnboundedReceiver<Wire>) -> (Raw, Wire) {
    let mut raw = client.raw().await;
    raw.send(ASK).await;
    let mut wire = soon(wires.recv()).await.unwrap();
    wire.head().await.unwrap();
    wire.send(AGREE).await;
    let head = raw.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (raw, wire)
}

/// A short text frame of a server.
pub fn text(text: &str) -> Vec<u8> {
    [&[0x81, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}
