//! Chromium, headless: its certificates in an NSS store, put there from what `gateway certs export` writes, and chosen
//! by the policy that companies use for that. Policies have one place on a machine, so it runs in a mount namespace
//! with a folder of its own there; the process namespace ends all of its processes with it.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use mtls_gateway::pki::Encryption;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::process::run;
use crate::site::{CLIENT_KEYS, Door, PASSWORD, SERVER_KEYS, Site, configuration};
use crate::support::binary::have;
use crate::support::upstream::text;
use crate::support::wire::Wire;
use crate::support::{Gateway, Upstream, Version, eventually};

/// A browser's whole life with some fifty pages.
const PATIENCE: Duration = Duration::from_secs(150);
const MOMENT: Duration = Duration::from_secs(30);

/// Key types that NSS can hold; it takes no Ed25519 key, and Chromium no server's certificate with one.
const KEYS: [&str; 4] = ["p256", "p384", "rsa2048", "rsa4096"];

/// A browser with its own home.
struct Browser {
    site: Site,
    version: Version,
    namespaces: Vec<&'static str>,
}

impl Browser {
    /// With these client certificates in its store, in the form for new readers and the one for old ones by turns.
    async fn with(version: Version, certificates: &[&str]) -> Option<Self> {
        if !["chromium", "certutil", "pk12util", "python3", "unshare"].into_iter().all(have) {
            return None;
        }
        let namespaces = namespaces().await?;
        let site = Site::start().await;
        fs::create_dir_all(site.path("home/.pki/nssdb")).unwrap();
        fs::create_dir_all(site.path("etc/policies/managed")).unwrap();
        fs::write(site.path("chromium.py"), include_str!("chromium.py")).unwrap();
        let browser = Self { site, version, namespaces };
        browser.nss("certutil", &["-N", "--empty-password"]).await.unwrap();
        browser.nss("certutil", &["-A", "-n", "ca", "-t", "C,,", "-i", "ca.crt"]).await.unwrap();
        for (number, certificate) in certificates.iter().enumerate() {
            let encryption = if number % 2 == 0 { Encryption::Modern } else { Encryption::Compatible };
            browser.import(certificate, encryption).await.unwrap();
        }
        Some(browser)
    }

    async fn import(&self, certificate: &str, encryption: Encryption) -> Result<(), String> {
        let file = self.site.keystore(certificate, encryption);
        self.nss("pk12util", &["-W", PASSWORD, "-i", file.to_str().unwrap()]).await
    }

    /// Runs a tool of NSS on the store.
    async fn nss(&self, tool: &str, arguments: &[&str]) -> Result<(), String> {
        let mut command = Command::new(tool);
        command.current_dir(self.site.path("")).args(arguments).args(["-d", "sql:home/.pki/nssdb"]);
        let ran = run(&mut command, "", MOMENT).await;
        if ran.succeeded { Ok(()) } else { Err(ran.err) }
    }

    /// For `NAME.tenant.example.com` the certificate NAME is shown, for each that is given.
    fn choose(&self, names: &[&str]) {
        let rules: Vec<_> = names
            .iter()
            .map(|name| {
                let pattern = format!("https://{name}.tenant.example.com");
                json!({ "pattern": pattern, "filter": { "SUBJECT": { "CN": name } } }).to_string()
            })
            .collect();
        let policies = json!({ "AutoSelectCertificateForUrls": rules }).to_string();
        fs::write(self.site.path("etc/policies/managed/certificates.json"), policies).unwrap();
    }

    /// What comes of these steps, one after the other.
    async fn walk(&self, steps: &[Value]) -> Vec<Value> {
        let mut flags = vec![
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--host-resolver-rules=MAP * 127.0.0.1",
        ];
        flags.extend(match self.version {
            Version::Tls12 => ["--ssl-version-max=tls1.2", "--disable-http2"],
            Version::Tls13 => ["--ssl-version-min=tls1.3", "--enable-http2"],
        });
        let input = json!({ "flags": flags, "steps": steps }).to_string() + "\n";
        let mut command = Command::new("unshare");
        command.args(&self.namespaces).args(["sh", "-c"]);
        command.arg("mount --bind etc /etc/chromium && exec python3 chromium.py \"$PWD/home\"");
        command.current_dir(self.site.path(""));
        let said = run(&mut command, &input, PATIENCE).await.fine();
        let answers: Vec<_> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), steps.len(), "{said}");
        answers
    }

    fn port(&self, door: Door) -> u16 {
        self.site.gateway(door).address.port()
    }

    /// The versions that the access log has for this browser.
    fn versions(&self) -> (&'static str, &'static str) {
        match self.version {
            Version::Tls12 => ("TLSv1.2", "HTTP/1.1"),
            Version::Tls13 => ("TLSv1.3", "HTTP/2"),
        }
    }
}

