//! Upstreams: one that answers and remembers, and one that is driven by hand.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request that reached the upstream.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    /// `Err` when the body broke off.
    pub body: Result<Bytes, String>,
    pub trailers: Option<HeaderMap>,
}

/// An upstream on a free port. Dropping it stops it.
pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

pub type Body = BoxBody<Bytes, Infallible>;

pub fn text(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

impl Upstream {
    /// Answers every request with 200 and `upstream METHOD TARGET`, after reading its body.
    pub async fn echo() -> Self {
        Self::answering(|seen| {
            let body = format!("upstream {} {}", seen.method, seen.uri);
            Response::new(text(body))
        })
        .await
    }

    /// Answers every request, after reading its body.
    pub async fn answering(answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let remember = Arc::clone(&seen);
        let answer = Arc::new(answer);
        let mut upstream = Self::raw(move |_, stream| {
            let (answer, remember) = (Arc::clone(&answer), Arc::clone(&remember));
            async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answer, remember) = (Arc::clone(&answer), Arc::clone(&remember));
                    async move {
                        let (head, body) = request.into_parts();
                        let collected = body.collect().await;
                        let trailers = collected.as_ref().ok().and_then(|body| body.trailers().cloned());
                        let seen = Seen {
                            method: head.method,
                            uri: head.uri,
                            headers: head.headers,
                            body: collected.map(|body| body.to_bytes()).map_err(|error| error.to_string()),
                            trailers,
                        };
                        remember.lock().unwrap().push(seen.clone());
                        Ok::<_, Infallible>(answer(&seen))
                    }
                });
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            }
        })
        .await;
        upstream.seen = seen;
        upstream
    }

    /// Hands every connection, with its number from 0, to `serve`.
    pub async fn raw<F>(serve: impl Fn(usize, TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::raw_on("127.0.0.1:0".parse().unwrap(), serve).await
    }

    pub async fn raw_on<F>(address: SocketAddr, serve: impl Fn(usize, TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst);
                tasks.spawn(serve(number, stream));
            }
        });
        Self { address, seen: Arc::default(), connections, task }
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}
