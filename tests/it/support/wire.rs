//! HTTP by hand: the upstream's end of a connection, HTTP/2 frame by frame, and bodies that a test feeds.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use hyper::body::{Body, Frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::client::PATIENCE;
use super::{Client, Gateway, Pki, Upstream, gateway};

/// The upstream's end of a connection.
pub struct Wire {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// The next request's head, up to and with the empty line; `None` when the connection ends before.
    pub async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                return Some(String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// The next `length` bytes, or what came before the connection ended.
    pub async fn bytes(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length && self.fill().await {}
        self.buffer.drain(..length.min(self.buffer.len())).collect()
    }

    /// Everything up to and with `mark`, or what came before the connection ended.
    pub async fn until(&mut self, mark: &str) -> String {
        let mark = mark.as_bytes();
        let length = loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                break at + mark.len();
            }
            if !self.fill().await {
                break self.buffer.len();
            }
        };
        String::from_utf8_lossy(&self.buffer.drain(..length).collect::<Vec<_>>()).into_owned()
    }

    /// Sends bytes; the other side may be gone.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Everything until the other side ends.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.buffer)
    }

    async fn fill(&mut self) -> bool {
        let mut bytes = vec![0; 16 * 1024];
        match timeout(PATIENCE, self.stream.read(&mut bytes)).await.expect("something in time") {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.buffer.extend_from_slice(&bytes[..length]);
                true
            }
        }
    }
}

/// An upstream that reads one request's head on each connection, sends `answer`, and closes.
pub async fn canned(answer: impl Into<Vec<u8>>) -> Upstream {
    let answer: Bytes = answer.into().into();
    Upstream::raw(move |_, stream| {
        let answer = answer.clone();
        async move {
            let mut wire = Wire::new(stream);
            wire.head().await;
            wire.send(&answer).await;
            let _ = wire.stream.shutdown().await;
            wire.rest().await;
        }
    })
    .await
}

/// A gateway in front of `upstream`, and a client that it lets in. `more` begins inside of `[upstream.api]`.
pub async fn in_front_of(upstream: &Upstream, more: &str) -> (Gateway, Client) {
    let pki = Pki::new();
    let gateway = Gateway::start(&pki, &format!("{}{more}", gateway::upstream("api", upstream.address))).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    (gateway, client)
}

/// An HTTP/2 connection with everything under the test's control, and what it ends with.
pub async fn h2(client: &Client) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    h2_with(client, &h2::client::Builder::new()).await
}

pub async fn h2_with(
    client: &Client,
    builder: &h2::client::Builder,
) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let stream = client.connect(&["h2"]).await.unwrap();
    let (sender, connection) = builder.handshake(stream).await.unwrap();
    (sender, tokio::spawn(connection))
}

/// A request over HTTP/2 for a path on localhost.
pub fn h2_request(method: &str, path: &str) -> http::Request<()> {
    http::Request::builder().method(method).uri(format!("https://localhost{path}")).body(()).unwrap()
}

/// A body whose pieces come from the sender; dropping the sender ends it, an error breaks it off.
pub struct Fed(mpsc::Receiver<io::Result<Frame<Bytes>>>);

pub fn fed() -> (mpsc::Sender<io::Result<Frame<Bytes>>>, Fed) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Fed(receiver))
}

impl Body for Fed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context)
    }
}

/// What comes within the patience of a test.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("something in time")
}

/// Whether this does not come for a moment.
pub async fn is_quiet<T>(what: impl Future<Output = T>, moment: Duration) -> bool {
    timeout(moment, what).await.is_err()
}
