//! A steady load of real clients, each on its own connection, with a record of what became of each request.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::report::{Kind, Outcome, Report, Sample};
use crate::support::Client;
use crate::websocket::{Frame, Frames, GOING_AWAY};

/// What [`Load::start`] sends.
pub const REQUESTS: [Kind; 3] = [Kind::Get, Kind::Post, Kind::Http2];
/// What [`Load::everything`] sends.
pub const EVERYTHING: [Kind; 4] = [Kind::Get, Kind::Post, Kind::Http2, Kind::WebSocket];
/// Clients of each kind.
const CLIENTS: usize = 2;
/// How often each of them asks.
const EVERY: Duration = Duration::from_millis(60);
/// How often a load balancer opens a connection.
const NEW_EVERY: Duration = Duration::from_millis(40);
/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a request that was provably not sent is sent again, as clients do.
const MOST_TRIES: usize = 3;
const BODY: usize = 2000;

/// A load at work.
pub struct Load {
    shared: Arc<Shared>,
    stop: CancellationToken,
    clients: JoinSet<()>,
}

struct Shared {
    client: Client,
    prefix: String,
    next: AtomicUsize,
    connections: AtomicUsize,
    samples: Mutex<Vec<Sample>>,
    begun: Instant,
}

/// A client's connection.
enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

type Socket = Frames<TlsStream<TcpStream>>;

/// Why there is no answer.
enum Trouble {
    /// Not a byte of the request was taken: a client sends it again.
    Unsent,
    Lost(String),
}

impl Load {
    /// GET, POST and HTTP/2 at once.
    pub fn start(client: &Client) -> Self {
        Self::of(client, "", &REQUESTS)
    }

    /// The same and WebSockets, where none of them may notice anything.
    pub fn everything(client: &Client) -> Self {
        Self::of(client, "", &EVERYTHING)
    }

    /// A load balancer that goes on opening connections.
    pub fn balancer(client: &Client) -> Self {
        Self::of(client, "", &[Kind::NewConnection])
    }

    /// These kinds; `prefix` goes before each path.
    pub fn of(client: &Client, prefix: &str, kinds: &[Kind]) -> Self {
        let shared = Arc::new(Shared {
            client: client.clone(),
            prefix: prefix.to_owned(),
            next: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            samples: Mutex::default(),
            begun: Instant::now(),
        });
        let stop = CancellationToken::new();
        let mut clients = JoinSet::new();
        for kind in kinds {
            for _ in 0..CLIENTS {
                clients.spawn(Arc::clone(&shared).ask(*kind, stop.clone()));
            }
        }
        Self { shared, stop, clients }
    }

    /// What became of it so far.
    pub fn so_far(&self) -> Report {
        Report {
            samples: self.shared.samples.lock().unwrap().clone(),
            connections: self.shared.connections.load(Ordering::SeqCst),
            begun: self.shared.begun,
        }
    }

    /// Stops asking, waits for the answers that are due, and tells.
    pub async fn stop(mut self) -> Report {
        self.stop.cancel();
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        self.so_far()
    }
}

