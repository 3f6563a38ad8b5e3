//! The records of a client's session, without its socket: what has come and is not understood yet, what is understood
//! and not taken yet, what is sealed and not sent yet.
//!
//! rustls's unbuffered interface works in the buffers that are here, so an idle connection holds none: what is
//! received is kept no longer than it takes to understand it, and what is to be sent lies in [`super::sealed`].

use std::io::IoSlice;

use bytes::BytesMut;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{CommonState, Error};
use tokio::io::ReadBuf;

use super::received::Received;
use super::sealed::Sealed;

/// What a client may send without making sense of it: a handshake message of 64 KiB, and the heads of its records.
const LONGEST_RIDDLE: usize = 80 * 1024;

/// A session's records.
pub(super) struct Records {
    session: UnbufferedServerConnection,
    /// Handshake messages that come in pieces stay here until they are whole.
    received: Received,
    /// What of it is for the application and has not been taken.
    plaintext: BytesMut,
    sealed: Sealed,
    /// The client has said that it sends no more.
    has_ended: bool,
    /// What has ended the session.
    failure: Option<Error>,
}

/// What is asked of the session besides understanding what has come.
enum Wish<'w, 'p> {
    Nothing,
    /// To take some of these; tells how much.
    Write(&'w [IoSlice<'p>]),
    /// To seal what was taken and is less than a record.
    SealRest,
    /// To say that nothing more is sent.
    CloseNotify,
}

/// What one turn of the session came to.
enum Turn {
    /// There is something to read.
    Read,
    /// There is more to do.
    Again,
    /// What has come is understood, but for a part of a record; what was wished is done, of so many bytes.
    Done(usize),
    /// The same, before the handshake lets anything be sealed.
    Blocked,
    /// Both sides have said that they send no more.
    Closed,
}

/// How far reading came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// There is something.
    Some,
    /// More must be received first.
    Starved,
    /// The client sends no more.
    Ended,
}

impl Records {
    /// A session that begins with what was `received` already.
    pub(super) fn new(session: UnbufferedServerConnection, received: Received) -> Self {
        let plaintext = BytesMut::new();
        Self { session, received, plaintext, sealed: Sealed::default(), has_ended: false, failure: None }
    }

    /// What has come.
    pub(super) fn received(&mut self) -> &mut Received {
        &mut self.received
    }

    /// What is known of the session.
    pub(super) fn session(&self) -> &CommonState {
        &self.session
    }

    /// Goes on with the handshake. Tells whether it is done; otherwise more must be received.
    ///
    /// # Errors
    /// What rustls says; the alert about it is among what is to be sent.
    pub(super) fn shake_hands(&mut self) -> Result<bool, Error> {
        loop {
            match self.go_on(&Wish::Nothing, &mut ReadBuf::new(&mut []))? {
                Turn::Again | Turn::Read => {}
                Turn::Done(_) | Turn::Blocked | Turn::Closed => {
                    if self.session.is_handshaking() && self.received.bytes().len() > LONGEST_RIDDLE {
                        return Err(Error::General("a handshake message is too long".into()));
                    }
                    return Ok(!self.session.is_handshaking());
                }
            }
        }
    }

    /// Reads into `buffer`, which has room.
    ///
    /// # Errors
    /// What rustls says; the alert about it is among what is to be sent.
    pub(super) fn read(&mut self, buffer: &mut ReadBuf<'_>) -> Result<Reading, Error> {
        if !self.plaintext.is_empty() {
            let length = self.plaintext.len().min(buffer.remaining());
            buffer.put_slice(&self.plaintext.split_to(length));
            if self.plaintext.is_empty() {
                self.plaintext = BytesMut::new();
            }
            return Ok(Reading::Some);
        }
        // It may have come behind something that was right, or have been met while something was written.
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let before = buffer.filled().len();
        while !self.received.bytes().is_empty() && !self.has_ended {
            match self.go_on(&Wish::Nothing, buffer)? {
                Turn::Again => {}
                // A record may be empty.
                Turn::Read if buffer.filled().len() == before => {}
                Turn::Read => return Ok(Reading::Some),
                Turn::Done(_) | Turn::Blocked | Turn::Closed => {
                    if self.received.bytes().len() > LONGEST_RIDDLE {
                        return Err(Error::General("a message of TLS is too long".into()));
                    }
                    break;
                }
            }
        }
        Ok(if self.has_ended { Reading::Ended } else { Reading::Starved })
    }

