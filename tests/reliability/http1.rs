//! The endpoint's side of HTTP/1.1, by hand: so that it can be wrong on purpose.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::websocket::Frames;

/// A connection from the gateway.
pub struct Http1 {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What a head says.
#[derive(Debug, Clone)]
pub struct Head {
    pub method: String,
    pub path: String,
    /// The key of a WebSocket that is to begin.
    pub websocket: Option<String>,
    length: usize,
    chunked: bool,
}

impl Http1 {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Waits for the next request's first byte; `false` when the connection has ended.
    pub async fn has_more(&mut self) -> bool {
        !self.buffer.is_empty() || self.fill().await
    }

    /// Whether a request has come already.
    pub fn has_more_now(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        if let Ok(length) = self.stream.try_read(&mut bytes) {
            self.buffer.extend_from_slice(&bytes[..length]);
        }
        !self.buffer.is_empty()
    }

    /// Waits until there is something to read, and does not read it.
    pub async fn is_readable(&self) {
        let _ = self.stream.readable().await;
    }

    /// The next request's head; `None` when the connection ends in it.
    pub async fn head(&mut self) -> Option<Head> {
        let end = loop {
            match self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break end,
                None if !self.fill().await => return None,
                None => {}
            }
        };
        let text = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
        let mut words = text.split(' ').map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let lower = text.to_ascii_lowercase();
        let field = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let length = field("content-length:").map_or(0, |length| length.parse().unwrap());
        let websocket = field("upgrade:").filter(|protocol| *protocol == "websocket").and_then(|_| {
            let lines = text.lines().filter_map(|line| line.split_once(':'));
            let mut keys = lines.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
            keys.next().map(|(_, key)| key.trim().to_owned())
        });
        Some(Head { method, path, websocket, length, chunked: field("transfer-encoding:").is_some() })
    }

    /// The length of the request's body, read to its end; `None` when the connection ends in it.
    pub async fn body(&mut self, head: &Head) -> Option<usize> {
        if !head.chunked {
            return self.skip(head.length).await.then_some(head.length);
        }
        let mut total = 0;
        loop {
            let end = loop {
                match self.buffer.windows(2).position(|window| window == b"\r\n") {
                    Some(end) => break end,
                    None if !self.fill().await => return None,
                    None => {}
                }
            };
            let size = String::from_utf8(self.buffer.drain(..end + 2).collect()).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            if !self.skip(size + 2).await {
                return None;
            }
            total += size;
            if size == 0 {
                return Some(total);
            }
        }
    }

    /// Sends bytes; the gateway may be gone.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Ends our side, and reads what is left, so that no reset overtakes what was sent.
    pub async fn end(mut self) {
        let _ = self.stream.shutdown().await;
        let _ = tokio::time::timeout(Duration::from_secs(1), async { while self.fill().await {} }).await;
    }

    /// Goes on as a WebSocket.
    pub fn into_frames(self) -> Frames<TcpStream> {
        Frames::accepted(self.stream, self.buffer)
    }

    /// Ends with a reset.
    pub fn reset(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    async fn skip(&mut self, length: usize) -> bool {
        while self.buffer.len() < length {
            if !self.fill().await {
                return false;
            }
        }
        self.buffer.drain(..length);
        true
    }

    async fn fill(&mut self) -> bool {
        let mut bytes = vec![0; 16 * 1024];
        match self.stream.read(&mut bytes).await {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.buffer.extend_from_slice(&bytes[..length]);
                true
            }
        }
    }
}
