//! WebSocket (RFC 6455), as much as an echo needs: short texts, and the frame that ends it.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::Client;

/// The key of RFC 6455 section 1.3, and the answer to it.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// The endpoint goes away.
pub const GOING_AWAY: u16 = 1001;

/// The answer that begins a WebSocket.
pub fn switched() -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \
         {ACCEPT}\r\n\r\n"
    )
}

/// One side of a WebSocket.
pub struct Frames<S> {
    stream: S,
    buffer: Vec<u8>,
    /// Clients mask what they send.
    mask: Option<[u8; 4]>,
}

/// A message, or the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Close(u16),
}

impl Frames<TlsStream<TcpStream>> {
    /// A client's side, through the gateway.
    pub async fn open(client: &Client, path: &str) -> Result<Self, String> {
        let stream = client.connect(&["http/1.1"]).await.map_err(|error| format!("cannot connect: {error}"))?;
        let mut frames = Self { stream, buffer: Vec::new(), mask: Some([7, 11, 13, 17]) };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: \
             {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        frames.stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        frames.stream.flush().await.map_err(|error| error.to_string())?;
        let end = loop {
            match frames.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break end,
                None if frames.fill().await => {}
                None => return Err("ended before it was answered".to_owned()),
            }
        };
        let head = String::from_utf8_lossy(&frames.buffer.drain(..end + 4).collect::<Vec<_>>()).into_owned();
        if head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT) { Ok(frames) } else { Err(head) }
    }
}

impl Frames<TcpStream> {
    /// The endpoint's side, of what came after the head.
    pub fn accepted(stream: TcpStream, buffer: Vec<u8>) -> Self {
        Self { stream, buffer, mask: None }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// The next text, or the end; `None` when there is no more, and no word of it. May be dropped and asked again.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((opcode, payload)) = self.take() {
                match opcode {
                    1 => return Some(Frame::Text(String::from_utf8(payload).unwrap())),
                    8 => {
                        let code = payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                        return Some(Frame::Close(code));
                    }
                    _ => continue,
                }
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    pub async fn text(&mut self, text: &str) -> io::Result<()> {
        self.send(1, text.as_bytes()).await
    }

    pub async fn close(&mut self, code: u16) -> io::Result<()> {
        self.send(8, &code.to_be_bytes()).await
    }

    async fn send(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let length = u8::try_from(payload.len()).unwrap();
        assert!(length < 126, "a short one");
        let mut frame = vec![0x80 | opcode];
        match self.mask {
            None => {
                frame.push(length);
                frame.extend(payload);
            }
            Some(mask) => {
                frame.push(0x80 | length);
                frame.extend(mask);
                frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
            }
        }
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }

    /// A whole frame out of what was read.
    fn take(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, second, rest @ ..] = self.buffer.as_slice() else { return None };
        let (opcode, length) = (first & 0x0f, usize::from(second & 0x7f));
        assert!(length < 126, "a short one");
        let mask: [u8; 4] = if second & 0x80 == 0 { [0; 4] } else { rest.get(..4)?.try_into().unwrap() };
        let start = if second & 0x80 == 0 { 0 } else { 4 };
        let payload = rest.get(start..start + length)?;
        let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        self.buffer.drain(..2 + start + length);
        Some((opcode, payload))
    }

    async fn fill(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes).await {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.buffer.extend_from_slice(&bytes[..length]);
                true
            }
        }
    }
}
