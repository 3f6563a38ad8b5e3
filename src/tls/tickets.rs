//! The keys that session tickets are sealed with.
//!
//! A ticket is `id ‖ salt ‖ AES-256-GCM(session)`. Its key is derived from the secret, the salt and what the ticket is
//! bound to, so that random nonces cannot collide however many replicas share a secret, and a ticket of one profile
//! does not open with the key of another.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::certificates::key_file_warning;
use super::settings::PemSource;
use super::{Error, pem};
use crate::clock::WallTime;

/// The longest session that is put into a ticket; most of it is the client's chain. Whoever shows a longer one shakes
/// hands in full each time.
const LONGEST: usize = 12 * 1024;
/// How long a key of the gateway's own seals tickets. It opens them for as long again.
const PERIOD: Duration = Duration::from_hours(12);

const ID: usize = 8;
const SALT: usize = 32;
const TAG: usize = 16;

/// What a ticket is good for: whoever opens it must name the same.
pub(super) type Binding = [u8; 32];

/// The keys for tickets: of the configuration, shared by replicas, or the gateway's own, which no one else has.
#[derive(Debug)]
pub(super) struct TicketKeys(Keys);

#[derive(Debug)]
enum Keys {
    /// The first seals, each opens.
    Shared(Vec<TicketKey>),
    Own(Mutex<OwnKeys>),
}

#[derive(Debug)]
struct OwnKeys {
    current: Arc<TicketKey>,
    previous: Option<Arc<TicketKey>>,
    since: Option<WallTime>,
}

struct TicketKey {
    id: [u8; ID],
    secret: Prk,
}

impl TicketKeys {
    /// Opens the keys of the configuration; the first is the one that seals.
    ///
    /// # Errors
    /// [`Error`] when one cannot be read or is no key.
    pub(super) fn shared(sources: &[PemSource]) -> Result<Self, Error> {
        sources.iter().map(TicketKey::read).collect::<Result<_, _>>().map(|keys| Self(Keys::Shared(keys)))
    }

    /// New keys that live as long as the process, and are replaced by new ones meanwhile.
    ///
    /// # Errors
    /// [`Error::Rustls`] when there is no randomness to be had.
    pub(super) fn own() -> Result<Self, Error> {
        let current = TicketKey::random().ok_or(rustls::Error::FailedToGetRandomBytes)?;
        Ok(Self(Keys::Own(Mutex::new(OwnKeys { current: Arc::new(current), previous: None, since: None }))))
    }

    /// Whether they are the gateway's own.
    pub(super) fn are_own(&self) -> bool {
        matches!(self.0, Keys::Own(_))
    }

    /// Seals a session; `None` when it is too long.
    pub(super) fn seal(&self, session: &[u8], binding: &Binding, now: WallTime) -> Option<Vec<u8>> {
        match &self.0 {
            Keys::Shared(keys) => keys.first()?.seal(session, binding),
            Keys::Own(keys) => {
                let [current, _] = keys.lock().unwrap_or_else(PoisonError::into_inner).at(now);
                current?.seal(session, binding)
            }
        }
    }

    /// Opens a ticket; `None` when it was not sealed with one of these keys for the same binding.
    pub(super) fn open(&self, ticket: &[u8], binding: &Binding, now: WallTime) -> Option<Vec<u8>> {
        match &self.0 {
            Keys::Shared(keys) => keys.iter().find_map(|key| key.open(ticket, binding)),
            Keys::Own(keys) => {
                let keys = keys.lock().unwrap_or_else(PoisonError::into_inner).at(now);
                keys.into_iter().flatten().find_map(|key| key.open(ticket, binding))
            }
        }
    }
}

impl OwnKeys {
    /// The key that seals now, and the one before it.
    fn at(&mut self, now: WallTime) -> [Option<Arc<TicketKey>>; 2] {
        let since = *self.since.get_or_insert(now);
        if now >= since.plus(PERIOD)
            && let Some(next) = TicketKey::random()
        {
            let last = std::mem::replace(&mut self.current, Arc::new(next));
            // Nobody came for so long that the last one has had its time, too.
            self.previous = (now < since.plus(2 * PERIOD)).then_some(last);
            self.since = Some(now);
        }
        [Some(Arc::clone(&self.current)), self.previous.clone()]
    }
}

impl TicketKey {
    fn new(secret: &[u8]) -> Self {
        let mut id = [0; ID];
        let named = digest(&SHA256, &[b"ticket key id".as_slice(), secret].concat());
        id.iter_mut().zip(named.as_ref()).for_each(|(to, from)| *to = *from);
        Self { id, secret: Salt::new(HKDF_SHA256, b"gateway session tickets").extract(secret) }
    }

    fn random() -> Option<Self> {
        let mut secret = Zeroizing::new([0; 32]);
        rand::fill(secret.as_mut_slice()).ok()?;
        Some(Self::new(secret.as_slice()))
    }

    fn read(source: &PemSource) -> Result<Self, Error> {
        let text = pem::raw(source)?;
        match secret(&text) {
            Some(secret) => Ok(Self::new(&secret)),
            None => {
                let expected =
                    "a ticket key is 32 random bytes in base64 or hex, as `openssl rand -base64 32` makes it";
                Err(Error::Garbled(source.to_string(), expected.to_owned()))
            }
        }
    }

