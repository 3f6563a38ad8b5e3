//! One HTTP/2 connection to an endpoint, and the task that drives it.

use std::fmt;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::time::{Instant, sleep, timeout};

use super::super::error::FailureKind;
use super::super::stream::Stream;

/// Requests at once on one connection, if the upstream allows as many.
const MOST_STREAMS: usize = 64;
const STREAM_WINDOW: u32 = 256 * 1024;
/// Room for all streams: clients that do not read must not hold up others.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// What h2 puts up with of small frames that nobody has read yet, at 256 bytes each, before it ends the connection. Its
/// own measure would let one slow reader of many small messages end the calls of all.
const SMALL_FRAMES: usize = 64 * 1024 * 1024;
const SEND_BUFFER: usize = 256 * 1024;
/// The head of an answer, and its trailers, may be this long.
const LONGEST_HEAD: u32 = 64 * 1024;
/// While there are requests on a connection, it is asked this often whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// One HTTP/2 connection. It ends when nobody holds it and its streams have ended.
pub(in crate::upstream) struct Link {
    sender: SendRequest<Bytes>,
    claims: AtomicUsize,
    /// Whether an answer has come over it.
    proven: AtomicBool,
    opened: Instant,
    /// Since when there has been no claim: milliseconds after `opened`.
    idle_since: AtomicU64,
}

impl Link {
    /// Puts HTTP/2 on a connected socket. The upstream's settings are waited for: they say how many requests it takes
    /// at once, and show that it speaks HTTP/2 before a request is risked. The caller has a deadline, and a place.
    pub(super) async fn open(stream: Stream) -> Result<Arc<Self>, FailureKind> {
        let is_tls = matches!(stream, Stream::Tls(_));
        let (sender, mut connection) = Builder::new()
            .initial_max_send_streams(0)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .data_frame_budget(SMALL_FRAMES)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(LONGEST_HEAD)
            .enable_push(false)
            .handshake::<_, Bytes>(stream)
            .await
            .map_err(|error| failure(&error, is_tls))?;
        poll_fn(|context| {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
                return Poll::Ready(Err(ended.err().map_or(FailureKind::Reset, |error| failure(&error, is_tls))));
            }
            if sender.current_max_send_streams() > 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await?;
        let link = Arc::new(Self {
            sender,
            claims: AtomicUsize::new(1),
            proven: AtomicBool::new(false),
            opened: Instant::now(),
            idle_since: AtomicU64::new(0),
        });
        let pings = connection.ping_pong();
        tokio::spawn(drive(connection, pings, Arc::downgrade(&link)));
        Ok(link)
    }

    /// What sends requests over it.
    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.sender.clone()
    }

    /// Whether new requests may be sent: no GOAWAY has come, nor an end, and not all numbers of streams are used up.
    pub(super) fn is_open(&self) -> bool {
        let asked = self.sender().poll_ready(&mut Context::from_waker(Waker::noop()));
        !matches!(asked, Poll::Ready(Err(_)))
    }

    /// Takes a place for one request, if there is one. Only called under the pool's lock.
    pub(super) fn claim(&self) -> bool {
        let most = self.sender.current_max_send_streams().min(MOST_STREAMS);
        if self.claims() >= most {
            return false;
        }
        self.claims.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Gives a place back.
    pub(super) fn release(&self) {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.idle_since.store(now, Ordering::Relaxed);
        self.claims.fetch_sub(1, Ordering::Relaxed);
    }

    /// Requests on it.
    pub(super) fn claims(&self) -> usize {
        self.claims.load(Ordering::Relaxed)
    }

    /// For how long there has been no request on it.
    pub(super) fn idle_for(&self, now: Instant) -> Duration {
        if self.claims() > 0 {
            return Duration::ZERO;
        }
        let since = Duration::from_millis(self.idle_since.load(Ordering::Relaxed));
        now.duration_since(self.opened).saturating_sub(since)
    }

    /// An answer has come.
    pub(super) fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    /// Whether an answer has ever come.
    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("claims", &self.claims()).finish_non_exhaustive()
    }
}

/// Drives a connection to its end. One that does not answer pings while requests wait on it is cut.
async fn drive(connection: Connection<Stream, Bytes>, pings: Option<PingPong>, link: Weak<Link>) {
    let watch = async {
        let Some(mut pings) = pings else { return };
        loop {
            sleep(PING_EVERY).await;
            match link.upgrade() {
                // It has had the time to say goodbye.
                None => return,
                Some(link) if link.claims() == 0 => continue,
                Some(_) => {}
            }
            if !matches!(timeout(PONG_WITHIN, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
                return;
            }
        }
    };
    // How it ended is told to whoever waits for an answer.
    tokio::select! {
        _ = connection => {}
        () = watch => {}
    }
}

/// Why there is no HTTP/2 on a connection.
fn failure(error: &h2::Error, is_tls: bool) -> FailureKind {
    match error.get_io() {
        // TCP never says so: it is an alert. A peer that does not like our certificate says so only now (TLS 1.3).
        Some(io) if is_tls && io.kind() == io::ErrorKind::InvalidData => {
            FailureKind::TlsFailed(io::Error::new(io.kind(), io.to_string()))
        }
        Some(_) => FailureKind::Reset,
        None => FailureKind::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A connection to somebody who sends the settings that there have to be, and nothing more.
    async fn to_somebody_silent() -> Arc<Link> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let stream = Stream::connect(address, None, Duration::from_secs(10)).await.unwrap();
        Link::open(stream).await.unwrap()
    }

    #[tokio::test]
    async fn a_connection_that_answers_no_ping_is_cut_when_a_request_waits_on_it() {
        let link = to_somebody_silent().await;
        tokio::time::pause();
        let begun = Instant::now();
        while link.is_open() {
            sleep(Duration::from_secs(1)).await;
        }
        let longest = PING_EVERY + PONG_WITHIN;
        assert!((longest..longest + Duration::from_secs(2)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_connection_without_a_request_is_left_alone() {
        let link = to_somebody_silent().await;
        link.release();
        tokio::time::pause();
        sleep(Duration::from_secs(600)).await;
        assert!(link.is_open());
        assert!(link.idle_for(Instant::now()) >= Duration::from_secs(600));
        assert!(link.claim() && link.idle_for(Instant::now()).is_zero());
    }
}
