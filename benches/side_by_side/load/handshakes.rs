//! Connections that make one full handshake and one request each, many at once.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustls::ClientConnection;

use super::{Client, Progress};

const REQUEST: &[u8] = b"GET /api/hello HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nUser-Agent: bench\r\n\r\n";
const ANSWER_END: &[u8] = b"hello from the upstream\n";

/// Handshakes under one loop.
struct Handshakes<'a> {
    client: &'a Client,
    address: SocketAddr,
    epoll: OwnedFd,
    slots: Vec<Attempt>,
}

struct Attempt {
    socket: TcpStream,
    tls: ClientConnection,
    asked: bool,
    answer: Vec<u8>,
    began: Instant,
}

/// Keeps `at_once` connections going and calls `tick` between events until it says stop.
pub(crate) fn shake_hands(
    client: &Client,
    address: SocketAddr,
    at_once: usize,
    latencies: &mut Option<Vec<u32>>,
    mut tick: impl FnMut(Progress) -> bool,
) {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let mut all = Handshakes { client, address, epoll, slots: Vec::new() };
    for slot in 0..at_once {
        let attempt = all.begin(slot);
        all.slots.push(attempt);
    }
    let mut progress = Progress::default();
    while tick(progress) {
        let mut events = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 64];
        let patience = rustix::event::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        let Ok(count) = epoll::wait(&all.epoll, &mut events, Some(&patience)) else { continue };
        for event in &events[..count] {
            let slot = event.data.u64() as usize;
            if all.slots[slot].turn(client) {
                progress.answers += 1;
                if let Some(latencies) = latencies {
                    latencies.push(all.slots[slot].began.elapsed().as_micros() as u32);
                }
                all.slots[slot] = all.begin(slot);
            }
        }
    }
}

impl Handshakes<'_> {
    fn begin(&self, slot: usize) -> Attempt {
        let began = Instant::now();
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        let wanted = EventFlags::IN | EventFlags::ET;
        epoll::add(&self.epoll, &socket, EventData::new_u64(slot as u64), wanted).unwrap();
        let mut attempt =
            Attempt { socket, tls: self.client.begin(), asked: false, answer: Vec::with_capacity(1024), began };
        attempt.flush();
        attempt
    }
}

impl Attempt {
    /// True when the answer is complete and the connection has been ended.
    fn turn(&mut self, client: &Client) -> bool {
        loop {
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => panic!("the peer closed a connection"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
            let state = self.tls.process_new_packets().unwrap();
            if state.plaintext_bytes_to_read() > 0 {
                let start = self.answer.len();
                self.answer.resize(start + state.plaintext_bytes_to_read(), 0);
                self.tls.reader().read_exact(&mut self.answer[start..]).unwrap();
                if self.answer.ends_with(ANSWER_END) {
                    assert!(self.answer.starts_with(b"HTTP/1.1 200"));
                    self.tls.send_close_notify();
                    self.flush();
                    return true;
                }
            }
            if !self.asked && !self.tls.is_handshaking() {
                client.assert(&self.tls);
                self.asked = true;
                self.tls.writer().write_all(REQUEST).unwrap();
            }
            self.flush();
        }
        false
    }

    fn flush(&mut self) {
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut self.socket).is_err() {
                return;
            }
        }
    }
}
