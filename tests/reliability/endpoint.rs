//! An endpoint of the API: an address of 127.0.0.0/8, a journal of what it was asked, and faults on demand.
//!
//! It has a thread and a runtime of its own. Dropping the runtime closes every socket in the same moment, which is all
//! that others see of a process that is killed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::http1::{Head, Http1};
use crate::space::Space;
use crate::websocket::{self, Frame};

/// What an endpoint does with the requests that come from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// 200 with what was asked.
    Answer,
    /// The same after a while.
    Slow(Duration),
    /// Takes requests and never answers.
    Hang,
    /// 503, as an overloaded server answers.
    Unavailable,
    /// Resets the connection after so many bytes of the answer.
    ResetAfter(usize),
    /// Answers the first request of a connection, and closes it just as another comes.
    CloseOnReuse,
    /// Answers the first request of a connection; processes the second, and closes without a word.
    CloseAfterProcessing,
    /// Says that the answer is longer than it is, and closes.
    WrongLength,
    /// Answers when it has seen the head, and reads the body then.
    EarlyAnswer,
    /// A head that never ends.
    EndlessHead,
}

/// A request that an endpoint has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub method: String,
    pub path: String,
    /// It was read to its end: the API has done what it asks.
    pub processed: bool,
}

/// An endpoint.
pub struct Endpoint {
    pub address: SocketAddr,
    behaviour: watch::Sender<Behaviour>,
    terminating: watch::Sender<bool>,
    journal: Journal,
    killed: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

type Journal = Arc<Mutex<Vec<Entry>>>;

impl Endpoint {
    /// An endpoint that answers.
    pub async fn start(address: SocketAddr) -> Self {
        Self::start_in(address, None).await
    }

