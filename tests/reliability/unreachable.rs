//! Endpoints that swallow every packet.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::time::{Instant, sleep};

use crate::endpoint::Endpoint;
use crate::load::{Load, REQUESTS};
use crate::report::Kind;
use crate::site::{CONNECT, Site};
use crate::space::Space;

/// What a loaded machine may add.
const SLACK: Duration = Duration::from_millis(700);

/// An address that drops attempts to connect, as Linux does when a queue of connections is full.
struct Blackhole {
    _listener: Socket,
    _first: TcpStream,
}

impl Blackhole {
    fn at(address: SocketAddr) -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.set_reuse_address(true).unwrap();
        listener.bind(&address.into()).unwrap();
        listener.listen(0).unwrap();
        let first = TcpStream::connect(address).unwrap();
        let second = TcpStream::connect_timeout(&address, Duration::from_millis(200));
        assert!(second.is_err(), "the queue is full");
        Self { _listener: listener, _first: first }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_drops_packets_delays_by_the_connect_timeout_and_costs_nothing() {
    let (site, endpoints) = Site::start(&["127.0.0.11"]).await;
    let dropping = site.at([127, 0, 0, 12].into());
    let _blackhole = Blackhole::at(dropping);
    let load = Load::start(&site.client);
    let all = [endpoints[0].address.ip(), dropping.ip()];
    site.names.set(&all);
    site.follows(&all).await;
    sleep(Duration::from_secs(4)).await;
    let report = load.stop().await;
    report.expect_no_failure(&REQUESTS);
    for kind in REQUESTS {
        assert!(report.slowest(kind) <= CONNECT + SLACK, "{report}");
    }
}

/// Connections that were good are as dead as those that cannot be made.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_begins_to_drop_packets_costs_no_get() {
    let Some(space) = Space::new() else { return };
    let (site, endpoints) = Site::start(&["127.0.0.11"]).await;
    let vanishing = Endpoint::start_in(site.at(space.address()), Some(&space)).await;
    let all = [endpoints[0].address.ip(), vanishing.address.ip()];
    site.names.set(&all);
    site.follows(&all).await;
    let load = Load::start(&site.client);
    sleep(Duration::from_secs(1)).await;
    assert!(vanishing.requests() > 0);
    let vanished = Instant::now();
    space.swallow();
    sleep(Duration::from_secs(4)).await;
    let report = load.stop().await;
    assert_eq!((report.failed(Kind::Get), report.failed(Kind::Http2)), (0, 0), "{report}");
    for kind in [Kind::Get, Kind::Http2] {
        assert!(report.since(vanished).slowest(kind) <= CONNECT + SLACK, "{report}");
    }
}
