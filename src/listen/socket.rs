//! A bound socket and its accept loop's one step.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// Connections the kernel keeps for us while all slots are taken; the kernel's own limit may be lower.
const BACKLOG: i32 = 4096;
/// A peer that is gone without a word is noticed after about two minutes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
/// How long accepting pauses when there is no file left for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// Binds `address`; port 0 takes a free one. `[::]` takes IPv4 as well.
///
/// # Errors
/// The system's error, for a port in use or an address that is not this machine's.
pub fn bind(address: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let socket = TcpListener::from_std(socket.into())?;
    let address = socket.local_addr()?;
    Ok(Listener { socket, address })
}

impl Listener {
    /// Where it listens; the port is never 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection. Errors of one connection are skipped; when files have run out this waits and says so.
    pub async fn accept(&self) -> (TcpStream, SocketAddr) {
        let mut told = false;
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    // Best effort: a connection without them works, too.
                    let _ = stream.set_nodelay(true);
                    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
                    let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
                    return (stream, peer);
                }
                // The client left before it was accepted.
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if !told {
                        tracing::error!(address = %self.address, "cannot accept connections just now: {error}");
                        told = true;
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
