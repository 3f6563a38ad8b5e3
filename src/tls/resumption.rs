//! Resumption: how a session comes into a ticket and out again, and which may be resumed.
//!
//! rustls puts the client's whole chain into a session and, when it is resumed, asks nobody about it: neither its
//! dates, nor who is trusted by now, nor how long ago the client proved its key. So a ticket is bound to the profile
//! and to whom that profile trusts; it carries the time of the first, full handshake from each ticket to the next; and
//! one whose certificate has ended, or whose handshake is a day old, is not opened. The client then shakes hands in
//! full. What is resumed is judged like any other connection ([`super::TrustStore`]), by today's rules.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::pki_types::CertificateDer;
use rustls::server::ProducesTickets;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::settings::{Asked, ClientAuth, RevocationSettings, TrustSettings, Unfit};
use super::tickets::{Binding, TicketKeys};
use super::trust::TrustStore;
use crate::clock::WallTime;
use crate::net::HostPattern;

/// How long after its full handshake a session can be resumed, however often it was meanwhile.
const LONGEST_LINEAGE: Duration = Duration::from_hours(24);

/// The tickets of a profile.
#[derive(Debug)]
pub(super) struct ProfileTickets {
    keys: Arc<TicketKeys>,
    binding: Binding,
    /// Where bad certificates are rejected in the handshake: rustls asks nobody when it resumes.
    judge: Option<Arc<TrustStore>>,
}

/// The tickets of a connection: what it offers, and what it is given.
struct ConnectionTickets {
    profile: Arc<ProfileTickets>,
    /// When the handshake began.
    now: WallTime,
    /// When the client last proved its key, in milliseconds: now, unless a ticket of this connection was opened.
    authenticated_at: AtomicI64,
}

impl ProfileTickets {
    /// Tickets for the profile of these names; `trust` is whom it trusts.
    pub(super) fn new(
        keys: Arc<TicketKeys>,
        names: &[HostPattern],
        client_auth: &ClientAuth,
        trust: Option<&Arc<TrustStore>>,
    ) -> Self {
        let rejects = matches!(client_auth, ClientAuth::Asked(Asked { invalid: Unfit::Reject, .. }));
        let judge = trust.filter(|_| rejects).map(Arc::clone);
        Self { keys, binding: binding(names, client_auth, trust.map(AsRef::as_ref)), judge }
    }

    /// Whether a session may be resumed: its client's certificate is still valid, and a bad one would not have been let
    /// through the handshake. `None` when the session cannot be read, which another version of rustls may bring about.
    fn would_resume(&self, session: &[u8], now: WallTime) -> Option<bool> {
        let chain = chain(session)?;
        let Some(leaf) = chain.first() else { return Some(true) };
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        let lives = now.unix_seconds() <= certificate.validity().not_after.timestamp();
        Some(lives && self.judge.as_ref().is_none_or(|trust| trust.judge(&chain, now).is_ok()))
    }

    /// The tickets of a connection that begins now.
    pub(super) fn of_connection(self: &Arc<Self>, now: WallTime) -> Arc<dyn ProducesTickets> {
        let authenticated_at = AtomicI64::new(now.unix_millis());
        Arc::new(ConnectionTickets { profile: Arc::clone(self), now, authenticated_at })
    }
}

impl ProducesTickets for ConnectionTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        let age = self.now.unix_seconds().saturating_sub(self.authenticated_at().unix_seconds());
        u32::try_from(LONGEST_LINEAGE.as_secs().saturating_sub(u64::try_from(age).unwrap_or(0))).unwrap_or(0)
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        let authenticated_at = self.authenticated_at().unix_millis().to_be_bytes();
        self.profile.keys.seal(&[authenticated_at.as_slice(), session].concat(), &self.profile.binding, self.now)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let opened = self.profile.keys.open(ticket, &self.profile.binding, self.now)?;
        let (authenticated_at, session) = opened.split_first_chunk()?;
        let authenticated_at = WallTime::from_unix_millis(i64::from_be_bytes(*authenticated_at));
        if self.now >= authenticated_at.plus(LONGEST_LINEAGE) || !self.profile.would_resume(session, self.now)? {
            return None;
        }
        // Of several that were opened rustls may take any: the oldest is never too young.
        self.authenticated_at.fetch_min(authenticated_at.unix_millis(), Ordering::Relaxed);
        Some(session.to_vec())
    }
}