impl Shared {
    async fn ask(self: Arc<Self>, kind: Kind, stop: CancellationToken) {
        let mut ticks = interval(if kind == Kind::NewConnection { NEW_EVERY * 2 } else { EVERY });
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut connection, mut socket) = (None, None);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let path = format!("{}/{number}", self.prefix);
            let started = Instant::now();
            let ended = timeout(PATIENCE, async {
                match kind {
                    Kind::WebSocket => self.say(&path, &mut socket).await,
                    kind => self.send(kind, &path, &mut connection).await,
                }
            });
            let (outcome, endpoint) = ended.await.unwrap_or_else(|_| {
                (connection, socket) = (None, None);
                (Outcome::Broken(format!("no answer within {PATIENCE:?}")), None)
            });
            if kind == Kind::NewConnection {
                connection = None;
            }
            let took = started.elapsed();
            self.samples.lock().unwrap().push(Sample { kind, path, started, took, outcome, endpoint });
        }
    }

    async fn send(&self, kind: Kind, path: &str, connection: &mut Option<Connection>) -> (Outcome, Option<String>) {
        for _ in 0..MOST_TRIES {
            if !is_usable(connection).await {
                *connection = match self.connect(kind).await {
                    Ok(connection) => Some(connection),
                    Err(error) => return (Outcome::Broken(format!("cannot connect: {error}")), None),
                };
            }
            let Some(open) = connection.as_mut() else { continue };
            let answer = match open.exchange(request(kind, path)).await {
                Ok(answer) => answer,
                Err(trouble) => {
                    *connection = None;
                    match trouble {
                        Trouble::Unsent => continue,
                        Trouble::Lost(why) => return (Outcome::Broken(why), None),
                    }
                }
            };
            let (head, body) = answer.into_parts();
            let endpoint = head.headers.get("x-endpoint").and_then(|value| value.to_str().ok()).map(str::to_owned);
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) => {
                    *connection = None;
                    return (Outcome::Broken(format!("the answer breaks off: {}", told(&error))), endpoint);
                }
            };
            let outcome = match head.status.as_u16() {
                200 if body != expected(kind, path) => {
                    Outcome::Broken(format!("the answer to another request: {}", String::from_utf8_lossy(&body)))
                }
                503 if endpoint.is_none() && !head.headers.contains_key("retry-after") => {
                    Outcome::Broken("503 without Retry-After".to_owned())
                }
                status => Outcome::Status(status),
            };
            return (outcome, endpoint);
        }
        (Outcome::Broken(format!("not taken {MOST_TRIES} times")), None)
    }

    /// A message that was not echoed before the other side said goodbye is sent again, to whoever is there then.
    async fn say(&self, text: &str, socket: &mut Option<Socket>) -> (Outcome, Option<String>) {
        for _ in 0..MOST_TRIES {
            if socket.is_none() {
                self.connections.fetch_add(1, Ordering::SeqCst);
                *socket = match Frames::open(&self.client, "/socket").await {
                    Ok(open) => Some(open),
                    Err(why) => return (Outcome::Broken(why), None),
                };
            }
            let Some(open) = socket.as_mut() else { continue };
            // Whether it was taken shows in what comes back.
            let _ = open.text(text).await;
            match open.next().await {
                Some(Frame::Text(echo)) => {
                    let (endpoint, echoed) = echo.split_once(' ').unwrap_or_default();
                    let outcome = if echoed == text {
                        Outcome::Status(200)
                    } else {
                        Outcome::Broken(format!("another message's echo: {echo}"))
                    };
                    return (outcome, Some(endpoint.to_owned()));
                }
                Some(Frame::Close(GOING_AWAY)) => *socket = None,
                end => {
                    *socket = None;
                    return (Outcome::Broken(format!("the WebSocket ended: {end:?}")), None);
                }
            }
        }
        (Outcome::Broken(format!("not echoed {MOST_TRIES} times")), None)
    }

    async fn connect(&self, kind: Kind) -> Result<Connection, String> {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let protocol = if kind == Kind::Http2 { "h2" } else { "http/1.1" };
        let stream = self.client.connect(&[protocol]).await.map_err(|error| error.to_string())?;
        let io = TokioIo::new(stream);
        Ok(if kind == Kind::Http2 {
            let (sender, driver) =
                http2::handshake(TokioExecutor::new(), io).await.map_err(|error| error.to_string())?;
            tokio::spawn(driver);
            Connection::Http2(sender)
        } else {
            let (sender, driver) = http1::handshake(io).await.map_err(|error| error.to_string())?;
            tokio::spawn(driver);
            Connection::Http1(sender)
        })
    }
}

async fn is_usable(connection: &mut Option<Connection>) -> bool {
    match connection {
        None => false,
        Some(Connection::Http1(sender)) => sender.ready().await.is_ok() && !sender.is_closed(),
        Some(Connection::Http2(sender)) => sender.ready().await.is_ok() && !sender.is_closed(),
    }
}

impl Connection {
    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Trouble> {
        let ended = match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        };
        ended.map_err(|mut error| {
            let unsent = error.take_message().is_some() || was_not_processed(error.error());
            if unsent { Trouble::Unsent } else { Trouble::Lost(told(error.error())) }
        })
    }
}

/// RFC 9113 section 8.7: a stream above the last one of a GOAWAY, or one that was refused, was not processed.
fn was_not_processed(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        let reason = cause.reason();
        (cause.is_go_away() && cause.is_remote() && reason == Some(h2::Reason::NO_ERROR))
            || reason == Some(h2::Reason::REFUSED_STREAM)
    })
}

fn request(kind: Kind, path: &str) -> Request<Full<Bytes>> {
    let request = Request::builder();
    match kind {
        Kind::Get | Kind::NewConnection | Kind::WebSocket => {
            request.uri(path).header("host", "localhost").body(Full::default())
        }
        Kind::Post => request.method("POST").uri(path).header("host", "localhost").body(Full::from(vec![b'x'; BODY])),
        Kind::Http2 => request.version(Version::HTTP_2).uri(format!("https://localhost{path}")).body(Full::default()),
    }
    .unwrap()
}

fn expected(kind: Kind, path: &str) -> String {
    match kind {
        Kind::Post => format!("POST {path} {BODY}"),
        Kind::Get | Kind::Http2 | Kind::NewConnection | Kind::WebSocket => format!("GET {path} 0"),
    }
}

fn told(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
