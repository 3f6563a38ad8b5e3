//! A DNS server that knows one name.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hickory_server::Server;
use hickory_server::proto::rr::rdata::{A, SOA};
use hickory_server::proto::rr::{LowerName, Name, RData, Record};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use tokio::net::UdpSocket;

/// Seconds that an answer holds, as short as Cloud Map's can be.
const TTL: u32 = 5;

/// A DNS server on a free port of loopback; it ends when this is dropped.
pub(super) struct NameServer {
    address: SocketAddr,
    _server: Server<Catalog>,
}

impl NameServer {
    pub(super) async fn start(name: &str, address: Ipv4Addr) -> io::Result<Self> {
        let name = Name::from_ascii(format!("{name}.")).map_err(io::Error::other)?;
        let zone: InMemoryZoneHandler = InMemoryZoneHandler::empty(name.clone(), ZoneType::Primary, AxfrPolicy::Deny);
        let soa = SOA::new(name.clone(), name.clone(), 1, 60, 60, 60, TTL);
        zone.upsert(Record::from_rdata(name.clone(), TTL, RData::SOA(soa)), 1).await;
        zone.upsert(Record::from_rdata(name.clone(), TTL, RData::A(A(address))), 1).await;
        let mut catalog = Catalog::new();
        catalog.upsert(LowerName::from(&name), vec![Arc::new(zone)]);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = socket.local_addr()?;
        let mut server = Server::new(catalog);
        server.register_socket(socket);
        Ok(Self { address, _server: server })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}
