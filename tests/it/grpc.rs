//! gRPC through the gateway: both ways at once, with trailers, and with a real client and server.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::Builder;
use http::{HeaderMap, Response};
use tempfile::TempDir;

use crate::support::binary::{Binary, free_address, have, run_to_end};
use crate::support::http2::{in_front_of, read, streams};
use crate::support::wire::{h2, h2_request, h2_with, soon};
use crate::support::{eventually, gateway};

fn call(path: &str) -> http::Request<()> {
    let mut request = h2_request("POST", path);
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "5S")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
}

fn names(fields: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<_> = fields.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_trailers_pass_both_ways_and_identities_do_not() {
    let seen: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
    let remember = Arc::clone(&seen);
    let upstream = streams(Builder::new(), move |_, _, (request, mut respond)| {
        let remember = Arc::clone(&remember);
        async move {
            let (head, mut body) = request.into_parts();
            let (_, trailers) = read(&mut body).await.unwrap();
            remember.lock().unwrap().extend([head.headers, trailers.unwrap()]);
            let answer = Response::builder().header("content-type", "application/grpc").header("x_meta.bin", "1");
            let mut stream = respond.send_response(answer.body(()).unwrap(), false).unwrap();
            stream.send_data("message".into(), false).unwrap();
            let trailers =
                [("grpc-status", "0"), ("x_end.bin", "2"), ("x-request-id", "6"), ("x-ssl-client-verify", "6")];
            stream.send_trailers(fields(&trailers)).unwrap();
        }
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let (mut sender, _connection) = h2(&client).await;
    let mut request = call("/a.Service/Method");
    for (name, value) in
        [("x_trace.bin", "1"), ("client_cert", "6"), ("x_ssl.client-verify", "6"), ("grpc-timeout", "5S")]
    {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let (answer, mut body) = sender.send_request(request, false).unwrap();
    body.send_data("message".into(), false).unwrap();
    body.send_trailers(fields(&[("x_end.bin", "2"), ("x.client_cert", "6"), ("x-forwarded-for", "6")])).unwrap();
    let answer = soon(answer).await.unwrap();
    assert_eq!(answer.headers()["x_meta.bin"], "1");
    let (data, trailers) = read(&mut answer.into_body()).await.unwrap();
    assert_eq!(data, "message");
    assert_eq!(names(&trailers.unwrap()), ["grpc-status", "x_end.bin"]);
    let seen = seen.lock().unwrap();
    assert_eq!((&seen[0]["grpc-timeout"], &seen[0]["te"]), (&"5S".parse().unwrap(), &"trailers".parse().unwrap()));
    assert_eq!(
        (&seen[0]["x_trace.bin"], &seen[0]["x-ssl-client-verify"]),
        (&"1".parse().unwrap(), &"SUCCESS".parse().unwrap())
    );
    assert!(!seen[0].contains_key("client_cert") && !seen[0].contains_key("x_ssl.client-verify"));
    assert_eq!(names(&seen[1]), ["x_end.bin"]);
}

/// The head comes before the request has a message, and then they take turns.
#[tokio::test(flavor = "multi_thread")]
async fn messages_go_both_ways_by_turns() {
    let upstream = streams(Builder::new(), |_, _, (request, mut respond)| async move {
        let mut body = request.into_body();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        while let Some(Ok(data)) = body.data().await {
            body.flow_control().release_capacity(data.len()).unwrap();
            if !data.is_empty() {
                stream.send_data([b"re: ", &data[..]].concat().into(), false).unwrap();
            }
        }
        stream.send_trailers(fields(&[("grpc-status", "0")])).unwrap();
    })
    .await;
    let more = "[upstream.api.timeouts]\nfirst_byte = \"200ms\"\n";
    let (_gateway, client) = in_front_of(&upstream, more).await;
    let (mut sender, _connection) = h2(&client).await;
    let (answer, mut body) = sender.send_request(call("/a.Service/Chat"), false).unwrap();
    let mut answer = soon(answer).await.unwrap().into_body();
    for number in 0..100 {
        body.send_data(format!("{number}").into(), false).unwrap();
        let data = soon(answer.data()).await.unwrap().unwrap();
        assert_eq!(data, format!("re: {number}"));
        answer.flow_control().release_capacity(data.len()).unwrap();
    }
    body.send_data(Bytes::new(), true).unwrap();
    assert!(soon(answer.data()).await.is_none());
    assert_eq!(soon(answer.trailers()).await.unwrap().unwrap()["grpc-status"], "0");
}

/// The client sends all it has before it reads anything, and the upstream answers as it reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_yet_can_go_on_sending() {
    let upstream = streams(Builder::new(), |_, _, (request, mut respond)| async move {
        let mut body = request.into_body();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        let mut length = 0;
        while let Some(Ok(data)) = body.data().await {
            body.flow_control().release_capacity(data.len()).unwrap();
            length += data.len();
            // h2 keeps what the window does not take yet.
            stream.send_data(data, false).unwrap();
        }
        stream.send_trailers(fields(&[("x-length", &length.to_string())])).unwrap();
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let (mut sender, _connection) = h2(&client).await;
    let (answer, mut body) = sender.send_request(call("/a.Service/Chat"), false).unwrap();
    let mut left = 4_000_000;
    while left > 0 {
        body.reserve_capacity(left);
        let room = soon(std::future::poll_fn(|context| body.poll_capacity(context))).await.unwrap().unwrap().min(left);
        left -= room;
        body.send_data(vec![b'x'; room].into(), left == 0).unwrap();
    }
    let (data, trailers) = read(&mut soon(answer).await.unwrap().into_body()).await.unwrap();
    assert_eq!((data.len(), &trailers.unwrap()["x-length"]), (4_000_000, &"4000000".parse().unwrap()));
}

/// h2 ends connections on which many small frames are not read (its answer to a denial of service).
#[tokio::test(flavor = "multi_thread")]
async fn many_small_messages_wait_for_a_slow_reader() {
    const COUNT: usize = 60_000;
    let upstream = streams(Builder::new(), |_, _, (_, mut respond)| async move {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        for _ in 0..COUNT {
            stream.send_data("\0\0\0\0\x01m".into(), false).unwrap();
        }
        stream.send_trailers(fields(&[("grpc-status", "0")])).unwrap();
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    // The client's own h2 counts, too.
    let mut builder = h2::client::Builder::new();
    builder.data_frame_budget(1 << 30);
    let (mut sender, _connection) = h2_with(&client, &builder).await;
    let answer = sender.send_request(call("/a.Service/Many"), true).unwrap().0;
    let mut answer = soon(answer).await.unwrap().into_body();
    let mut length = 0;
    while let Some(data) = soon(answer.data()).await {
        let data = data.unwrap();
        if length == 0 {
            // Everything piles up in the meantime.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        length += data.len();
        answer.flow_control().release_capacity(data.len()).unwrap();
    }
    assert_eq!(length, 6 * COUNT);
    assert_eq!(soon(answer.trailers()).await.unwrap().unwrap()["grpc-status"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_trailers_alone_stays_one() {
    let upstream = streams(Builder::new(), |_, _, (_, mut respond)| async move {
        let answer = Response::builder().header("grpc-status", "5").header("grpc-message", "nothing here");
        respond.send_response(answer.body(()).unwrap(), true).unwrap();
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let (mut sender, _connection) = h2(&client).await;
    let (answer, _body) = sender.send_request(call("/a.Service/None"), false).unwrap();
    let answer = soon(answer).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "5");
    assert!(answer.body().is_end_stream());
}

const SERVICE: &str = r#"
import sys, threading, time
from concurrent import futures
import grpc

def unary(request, context):
    metadata = dict(context.invocation_metadata())
    left = context.time_remaining()
    context.set_trailing_metadata((("x_end.bin-bin", b"\x00\xff"), ("left", "none" if left is None else str(int(left)))))
    return metadata.get("x_trace.id", "?").encode() + b" " + metadata.get("x-ssl-client-verify", "?").encode() + b" " + request

def many(request, context):
    for number in range(int(request)):
        yield b"%d" % number

def gather(requests, context):
    return b"%d" % sum(len(request) for request in requests)

def chat(requests, context):
    context.send_initial_metadata((("early", "yes"),))
    for request in requests:
        yield b"re: " + request

def fail(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: \u00e9")

gone = threading.Event()

def wait(request, context):
    context.add_callback(gone.set)
    yield b"begun"
    gone.wait(20)

def was_cancelled(request, context):
    return b"yes" if gone.wait(10) else b"no"

handlers = grpc.method_handlers_generic_handler("test.Service", {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Many": grpc.unary_stream_rpc_method_handler(many),
    "Gather": grpc.stream_unary_rpc_method_handler(gather),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Wait": grpc.unary_stream_rpc_method_handler(wait),
    "WasCancelled": grpc.unary_unary_rpc_method_handler(was_cancelled),
})
server = grpc.server(futures.ThreadPoolExecutor(16))
server.add_generic_rpc_handlers((handlers,))
server.add_insecure_port(sys.argv[1])
server.start()
server.wait_for_termination()
"#;

const CALLS: &str = r#"
import queue, sys
import grpc

address, folder = sys.argv[1:]
read = lambda name: open(f"{folder}/{name}", "rb").read()
def channel(credentials):
    return grpc.secure_channel(address, credentials, (("grpc.ssl_target_name_override", "localhost"),))

ours = channel(grpc.ssl_channel_credentials(read("ca.crt"), read("clients/client-1.key"), read("clients/client-1.crt")))
unary = ours.unary_unary("/test.Service/Unary")
answer, call = unary.with_call(b"hello", timeout=30, metadata=(("x_trace.id", "abc"), ("x-ssl-client-verify", "lie")))
assert answer == b"abc SUCCESS hello", answer
trailers = dict(call.trailing_metadata())
assert trailers["x_end.bin-bin"] == b"\x00\xff" and 20 <= int(trailers["left"]) <= 30, trailers

many = list(ours.unary_stream("/test.Service/Many")(b"5000", timeout=30))
assert many == [b"%d" % number for number in range(5000)], len(many)

total = ours.stream_unary("/test.Service/Gather")((b"x" * 100_000 for _ in range(50)), timeout=30)
assert total == b"5000000", total

turns = queue.Queue()
chat = ours.stream_stream("/test.Service/Chat")(iter(turns.get, None), timeout=30)
assert dict(chat.initial_metadata())["early"] == "yes"
for number in range(100):
    turns.put(b"%d" % number)
    assert next(chat) == b"re: %d" % number
turns.put(None)
assert list(chat) == [] and chat.code() == grpc.StatusCode.OK

try:
    ours.unary_unary("/test.Service/Fail")(b"", timeout=30)
    raise SystemExit("no failure")
except grpc.RpcError as error:
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not now: \u00e9"), error

wait = ours.unary_stream("/test.Service/Wait")(b"", timeout=30)
assert next(wait) == b"begun"
wait.cancel()
assert ours.unary_unary("/test.Service/WasCancelled")(b"", timeout=30) == b"yes"

stranger = channel(grpc.ssl_channel_credentials(read("ca.crt")))
try:
    stranger.unary_unary("/test.Service/Unary")(b"", timeout=30)
    raise SystemExit("a stranger was let in")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED, error
print("done")
"#;

struct Service {
    child: Child,
    address: std::net::SocketAddr,
    folder: TempDir,
}

impl Service {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("service.py"), SERVICE).unwrap();
        std::fs::write(folder.path().join("calls.py"), CALLS).unwrap();
        let address = free_address();
        let child = Command::new("python3")
            .args(["service.py", &address.to_string()])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let service = Self { child, address, folder };
        eventually("the service", async || tokio::net::TcpStream::connect(address).await.ok()).await;
        service
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_client_calls_a_real_service() {
    if !have("python3") {
        return;
    }
    let imported =
        Command::new("python3").args(["-c", "import grpc"]).stderr(Stdio::null()).status().unwrap().success();
    assert!(imported || std::env::var_os("CI").is_none(), "grpcio is needed for this test");
    if !imported {
        eprintln!("skipped: Python's grpcio is not installed");
        return;
    }
    let service = Service::start().await;
    let upstream = format!("{}protocol = \"http2\"\n", gateway::upstream("api", service.address));
    let binary = Binary::start(&upstream);
    let mut calls = Command::new("python3");
    calls.arg("calls.py").arg(binary.address.to_string()).arg(binary.pki.path("")).current_dir(service.folder.path());
    let output = tokio::task::spawn_blocking(move || run_to_end(&mut calls)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n", "{}", String::from_utf8_lossy(&output.stderr));
    let line = binary.logged("a call", |line| line["path"] == "/test.Service/Chat");
    assert_eq!((&line["protocol"], &line["status"]), (&"HTTP/2".into(), &200.into()), "{line}");
}
