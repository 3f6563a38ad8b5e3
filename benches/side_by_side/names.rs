//! A name server that knows `api.test.local`, with one address or with many, all of loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_server::Server;
use hickory_server::proto::rr::rdata::{A, SOA};
use hickory_server::proto::rr::{LowerName, Name, RData, Record};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use tokio::net::{TcpListener, UdpSocket};
use tokio::runtime::Runtime;

const TTL: u32 = 60;

/// It ends with this.
pub(crate) struct Names {
    pub(crate) address: SocketAddr,
    _runtime: Runtime,
    _server: Server<Catalog>,
}

impl Names {
    pub(crate) fn start(addresses: u8) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (server, address) = runtime.block_on(serve(addresses));
        Self { address, _runtime: runtime, _server: server }
    }
}

async fn serve(addresses: u8) -> (Server<Catalog>, SocketAddr) {
    // Many addresses do not fit a datagram, and the answer is asked for again by TCP on the same port.
    let (udp, tcp, address) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = udp.local_addr().unwrap();
        if let Ok(tcp) = TcpListener::bind(address).await {
            break (udp, tcp, address);
        }
    };
    let origin = Name::from_ascii("test.local.").unwrap();
    let zone: InMemoryZoneHandler = InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
    let soa = SOA::new(origin.clone(), origin.clone(), 1, 60, 60, 60, TTL);
    zone.upsert(Record::from_rdata(origin.clone(), TTL, RData::SOA(soa)), 1).await;
    let name = Name::from_ascii("api.test.local.").unwrap();
    for last in 1..=addresses {
        let data = RData::A(A(Ipv4Addr::new(127, 0, 0, last)));
        zone.upsert(Record::from_rdata(name.clone(), TTL, data), 1).await;
    }
    let mut catalog = Catalog::new();
    catalog.upsert(LowerName::from(&origin), vec![Arc::new(zone)]);
    let mut server = Server::new(catalog);
    server.register_socket(udp);
    server.register_listener(tcp, Duration::from_secs(5), 64);
    (server, address)
}
