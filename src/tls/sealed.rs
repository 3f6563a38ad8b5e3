//! What is to be sent to a client: what was written, until it fills a record or must go, and the records sealed.
//!
//! Both lie in buffers that the connections of a thread take turns with: whoever has sent all gives them back. So the
//! idle hold none, and the busy find theirs in the processor's cache.

use std::cell::Cell;
use std::io::IoSlice;
use std::ops::Range;

use rustls::Error;
use rustls::server::ServerConnectionData;
use rustls::unbuffered::{EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, WriteTraffic};

/// What a record holds at most (RFC 8446 section 5.1).
const LONGEST_PLAINTEXT: usize = 16 * 1024;
/// With all that sealing may add to it (5 + 1 + 16 + 8 bytes; RFC 8446 section 5.2, RFC 5246 section 6.2.3).
const LONGEST_RECORD: usize = LONGEST_PLAINTEXT + 64;
/// So many of them are sealed before the first is sent.
const SEALED_AT_ONCE: usize = 8;
/// With room for a short message of TLS's own.
const BUFFER: usize = SEALED_AT_ONCE * LONGEST_RECORD + 1024;

thread_local! {
    static SPARE_RECORDS: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    static SPARE_REST: Cell<Option<Vec<u8>>> = const { Cell::new(None) };
}

/// What is to be sent.
#[derive(Default)]
pub(super) struct Sealed {
    /// What was written and is less than a record. While there is something, there is room to seal it.
    rest: Option<Vec<u8>>,
    records: Option<Box<[u8]>>,
    filled: Range<usize>,
}

impl Sealed {
    /// What can be sent.
    pub(super) fn bytes(&self) -> &[u8] {
        self.records.as_deref().and_then(|records| records.get(self.filled.clone())).unwrap_or_default()
    }

    /// So much of it has been sent.
    pub(super) fn advance(&mut self, count: usize) {
        self.filled.start += count;
        if self.filled.is_empty() {
            self.filled = 0..0;
            if let Some(records) = self.records.take().filter(|records| records.len() == BUFFER) {
                SPARE_RECORDS.set(Some(records));
            }
        }
    }

    /// How many whole records there is room for.
    pub(super) fn room(&self) -> usize {
        (SEALED_AT_ONCE * LONGEST_RECORD).saturating_sub(self.filled.end) / LONGEST_RECORD
    }

    /// Whether something was written and is not sealed.
    pub(super) fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.rest.take().or_else(|| SPARE_REST.take());
        rest.unwrap_or_else(|| Vec::with_capacity(LONGEST_PLAINTEXT))
    }

    /// Keeps all of `pieces` to be sealed later, if they are less than a record and there is room.
    pub(super) fn gather(&mut self, pieces: &[IoSlice<'_>]) -> Option<usize> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if length == 0 {
            return Some(0);
        }
        if self.room() == 0 || self.rest.as_ref().map_or(0, Vec::len) + length >= LONGEST_PLAINTEXT {
            return None;
        }
        let mut rest = self.take_rest();
        for piece in pieces {
            rest.extend_from_slice(piece);
        }
        self.rest = Some(rest);
        Some(length)
    }

    /// Takes of `pieces` what there is room for; tells how much. Full records are sealed, what is left is kept.
    pub(super) fn write(
        &mut self,
        traffic: &mut WriteTraffic<'_, ServerConnectionData>,
        pieces: &[IoSlice<'_>],
    ) -> Result<usize, Error> {
        let mut taken = 0;
        for piece in pieces {
            let mut piece: &[u8] = piece;
            while !piece.is_empty() {
                let room = self.room();
                if room == 0 {
                    return Ok(taken);
                }
                let records = (piece.len() / LONGEST_PLAINTEXT).min(room);
                let length = if self.rest.is_none() && records > 0 {
                    let length = records * LONGEST_PLAINTEXT;
                    let (now, _) = piece.split_at(length);
                    self.fill(|room| traffic.encrypt(now, room), required_size)?;
                    length
                } else {
                    let mut rest = self.take_rest();
                    let length = piece.len().min(LONGEST_PLAINTEXT - rest.len());
                    let (now, _) = piece.split_at(length);
                    rest.extend_from_slice(now);
                    let is_full = rest.len() == LONGEST_PLAINTEXT;
                    self.rest = Some(rest);
                    if is_full {
                        self.seal_rest(traffic)?;
                    }
                    length
                };
                taken += length;
                piece = piece.split_at(length).1;
            }
        }
        Ok(taken)
    }

    /// Seals what was written and is less than a record.
    pub(super) fn seal_rest(&mut self, traffic: &mut WriteTraffic<'_, ServerConnectionData>) -> Result<(), Error> {
        let Some(mut rest) = self.rest.take() else { return Ok(()) };
        let sealed = self.fill(|room| traffic.encrypt(&rest, room), required_size);
        rest.clear();
        SPARE_REST.set(Some(rest));
        sealed
    }

    /// Adds a message of TLS's own.
    pub(super) fn put(&mut self, mut message: EncodeTlsData<'_, ServerConnectionData>) -> Result<(), Error> {
        self.fill(
            |room| message.encode(room),
            |error| match error {
                EncodeError::InsufficientSize(size) => Some(size.required_size),
                EncodeError::AlreadyEncoded => None,
            },
        )
    }

    /// Adds the alert that nothing more will be sent.
    pub(super) fn close(&mut self, traffic: &mut WriteTraffic<'_, ServerConnectionData>) -> Result<(), Error> {
        self.fill(|room| traffic.queue_close_notify(room), required_size)
    }

    #[cfg(test)]
    pub(super) fn holds_nothing(&self) -> bool {
        self.rest.is_none() && self.records.is_none()
    }

    /// Adds what `write` puts into the buffer, which is made larger when it says that it needs so much.
    fn fill<E>(
        &mut self,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
        required: impl Fn(&E) -> Option<usize>,
    ) -> Result<(), Error> {
        let records = self.records.take().or_else(|| SPARE_RECORDS.take());
        let mut records = records.unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice());
        let written = loop {
            let error = match write(records.get_mut(self.filled.end..).unwrap_or_default()) {
                Ok(count) => break Ok(count),
                Err(error) => error,
            };
            let Some(required) = required(&error) else { break Err(Error::EncryptError) };
            let mut larger = Vec::with_capacity(self.filled.end + required);
            larger.extend_from_slice(records.get(..self.filled.end).unwrap_or_default());
            larger.resize(self.filled.end + required, 0);
            records = larger.into_boxed_slice();
        };
        self.records = Some(records);
        self.filled.end += written?;
        Ok(())
    }
}

fn required_size(error: &EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(InsufficientSizeError { required_size, .. }) => Some(*required_size),
        EncryptError::EncryptExhausted => None,
    }
}
