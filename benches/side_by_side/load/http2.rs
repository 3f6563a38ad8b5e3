//! HTTP/2 as a load speaks it: requests from a template of HPACK, frames counted, windows too large to matter.

use super::{Order, Progress, Size};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const LARGEST_WINDOW: u32 = (1 << 31) - 1;
/// After how much received the connection's window is opened again.
const REFILL: u64 = 1 << 30;
/// What fits a TLS record with its frame's head.
const CHUNK: u64 = 16384 - 9;

/// One connection's conversation.
pub(super) struct Http2 {
    /// The first request teaches the peer's table, the others point into it.
    first: Vec<u8>,
    later: Vec<u8>,
    next_stream: u32,
    /// Frame head, as far as it is here.
    head: [u8; 9],
    head_filled: usize,
    payload_left: u32,
    /// The payload of a frame that is looked at.
    payload: Vec<u8>,
    received: u64,
    upload: Option<Size>,
    uploads: Vec<Upload>,
    window: i64,
    initial_window: i64,
}

struct Upload {
    stream: u32,
    left: u64,
    window: i64,
}

impl Http2 {
    pub(super) fn new(order: &Order, plain: &mut Vec<u8>) -> Self {
        plain.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        // No push, and the largest window for each stream.
        let settings = [[0, 2, 0, 0, 0, 0], [0, 4, 0x7f, 0xff, 0xff, 0xff]].concat();
        frame(plain, SETTINGS, 0, 0, &settings);
        frame(plain, WINDOW_UPDATE, 0, 0, &(LARGEST_WINDOW - 65535).to_be_bytes());
        let literal = |prefix: &[u8], value: &str| [prefix, &[value.len() as u8], value.as_bytes()].concat();
        let method = if order.upload.is_some() { 0x83 } else { 0x82 };
        let mut common = vec![method, 0x87];
        common.extend(literal(&[0x04], order.path));
        let length = order.upload.map(|size| literal(&[0x0f, 0x0d], &size.bytes().to_string())).unwrap_or_default();
        let taught = [literal(&[0x41], "localhost"), literal(&[0x53], "*/*"), literal(&[0x7a], "bench")].concat();
        Self {
            first: [common.clone(), taught, length.clone()].concat(),
            // The newest entry has the lowest index.
            later: [common, vec![0x80 | 64, 0x80 | 63, 0x80 | 62], length].concat(),
            next_stream: 1,
            head: [0; 9],
            head_filled: 0,
            payload_left: 0,
            payload: Vec::new(),
            received: 0,
            upload: order.upload,
            uploads: Vec::new(),
            window: 65535,
            initial_window: 65535,
        }
    }

    pub(super) fn ask(&mut self, plain: &mut Vec<u8>) {
        let stream = self.next_stream;
        self.next_stream += 2;
        let block = if stream == 1 { &self.first } else { &self.later };
        let flags = if self.upload.is_some() { END_HEADERS } else { END_HEADERS | END_STREAM };
        frame(plain, HEADERS, flags, stream, block);
        if let Some(size) = self.upload {
            self.uploads.push(Upload { stream, left: size.bytes(), window: self.initial_window });
        }
    }

    /// The head of the next DATA frame that may go out now, and how long its payload is.
    pub(super) fn upload(&mut self) -> Option<([u8; 9], usize)> {
        let at = self.uploads.iter().position(|upload| upload.window > 0 && self.window > 0)?;
        let upload = &mut self.uploads[at];
        let length = CHUNK.min(upload.left).min(upload.window as u64).min(self.window as u64);
        upload.left -= length;
        upload.window -= length as i64;
        self.window -= length as i64;
        let stream = upload.stream;
        let flags = if upload.left == 0 { END_STREAM } else { 0 };
        if upload.left == 0 {
            self.uploads.swap_remove(at);
        } else {
            // Everyone's turn comes.
            let upload = self.uploads.remove(at);
            self.uploads.push(upload);
        }
        Some((frame_head(length as u32, DATA, flags, stream), length as usize))
    }

    /// Takes what came; what is to be said in return goes to `plain`.
    pub(super) fn feed(&mut self, mut input: &[u8], plain: &mut Vec<u8>, progress: &mut Progress) {
        while !input.is_empty() {
            if self.head_filled < self.head.len() {
                let taken = input.len().min(self.head.len() - self.head_filled);
                self.head[self.head_filled..][..taken].copy_from_slice(&input[..taken]);
                self.head_filled += taken;
                input = &input[taken..];
                if self.head_filled < self.head.len() {
                    return;
                }
                self.payload_left = u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]]);
                self.payload.clear();
            }
            let taken = input.len().min(self.payload_left as usize);
            if self.head[3] == DATA {
                progress.bytes += taken as u64;
                self.received += taken as u64;
            } else {
                self.payload.extend_from_slice(&input[..taken]);
            }
            input = &input[taken..];
            self.payload_left -= taken as u32;
            if self.payload_left == 0 {
                self.head_filled = 0;
                self.complete(plain, progress);
            }
        }
        if self.received >= REFILL {
            self.received -= REFILL;
            frame(plain, WINDOW_UPDATE, 0, 0, &(REFILL as u32).to_be_bytes());
        }
    }

    fn complete(&mut self, plain: &mut Vec<u8>, progress: &mut Progress) {
        let [.., kind, flags, _, _, _, _] = self.head;
        match kind {
            HEADERS | CONTINUATION => {
                // `:status: 200`, perhaps after a change of the table's size.
                let mut block = self.payload.iter().skip_while(|byte| **byte & 0xe0 == 0x20);
                assert_eq!(block.next(), Some(&0x88), "not a 200");
            }
            SETTINGS if flags & ACK == 0 => {
                for setting in self.payload.chunks_exact(6) {
                    let value = i64::from(u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]));
                    if setting[1] == 4 {
                        for upload in &mut self.uploads {
                            upload.window += value - self.initial_window;
                        }
                        self.initial_window = value;
                    }
                }
                frame(plain, SETTINGS, ACK, 0, &[]);
            }
            PING if flags & ACK == 0 => frame(plain, PING, ACK, 0, &self.payload),
            WINDOW_UPDATE => {
                let more = i64::from(u32::from_be_bytes(self.payload[..4].try_into().unwrap()));
                match self.stream() {
                    0 => self.window += more,
                    stream => {
                        if let Some(upload) = self.uploads.iter_mut().find(|upload| upload.stream == stream) {
                            upload.window += more;
                        }
                    }
                }
            }
            RST_STREAM | GOAWAY => {
                panic!("the peer gives up: frame {kind}, stream {}, {:?}", self.stream(), self.payload)
            }
            _ => {}
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            progress.answers += 1;
        }
    }

    fn stream(&self) -> u32 {
        u32::from_be_bytes(self.head[5..].try_into().unwrap()) & LARGEST_WINDOW
    }
}

fn frame(plain: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    plain.extend_from_slice(&frame_head(payload.len() as u32, kind, flags, stream));
    plain.extend_from_slice(payload);
}

fn frame_head(length: u32, kind: u8, flags: u8, stream: u32) -> [u8; 9] {
    let [_, a, b, c] = length.to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    [a, b, c, kind, flags, d, e, f, g]
}