impl ConnectionTickets {
    fn authenticated_at(&self) -> WallTime {
        WallTime::from_unix_millis(self.authenticated_at.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for ConnectionTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionTickets").finish_non_exhaustive()
    }
}

/// What a profile's tickets are bound to: its names, what it asks of clients, and whom it trusts. Nothing that counts
/// or differs between replicas, since all of them and the same gateway after a restart must come to the same.
fn binding(names: &[HostPattern], client_auth: &ClientAuth, trust: Option<&TrustStore>) -> Binding {
    let mut context = Context::new(&SHA256);
    context.update(b"gateway session 1");
    let mut texts: Vec<_> = names.iter().map(ToString::to_string).collect();
    texts.sort_unstable();
    context.update(&length(texts.len()));
    for text in &texts {
        context.update(&length(text.len()));
        context.update(text.as_bytes());
    }
    // What is only tried says nothing of who may resume.
    if let ClientAuth::Asked(Asked { absent, invalid, trust, shadow: _ }) = client_auth {
        let TrustSettings { ca: _, max_chain_depth, revocation } = trust;
        let RevocationSettings { crl: _, crl_scope, stale_crl, deny_list: _ } = revocation;
        context.update(format!("{absent:?} {invalid:?} {max_chain_depth} {crl_scope:?} {stale_crl:?}").as_bytes());
    }
    if let Some(trust) = trust {
        context.update(&trust.fingerprint());
    }
    let mut binding = [0; 32];
    binding.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    binding
}

fn length(length: usize) -> [u8; 8] {
    u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes()
}

/// The client's chain in a session as rustls encodes it: server name, version, suite, master secret, whether it was
/// extended, chain. A TLS 1.2 session whose secret is not bound to its handshake is none to resume (RFC 7627 section
/// 5.4: somebody in between may have made the same one with the client).
fn chain(session: &[u8]) -> Option<Vec<CertificateDer<'_>>> {
    let mut rest = session;
    if take(&mut rest, 1)? == [1] {
        take_vector(&mut rest, 1)?;
    }
    let version = take(&mut rest, 2)?;
    take(&mut rest, 2)?;
    take_vector(&mut rest, 1)?;
    if take(&mut rest, 1)? != [1] && version == [3, 3] {
        return None;
    }
    let mut chain = Vec::new();
    if take(&mut rest, 1)? == [1] {
        let mut list = take_vector(&mut rest, 3)?;
        while !list.is_empty() {
            chain.push(CertificateDer::from(take_vector(&mut list, 3)?));
        }
    }
    Some(chain)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

/// A vector with its length in so many bytes before it (RFC 8446 section 3.4).
fn take_vector<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let count = take(rest, length)?.iter().fold(0, |count, byte| count << 8 | usize::from(*byte));
    take(rest, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(version: u8, extended: u8, chain: &[&[u8]]) -> Vec<u8> {
        let mut list = Vec::new();
        for certificate in chain {
            list.extend([0, 0, u8::try_from(certificate.len()).unwrap()]);
            list.extend(*certificate);
        }
        let mut session = vec![1, 1, b'a', 3, version, 0x13, 0x01, 2, 0xaa, 0xbb, extended, 1];
        session.extend([0, 0, u8::try_from(list.len()).unwrap()]);
        session.extend(list);
        session
    }

    #[test]
    fn the_clients_chain_is_found_in_a_session() {
        let of: [&[u8]; 2] = [b"leaf", b"above"];
        let whole = Some(of.map(CertificateDer::from).to_vec());
        assert_eq!(chain(&session(4, 0, &of)), whole);
        assert_eq!(chain(&session(3, 1, &of)), whole);
        assert_eq!(chain(&session(3, 0, &of)), None, "a secret that is not bound to its handshake");
        assert_eq!(chain(&session(4, 0, &[])), Some(Vec::new()));
        assert_eq!(chain(&[0, 3, 4, 0x13, 1, 0, 0, 0]), Some(Vec::new()));
        let session = session(4, 0, &of);
        for end in 0..session.len() {
            assert_eq!(chain(&session[..end]), None, "cut at {end}");
        }
    }
}
