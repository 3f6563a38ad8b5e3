//! TLS 1.3 records after the handshake, sealed and opened in place: the least that a load can cost.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets};

/// Type, version and length.
pub(super) const HEADER: usize = 5;
/// What a record may carry.
pub(super) const LONGEST: usize = 16384;
/// The real type and the tag.
pub(super) const OVERHEAD: usize = 17;

const APPLICATION_DATA: u8 = 23;
const HANDSHAKE: u8 = 22;
const NEW_SESSION_TICKET: u8 = 4;

/// Both directions of one connection.
pub(super) struct Records {
    receive: Direction,
    send: Direction,
}

struct Direction {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

/// What a record was.
pub(super) enum Opened<'a> {
    Data(&'a [u8]),
    /// A ticket. Debian 12's nginx sends them even where it keeps no session that they could stand for.
    Ticket,
}

impl Records {
    pub(super) fn new(secrets: ExtractedSecrets) -> Self {
        Self { receive: Direction::new(secrets.rx), send: Direction::new(secrets.tx) }
    }

    /// Appends one record.
    pub(super) fn seal(&mut self, plain: &[&[u8]], output: &mut Vec<u8>) {
        let length = plain.iter().map(|part| part.len()).sum::<usize>();
        assert!(length <= LONGEST);
        let header = header((length + OVERHEAD) as u16);
        output.extend_from_slice(&header);
        let start = output.len();
        for part in plain {
            output.extend_from_slice(part);
        }
        output.push(APPLICATION_DATA);
        let (key, nonce) = self.send.next();
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(header), &mut output[start..]).unwrap();
        output.extend_from_slice(tag.as_ref());
    }

    /// Opens one whole record, header and all.
    pub(super) fn open<'a>(&mut self, record: &'a mut [u8]) -> Opened<'a> {
        let (header, sealed) = record.split_at_mut(HEADER);
        let header: [u8; HEADER] = (&*header).try_into().unwrap();
        assert_eq!(header[0], APPLICATION_DATA, "a record in the clear");
        let (key, nonce) = self.receive.next();
        let plain = key.open_in_place(nonce, Aad::from(header), sealed).expect("a record that was sealed for us");
        let end = plain.iter().rposition(|byte| *byte != 0).expect("a type");
        match plain[end] {
            APPLICATION_DATA => Opened::Data(&plain[..end]),
            HANDSHAKE if plain[0] == NEW_SESSION_TICKET => Opened::Ticket,
            other => panic!("a record of type {other}: {:?}", &plain[..end.min(8)]),
        }
    }

    /// Passes a record over that nobody looks at.
    pub(super) fn skip(&mut self) {
        self.receive.sequence += 1;
    }
}

fn header(length: u16) -> [u8; HEADER] {
    let [high, low] = length.to_be_bytes();
    [APPLICATION_DATA, 3, 3, high, low]
}

impl Direction {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else { panic!("not AES-128-GCM") };
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.as_ref()).unwrap());
        Self { key, iv: iv.as_ref().try_into().unwrap(), sequence }
    }

    fn next(&mut self) -> (&LessSafeKey, Nonce) {
        let mut nonce = self.iv;
        for (byte, count) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= count;
        }
        self.sequence += 1;
        (&self.key, Nonce::assume_unique_for_key(nonce))
    }
}
