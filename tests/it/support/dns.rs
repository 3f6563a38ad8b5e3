//! A real DNS server whose records change.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_server::Server;
use hickory_server::proto::rr::rdata::{A, AAAA, SOA};
use hickory_server::proto::rr::{LowerName, Name, RData, Record, RecordType, RrKey};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use tokio::net::{TcpListener, UdpSocket};

/// An authoritative server for `test.local`.
pub struct Dns {
    pub address: SocketAddr,
    zone: Arc<InMemoryZoneHandler>,
    _server: Server<Catalog>,
}

impl Dns {
    pub async fn start() -> Self {
        // One port for both; one that is free for UDP may be taken for TCP.
        let (udp, tcp, address) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = udp.local_addr().unwrap();
            if let Ok(tcp) = TcpListener::bind(address).await {
                break (udp, tcp, address);
            }
        };
        let origin = Name::from_ascii("test.local.").unwrap();
        let zone: InMemoryZoneHandler = InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
        let zone = Arc::new(zone);
        let soa = SOA::new(origin.clone(), origin.clone(), 1, 60, 60, 60, 1);
        zone.upsert(Record::from_rdata(origin.clone(), 1, RData::SOA(soa)), 1).await;
        let mut catalog = Catalog::new();
        catalog.upsert(LowerName::from(&origin), vec![zone.clone()]);
        let mut server = Server::new(catalog);
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(5), 64);
        Self { address, zone, _server: server }
    }

    /// Makes `name` (such as `api.test.local`) stand for these addresses, and no others.
    pub async fn set(&self, name: &str, ttl: u32, addresses: &[IpAddr]) {
        let name = Name::from_ascii(format!("{name}.")).unwrap();
        for kind in [RecordType::A, RecordType::AAAA] {
            self.zone.records_mut().await.remove(&RrKey::new(LowerName::from(&name), kind));
        }
        for address in addresses {
            let data = match address {
                IpAddr::V4(address) => RData::A(A(*address)),
                IpAddr::V6(address) => RData::AAAA(AAAA(*address)),
            };
            self.zone.upsert(Record::from_rdata(name.clone(), ttl, data), 1).await;
        }
    }
}
