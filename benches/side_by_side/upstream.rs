//! The API behind everyone: one thread, one epoll, answers made beforehand, bodies from the page cache, uploads thrown
//! away unread. It must never be what a measurement waits for.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use memchr::memmem;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::RecvFlags;

use crate::load::Size;

const LISTENER: u64 = u64::MAX;

/// Starts it on the core of this thread; it runs until the process ends.
pub(crate) fn start(address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::Builder::new().name("upstream".to_owned()).spawn(move || serve(&listener)).unwrap();
    address
}

struct Connection {
    socket: TcpStream,
    input: Vec<u8>,
    /// Of an upload that is thrown away.
    swallow: u64,
    /// Of a download that is under way.
    send: u64,
}

fn serve(listener: &TcpListener) {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    epoll::add(&epoll, listener, EventData::new_u64(LISTENER), EventFlags::IN).unwrap();
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut events = Vec::with_capacity(512);
    let mut scratch = vec![0; 1 << 20];
    let answers = Answers::new();
    loop {
        events.clear();
        if epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None).is_err() {
            continue;
        }
        for event in &events {
            let which = event.data.u64();
            if which == LISTENER {
                while let Ok((socket, _)) = listener.accept() {
                    socket.set_nonblocking(true).unwrap();
                    socket.set_nodelay(true).unwrap();
                    let slot = free.pop().unwrap_or_else(|| {
                        connections.push(None);
                        connections.len() - 1
                    });
                    let wanted = EventFlags::IN | EventFlags::OUT | EventFlags::ET | EventFlags::RDHUP;
                    epoll::add(&epoll, &socket, EventData::new_u64(slot as u64), wanted).unwrap();
                    let connection = Connection { socket, input: Vec::with_capacity(8192), swallow: 0, send: 0 };
                    connections[slot] = Some(connection);
                }
                continue;
            }
            let Some(connection) = connections.get_mut(which as usize).and_then(Option::as_mut) else { continue };
            if !connection.turn(&answers, &mut scratch) {
                connections[which as usize] = None;
                free.push(which as usize);
            }
        }
    }
}

impl Connection {
    /// Does what can be done now; false when the connection has ended.
    fn turn(&mut self, answers: &Answers, scratch: &mut [u8]) -> bool {
        loop {
            if self.send > 0 {
                match self.send_body(answers) {
                    Some(true) => {}
                    Some(false) => return true,
                    None => return false,
                }
            }
            if self.swallow > 0 {
                let wanted = scratch.len().min(usize::try_from(self.swallow).unwrap_or(usize::MAX));
                // The kernel drops the bytes instead of copying them.
                match rustix::net::recv(&self.socket, &mut scratch[..wanted], RecvFlags::TRUNC) {
                    Ok((_, 0)) => return false,
                    Ok((_, read)) => self.swallow -= read as u64,
                    Err(error) => return error == rustix::io::Errno::AGAIN,
                }
                if self.swallow == 0 && self.socket.write_all(&answers.small).is_err() {
                    return false;
                }
                continue;
            }
            let before = self.input.len();
            match (&self.socket).read(&mut scratch[..16384]) {
                Ok(0) => return false,
                Ok(read) => self.input.extend_from_slice(&scratch[..read]),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
            let searched = before.saturating_sub(3);
            let Some(end) = memmem::find(&self.input[searched..], b"\r\n\r\n").map(|at| searched + at + 4) else {
                continue;
            };
            if !self.answer(end, answers) {
                return false;
            }
            // Everything there was has been read: what comes next is told by a new event.
            if self.send == 0 && self.swallow == 0 {
                return true;
            }
        }
    }

    /// Answers the one request whose head ends at `end`.
    fn answer(&mut self, end: usize, answers: &Answers) -> bool {
        let head = &self.input[..end];
        if head.starts_with(b"POST") {
            let length = content_length(head).expect("an upload tells its length");
            let here = (self.input.len() - end) as u64;
            self.input.clear();
            self.swallow = length - here;
            return self.swallow > 0 || self.socket.write_all(&answers.small).is_ok();
        }
        assert_eq!(self.input.len(), end, "requests to an upstream are not pipelined");
        let size = Size::from_path(head.get(4..).unwrap_or_default());
        self.input.clear();
        match size {
            Size::Small => self.socket.write_all(&answers.small).is_ok(),
            Size::Kib8 => self.socket.write_all(&answers.kib8).is_ok(),
            Size::Mib1 | Size::Mib100 => {
                self.send = size.bytes();
                self.socket.write_all(&head_of(size.bytes())).is_ok()
            }
        }
    }

    /// `Some(true)` when all has been sent, `None` when the connection is broken.
    fn send_body(&mut self, answers: &Answers) -> Option<bool> {
        while self.send > 0 {
            let count = self.send.min(answers.long.len() as u64) as usize;
            match rustix::io::write(&self.socket, &answers.long[..count]) {
                Ok(sent) => self.send -= sent as u64,
                Err(rustix::io::Errno::AGAIN) => return Some(false),
                Err(_) => return None,
            }
        }
        Some(true)
    }
}

struct Answers {
    small: Vec<u8>,
    kib8: Vec<u8>,
    /// What long bodies are made of.
    long: Vec<u8>,
}

impl Answers {
    fn new() -> Self {
        let with_body = |body: &[u8]| [&head_of(body.len() as u64)[..], body].concat();
        Self {
            small: with_body(b"hello from the upstream\n"),
            kib8: with_body(&[b'x'; 8192]),
            long: vec![b'x'; 256 << 10],
        }
    }
}

/// With the fields that an API's server sends, so that nobody has more to add than others.
fn head_of(length: u64) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nServer: upstream\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\nContent-Type: text/plain\r\n\
         Content-Length: {length}\r\n\r\n"
    )
    .into_bytes()
}

/// The `Content-Length` of a head.
pub(crate) fn content_length(head: &[u8]) -> Option<u64> {
    let name = b"content-length:";
    let line = head
        .split(|byte| *byte == b'\n')
        .find(|line| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))?;
    std::str::from_utf8(line.get(name.len()..)?).ok()?.trim().parse().ok()
}
