//! A server certificate, or several, with what is asked of clients, ready for handshakes. Immutable: a reload makes a new one.

use std::sync::Arc;
use std::time::Duration;

use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::Error;
use super::certificates::Certificates;
use super::possession::PossessionVerifier;
use super::resumption::ProfileTickets;
use super::settings::{Asked, ClientAuth, MinVersion, Settings, TrustSettings, Unfit};
use super::tickets::TicketKeys;
use super::trust::TrustStore;
use crate::clock::{Clock, WallTime};
use crate::identity::CertificateFacts;
use crate::net::HostPattern;

/// A server certificate, or several for the same names, with what is asked of clients.
#[derive(Debug)]
pub struct TlsProfile {
    server: Arc<ServerConfig>,
    /// `None` when no session is resumed.
    tickets: Option<Arc<ProfileTickets>>,
    /// `None` when no certificate is asked for.
    trust: Option<Arc<TrustStore>>,
    /// `None` when no other trust is tried.
    shadow: Option<Arc<TrustStore>>,
    /// Whether a bad certificate ends the handshake.
    rejects: bool,
    certificates: Vec<CertificateFacts>,
    expiry_notice: Duration,
    /// What an operator should know and may ignore.
    warnings: Vec<String>,
}

impl TlsProfile {
    /// Opens certificates, keys, trust anchors and revocation lists, and checks that they belong together. `names` are
    /// those of the profile.
    ///
    /// # Errors
    /// [`Error`], the first of the server's own certificates and the first of what is asked of clients. A missing, empty
    /// or garbled trust store is an error, never an open door.
    pub(super) fn build(
        settings: &Settings,
        names: &[HostPattern],
        shared: &mut Shared<'_>,
    ) -> Result<Self, Vec<Error>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certificates = Certificates::open(&settings.certificates, &provider);
        let (certificates, Trusted { trust, shadow, rejects }) =
            match (certificates, shared.asked(&settings.client_auth)) {
                (Ok(certificates), Ok(trusted)) => (certificates, trusted),
                (certificates, trusted) => return Err(certificates.err().into_iter().chain(trusted.err()).collect()),
            };
        let Certificates { resolver, facts, warnings } = certificates;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions(settings.min_version))
            .map_err(|error| vec![Error::from(error)])?;
        let builder = match (&trust, &settings.client_auth) {
            (Some(trust), ClientAuth::Asked(asked)) => {
                let verifier = PossessionVerifier::new(&provider, trust, asked.absent, asked.invalid, shared.clock);
                builder.with_client_cert_verifier(Arc::new(verifier))
            }
            _ => builder.with_no_client_auth(),
        };
        let mut server = builder.with_cert_resolver(resolver);
        // curl --http1.0 offers nothing but its own, and is served HTTP/1 all the same.
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        // Sessions travel in tickets or nowhere: what a session resumed from memory would be, nobody could say.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = if shared.keys.is_some() { TICKETS } else { 0 };
        server.max_early_data_size = 0;
        let tickets = shared.keys.as_ref().map(|keys| {
            let keys = Arc::clone(keys);
            Arc::new(ProfileTickets::new(keys, names, &settings.client_auth, trust.as_ref()))
        });
        Ok(Self {
            server: Arc::new(server),
            tickets,
            trust,
            shadow,
            rejects,
            certificates: facts,
            expiry_notice: settings.expiry_notice,
            warnings,
        })
    }

    /// How a connection shakes hands. One that may resume gets tickets of its own, to remember in what it was shown.
    pub(super) fn of_connection(&self, clock: &Clock) -> Arc<ServerConfig> {
        let Some(tickets) = &self.tickets else { return Arc::clone(&self.server) };
        let mut own = ServerConfig::clone(&self.server);
        own.ticketer = tickets.of_connection(clock.now());
        Arc::new(own)
    }

    /// Who is trusted to name clients; `None` when no certificate is asked for.
    pub fn trust(&self) -> Option<&TrustStore> {
        self.trust.as_deref()
    }

    pub(super) fn shared_trust(&self) -> Option<Arc<TrustStore>> {
        self.trust.clone()
    }

    /// Who is trusted in what is only tried; `None` when that is as in [`TlsProfile::trust`].
    pub fn shadow(&self) -> Option<&Arc<TrustStore>> {
        self.shadow.as_ref()
    }

    /// Whether a bad certificate ends the handshake.
    pub fn rejects(&self) -> bool {
        self.rejects
    }

    /// How long before its certificate ends a client is told; zero is never.
    pub fn expiry_notice(&self) -> Duration {
        self.expiry_notice
    }

    /// What the server's own certificates say.
    pub fn certificates(&self) -> &[CertificateFacts] {
        &self.certificates
    }

    /// What an operator should know and may ignore, one sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What is wrong with the dates of the server's own certificates, at `now`: the certificate's subject and the fault.
    pub fn date_faults(&self, now: WallTime) -> impl Iterator<Item = (&str, &'static str)> {
        let faults = self.certificates.iter().map(move |certificate| (certificate, certificate.date_fault(now)));
        faults.filter_map(|(certificate, fault)| Some((certificate.subject.as_str(), fault?)))
    }
}

/// What the profiles of a configuration have in common while they are built.
pub(super) struct Shared<'a> {
    /// With keys, sessions are resumed.
    pub(super) keys: Option<Arc<TicketKeys>>,
    /// For certificates that are judged in the handshake.
    pub(super) clock: &'a Clock,
    /// Stores by what they are made of: profiles that trust the same share one, with its revocation lists.
    pub(super) trust: Vec<(TrustSettings, Arc<TrustStore>)>,
}

/// Whom a profile trusts.
struct Trusted {
    trust: Option<Arc<TrustStore>>,
    shadow: Option<Arc<TrustStore>>,
    rejects: bool,
}

impl Shared<'_> {
    fn asked(&mut self, client_auth: &ClientAuth) -> Result<Trusted, Error> {
        let ClientAuth::Asked(Asked { invalid, trust, shadow, .. }) = client_auth else {
            return Ok(Trusted { trust: None, shadow: None, rejects: false });
        };
        let shadow = shadow.as_ref().map(|shadow| self.trust(shadow)).transpose()?;
        Ok(Trusted { trust: Some(self.trust(trust)?), shadow, rejects: *invalid == Unfit::Reject })
    }

    fn trust(&mut self, settings: &TrustSettings) -> Result<Arc<TrustStore>, Error> {
        if let Some((_, store)) = self.trust.iter().find(|(known, _)| known == settings) {
            return Ok(Arc::clone(store));
        }
        let store = Arc::new(TrustStore::open(settings)?);
        self.trust.push((settings.clone(), Arc::clone(&store)));
        Ok(store)
    }
}

/// Tickets that a TLS 1.3 client is given: it uses each once, and may open two connections at once.
const TICKETS: usize = 2;

static SINCE_TLS12: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
static SINCE_TLS13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

fn versions(oldest: MinVersion) -> &'static [&'static SupportedProtocolVersion] {
    match oldest {
        MinVersion::Tls12 => &SINCE_TLS12,
        MinVersion::Tls13 => &SINCE_TLS13,
    }
}
