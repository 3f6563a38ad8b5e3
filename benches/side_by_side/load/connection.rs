//! Connections that stay, and the loop that drives them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};

use super::http1::Http1;
use super::http2::Http2;
use super::record::{HEADER, LONGEST, OVERHEAD, Opened, Records};
use super::{Client, Order, Progress};

static BODY: [u8; LONGEST] = [b'x'; LONGEST];
/// How much of an upload is sealed ahead of the socket.
const AHEAD: usize = 8;
/// Where small answers are read to, and long ones.
const SMALL_INPUT: usize = 20 << 10;
const LONG_INPUT: usize = 256 << 10;

/// Established connections under one loop.
pub(crate) struct Crowd {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    pub(crate) progress: Progress,
    /// Microseconds of each answer, when they are wanted.
    pub(crate) latencies: Option<Vec<u32>>,
    input: Vec<u8>,
}

struct Connection {
    socket: TcpStream,
    records: Records,
    http: Http,
    /// Bytes of records that have not come whole.
    rest: Vec<u8>,
    /// What is to be sealed.
    plain: Vec<u8>,
    /// What is to be written.
    output: Vec<u8>,
    written: usize,
    asked: Instant,
}

enum Http {
    One(Http1),
    Two(Http2),
}

impl Crowd {
    /// Shakes hands for all of them, one after another.
    pub(crate) fn connect(client: &Client, address: SocketAddr, count: usize, order: &Order) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let long = order.upload.is_none() && super::Size::from_path(order.path.as_bytes()).bytes() > 8 << 10;
        let mut connections = Vec::with_capacity(count);
        for number in 0..count {
            let (socket, records) = client.connect(address);
            socket.set_nonblocking(true).unwrap();
            let wanted = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
            epoll::add(&epoll, &socket, EventData::new_u64(number as u64), wanted).unwrap();
            let mut plain = Vec::new();
            let http = match order.streams {
                None => Http::One(Http1::new(order)),
                Some(_) => Http::Two(Http2::new(order, &mut plain)),
            };
            connections.push(Connection {
                socket,
                records,
                http,
                rest: Vec::new(),
                plain,
                output: Vec::new(),
                written: 0,
                asked: Instant::now(),
            });
        }
        let input = vec![0; if long { LONG_INPUT } else { SMALL_INPUT }];
        Self { epoll, connections, progress: Progress::default(), latencies: None, input }
    }

    /// Asks once on every stream of every connection; `run` keeps them going.
    pub(crate) fn start(&mut self, streams: usize) {
        for connection in &mut self.connections {
            for _ in 0..streams {
                connection.ask();
            }
            connection.flush(&mut self.progress);
        }
    }

    /// Asks once on each connection, after the answer to the one before.
    pub(crate) fn ask_in_turn(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        for number in 0..self.connections.len() {
            let wanted = self.progress.answers + 1;
            let connection = &mut self.connections[number];
            connection.ask();
            connection.flush(&mut self.progress);
            while self.progress.answers < wanted {
                assert!(Instant::now() < deadline, "no answer came");
                self.turn(false);
            }
        }
    }

    /// Asks anew for each answer until `end`.
    pub(crate) fn run(&mut self, end: Instant) {
        while Instant::now() < end {
            self.turn(true);
        }
    }

    fn turn(&mut self, again: bool) {
        let mut events = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 256];
        let patience = rustix::event::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        let Ok(count) = epoll::wait(&self.epoll, &mut events, Some(&patience)) else { return };
        for event in &events[..count] {
            let connection = &mut self.connections[event.data.u64() as usize];
            connection.turn(again, &mut self.input, &mut self.progress, self.latencies.as_mut());
        }
    }
}

impl Connection {
    fn ask(&mut self) {
        match &mut self.http {
            Http::One(http) => http.ask(&mut self.plain),
            Http::Two(http) => http.ask(&mut self.plain),
        }
        self.asked = Instant::now();
    }

    fn turn(&mut self, again: bool, input: &mut [u8], progress: &mut Progress, mut latencies: Option<&mut Vec<u32>>) {
        loop {
            let kept = self.rest.len();
            input[..kept].copy_from_slice(&self.rest);
            self.rest.clear();
            let (filled, more) = match self.socket.read(&mut input[kept..]) {
                Ok(0) => panic!("the peer closed a connection"),
                Ok(read) => (kept + read, kept + read == input.len()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => (kept, false),
                Err(error) => panic!("{error}"),
            };
            let before = progress.answers;
            self.take(&mut input[..filled], progress);
            let answered = progress.answers - before;
            if answered > 0 {
                if let Some(latencies) = &mut latencies {
                    latencies.push(self.asked.elapsed().as_micros() as u32);
                }
                for _ in 0..if again { answered } else { 0 } {
                    self.ask();
                }
            }
            self.flush(progress);
            if !more {
                return;
            }
        }
    }

    /// Goes through whole records and keeps the rest.
    fn take(&mut self, mut input: &mut [u8], progress: &mut Progress) {
        while let [_, _, _, high, low, ..] = input {
            let whole = HEADER + usize::from(u16::from_be_bytes([*high, *low]));
            if input.len() < whole {
                break;
            }
            let (record, rest) = input.split_at_mut(whole);
            input = rest;
            let length = (whole - HEADER - OVERHEAD) as u64;
            match &mut self.http {
                Http::One(http) => {
                    // Its end is looked at, so that a mistake in counting is noticed.
                    if length == LONGEST as u64 && http.skip(length, progress) {
                        self.records.skip();
                        continue;
                    }
                    match self.records.open(record) {
                        Opened::Data(plain) => http.feed(plain, progress),
                        Opened::Ticket => {}
                    }
                }
                Http::Two(http) => match self.records.open(record) {
                    Opened::Data(plain) => http.feed(plain, &mut self.plain, progress),
                    Opened::Ticket => {}
                },
            }
        }
        self.rest.extend_from_slice(input);
    }

    /// Writes what there is, and as much of an upload as the socket takes.
    fn flush(&mut self, progress: &mut Progress) {
        loop {
            for chunk in self.plain.chunks(LONGEST) {
                self.records.seal(&[chunk], &mut self.output);
            }
            self.plain.clear();
            if self.output.is_empty() {
                self.seal_upload(progress);
            }
            if self.output.is_empty() {
                return;
            }
            match self.socket.write(&self.output[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
            if self.written == self.output.len() {
                self.output.clear();
                self.written = 0;
            }
        }
    }

    fn seal_upload(&mut self, progress: &mut Progress) {
        for _ in 0..AHEAD {
            let length = match &mut self.http {
                Http::One(http) => match http.upload(LONGEST) {
                    0 => return,
                    length => {
                        self.records.seal(&[&BODY[..length]], &mut self.output);
                        length
                    }
                },
                Http::Two(http) => {
                    let Some((head, length)) = http.upload() else { return };
                    self.records.seal(&[&head, &BODY[..length]], &mut self.output);
                    length
                }
            };
            progress.bytes += length as u64;
        }
    }
}