    /// What is to be sent.
    pub(super) fn sealed(&self) -> &[u8] {
        self.sealed.bytes()
    }

    /// So much of it has been sent.
    pub(super) fn sent(&mut self, count: usize) {
        self.sealed.advance(count);
    }

    /// Whether more can be written before what is sealed has been sent.
    pub(super) fn has_room(&self) -> bool {
        self.sealed.room() > 0
    }

    /// Takes of `pieces` what there is room for, and seals full records; tells how many bytes were taken.
    ///
    /// # Errors
    /// What rustls says; the alert about it is among what is to be sent.
    pub(super) fn write(&mut self, pieces: &[IoSlice<'_>]) -> Result<usize, Error> {
        match self.sealed.gather(pieces) {
            Some(count) => Ok(count),
            None => self.ask(&Wish::Write(pieces)),
        }
    }

    /// Seals what was written and is less than a record.
    ///
    /// # Errors
    /// What rustls says; the alert about it is among what is to be sent.
    pub(super) fn seal_rest(&mut self) -> Result<(), Error> {
        if self.sealed.has_rest() { self.ask(&Wish::SealRest).map(|_| ()) } else { Ok(()) }
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// What rustls says.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        self.ask(&Wish::CloseNotify).map(|_| ())
    }

    fn ask(&mut self, wish: &Wish<'_, '_>) -> Result<usize, Error> {
        loop {
            match self.go_on(wish, &mut ReadBuf::new(&mut []))? {
                Turn::Again | Turn::Read => {}
                Turn::Done(count) => return Ok(count),
                Turn::Blocked | Turn::Closed => return Err(Error::HandshakeNotComplete),
            }
        }
    }

    /// Makes what a session that has failed has to say of it ready to be sent. It is not asked to go on: it would
    /// stumble over the same record again.
    pub(super) fn say_what_is_wrong(&mut self) {
        while self.session().wants_write() && self.turn(&Wish::Nothing, &mut ReadBuf::new(&mut [])).is_ok() {}
    }

    #[cfg(test)]
    pub(super) fn holds_nothing(&self) -> bool {
        self.received.capacity() == 0 && self.plaintext.capacity() == 0 && self.sealed.holds_nothing()
    }

    /// One turn of a session that has not failed.
    fn go_on(&mut self, wish: &Wish<'_, '_>, buffer: &mut ReadBuf<'_>) -> Result<Turn, Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.turn(wish, buffer).inspect_err(|error| self.failure = Some(error.clone()))
    }

    /// One turn of the session. What is read goes into `buffer`, and what it does not hold, to `plaintext`: the
    /// session seals nothing while there is something to read.
    fn turn(&mut self, wish: &Wish<'_, '_>, buffer: &mut ReadBuf<'_>) -> Result<Turn, Error> {
        let UnbufferedStatus { mut discard, state, .. } = self.session.process_tls_records(self.received.bytes_mut());
        let turn = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    let room = buffer.remaining().min(record.payload.len());
                    let (fitting, rest) = record.payload.split_at(room);
                    buffer.put_slice(fitting);
                    self.plaintext.extend_from_slice(rest);
                }
                Ok(Turn::Read)
            }
            Ok(ConnectionState::EncodeTlsData(message)) => self.sealed.put(message).map(|()| Turn::Again),
            Ok(ConnectionState::TransmitTlsData(sealed)) => {
                sealed.done();
                Ok(Turn::Again)
            }
            Ok(ConnectionState::WriteTraffic(mut traffic)) => match wish {
                Wish::Nothing => Ok(Turn::Done(0)),
                Wish::Write(pieces) => self.sealed.write(&mut traffic, pieces).map(Turn::Done),
                Wish::SealRest => self.sealed.seal_rest(&mut traffic).map(|()| Turn::Done(0)),
                Wish::CloseNotify => self.sealed.close(&mut traffic).map(|()| Turn::Done(0)),
            },
            Ok(ConnectionState::BlockedHandshake) => Ok(Turn::Blocked),
            Ok(ConnectionState::PeerClosed) => {
                self.has_ended = true;
                // Nobody looks at what comes behind the end.
                discard = usize::MAX;
                Ok(Turn::Again)
            }
            Ok(ConnectionState::Closed) => Ok(Turn::Closed),
            // Early data is never accepted.
            Ok(_) => Err(Error::General("an unknown state of the session".into())),
            Err(error) => Err(error),
        };
        self.received.discard(discard);
        turn
    }
}
