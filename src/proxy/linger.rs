//! The end of a connection whose client may still be sending.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// After an answer that nobody may have read yet: how long, and how much, is read and thrown away.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1024 * 1024;

/// Lets a client that is still sending find the answer before the connection is gone (RFC 9112 section 9.6). When
/// enough has been read the socket stays open all the same: the client's next piece then waits instead of failing, and
/// a client that looks both ways (curl) finds the answer.
pub(super) async fn read_on(mut socket: TcpStream) {
    let _ = timeout(LINGER, async {
        let mut thrown_away = vec![0; 16 * 1024];
        let mut read = 0;
        while read < LINGER_BYTES {
            match socket.read(&mut thrown_away).await {
                Ok(0) | Err(_) => return,
                Ok(length) => read += length,
            }
        }
        drop(thrown_away);
        let _ = socket.ready(Interest::ERROR).await;
    })
    .await;
}
