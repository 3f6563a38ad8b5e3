//! One client's connection, and who the client is for each of its requests.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use super::Proxy;
use super::activity::Activity;
use super::expiry::{LastDays, Told};
use super::headers::{ClientCertHeaders, Dialects};
use super::known::{ChainId, Known};
use super::measures::Verified;
use super::snapshot::Snapshot;
use crate::clock::WallTime;
use crate::identity::{CertificateFacts, ClientCert, Reason};
use crate::net::Host;
use crate::tls::{Believed, ProfileId, Protocol, TlsInfo};

/// One client's connection, after the handshake.
#[derive(Debug)]
pub(super) struct ClientConnection {
    pub(super) proxy: Arc<Proxy>,
    pub(super) peer: SocketAddr,
    pub(super) ip: HeaderValue,
    pub(super) tls: TlsInfo,
    pub(super) activity: Arc<Activity>,
    /// The age at which it makes way; drawn once, so that connections of one moment do not all end in one.
    retire_at: Duration,
    judgement: Mutex<Judgement>,
    /// Whether any verdict was a good one.
    was_believed: AtomicBool,
}

/// What the client showed, and what came of it.
#[derive(Debug)]
struct Judgement {
    chain: Arc<[CertificateDer<'static>]>,
    verdict: Option<Judged>,
}

/// A verdict and how long it holds.
#[derive(Debug)]
struct Judged {
    generation: u64,
    profile: ProfileId,
    until: WallTime,
    client: Arc<Client>,
    /// `None` for who was not believed, and where nobody is told.
    last_days: Option<LastDays>,
}

/// Who the client of a request is.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) client: Arc<Client>,
    /// The profile that judges this connection, in the configuration of the request.
    pub(super) profile: ProfileId,
    /// Seconds until the client's certificate ends, when it is in its last days.
    pub(super) expires_in: Option<u64>,
}

/// Who the client is, with the texts that headers and logs need.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) certificate: ClientCert,
    /// As it is judged in the shadow, where trust is tried.
    pub(super) shadow: Option<ClientCert>,
    pub(super) result: Verified,
    pub(super) headers: ClientCertHeaders,
    pub(super) verify: String,
    pub(super) subject_alt_names: Option<String>,
}

