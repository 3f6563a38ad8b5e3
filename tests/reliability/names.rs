//! The DNS server of the tests: authoritative for one name, with answers that change, fail and stay away.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_server::proto::op::{Message, Query, ResponseCode};
use hickory_server::proto::rr::rdata::{A, SOA};
use hickory_server::proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// The name.
pub const NAME: &str = "api.test.local";
/// Seconds that an answer holds.
const TTL: u32 = 1;

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// These addresses.
    Addresses(Vec<Ipv4Addr>),
    /// NXDOMAIN.
    NoSuchName,
    /// SERVFAIL.
    Failure,
    /// Nothing.
    Silence,
}

/// A DNS server.
pub struct Names {
    pub address: SocketAddr,
    says: Arc<Mutex<Says>>,
    task: JoinHandle<()>,
}

impl Names {
    pub async fn start(says: Says) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let says = Arc::new(Mutex::new(says));
        let task = tokio::spawn(serve(socket, Arc::clone(&says)));
        Self { address, says, task }
    }

    pub fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    /// Makes these the addresses.
    pub fn set(&self, addresses: &[IpAddr]) {
        let v4 = addresses.iter().map(|address| match address {
            IpAddr::V4(address) => *address,
            IpAddr::V6(address) => panic!("{address}"),
        });
        self.say(Says::Addresses(v4.collect()));
    }

    /// The server is gone: its port answers nobody.
    pub fn go_down(&self) {
        self.task.abort();
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: UdpSocket, says: Arc<Mutex<Says>>) {
    let mut bytes = [0; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut bytes).await else { continue };
        let Ok(question) = Message::from_vec(&bytes[..length]) else { continue };
        let says = says.lock().unwrap().clone();
        if let Some(answer) = answer(&question, &says) {
            let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
        }
    }
}

fn answer(question: &Message, says: &Says) -> Option<Message> {
    let query: &Query = question.queries.first()?;
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.add_query(query.clone());
    answer.metadata.authoritative = true;
    let is_known = query.name().to_ascii().trim_end_matches('.').eq_ignore_ascii_case(NAME);
    let name = query.name().clone();
    match says {
        Says::Silence => return None,
        Says::Failure => answer.metadata.response_code = ResponseCode::ServFail,
        Says::Addresses(addresses) if is_known => {
            let wanted = addresses.iter().filter(|_| query.query_type() == RecordType::A);
            for address in wanted {
                answer.add_answer(Record::from_rdata(name.clone(), TTL, RData::A(A(*address))));
            }
        }
        Says::NoSuchName | Says::Addresses(_) => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    if answer.answers.is_empty() && *says != Says::Failure {
        let soa = SOA::new(name.clone(), name.clone(), 1, 60, 60, 60, TTL);
        answer.add_authority(Record::from_rdata(name, TTL, RData::SOA(soa)));
    }
    Some(answer)
}
