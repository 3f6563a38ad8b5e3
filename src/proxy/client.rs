//! One client's connection, and who the client is for each of its requests.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;

use super::Proxy;
use super::activity::Activity;
use super::headers::ClientCertHeaders;
use super::snapshot::Snapshot;
use crate::clock::WallTime;
use crate::identity::{CertificateFacts, ClientCert, Reason};
use crate::tls::{Protocol, TlsInfo, TlsProfile};

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
    judged: Mutex<Option<Judged>>,
    /// Whether any verdict was a good one.
    was_believed: AtomicBool,
}

/// A verdict and how long it holds.
#[derive(Debug)]
struct Judged {
    generation: u64,
    until: WallTime,
    client: Arc<Client>,
}

/// Who the client is, with the texts that headers and logs need.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) certificate: ClientCert,
    pub(super) headers: ClientCertHeaders,
    pub(super) verify: String,
    pub(super) subject_alt_names: Option<String>,
}

impl ClientConnection {
    pub(super) fn new(proxy: Arc<Proxy>, peer: SocketAddr, tls: TlsInfo, max_age: Duration) -> Self {
        let ip = HeaderValue::from_str(&peer.ip().to_canonical().to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        let retire_at = max_age.mul_f64(0.9 + 0.2 * fastrand::f64());
        Self {
            proxy,
            peer,
            ip,
            tls,
            activity: Arc::new(Activity::new()),
            retire_at,
            judged: Mutex::new(None),
            was_believed: AtomicBool::new(false),
        }
    }

    pub(super) fn speaks_http1(&self) -> bool {
        self.tls.protocol == Protocol::Http1
    }

    /// Whether it has lived so long that its client should open a new one, perhaps to another task.
    pub(super) fn is_too_old(&self) -> bool {
        self.activity.age() >= self.retire_at
    }

    /// Who the client is now: judged at the first request, and again when the verdict's time is over or another
    /// configuration is in force.
    pub(super) fn client(&self, snapshot: &Snapshot) -> Arc<Client> {
        let now = self.proxy.clock.now();
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(judged) = &*judged
            && judged.generation == snapshot.generation
            && now.unix_seconds() <= judged.until.unix_seconds()
        {
            return Arc::clone(&judged.client);
        }
        let (certificate, until) = self.judge(&snapshot.profile, now);
        let client = Arc::new(Client::new(certificate));
        if client.certificate.refusal().is_none() {
            self.was_believed.store(true, Ordering::Relaxed);
        }
        *judged = Some(Judged { generation: snapshot.generation, until, client: Arc::clone(&client) });
        client
    }

    /// Whether the client was believed, and under the configuration that is in force now is not.
    pub(super) fn has_lost_trust(&self) -> bool {
        self.was_believed.load(Ordering::Relaxed) && self.client(&self.proxy.snapshot()).certificate.refusal().is_some()
    }

    fn judge(&self, profile: &TlsProfile, now: WallTime) -> (ClientCert, WallTime) {
        let for_ever = WallTime::from_unix_millis(i64::MAX);
        let Some(trust) = profile.trust() else { return (ClientCert::NotRequested, for_ever) };
        let chain = self.tls.client_chain();
        let Some(leaf) = chain.first() else { return (ClientCert::NotPresented, for_ever) };
        match trust.judge(chain, now) {
            Ok(believed) => (ClientCert::Verified(believed.facts), believed.until),
            Err(reason) => {
                let shown = CertificateFacts::from_der(leaf).ok().map(Arc::new);
                // Only the passing of time can mend a refusal, and only this one.
                let until = if reason == Reason::NotYetValid { now } else { for_ever };
                (ClientCert::Refused { reason, shown }, until)
            }
        }
    }
}

impl Client {
    fn new(certificate: ClientCert) -> Self {
        let verify = match &certificate {
            ClientCert::Verified(_) => "SUCCESS".to_owned(),
            ClientCert::NotRequested | ClientCert::NotPresented => "NONE".to_owned(),
            ClientCert::Refused { reason, .. } => format!("FAILED:{reason}"),
        };
        Self {
            headers: ClientCertHeaders::new(&certificate),
            subject_alt_names: certificate.shown().map(|facts| facts.san_text()).filter(|text| !text.is_empty()),
            verify,
            certificate,
        }
    }
}
