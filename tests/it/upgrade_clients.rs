//! WebSockets between a real client and a real server, Python's `websockets`, through the real program.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::binary::{Binary, free_address, have};
use crate::support::wire::soon;
use crate::support::{eventually, gateway};

const SERVER: &str = r#"
import asyncio, sys
from websockets.asyncio.server import serve

async def echo(connection):
    if connection.request.path == "/who":
        headers = connection.request.headers
        await connection.send(" ".join([headers["X-SSL-Client-Verify"], headers["X-SSL-Client-S-DN"], headers["Host"]]))
        return
    async for message in connection:
        await connection.send(message)

async def main():
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), max_size=None, subprotocols=["chat"]) as server:
        await server.serve_forever()

asyncio.run(main())
"#;

const CLIENT: &str = r#"
import asyncio, os, ssl, sys
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

port, folder, what = sys.argv[1:]
tls = ssl.create_default_context(cafile=folder + "/ca.crt")
if what != "stranger":
    tls.load_cert_chain(folder + "/clients/client-1.crt", folder + "/clients/client-1.key")
def to(path):
    return connect(f"wss://localhost:{port}{path}", ssl=tls, max_size=None, subprotocols=["chat"])

async def echo():
    async with to("/echo") as connection:
        assert connection.subprotocol == "chat"
        for message in ["hello", "ä" * 70000, b"", os.urandom(125), os.urandom(126), os.urandom(65536), os.urandom(1 << 20)]:
            await connection.send(message)
            assert await connection.recv() == message
        messages = [os.urandom(n * 997 % 20000) for n in range(200)]
        async def send():
            for message in messages:
                await connection.send(message)
        sending = asyncio.create_task(send())
        for message in messages:
            assert await connection.recv() == message
        await sending
        await (await connection.ping())
    assert connection.close_code == 1000, connection.close_code
    async with to("/who") as connection:
        print(await connection.recv())

async def stranger():
    try:
        await to("/echo")
    except InvalidStatus as refusal:
        print(refusal.response.status_code, refusal.response.headers["Content-Type"])

async def drained():
    connection = await to("/echo")
    await connection.send("open")
    print(await connection.recv(), flush=True)
    try:
        await connection.recv()
    except ConnectionClosed:
        print(connection.close_code, flush=True)

asyncio.run({"echo": echo, "stranger": stranger, "drained": drained}[what]())
"#;

/// A client of RFC 8441 that shares no code with the gateway: frames by Python's `h2`, WebSocket by hand.
const H2_CLIENT: &str = r#"
import socket, ssl, sys
import h2.config, h2.connection, h2.events, h2.settings

port, folder = sys.argv[1:]
tls = ssl.create_default_context(cafile=folder + "/ca.crt")
tls.load_cert_chain(folder + "/clients/client-1.crt", folder + "/clients/client-1.key")
tls.set_alpn_protocols(["h2"])
sock = tls.wrap_socket(socket.create_connection(("localhost", int(port))), server_hostname="localhost")
http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
http.initiate_connection()
received, status, ended = b"", None, False

def turn():
    global received, status, ended
    sock.sendall(http.data_to_send())
    for event in http.receive_data(sock.recv(65536)):
        if isinstance(event, h2.events.ResponseReceived):
            status = dict(event.headers)
        if isinstance(event, h2.events.DataReceived):
            received += event.data
            http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        ended |= isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset))

def frame(opcode, payload):
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + b"\0\0\0\0" + payload

while http.remote_settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL) != 1:
    turn()
http.send_headers(1, [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/echo"),
                      (":authority", "localhost"), ("sec-websocket-version", "13"), ("sec-websocket-protocol", "chat")])
while status is None:
    turn()
print(status[":status"], status["sec-websocket-protocol"])
message = bytes(range(97, 123)) * 1000
http.send_data(1, frame(1, b"hello")) or http.send_data(1, frame(1, message[:16000]))
answer = b"\x81\x05hello" + b"\x81\x7e" + (16000).to_bytes(2, "big") + message[:16000]
while len(received) < len(answer):
    turn()
