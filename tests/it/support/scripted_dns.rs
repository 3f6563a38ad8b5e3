//! A DNS server that answers as it is told, over UDP and TCP, and remembers what it was asked.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_server::proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_server::proto::rr::rdata::{A, AAAA, CNAME, SRV};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Dropping it stops it.
pub struct ScriptedDns {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Script {
    records: HashMap<String, Vec<(u32, RData)>>,
    fault: Fault,
    /// Addresses in one answer, others in the next; 0 is all.
    most: usize,
    turn: usize,
    glue: bool,
    asked: Vec<Asked>,
}

/// What is wrong with the server.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Fault {
    #[default]
    None,
    Silent,
    SilentOn(RecordType),
    Code(ResponseCode),
    /// No records over UDP, and the mark that there are more.
    Truncated,
    /// The header of an answer and then noise.
    Garbage,
    WrongId,
    /// An answer to a question that nobody asked.
    OtherQuestion,
    Delay(Duration),
}

/// A question that came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub name: String,
    pub kind: RecordType,
    pub over_tcp: bool,
}

pub fn a(address: &str) -> RData {
    match address.parse().unwrap() {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

pub fn cname(name: &str) -> RData {
    RData::CNAME(CNAME(absolute(name)))
}

pub fn srv(priority: u16, weight: u16, port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(priority, weight, port, absolute(target)))
}

fn absolute(name: &str) -> Name {
    Name::from_ascii(format!("{name}.")).unwrap()
}

impl ScriptedDns {
    pub async fn start() -> Self {
        let (udp, tcp, address) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = udp.local_addr().unwrap();
            if let Ok(tcp) = TcpListener::bind(address).await {
                break (Arc::new(udp), tcp, address);
            }
        };
        let script = Arc::new(Mutex::new(Script::default()));
        let datagrams = {
            let script = Arc::clone(&script);
            tokio::spawn(async move {
                let mut query = [0; 1500];
                loop {
                    let (length, peer) = udp.recv_from(&mut query).await.unwrap();
                    let (udp, answer) = (Arc::clone(&udp), answer(&script, &query[..length], false));
                    tokio::spawn(async move {
                        if let Some((delay, bytes)) = answer {
                            sleep(delay).await;
                            let _ = udp.send_to(&bytes, peer).await;
                        }
                    });
                }
            })
        };
        let streams = {
            let script = Arc::clone(&script);
            tokio::spawn(async move {
                loop {
                    let (mut stream, _) = tcp.accept().await.unwrap();
                    let script = Arc::clone(&script);
                    tokio::spawn(async move {
                        while let Ok(length) = stream.read_u16().await {
                            let mut query = vec![0; length.into()];
                            stream.read_exact(&mut query).await.unwrap();
                            if let Some((delay, bytes)) = answer(&script, &query, true) {
                                sleep(delay).await;
                                let length = u16::try_from(bytes.len()).unwrap();
                                let _ = stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await;
                            }
                        }
                    });
                }
            })
        };
        Self { address, script, tasks: vec![datagrams, streams] }
    }

    /// Makes `name` stand for these, and for nothing else.
    pub fn set(&self, name: &str, ttl: u32, records: impl IntoIterator<Item = RData>) {
        let records = records.into_iter().map(|record| (ttl, record)).collect();
        self.script.lock().unwrap().records.insert(name.to_owned(), records);
    }

    pub fn fault(&self, fault: Fault) {
        self.script.lock().unwrap().fault = fault;
    }

    /// At most so many records in an answer, others each time.
    pub fn rotate(&self, most: usize) {
        self.script.lock().unwrap().most = most;
    }

    /// Adds the addresses of SRV targets to the answer.
    pub fn glue(&self) {
        self.script.lock().unwrap().glue = true;
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.script.lock().unwrap().asked.clone()
    }

    /// How many packets of this kind came for this name so far.
    pub fn count(&self, name: &str, kind: RecordType) -> usize {
        self.asked().iter().filter(|asked| asked.name == name && asked.kind == kind).count()
    }
}

