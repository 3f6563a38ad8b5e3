//! Upstreams that speak HTTP/2, driven stream by stream.

use std::future::Future;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;

use super::wire::soon;
use super::{Client, Gateway, Pki, Upstream};

/// The upstream's end of one stream.
pub type Exchange = (Request<RecvStream>, SendResponse<Bytes>);

/// An upstream that hands every stream, with the numbers of its connection and of its stream on it from 0, to `answer`.
pub async fn streams<F>(
    builder: Builder,
    answer: impl Fn(usize, usize, Exchange) -> F + Send + Sync + 'static,
) -> Upstream
where
    F: Future<Output = ()> + Send + 'static,
{
    let answer = Arc::new(answer);
    connections(builder, move |connection, mut http| {
        let answer = Arc::clone(&answer);
        async move {
            let mut tasks = tokio::task::JoinSet::new();
            let mut stream = 0;
            while let Some(Ok(exchange)) = http.accept().await {
                tasks.spawn(answer(connection, stream, exchange));
                stream += 1;
            }
        }
    })
    .await
}

/// An upstream that hands every connection, with its number from 0, to `serve`.
pub async fn connections<F>(
    builder: Builder,
    serve: impl Fn(usize, Connection<TcpStream, Bytes>) -> F + Send + Sync + 'static,
) -> Upstream
where
    F: Future<Output = ()> + Send + 'static,
{
    let serve = Arc::new(serve);
    Upstream::raw(move |number, stream| {
        let (builder, serve) = (builder.clone(), Arc::clone(&serve));
        async move {
            stream.set_nodelay(true).unwrap();
            if let Ok(connection) = builder.handshake(stream).await {
                serve(number, connection).await;
            }
        }
    })
    .await
}

/// Reads a body to its end, and the trailers after it.
pub async fn read(body: &mut RecvStream) -> Result<(Bytes, Option<HeaderMap>), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = soon(body.data()).await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.into(), soon(body.trailers()).await?))
}

/// Answers with 200 and this body.
pub fn ok(respond: &mut SendResponse<Bytes>, body: impl Into<Bytes>) {
    if let Ok(mut stream) = respond.send_response(Response::new(()), false) {
        let _ = stream.send_data(body.into(), true);
    }
}

/// An upstream that reads every request to its end, remembers its head, and answers `h2 METHOD TARGET LENGTH`.
pub async fn echo(builder: Builder) -> (Upstream, Arc<Mutex<Vec<Request<()>>>>) {
    let seen: Arc<Mutex<Vec<Request<()>>>> = Arc::default();
    let remember = Arc::clone(&seen);
    let upstream = streams(builder, move |_, _, (request, mut respond)| {
        let remember = Arc::clone(&remember);
        async move {
            let (head, mut body) = request.into_parts();
            let Ok((body, _)) = read(&mut body).await else { return };
            let text = format!("h2 {} {} {}", head.method, head.uri.path_and_query().unwrap(), body.len());
            remember.lock().unwrap().push(Request::from_parts(head, ()));
            ok(&mut respond, text);
        }
    })
    .await;
    (upstream, seen)
}

/// A gateway in front of `upstream`, which speaks HTTP/2, and a client that it lets in. `more` begins inside of
/// `[upstream.api]`.
pub async fn in_front_of(upstream: &Upstream, more: &str) -> (Gateway, Client) {
    super::wire::in_front_of(upstream, &format!("protocol = \"http2\"\n{more}")).await
}

/// The same behind a DNS name, `api.test.local`.
pub async fn behind_a_name(port: u16, resolver: std::net::SocketAddr) -> (Gateway, Client) {
    let pki = Pki::new();
    let gateway = Gateway::start(
        &pki,
        &format!(
            "[upstream.api]\nurl = \"http://api.test.local:{port}\"\nprotocol = \"http2\"\n[upstream.api.dns]\nresolvers = \
             [\"{resolver}\"]\nmin_ttl = \"100ms\"\nmax_ttl = \"200ms\"\n"
        ),
    )
    .await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    (gateway, client)
}
