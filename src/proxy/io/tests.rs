//! The deadlines of a socket, by a clock that jumps.

use std::future::poll_fn;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::timeout;

use super::*;

const DEADLINES: Deadlines =
    Deadlines { head: Duration::from_secs(10), keepalive: Duration::from_secs(75), send: Duration::from_secs(60) };

impl Outlet for tokio::io::DuplexStream {
    fn sent(&self) -> u64 {
        0
    }

    fn has_unsent(&self) -> bool {
        false
    }
}

/// Takes whatever is written; its socket takes a byte each so often, or never.
struct Trickle {
    unsent: u64,
    sent: u64,
    each: Option<Duration>,
    wait: Pin<Box<tokio::time::Sleep>>,
}

impl Trickle {
    fn new(each: Option<Duration>) -> Self {
        let wait = Box::pin(tokio::time::sleep(each.unwrap_or_default()));
        Self { unsent: 0, sent: 0, each, wait }
    }
}

impl Outlet for Trickle {
    fn sent(&self) -> u64 {
        self.sent
    }

    fn has_unsent(&self) -> bool {
        self.unsent > 0
    }
}

impl AsyncRead for Trickle {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Trickle {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.unsent += bytes.len() as u64;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        use std::future::Future as _;
        while self.unsent > 0 {
            let Some(each) = self.each else { return Poll::Pending };
            ready!(self.wait.as_mut().poll(context));
            self.wait.as_mut().reset(Instant::now() + each);
            self.unsent -= 1;
            self.sent += 1;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn trickling(each: Option<Duration>) -> (ClientIo<Trickle>, Arc<Activity>) {
    let activity = Arc::new(Activity::new());
    (ClientIo::new(Trickle::new(each), Protocol::Http1, Arc::clone(&activity), DEADLINES), activity)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_a_little_now_and_then_is_not_given_up() {
    let (mut io, _activity) = trickling(Some(Duration::from_secs(50)));
    let start = Instant::now();
    io.write_all(b"123456").await.unwrap();
    io.flush().await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(250));
}

#[tokio::test(start_paused = true)]
async fn what_is_written_meanwhile_moves_no_send_deadline() {
    let (mut io, _activity) = trickling(None);
    let start = Instant::now();
    let error = loop {
        io.write_all(b"event").await.unwrap();
        match timeout(Duration::from_secs(7), io.flush()).await {
            Ok(flushed) => break flushed.unwrap_err(),
            Err(_) => assert!(start.elapsed() < Duration::from_secs(100)),
        }
    };
    assert_eq!((error.kind(), start.elapsed().as_secs()), (io::ErrorKind::TimedOut, 60));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_to_end_waits_until_its_last_answer_is_sent() {
    for is_drain in [true, false] {
        let (mut io, activity) = trickling(Some(Duration::from_secs(50)));
        activity.begin_request();
        io.write_all(b"12").await.unwrap();
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut io).poll_flush(&mut context).is_pending());
        activity.end_request(true, Instant::now());
        if is_drain {
            activity.close_when_idle();
        }
        let early = timeout(Duration::from_secs(if is_drain { 1 } else { 90 }), poll_fn(|cx| io.poll_wake(cx))).await;
        assert!(early.is_err(), "something is to be sent");
        io.flush().await.unwrap();
        assert!(!timeout(Duration::from_secs(1), poll_fn(|cx| io.poll_wake(cx))).await.unwrap());
    }
}

fn client_io() -> (ClientIo<tokio::io::DuplexStream>, tokio::io::DuplexStream, Arc<Activity>) {
    let (ours, theirs) = duplex(64);
    let activity = Arc::new(Activity::new());
    (ClientIo::new(ours, Protocol::Http1, Arc::clone(&activity), DEADLINES), theirs, activity)
}

#[tokio::test(start_paused = true)]
async fn the_first_head_has_its_time_from_the_handshake_however_it_trickles() {
    let (mut io, mut client, _) = client_io();
    let start = Instant::now();
    tokio::spawn(async move {
        while client.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let mut bytes = Vec::new();
    let error = io.read_to_end(&mut bytes).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_quietly_after_the_keepalive_time() {
    let (mut io, client, activity) = client_io();
    activity.begin_request();
    activity.end_request(true, Instant::now());
    let start = Instant::now();
    assert_eq!(io.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(start.elapsed().as_secs(), 75);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_rests_says_so_once_and_wakes_with_the_first_byte() {
    let (mut io, mut client, activity) = client_io();
    activity.begin_request();
    activity.end_request(true, Instant::now());
    let start = Instant::now();
    poll_fn(|context| {
        assert!(io.poll_wake(context).is_pending());
        if activity.take_idle() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    assert_eq!(start.elapsed(), PARK_AFTER);
    let waited = timeout(Duration::from_secs(5), poll_fn(|context| io.poll_wake(context))).await;
    assert!(waited.is_err() && !activity.take_idle());

    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert!(poll_fn(|context| io.poll_wake(context)).await);
    let mut line = [0; 16];
    io.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"GET / HTTP/1.1\r\n");
    let start = Instant::now();
    assert_eq!(io.read(&mut line).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 10, "the head's deadline runs from its first byte");
}

#[tokio::test(start_paused = true)]
async fn a_parked_connection_ends_with_the_keepalive_time_the_client_or_a_drain() {
    for how in ["time", "client", "drain"] {
        let (mut io, client, activity) = client_io();
        activity.begin_request();
        activity.end_request(true, Instant::now());
        let start = Instant::now();
        assert!(timeout(Duration::from_secs(2), poll_fn(|context| io.poll_wake(context))).await.is_err());
        let client = match how {
            "client" => {
                drop(client);
                None
            }
            "drain" => {
                activity.close_when_idle();
                Some(client)
            }
            _ => Some(client),
        };
        assert!(!poll_fn(|context| io.poll_wake(context)).await, "{how}");
        assert_eq!(start.elapsed().as_secs(), if how == "time" { 75 } else { 2 }, "{how}");
        drop(client);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_the_client_has_not_taken_keeps_the_connection_awake() {
    let (mut io, client, activity) = client_io();
    activity.begin_request();
    let mut context = Context::from_waker(std::task::Waker::noop());
    while Pin::new(&mut io).poll_write(&mut context, &[b'x'; 65]).is_ready() {}
    activity.end_request(true, Instant::now());
    assert!(timeout(Duration::from_secs(5), poll_fn(|context| io.poll_wake(context))).await.is_err());
    assert!(!activity.take_idle());
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_later_head_has_its_time_from_its_first_byte() {
    let (mut io, mut client, activity) = client_io();
    activity.begin_request();
    activity.end_request(true, Instant::now());
    tokio::time::sleep(Duration::from_secs(50)).await;
    client.write_all(b"G").await.unwrap();
    let start = Instant::now();
    let mut bytes = Vec::new();
    assert!(io.read_to_end(&mut bytes).await.is_err());
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_meets_the_send_deadline() {
    let (mut io, client, activity) = client_io();
    activity.begin_request();
    let start = Instant::now();
    let error = io.write_all(&[b'x'; 65]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 60);
    drop(client);
}

#[tokio::test]
async fn a_fragment_in_a_request_line_is_noticed_and_one_elsewhere_is_not() {
    for (bytes, expected) in [
        (&b"GET /a#b HTTP/1.1\r\n"[..], true),
        (b"\r\n\r\nGET /a#b HTTP/1.1\r\n", true),
        (b"GET /a HTTP/1.1\r\nx: #\r\n", false),
        (b"GET /a%23 HTTP/1.1\r\n\r\n#", false),
    ] {
        let (mut io, mut client, activity) = client_io();
        client.write_all(bytes).await.unwrap();
        let mut read = vec![0; bytes.len()];
        io.read_exact(&mut read).await.unwrap();
        assert_eq!(activity.take_fragment(), expected, "{}", String::from_utf8_lossy(bytes));
        assert!(!activity.take_fragment());
    }
}