impl Drop for ScriptedDns {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn answer(script: &Mutex<Script>, query: &[u8], over_tcp: bool) -> Option<(Duration, Vec<u8>)> {
    let query = Message::from_vec(query).unwrap();
    let question = query.queries[0].clone();
    let name = question.name().to_lowercase().to_string().trim_end_matches('.').to_owned();
    let kind = question.query_type();
    let mut script = script.lock().unwrap();
    script.asked.push(Asked { name: name.clone(), kind, over_tcp });
    let mut message = Message::response(query.metadata.id, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    message.add_query(question);
    let mut delay = Duration::ZERO;
    match script.fault.clone() {
        Fault::None => script.fill(&mut message, &name, kind),
        Fault::Silent => return None,
        Fault::SilentOn(silent) if silent == kind => return None,
        Fault::SilentOn(_) => script.fill(&mut message, &name, kind),
        Fault::Code(code) => message.metadata.response_code = code,
        Fault::Truncated if !over_tcp => message.metadata.truncation = true,
        Fault::Truncated => script.fill(&mut message, &name, kind),
        Fault::Garbage => {
            let mut bytes = message.to_vec().unwrap();
            bytes.truncate(12);
            bytes.extend([0xff; 40]);
            return Some((delay, bytes));
        }
        Fault::WrongId => {
            script.fill(&mut message, &name, kind);
            message.metadata.id ^= 1;
        }
        Fault::OtherQuestion => {
            message.queries = vec![Query::query(absolute("other.test.local"), kind)];
            message.add_answer(Record::from_rdata(absolute("other.test.local"), 1, a("127.9.9.9")));
        }
        Fault::Delay(time) => {
            delay = time;
            script.fill(&mut message, &name, kind);
        }
    }
    let bytes = message.to_vec().unwrap();
    if !over_tcp && bytes.len() > 1232 {
        message.metadata.truncation = true;
        message.answers.clear();
        message.additionals.clear();
        return Some((delay, message.to_vec().unwrap()));
    }
    Some((delay, bytes))
}

impl Script {
    /// As a recursive resolver: CNAMEs are followed as far as they are known.
    fn fill(&mut self, message: &mut Message, name: &str, kind: RecordType) {
        let mut name = name.to_owned();
        for _ in 0..4 {
            let Some(records) = self.records.get(&name) else {
                if message.answers.is_empty() {
                    message.metadata.response_code = ResponseCode::NXDomain;
                }
                return;
            };
            let alias =
                records.iter().find(|(_, data)| data.record_type() == RecordType::CNAME && kind != RecordType::CNAME);
            if let Some((ttl, RData::CNAME(target))) = alias {
                message.add_answer(Record::from_rdata(absolute(&name), *ttl, RData::CNAME(target.clone())));
                name = target.0.to_string().trim_end_matches('.').to_owned();
                continue;
            }
            let fitting: Vec<_> = records.iter().filter(|(_, data)| data.record_type() == kind).cloned().collect();
            let most = if self.most == 0 { fitting.len() } else { self.most.min(fitting.len()) };
            for (ttl, data) in fitting.iter().cycle().skip(self.turn).take(most) {
                message.add_answer(Record::from_rdata(absolute(&name), *ttl, data.clone()));
                if let (true, RData::SRV(srv)) = (self.glue, data) {
                    let target = srv.target.to_lowercase().to_string().trim_end_matches('.').to_owned();
                    for (ttl, data) in self.records.get(&target).into_iter().flatten() {
                        message.add_additional(Record::from_rdata(absolute(&target), *ttl, data.clone()));
                    }
                }
            }
            if self.most != 0 && !fitting.is_empty() {
                self.turn = (self.turn + most) % fitting.len();
            }
            return;
        }
    }
}