    /// The same in a network of its own.
    pub async fn start_in(address: SocketAddr, space: Option<&Space>) -> Self {
        let behaviour = watch::Sender::new(Behaviour::Answer);
        let terminating = watch::Sender::new(false);
        let journal = Journal::default();
        let killed = CancellationToken::new();
        let work = Work {
            address,
            behaviour: behaviour.subscribe(),
            terminating: terminating.subscribe(),
            journal: Arc::clone(&journal),
        };
        let (stop, entrance) = (killed.clone(), space.map(Space::entrance));
        let (tell, told) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            if let Some(entrance) = entrance {
                entrance.enter();
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind(address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
                tell.send(()).unwrap();
                stop.run_until_cancelled(work.serve(listener)).await;
            });
        });
        told.await.expect("the endpoint listens");
        Self { address, behaviour, terminating, journal, killed, thread: Some(thread) }
    }

    pub fn behave(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }

    /// As SIGKILL: everything closes at once.
    pub fn kill(&mut self) {
        self.killed.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// As gunicorn at SIGTERM: it stops listening, closes idle connections, and finishes what it has.
    pub async fn terminate(&mut self) {
        self.terminating.send_replace(true);
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            assert!(Instant::now() < deadline, "{} does not end", self.address);
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Every request it has seen, in their order.
    pub fn journal(&self) -> Vec<Entry> {
        self.journal.lock().unwrap().clone()
    }

    /// How many requests it has seen.
    pub fn requests(&self) -> usize {
        self.journal.lock().unwrap().len()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.kill();
    }
}

#[derive(Clone)]
struct Work {
    address: SocketAddr,
    behaviour: watch::Receiver<Behaviour>,
    terminating: watch::Receiver<bool>,
    journal: Journal,
}

impl Work {
    async fn serve(self, listener: TcpListener) {
        let mut terminating = self.terminating.clone();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    connections.spawn(self.clone().converse(Http1::new(stream)));
                }
                _ = terminating.wait_for(|terminating| *terminating) => break,
            }
        }
        // Whoever the kernel has let in already would meet a reset.
        while let Ok(Ok((stream, _))) = timeout(Duration::from_millis(20), listener.accept()).await {
            connections.spawn(self.clone().converse(Http1::new(stream)));
        }
        drop(listener);
        connections.join_all().await;
    }

    async fn converse(mut self, mut http: Http1) {
        for number in 0.. {
            tokio::select! {
                biased;
                () = http.is_readable() => {}
                _ = self.terminating.wait_for(|terminating| *terminating) => {}
            }
            if *self.terminating.borrow() && !http.has_more_now() {
                return;
            }
            if *self.behaviour.borrow() == Behaviour::CloseOnReuse && number > 0 {
                return;
            }
            if !http.has_more().await {
                return;
            }
            let Some(head) = http.head().await else { return };
            if head.websocket.is_some() {
                self.echo(http, &head).await;
                return;
            }
            match self.answer(http, &head, number).await {
                Some(again) => http = again,
                None => return,
            }
        }
    }

    /// Answers one request; the connection comes back when it can take another.
    async fn answer(&mut self, mut http: Http1, head: &Head, number: usize) -> Option<Http1> {
        let entry = self.note(head);
        let behaviour = *self.behaviour.borrow();
        if behaviour == Behaviour::EarlyAnswer {
            http.send(self.response(head, 200, 0, "")).await.ok()?;
            http.body(head).await?;
            self.journal.lock().unwrap()[entry].processed = true;
            return Some(http);
        }
        let length = http.body(head).await?;
        self.journal.lock().unwrap()[entry].processed = true;
        let close = if *self.terminating.borrow() { "Connection: close\r\n" } else { "" };
        match behaviour {
            Behaviour::Hang => {
                let _ = self.behaviour.wait_for(|now| *now != Behaviour::Hang).await;
                return None;
            }
            Behaviour::Slow(time) => sleep(time).await,
            Behaviour::Unavailable => {
                http.send(self.response(head, 503, length, close)).await.ok()?;
                return close.is_empty().then_some(http);
            }
            Behaviour::ResetAfter(bytes) => {
                let response = self.response(head, 200, length, close);
                let _ = http.send(&response.as_bytes()[..bytes.min(response.len())]).await;
                http.reset();
                return None;
            }
            Behaviour::CloseAfterProcessing if number > 0 => return None,
            Behaviour::WrongLength => {
                http.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort").await.ok()?;
                http.end().await;
                return None;
            }
            Behaviour::EndlessHead => {
                http.send("HTTP/1.1 200 OK\r\n").await.ok()?;
                while http.send("X-More: and more\r\n").await.is_ok() {
                    sleep(Duration::from_millis(1)).await;
                }
                return None;
            }
            Behaviour::Answer | Behaviour::CloseOnReuse | Behaviour::CloseAfterProcessing | Behaviour::EarlyAnswer => {}
        }
        http.send(self.response(head, 200, length, close)).await.ok()?;
        if close.is_empty() {
            return Some(http);
        }
        http.end().await;
        None
    }

    /// Sends every message back, with the endpoint's address; says so when it goes away.
    async fn echo(&mut self, mut http: Http1, head: &Head) {
        assert_eq!(head.websocket.as_deref(), Some(websocket::KEY));
        if http.send(websocket::switched()).await.is_err() {
            return;
        }
        let mut frames = http.into_frames();
        loop {
            let frame = tokio::select! {
                biased;
                frame = frames.next() => frame,
                _ = self.terminating.wait_for(|terminating| *terminating) => break,
            };
            let Some(Frame::Text(text)) = frame else { return };
            let entry = Entry { method: "MESSAGE".to_owned(), path: text.clone(), processed: true };
            self.journal.lock().unwrap().push(entry);
            if frames.text(&format!("{} {text}", self.address)).await.is_err() {
                return;
            }
        }
        let _ = frames.close(websocket::GOING_AWAY).await;
        // What has come meanwhile is the client's to send again.
        let _ = timeout(Duration::from_secs(1), async { while frames.next().await.is_some() {} }).await;
    }

    fn note(&self, head: &Head) -> usize {
        let mut journal = self.journal.lock().unwrap();
        journal.push(Entry { method: head.method.clone(), path: head.path.clone(), processed: false });
        journal.len() - 1
    }

    /// Says what was asked, so that an answer to another request is noticed.
    fn response(&self, head: &Head, status: u16, length: usize, more: &str) -> String {
        let body = format!("{} {} {length}", head.method, head.path);
        let (address, size) = (self.address, body.len());
        format!("HTTP/1.1 {status} Scripted\r\nX-Endpoint: {address}\r\n{more}Content-Length: {size}\r\n\r\n{body}")
    }
}

/// The paths of POST requests that were processed more than once, by whichever endpoints.
pub fn posted_twice<'a>(endpoints: impl IntoIterator<Item = &'a Endpoint>) -> Vec<String> {
    let mut paths: Vec<_> = endpoints
        .into_iter()
        .flat_map(Endpoint::journal)
        .filter(|entry| entry.method == "POST" && entry.processed)
        .map(|entry| entry.path)
        .collect();
    paths.sort();
    let twice: Vec<_> = paths.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()).collect();
    twice
}
