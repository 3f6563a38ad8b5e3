//! The tasks of HTTP/2 streams: each ends when its client stops taking the answer.
//!
//! A client can leave one stream's window shut and keep the connection busy with others, so the connection's own
//! deadlines never notice. hyper hands each stream to an executor as one future; that future is given up when a piece
//! of its answer has waited too long, which resets the stream and frees its upstream connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use super::response::Stall;
use crate::watchdog::Watchdog;

/// Runs the streams of one connection.
#[derive(Debug)]
pub(super) struct StreamExecutor {
    send: Duration,
    /// The stall of the request that was last begun: hyper hands over its future right after.
    next: Arc<Mutex<Option<Arc<Stall>>>>,
    /// Of a stream's own copy: hyper makes one for each stream between its beginning and its future, and has it run
    /// what sends for a tunnel, should the stream become one.
    stream: Option<Arc<Stall>>,
}

impl Clone for StreamExecutor {
    fn clone(&self) -> Self {
        let stream = self.next.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self { send: self.send, next: Arc::clone(&self.next), stream }
    }
}

impl StreamExecutor {
    pub(super) fn new(send: Duration) -> Self {
        Self { send, next: Arc::default(), stream: None }
    }

    /// A request begins; the next future is its stream.
    pub(super) fn begin(&self) -> Arc<Stall> {
        let stall = Arc::new(Stall::new());
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&stall));
        stall
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for StreamExecutor {
    fn execute(&self, future: F) {
        if let Some(stream) = &self.stream {
            // A tunnel has its own deadlines.
            stream.tunnel(tokio::spawn(future).abort_handle());
            return;
        }
        let stall = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        match stall {
            None => tokio::spawn(future),
            Some(stall) => {
                tokio::spawn(Stream { future: Box::pin(future), stall, send: self.send, watchdog: Watchdog::default() })
            }
        };
    }
}

struct Stream<F> {
    future: Pin<Box<F>>,
    stall: Arc<Stall>,
    send: Duration,
    watchdog: Watchdog,
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.future.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        match self.stall.since() {
            None => {
                self.watchdog.disarm();
                Poll::Pending
            }
            Some(since) => {
                let deadline = since + self.send;
                self.watchdog.arm(deadline);
                self.watchdog.poll_expired(context).map(|()| self.stall.give_up())
            }
        }
    }
}
