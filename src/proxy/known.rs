//! Clients that were believed before: an API is called by few clients over many connections, and to judge each of them
//! anew would cost a signature check, a parse, and a copy of everything that is told of them.
//!
//! What is remembered is that a chain leads to a trust anchor, under one configuration, until the first of its
//! certificates ends. That the caller holds the key is proven in each handshake. Refusals are not remembered: strangers
//! would fill the memory with them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use rustls::pki_types::CertificateDer;

use super::client::Client;
use crate::clock::WallTime;
use crate::tls::ProfileId;

/// Clients remembered in each half; those that are called on outlive the change of halves.
const HALF: usize = 2048;

/// A chain before one profile, which trusts others than the next: the SHA-256 of the profile and of the certificates,
/// each with its length before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ChainId([u8; 32]);

impl ChainId {
    pub(super) fn of(profile: ProfileId, chain: &[CertificateDer<'_>]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&u64::try_from(profile.number()).unwrap_or(u64::MAX).to_be_bytes());
        for certificate in chain {
            context.update(&u64::try_from(certificate.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(certificate);
        }
        let mut id = [0; 32];
        id.copy_from_slice(context.finish().as_ref());
        Self(id)
    }
}

/// A client that was believed.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// The last moment at which the verdict holds.
    pub(super) until: WallTime,
    pub(super) client: Arc<Client>,
    /// What it showed, once for all its connections.
    pub(super) chain: Arc<[CertificateDer<'static>]>,
}

/// The memory of one configuration.
#[derive(Debug, Default)]
pub(super) struct KnownClients(Mutex<Halves>);

#[derive(Debug, Default)]
struct Halves {
    recent: HashMap<ChainId, Known>,
    older: HashMap<ChainId, Known>,
}

impl KnownClients {
    /// The client that this chain belongs to, if it was believed and still is at `now`.
    pub(super) fn get(&self, id: ChainId, now: WallTime) -> Option<Known> {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match halves.recent.get(&id) {
            Some(known) => known.clone(),
            None => {
                let known = halves.older.remove(&id)?;
                halves.put(id, known.clone());
                known
            }
        };
        (now.unix_seconds() <= known.until.unix_seconds()).then_some(known)
    }

    pub(super) fn put(&self, id: ChainId, known: Known) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(id, known);
    }
}

impl Halves {
    fn put(&mut self, id: ChainId, known: Known) {
        if self.recent.len() >= HALF {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(id, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ClientCert;
    use crate::proxy::headers::Dialects;

    fn at(seconds: i64) -> WallTime {
        WallTime::from_unix_seconds(seconds)
    }

    fn known(until: i64) -> Known {
        let client = Client::new(ProfileId::FALLBACK, ClientCert::NotPresented, &[], &Dialects::default());
        Known { until: at(until), client: Arc::new(client), chain: Arc::new([]) }
    }

    fn id(number: usize) -> ChainId {
        ChainId::of(ProfileId::FALLBACK, &[CertificateDer::from(number.to_be_bytes().to_vec())])
    }

    #[test]
    fn a_verdict_ends_with_the_certificate() {
        let clients = KnownClients::default();
        clients.put(id(1), known(100));
        assert!(clients.get(id(1), at(100)).is_some());
        assert!(clients.get(id(1), at(101)).is_none());
        assert!(clients.get(id(2), at(1)).is_none());
    }

    #[test]
    fn chains_that_read_the_same_without_their_borders_differ() {
        let certificate = |bytes: &[u8]| CertificateDer::from(bytes.to_vec());
        let of = |chain: &[CertificateDer<'_>]| ChainId::of(ProfileId::FALLBACK, chain);
        let ids = [
            of(&[certificate(b"ab"), certificate(b"c")]),
            of(&[certificate(b"a"), certificate(b"bc")]),
            of(&[certificate(b"abc")]),
            of(&[certificate(b"c"), certificate(b"ab")]),
            of(&[]),
        ];
        for (index, one) in ids.iter().enumerate() {
            assert!(ids.iter().skip(index + 1).all(|other| other != one));
        }
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_those_who_call() {
        let clients = KnownClients::default();
        clients.put(id(0), known(100));
        for number in 1..10 * HALF {
            clients.put(id(number), known(100));
            if number % 1000 == 0 {
                assert!(clients.get(id(0), at(1)).is_some(), "{number}");
            }
        }
        let halves = clients.0.lock().unwrap();
        assert!(halves.recent.len() <= HALF && halves.older.len() <= HALF);
    }
}
