//! HTTP/1.1 as a load speaks it: one request at a time, the answer's head looked at, its body counted.

use memchr::memmem;

use super::{Order, Progress};
use crate::upstream::content_length;

/// One connection's conversation.
pub(super) struct Http1 {
    request: Vec<u8>,
    status: [u8; 12],
    /// The length of each upload.
    upload: u64,
    upload_left: u64,
    /// A head that is not complete yet.
    head: Vec<u8>,
    /// Of the body that is being received.
    body_left: u64,
}

impl Http1 {
    pub(super) fn new(order: &Order) -> Self {
        let upload = order.upload.map_or(0, super::Size::bytes);
        let (method, length) = match upload {
            0 => ("GET", String::new()),
            length => ("POST", format!("Content-Length: {length}\r\n")),
        };
        let request = format!(
            "{method} {} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nUser-Agent: bench\r\n{length}\r\n",
            order.path
        );
        let mut status = *b"HTTP/1.1 200";
        status[9..].copy_from_slice(order.status.to_string().as_bytes());
        Self { request: request.into_bytes(), status, upload, upload_left: 0, head: Vec::new(), body_left: 0 }
    }

    pub(super) fn ask(&mut self, plain: &mut Vec<u8>) {
        plain.extend_from_slice(&self.request);
        self.upload_left = self.upload;
    }

    /// How much of an upload may go out now.
    pub(super) fn upload(&mut self, most: usize) -> usize {
        let now = usize::try_from(self.upload_left).unwrap_or(usize::MAX).min(most);
        self.upload_left -= now as u64;
        now
    }

    /// Takes a record unseen when all of it is body.
    pub(super) fn skip(&mut self, length: u64, progress: &mut Progress) -> bool {
        if length > self.body_left {
            return false;
        }
        self.body_left -= length;
        progress.bytes += length;
        progress.answers += u64::from(self.body_left == 0);
        true
    }

    pub(super) fn feed(&mut self, plain: &[u8], progress: &mut Progress) {
        let whole;
        let mut body = plain;
        if self.body_left == 0 {
            let (head, rest) = if let (true, Some(end)) = (self.head.is_empty(), memmem::find(plain, b"\r\n\r\n")) {
                plain.split_at(end + 4)
            } else {
                self.head.extend_from_slice(plain);
                let Some(end) = memmem::find(&self.head, b"\r\n\r\n") else { return };
                whole = std::mem::take(&mut self.head);
                whole.split_at(end + 4)
            };
            assert!(head.starts_with(&self.status), "{}", String::from_utf8_lossy(head));
            self.body_left = content_length(head).expect("an answer that tells its length");
            body = rest;
            if self.body_left == 0 {
                progress.answers += 1;
            }
        }
        self.body(body, progress);
    }

    fn body(&mut self, plain: &[u8], progress: &mut Progress) {
        if plain.is_empty() {
            return;
        }
        assert!(self.skip(plain.len() as u64, progress), "more than the answer's length");
    }
}