/// How to get namespaces of one's own: root may, and where the kernel lets them others, too.
async fn namespaces() -> Option<Vec<&'static str>> {
    const OWN: [&str; 5] = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    for more in [&[][..], &["--map-root-user"]] {
        let arguments: Vec<_> = more.iter().chain(&OWN).copied().collect();
        let mut command = Command::new("unshare");
        if run(command.args(&arguments).arg("true"), "", MOMENT).await.succeeded {
            return Some(arguments);
        }
    }
    assert!(std::env::var_os("CI").is_none(), "mount and process namespaces are needed for this test");
    eprintln!("skipped: no mount and process namespaces may be made here");
    None
}

fn open(url: &str) -> Value {
    json!({ "open": url })
}

fn evaluate(expression: &str) -> Value {
    json!({ "evaluate": expression })
}

/// Every key in the store against every key of the gateway.
async fn shakes_hands(version: Version) {
    let names: Vec<_> = KEYS.into_iter().chain(["revoked"]).collect();
    let Some(browser) = Browser::with(version, &names).await else { return };
    browser.choose(&names);
    let refused = browser.import("ed25519", Encryption::Modern).await.expect_err("NSS has learnt Ed25519");
    assert!(refused.contains("UNABLE_TO_IMPORT_KEY"), "{refused}");
    assert!(CLIENT_KEYS.iter().all(|(name, _)| KEYS.contains(name) || *name == "ed25519"));

    let mut expected = Vec::new();
    let mut steps = Vec::new();
    for (server, _) in SERVER_KEYS {
        // Of a key that it cannot verify it does not come to the client's.
        for client in KEYS.into_iter().take(if server == "ed25519" { 1 } else { KEYS.len() }) {
            let door = Door::Open(server);
            let path = format!("/{server}/{client}");
            steps.push(open(&format!("https://{client}.tenant.example.com:{}{path}", browser.port(door))));
            expected.push((door, path, client));
        }
    }
    let revoked = format!("https://revoked.tenant.example.com:{}/", browser.port(Door::Open("rsa2048")));
    steps.push(open(&revoked));
    let required = format!("https://p384.tenant.example.com:{}/", browser.port(Door::Required));
    steps.push(open(&required));

    let answers = browser.walk(&steps).await;
    for ((door, path, client), answer) in expected.iter().zip(&answers) {
        if *door == Door::Open("ed25519") {
            assert_eq!(answer["error"], "net::ERR_SSL_VERSION_OR_CIPHER_MISMATCH", "{path}: {answer}");
            continue;
        }
        assert_eq!(answer["status"], 200, "{path}: {answer}");
        let told: Value = serde_json::from_str(answer["text"].as_str().unwrap()).unwrap();
        assert_eq!((&told["verify"], &told["subject"]), (&"SUCCESS".into(), &format!("CN={client}").into()), "{path}");
        let line = browser.site.logged(*door, path).await;
        let versions = (line["tls_version"].as_str().unwrap(), line["protocol"].as_str().unwrap());
        assert_eq!(versions, browser.versions(), "{line}");
    }
    let [.., revoked, required] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((&revoked["status"], &revoked["type"]), (&403.into(), &"text/html; charset=utf-8".into()), "{revoked}");
    assert!(revoked["text"].as_str().unwrap().contains("Reason: revoked"), "{revoked}");
    assert_eq!(required["status"], 200, "{required}");
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_shakes_hands_in_tls_1_3_over_http_2() {
    shakes_hands(Version::Tls13).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_shakes_hands_in_tls_1_2_over_http_1() {
    shakes_hands(Version::Tls12).await;
}

const SEVERAL: &str = "(async () => { for (let i = 0; i < 6; i++) await (await fetch('/several')).text(); })()";
const UPLOAD: &str = "fetch('/upload', { method: 'POST', body: 'x'.repeat(8 << 20) }).then(async a => [a.status, (await a.json()).reason])";

/// Without a certificate that it would show: the one it has is past its time.
async fn is_told_what_is_missing(version: Version) {
    let Some(browser) = Browser::with(version, &["expired"]).await else { return };
    let door = Door::Open("p256");
    let answers = browser
        .walk(&[
            open(&format!("https://localhost:{}/page", browser.port(door))),
            evaluate(SEVERAL),
            evaluate(UPLOAD),
            open(&format!("https://localhost:{}/", browser.port(Door::Required))),
        ])
        .await;
    let page = &answers[0];
    assert_eq!((&page["status"], &page["type"]), (&403.into(), &"text/html; charset=utf-8".into()), "{page}");
    let line = browser.site.logged(door, "/page").await;
    let id = line["request_id"].as_str().unwrap();
    let shown = page["text"].as_str().unwrap();
    for part in ["403 Forbidden", "asks for a client certificate", "Reason: certificate_missing", id] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let ports = eventually("a line for each request", async || {
        let found = logged(browser.site.gateway(door), "/several");
        (found.len() == 6).then(|| found.into_iter().map(|(_, _, port)| port).collect::<BTreeSet<_>>())
    })
    .await;
    // Of HTTP/1.1 it may have opened more than it needed, and takes them by turns.
    assert!(ports.len() == 1 || version == Version::Tls12 && ports.len() < 6, "{ports:?}");
    assert_eq!(line["client_verify"], "NONE", "an expired certificate is not shown: {line}");
    assert_eq!(answers[2], json!([403, "certificate_missing"]));
    let error = answers[3]["error"].as_str().unwrap();
    // Sometimes it notices the end of the connection before it looks at the alert. A reset would be the gateway's doing.
    let told = ["BAD_SSL_CLIENT_AUTH_CERT", "SOCKET_NOT_CONNECTED", "CONNECTION_CLOSED"];
    assert!(told.iter().any(|told| error == format!("net::ERR_{told}")), "{error}");
    let alerted = |line: &Value| line["reason"] == "certificate_missing";
    browser.site.gateway(Door::Required).logged("handshake", alerted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_is_told_what_is_missing_in_tls_1_3_over_http_2() {
    is_told_what_is_missing(Version::Tls13).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_is_told_what_is_missing_in_tls_1_2_over_http_1() {
    is_told_what_is_missing(Version::Tls12).await;
}

/// One gateway, two names with a profile each, both of which each certificate is for; WebSockets; and a public page.
async fn two_names(browser: &Browser, upstream: &Upstream, sockets: &Upstream) -> Gateway {
    let folder = browser.site.path("");
    let more = format!(
        "[upstream.sockets]\nurl = \"http://{}\"\n[[route]]\npath = \"/ws\"\nupstream = \"sockets\"\n[[route]]\npath = \
         \"/public/*\"\npublic = true\nupstream = \"api\"\n[[route]]\npath = \"/*\"\nupstream = \"api\"\n[[tls.sni]]\n\
         names = \"rsa2048.tenant.example.com\"\ncertificate = {:?}\nprivate_key = {:?}\n",
        sockets.address,
        folder.join("rsa2048.crt"),
        folder.join("rsa2048.key"),
    );
    Gateway::start_with(&(configuration(&folder, "p256", "optional", upstream) + &more)).await
}

/// What the log has of a path: name, status and port of each request.
fn logged(gateway: &Gateway, path: &str) -> Vec<(String, u64, u64)> {
    let lines = gateway.log();
    let found = lines.iter().filter(|line| line["event"] == "request" && line["path"] == path);
    let number = |line: &Value, field: &str| line[field].as_u64().unwrap();
    found
        .map(|line| (line["sni"].as_str().unwrap().into(), number(line, "status"), number(line, "client_port")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_does_not_take_one_names_connection_for_another() {
    let Some(stranger) = Browser::with(Version::Tls13, &[]).await else { return };
    let upstream = Upstream::answering(|_| http::Response::new(text("fine"))).await;
    let sockets = speaking_websocket().await;
    let gateway = two_names(&stranger, &upstream, &sockets).await;
    let port = gateway.address.port();
    let steps = [
        open(&format!("https://p256.tenant.example.com:{port}/public/page")),
        // Of another origin, so that only whether there is an answer is told.
        evaluate(&format!(
            "fetch('https://rsa2048.tenant.example.com:{port}/public/other', {{ mode: 'no-cors', credentials: 'include' }})\
             .then(a => a.type)"
        )),
    ];
    let answers = stranger.walk(&steps).await;
    assert_eq!((&answers[0]["text"], &answers[1]), (&"fine".into(), &"opaque".into()), "{answers:?}");
    // Without client certificates it tries its open connection first, and opens another when it is told to.
    let [(_, _, first)] = logged(&gateway, "/public/page")[..] else { panic!() };
    let other = logged(&gateway, "/public/other");
    let [(misdirected, 421, on), (right, 200, anew)] = &other[..] else { panic!("{other:?}") };
    assert_eq!((misdirected.as_str(), *on), ("p256.tenant.example.com", first), "{other:?}");
    assert!(right == "rsa2048.tenant.example.com" && *anew != first, "{other:?}");

    // With one it asks for each name by itself.
    let Some(client) = Browser::with(Version::Tls13, &["p256", "rsa2048"]).await else { return };
    client.choose(&["p256", "rsa2048"]);
    let gateway = two_names(&client, &upstream, &sockets).await;
    let port = gateway.address.port();
    let steps = [
        open(&format!("https://p256.tenant.example.com:{port}/page")),
        evaluate(&format!(
            "fetch('https://rsa2048.tenant.example.com:{port}/other', {{ mode: 'no-cors', credentials: 'include' }})\
             .then(a => a.type)"
        )),
    ];
    let answers = client.walk(&steps).await;
    assert_eq!((&answers[0]["text"], &answers[1]), (&"fine".into(), &"opaque".into()), "{answers:?}");
    let other = logged(&gateway, "/other");
    assert!(matches!(&other[..], [(name, 200, _)] if name == "rsa2048.tenant.example.com"), "{other:?}");
}

const SOCKET: &str = "new Promise((resolve, reject) => {
    const socket = new WebSocket(location.origin.replace('https', 'wss') + '/ws');
    const said = [];
    socket.onopen = () => socket.send('hello');
    socket.onmessage = (message) => { said.push(message.data); if (said.length === 2) socket.close(); };
    socket.onclose = () => resolve(said);
    socket.onerror = () => reject(new Error('no socket'));
})";

async fn opens_a_websocket(version: Version) {
    let Some(browser) = Browser::with(version, &["p256"]).await else { return };
    browser.choose(&["p256"]);
    let upstream = Upstream::answering(|_| http::Response::new(text("fine"))).await;
    let sockets = speaking_websocket().await;
    let gateway = two_names(&browser, &upstream, &sockets).await;
    let page = format!("https://p256.tenant.example.com:{}/page", gateway.address.port());
    let answers = browser.walk(&[open(&page), evaluate(SOCKET)]).await;
    assert_eq!(answers[1], json!(["CN=p256", "hello"]), "{answers:?}");
    let line = gateway.logged("request", |line| line["path"] == "/ws").await;
    // RFC 8441: a stream that stays open, where HTTP/1.1 switches its connection.
    let (method, status) = if version == Version::Tls12 { ("GET", 101) } else { ("CONNECT", 200) };
    assert_eq!((&line["method"], &line["status"]), (&method.into(), &status.into()), "{line}");
    assert_eq!(
        (&line["protocol"], &line["client_subject"]),
        (&browser.versions().1.into(), &"CN=p256".into()),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_opens_a_websocket_over_http_2() {
    opens_a_websocket(Version::Tls13).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_opens_a_websocket_over_http_1() {
    opens_a_websocket(Version::Tls12).await;
}

/// An upstream that says who the gateway says the client is, and repeats the first message.
async fn speaking_websocket() -> Upstream {
    Upstream::raw(|_, stream| async move {
        let mut wire = Wire::new(stream);
        let Some(head) = wire.head().await else { return };
        let field = |name: &str| {
            let found = head.lines().filter_map(|line| line.split_once(": "));
            found.into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value).unwrap()
        };
        let accept = accept(field("sec-websocket-key"));
        wire.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        ))
        .await;
        wire.send(crate::support::websocket::text(field("x-ssl-client-s-dn"))).await;
        let start = wire.bytes(6).await;
        let masked = wire.bytes(usize::from(start[1] & 0x7f)).await;
        let message: Vec<_> = masked.iter().zip(start[2..].iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        wire.send(crate::support::websocket::text(std::str::from_utf8(&message).unwrap())).await;
        // The Close frame is answered, as it should be.
        wire.bytes(2).await;
        wire.send([0x88, 0]).await;
        wire.rest().await;
    })
    .await
}

/// RFC 6455 section 4.2.2.
fn accept(key: &str) -> String {
    let joined = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, joined.as_bytes());
    base64(digest.as_ref())
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for piece in bytes.chunks(3) {
        let mut group = [0; 4];
        group[1..=piece.len()].copy_from_slice(piece);
        let bits = u32::from_be_bytes(group);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= piece.len() { char::from(letter) } else { '=' });
        }
    }
    text
}