impl ClientConnection {
    pub(super) fn new(proxy: Arc<Proxy>, peer: SocketAddr, mut tls: TlsInfo, max_age: Duration) -> Self {
        let ip = HeaderValue::from_str(&peer.ip().to_canonical().to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        let retire_at = max_age.mul_f64(0.9 + 0.2 * fastrand::f64());
        let judgement = Mutex::new(Judgement { chain: tls.take_client_chain().into(), verdict: None });
        Self {
            proxy,
            peer,
            ip,
            tls,
            activity: Arc::new(Activity::new()),
            retire_at,
            judgement,
            was_believed: AtomicBool::new(false),
        }
    }

    pub(super) fn speaks_http1(&self) -> bool {
        self.tls.protocol == Protocol::Http1
    }

    /// Whether it has lived so long that its client should open a new one, perhaps to another task.
    pub(super) fn is_too_old(&self, now: Instant) -> bool {
        now.duration_since(self.activity.started()) >= self.retire_at
    }

    /// Who the client is now: judged at the first request, and again when the verdict's time is over or another
    /// configuration is in force.
    pub(super) fn client(&self, snapshot: &Snapshot) -> Arc<Client> {
        self.verdict(snapshot).client
    }

    /// The same, with what else depends on the configuration and the time.
    pub(super) fn verdict(&self, snapshot: &Snapshot) -> Verdict {
        let now = self.proxy.clock.now();
        let mut judgement = self.judgement.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(judged) = &mut judgement.verdict
            && judged.generation == snapshot.generation
            && now.unix_seconds() <= judged.until.unix_seconds()
        {
            return judged.verdict(now, &self.proxy.expiry_told);
        }
        // A reload may have given the name to another profile; then that one judges.
        let profile = snapshot.profiles.of_server_name(self.tls.sni.as_deref());
        let (client, until) = judgement.judge(snapshot, profile, now);
        if let Some(facts) = client.certificate.verified()
            && !self.was_believed.swap(true, Ordering::Relaxed)
        {
            self.proxy.measures.believed(facts, now);
        }
        let generation = snapshot.generation;
        let notice = snapshot.profiles.get(profile).expiry_notice();
        let last_days = client.certificate.verified().and_then(|facts| LastDays::of(facts, notice));
        let judged = judgement.verdict.insert(Judged { generation, profile, until, client, last_days });
        judged.verdict(now, &self.proxy.expiry_told)
    }

    /// Whether requests for this host may come on this connection: `profile`, which judges its client, is the host's.
    pub(super) fn is_for(&self, host: Option<&Host>, profile: ProfileId, snapshot: &Snapshot) -> bool {
        if !snapshot.profiles.has_names() {
            return true;
        }
        let name = host.and_then(Host::name).map(|name| name.as_str());
        // Nearly every request is for the name of the handshake.
        let is_the_same = name.zip(self.tls.sni.as_deref()).is_some_and(|(name, sni)| name.eq_ignore_ascii_case(sni));
        is_the_same || snapshot.profiles.of_host(host) == profile
    }

    /// Why a client that was believed is not, under the configuration that is in force now.
    pub(super) fn lost_trust(&self) -> Option<Reason> {
        let was_believed = self.was_believed.load(Ordering::Relaxed);
        was_believed.then(|| self.client(&self.proxy.snapshot()).certificate.refusal()).flatten()
    }
}

impl Judged {
    fn verdict(&mut self, now: WallTime, told: &Told) -> Verdict {
        let facts = self.client.certificate.verified();
        let expires_in =
            self.last_days.as_mut().zip(facts).and_then(|(last_days, facts)| last_days.at(now, facts, told));
        Verdict { client: Arc::clone(&self.client), profile: self.profile, expires_in }
    }
}

/// The clients of whom nothing is known, once for all their connections.
#[derive(Debug)]
pub(super) struct Strangers {
    not_requested: Arc<Client>,
    not_presented: Arc<Client>,
}

impl Strangers {
    pub(super) fn new(dialects: &Dialects) -> Self {
        let stranger = |certificate| Arc::new(Client::new(ProfileId::FALLBACK, certificate, &[], dialects));
        Self { not_requested: stranger(ClientCert::NotRequested), not_presented: stranger(ClientCert::NotPresented) }
    }
}

impl Judgement {
    fn judge(&mut self, snapshot: &Snapshot, profile: ProfileId, now: WallTime) -> (Arc<Client>, WallTime) {
        let client = |certificate, path: &[_]| Client::new(profile, certificate, path, &snapshot.dialects);
        let strangers = &snapshot.strangers;
        let trust = snapshot.profiles.get(profile).trust();
        let Some(trust) = trust else { return (Arc::clone(&strangers.not_requested), FOR_EVER) };
        let Some(leaf) = self.chain.first() else { return (Arc::clone(&strangers.not_presented), FOR_EVER) };
        let id = ChainId::of(profile, &self.chain);
        if let Some(known) = snapshot.known.get(id, now) {
            self.chain = known.chain;
            return (known.client, known.until);
        }
        let (mut client, until) = match trust.judge(&self.chain, now) {
            Ok(Believed { facts, until, path }) => (client(ClientCert::Verified(facts), &path), until),
            Err(reason) => {
                let shown = CertificateFacts::from_der(leaf).ok().map(Arc::new);
                (client(ClientCert::Refused { reason, shown }, &[]), refused_until(reason, now))
            }
        };
        let tried = snapshot.shadow(profile).and_then(|shadow| shadow.judge(&self.chain, now));
        // Whichever ends first: both are judged again.
        let until = tried.as_ref().map_or(until, |(_, holds)| until.min(*holds));
        client.shadow = tried.map(|(tried, _)| tried);
        let client = Arc::new(client);
        if client.certificate.verified().is_some() {
            let (shared, chain) = (Arc::clone(&client), Arc::clone(&self.chain));
            snapshot.known.put(id, Known { until, client: shared, chain });
        }
        (client, until)
    }
}

/// How long a refusal holds: only the passing of time can mend one, and only this one.
pub(super) fn refused_until(reason: Reason, now: WallTime) -> WallTime {
    if reason == Reason::NotYetValid { now } else { FOR_EVER }
}

const FOR_EVER: WallTime = WallTime::from_unix_millis(i64::MAX);

impl Client {
    /// `path` is what led from a believed certificate to its trust anchor.
    pub(super) fn new(
        profile: ProfileId,
        certificate: ClientCert,
        path: &[CertificateDer<'static>],
        dialects: &Dialects,
    ) -> Self {
        let (verify, result) = match &certificate {
            ClientCert::Verified(_) => ("SUCCESS".to_owned(), Verified::Success),
            ClientCert::NotRequested | ClientCert::NotPresented => ("NONE".to_owned(), Verified::None),
            ClientCert::Refused { reason, .. } => (format!("FAILED:{reason}"), Verified::Refused(*reason)),
        };
        Self {
            headers: dialects.describe(profile, &certificate, path),
            subject_alt_names: certificate.shown().map(|facts| facts.san_text()).filter(|text| !text.is_empty()),
            verify,
            result,
            shadow: None,
            certificate,
        }
    }
}