assert received == answer
received = b""
http.send_data(1, frame(8, (1000).to_bytes(2, "big")), end_stream=True)
while not ended:
    turn()
print(received.hex())
"#;

/// A Python program, as a process; it ends with this.
struct Python(Child);

impl Python {
    async fn start(program: &str, arguments: &[&str]) -> Self {
        let child = Command::new("python3")
            .arg("-")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = child.unwrap();
        child.stdin.take().unwrap().write_all(program.as_bytes()).await.unwrap();
        Self(child)
    }

    /// What it says on standard output until it ends, which has to be well.
    async fn said(self) -> String {
        let output = soon(self.0.wait_with_output()).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A real server, and the gateway before it.
async fn started() -> (Python, Binary) {
    let address = free_address();
    let server = Python::start(SERVER, &[&address.port().to_string()]).await;
    eventually("the server", async || tokio::net::TcpStream::connect(address).await.ok()).await;
    (server, Binary::start(&gateway::upstream("api", address)))
}

async fn client(binary: &Binary, what: &str) -> Python {
    let folder = binary.pki.path("");
    Python::start(CLIENT, &[&binary.address.port().to_string(), folder.to_str().unwrap(), what]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_client_and_a_real_server_understand_each_other() {
    if !have("python3") || !have_python("websockets.asyncio.server").await {
        return;
    }
    let (_server, binary) = started().await;
    let said = client(&binary, "echo").await.said().await;
    assert_eq!(said, format!("SUCCESS CN=client-1 localhost:{}\n", binary.address.port()));
    eventually("two log lines without a fault", async || {
        let lines: Vec<_> = binary.log().into_iter().filter(|line| line["event"] == "request").collect();
        assert!(lines.iter().all(|line| line["status"] == 101 && line["aborted"].is_null()), "{lines:?}");
        (lines.len() == 2).then_some(())
    })
    .await;

    assert_eq!(client(&binary, "stranger").await.said().await, "403 application/problem+json\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_http_2_finds_a_websocket_on_a_stream() {
    if !have("python3") || !have_python("websockets.asyncio.server").await || !have_python("h2").await {
        return;
    }
    let (_server, binary) = started().await;
    let folder = binary.pki.path("");
    let port = binary.address.port().to_string();
    let said = Python::start(H2_CLIENT, &[&port, folder.to_str().unwrap()]).await.said().await;
    assert_eq!(said, "200 chat\n880203e8\n");
    let line = binary.logged("the end of the request", |line| line["path"] == "/echo");
    assert_eq!((&line["status"], &line["aborted"]), (&200.into(), &().into()), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_client_is_told_that_the_gateway_goes_away() {
    if !have("python3") || !have_python("websockets.asyncio.server").await {
        return;
    }
    let (_server, binary) = started().await;
    let mut open = client(&binary, "drained").await;
    let mut lines = BufReader::new(open.0.stdout.take().unwrap()).lines();
    assert_eq!(soon(lines.next_line()).await.unwrap().as_deref(), Some("open"));
    binary.signal("TERM");
    // The second one ends the drain at once.
    binary.logged("the drain", |line| line["message"] == "draining" || line["event"] == "draining");
    binary.signal("TERM");
    assert_eq!(soon(lines.next_line()).await.unwrap().as_deref(), Some("1001"));
    binary.logged("the end of the request", |line| line["aborted"] == "drain" && line["status"] == 101);
}

/// Whether Python has what a test needs; where everything has to be there, it must.
async fn have_python(module: &str) -> bool {
    let here = Command::new("python3").args(["-c", &format!("import {module}")]).output().await;
    let here = here.is_ok_and(|output| output.status.success());
    assert!(here || std::env::var_os("CI").is_none(), "Python's {module} is needed for this test");
    if !here {
        eprintln!("skipped: Python's {module} is not installed");
    }
    here
}
