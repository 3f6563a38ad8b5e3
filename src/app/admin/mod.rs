//! The admin listener: what operators ask of a running gateway, answered on a thread of its own.
//!
//! Its own thread with its own runtime, so that it answers when every worker is busy, which is when it is asked. It
//! asks nobody who they are: it listens on loopback unless told otherwise, and what a browser may have been talked
//! into sending is refused ([`guard`]).

mod guard;
mod metrics;
mod pages;
mod table;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::reload::Reloaded;
use super::{Control, serve};
use crate::clock::{Clock, WallTime};
use crate::drain::DrainWatch;
use crate::listen::{Listener, Slots};
use crate::metrics::Counters;
use crate::proxy::Proxy;

/// Connections at once; operators and their tools make a few.
const CONNECTIONS: usize = 16;
/// A connection is one question and its answer, within this time.
const LONGEST: Duration = Duration::from_secs(5);
const LARGEST_HEAD: usize = 16 * 1024;

/// The admin listener at work; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Admin {
    address: SocketAddr,
    _stop: DropGuard,
}

/// What the pages show, and whom they tell.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) proxy: Arc<Proxy>,
    pub(super) in_force: Arc<ArcSwap<InForce>>,
    pub(super) drain: DrainWatch,
    pub(super) reloads: Arc<Counters<Reloaded>>,
    pub(super) control: Control,
}

/// The configuration in force, as it is shown.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) generation: u64,
    pub(super) loaded: WallTime,
    /// As TOML; secrets are not in it.
    pub(super) text: String,
}

impl InForce {
    pub(super) fn new(generation: u64, effective: &crate::config::Effective, clock: &Clock) -> Arc<Self> {
        Arc::new(Self { generation, loaded: clock.now(), text: effective.to_string() })
    }
}

impl Admin {
    /// Binds `configured` and serves there.
    ///
    /// # Errors
    /// A sentence that tells what could not be done, and what to do.
    pub(super) async fn start(configured: SocketAddr, view: View) -> Result<Self, String> {
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let (tell, told) = oneshot::channel();
        let thread = std::thread::Builder::new().name("admin".to_owned());
        let failed = |error: std::io::Error| format!("cannot start the admin listener's thread: {error}");
        thread.spawn(move || run(configured, &view, &stop, tell)).map_err(failed)?;
        let address = told.await.unwrap_or_else(|_| Err("the admin listener's thread has ended".to_owned()))?;
        Ok(Self { address, _stop: guard })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn run(
    configured: SocketAddr,
    view: &View,
    stop: &CancellationToken,
    tell: oneshot::Sender<Result<SocketAddr, String>>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = tell.send(Err(format!("cannot start the admin listener's runtime: {error}")));
            return;
        }
    };
    runtime.block_on(async {
        match serve::bind(configured, "admin") {
            Ok(listener) => {
                let _ = tell.send(Ok(listener.address()));
                stop.run_until_cancelled(accept(&listener, view)).await;
            }
            Err(problem) => {
                let _ = tell.send(Err(problem));
            }
        }
    });
}

async fn accept(listener: &Listener, view: &View) {
    let slots = Slots::new(CONNECTIONS);
    loop {
        let slot = slots.take().await;
        let (socket, _) = listener.accept().await;
        let view = view.clone();
        tokio::spawn(async move {
            let _ = timeout(LONGEST, serve_one(&view, socket)).await;
            drop(slot);
        });
    }
}

/// One question for each connection: nobody holds a place of the few that there are by doing nothing.
async fn serve_one(view: &View, socket: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| async move {
        let (head, _) = request.into_parts();
        Ok::<_, Infallible>(pages::answer(view, &head).await)
    });
    let http = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(LONGEST)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(socket), service);
    // Who left before the answer needs none.
    let _ = http.await;
}
