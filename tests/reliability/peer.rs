//! The same scenarios with nginx beside the gateway: the same endpoints, the same faults, the same load. By hand:
//!
//! ```text
//! cargo test --release --test reliability -- --ignored --nocapture nginx
//! ```
//!
//! nginx is set up as well as it can be for endpoints that come and go: it asks for the name again each second
//! (`resolver ... valid=1s` and a variable in `proxy_pass`), and tries another address where it may.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::endpoint::{Behaviour, Endpoint};
use crate::load::Load;
use crate::names::{NAME, Says};
use crate::report::{Kind, Report};
use crate::site::{CONNECT, FIRST_BYTE, Site, ips};
use crate::support::binary::free_port;
use crate::support::{Client, eventually};

const HOSTS: [&str; 3] = ["127.0.0.11", "127.0.0.12", "127.0.0.13"];

struct Nginx {
    child: Child,
    client: Client,
}

impl Nginx {
    async fn start(site: &Site) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port(&[[127, 0, 0, 1].into()])));
        let folder = site.pki.path("").to_owned();
        let text = format!(
            "daemon off;\nmaster_process off;\nuser root;\nworker_processes 1;\npid {folder:?}/nginx.pid;\nerror_log /dev/null;\nevents {{}}\n\
             http {{\n  access_log off;\n  client_body_temp_path {folder:?}/b;\n  proxy_temp_path {folder:?}/p;\n  \
             fastcgi_temp_path {folder:?}/f;\n  uwsgi_temp_path {folder:?}/u;\n  scgi_temp_path {folder:?}/s;\n  \
             resolver {} valid=1s ipv6=off;\n  resolver_timeout 2s;\n  server {{\n    listen {address} ssl http2;\n    \
             ssl_certificate {:?};\n    ssl_certificate_key {:?};\n    ssl_client_certificate {:?};\n    \
             ssl_verify_client optional;\n    keepalive_requests 1000000;\n    location / {{\n      set $name {NAME};\n      \
             if ($ssl_client_verify != SUCCESS) {{ return 403; }}\n      proxy_http_version 1.1;\n      proxy_set_header \
             Connection \"\";\n      proxy_connect_timeout {}ms;\n      proxy_read_timeout {}ms;\n      \
             proxy_next_upstream error timeout http_502 http_503 http_504;\n      proxy_pass http://$name:{};\n    \
             }}\n  }}\n}}\n",
            site.names.address,
            site.pki.path("server.crt"),
            site.pki.path("server.key"),
            site.pki.path("ca.crt"),
            CONNECT.as_millis(),
            FIRST_BYTE.as_millis(),
            site.at([127, 0, 0, 1].into()).port(),
        )
        .replace(&format!("{folder:?}"), &folder.display().to_string());
        let config = site.pki.path("nginx.conf");
        std::fs::write(&config, text).unwrap();
        let child = Command::new("nginx")
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx");
        eventually("nginx", async || TcpStream::connect(address).await.ok()).await;
        let client = Client::new(&site.pki, address).with(&site.pki.client("client-1"));
        Self { child, client }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Its worker ends with it.
    }
}

async fn compare(what: &str, scenario: impl AsyncFnOnce(&Site, Vec<Endpoint>) -> Vec<Endpoint>) {
    let (site, endpoints) = Site::start(&HOSTS).await;
    let nginx = Nginx::start(&site).await;
    let kinds = [Kind::Get, Kind::Post, Kind::Http2];
    let ours = Load::of(&site.client, "/gateway", &kinds);
    let theirs = Load::of(&nginx.client, "/nginx", &kinds);
    sleep(Duration::from_secs(1)).await;
    let endpoints = scenario(&site, endpoints).await;
    let (ours, theirs) = (ours.stop().await, theirs.stop().await);
    drop(endpoints);
    for (name, report) in [("gateway", &ours), ("nginx", &theirs)] {
        let counts: Vec<_> = kinds.iter().map(|kind| counted(report, *kind)).collect();
        eprintln!("{what:<42} {name:<8} {}", counts.join("  "));
    }
    assert!(ours.total(Kind::Get) > 0 && theirs.total(Kind::Get) > 0);
}

fn counted(report: &Report, kind: Kind) -> String {
    let slowest = report.slowest(kind).as_millis();
    format!("{kind} {}/{} failed, slowest {slowest} ms", report.failed(kind), report.total(kind))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a comparison, made by hand: needs nginx"]
async fn beside_nginx() {
    compare("endpoints replaced, stopped at once", async |site, mut old| {
        let new = site.endpoints(&["127.0.0.21", "127.0.0.22", "127.0.0.23"]).await;
        let mut listed = ips(&old);
        listed.extend(ips(&new));
        site.names.set(&listed);
        sleep(Duration::from_secs(2)).await;
        for endpoint in &mut old {
            listed.remove(0);
            site.names.set(&listed);
            endpoint.terminate().await;
            sleep(Duration::from_millis(500)).await;
        }
        sleep(Duration::from_secs(2)).await;
        new
    })
    .await;
    compare("one of three killed", async |_, mut endpoints| {
        endpoints[0].kill();
        sleep(Duration::from_secs(6)).await;
        endpoints
    })
    .await;
    for (what, behaviour) in [
        ("one of three hangs", Behaviour::Hang),
        ("one of three resets", Behaviour::ResetAfter(0)),
        ("one of three answers 503", Behaviour::Unavailable),
    ] {
        compare(what, async |_, endpoints| {
            endpoints[0].behave(behaviour);
            sleep(Duration::from_secs(6)).await;
            endpoints
        })
        .await;
    }
    for (what, says) in [
        ("DNS says SERVFAIL for 8 s", Says::Failure),
        ("DNS says NXDOMAIN for 8 s", Says::NoSuchName),
        ("DNS is silent for 8 s", Says::Silence),
    ] {
        compare(what, async |site, endpoints| {
            let listed = ips(&endpoints);
            site.names.say(says);
            sleep(Duration::from_secs(8)).await;
            site.names.set(&listed);
            sleep(Duration::from_secs(1)).await;
            endpoints
        })
        .await;
    }
}