    fn seal(&self, session: &[u8], binding: &Binding) -> Option<Vec<u8>> {
        if session.len() > LONGEST {
            return None;
        }
        let mut salt = [0; SALT];
        rand::fill(&mut salt).ok()?;
        let mut sealed = session.to_vec();
        self.key(&salt, binding)?.seal_in_place_append_tag(nonce(), Aad::from(binding), &mut sealed).ok()?;
        Some([self.id.as_slice(), &salt, &sealed].concat())
    }

    fn open(&self, ticket: &[u8], binding: &Binding) -> Option<Vec<u8>> {
        if ticket.len() > ID + SALT + LONGEST + TAG {
            return None;
        }
        let (salt, sealed) = ticket.strip_prefix(&self.id)?.split_at_checked(SALT)?;
        let mut sealed = sealed.to_vec();
        let session = self.key(salt, binding)?.open_in_place(nonce(), Aad::from(binding), &mut sealed).ok()?;
        Some(session.to_vec())
    }

    fn key(&self, salt: &[u8], binding: &Binding) -> Option<LessSafeKey> {
        let info = [salt, binding.as_slice()];
        self.secret.expand(&info, &AES_256_GCM).ok().map(|derived| LessSafeKey::new(UnboundKey::from(derived)))
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKey").finish_non_exhaustive()
    }
}

/// What an operator should know of the files that hold ticket keys.
pub(super) fn warnings(sources: &[PemSource]) -> impl Iterator<Item = String> {
    sources.iter().filter_map(|source| key_file_warning("ticket key", source))
}

/// Each key seals one ticket.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// 32 bytes in hex or base64.
fn secret(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bytes = if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
        digits.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect::<Option<Vec<_>>>()?
    } else {
        pem::base64(text)?
    };
    let bytes = Zeroizing::new(bytes);
    (bytes.len() == 32).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_unix_seconds(1_800_000_000);

    fn shared(secrets: &[u8]) -> TicketKeys {
        TicketKeys(Keys::Shared(secrets.iter().map(|byte| TicketKey::new(&[*byte; 32])).collect()))
    }

    #[test]
    fn a_ticket_opens_for_what_it_is_bound_to_and_with_a_key_that_is_still_known() {
        let (old, both, new) = (shared(&[1]), shared(&[2, 1]), shared(&[2]));
        let ticket = old.seal(b"session", &[7; 32], NOW).unwrap();
        assert_eq!(old.open(&ticket, &[7; 32], NOW).as_deref(), Some(&b"session"[..]));
        assert_eq!(both.open(&ticket, &[7; 32], NOW).as_deref(), Some(&b"session"[..]));
        assert_eq!(new.open(&ticket, &[7; 32], NOW), None);
        assert_eq!(old.open(&ticket, &[8; 32], NOW), None);
        let ticket = both.seal(b"session", &[7; 32], NOW).unwrap();
        assert!(new.open(&ticket, &[7; 32], NOW).is_some() && old.open(&ticket, &[7; 32], NOW).is_none());
    }

    #[test]
    fn a_ticket_that_was_changed_or_cut_does_not_open() {
        let keys = shared(&[1]);
        let ticket = keys.seal(b"session", &[7; 32], NOW).unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(keys.open(&changed, &[7; 32], NOW), None, "byte {at}");
            assert_eq!(keys.open(&ticket[..at], &[7; 32], NOW), None, "cut at {at}");
        }
        assert_eq!(keys.open(&[ticket.as_slice(), &[0]].concat(), &[7; 32], NOW), None);
    }

    #[test]
    fn no_two_tickets_are_alike_and_long_sessions_get_none() {
        let keys = shared(&[1]);
        assert_ne!(keys.seal(b"session", &[7; 32], NOW), keys.seal(b"session", &[7; 32], NOW));
        let longest = vec![0; LONGEST];
        let ticket = keys.seal(&longest, &[7; 32], NOW).unwrap();
        assert_eq!(keys.open(&ticket, &[7; 32], NOW), Some(longest));
        assert_eq!(keys.seal(&[0; LONGEST + 1], &[7; 32], NOW), None);
    }

    #[test]
    fn keys_of_its_own_are_replaced_and_forgotten() {
        let keys = TicketKeys::own().unwrap();
        let seal = |now| keys.seal(b"session", &[7; 32], now).unwrap();
        let opens = |ticket: &[u8], now| keys.open(ticket, &[7; 32], now).is_some();
        let first = seal(NOW);
        assert!(opens(&first, NOW.plus(PERIOD - Duration::from_secs(1))));
        assert!(opens(&first, NOW.plus(PERIOD)), "the key before");
        let second = seal(NOW.plus(PERIOD));
        assert!(!opens(&first, NOW.plus(2 * PERIOD)), "two keys later");
        assert!(opens(&second, NOW.plus(2 * PERIOD)));
        assert!(!opens(&second, NOW.plus(10 * PERIOD)), "long after");
        assert!(TicketKeys::own().unwrap().open(&second, &[7; 32], NOW).is_none());
    }

    #[test]
    fn a_key_is_32_bytes_in_base64_or_hex() {
        for text in ["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n", &format!(" {}\n", "0f".repeat(32))] {
            assert!(secret(text.as_bytes()).is_some(), "{text}");
        }
        for text in ["", "AAEC", &"0f".repeat(31), &"0f".repeat(33), "secret", "\u{e9}", &"0g".repeat(32)] {
            assert!(secret(text.as_bytes()).is_none(), "{text}");
        }
        assert!(secret(&[0xff; 32]).is_none());
    }
}
