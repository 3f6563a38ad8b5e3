//! The profiles of a configuration: which one a server name gets, in the handshake and in a request's Host.

use std::sync::Arc;

use super::Error;
use super::host_trust::HostTrust;
use super::profile::{Shared, TlsProfile};
use super::settings::{ProfileSettings, TicketSettings};
use super::tickets::{self, TicketKeys};
use super::trust::TrustStore;
use crate::clock::Clock;
use crate::net::{Host, HostMap, HostName};

/// Every profile of a configuration. Immutable.
#[derive(Debug)]
pub struct TlsProfiles {
    fallback: TlsProfile,
    named: Vec<TlsProfile>,
    names: HostMap<ProfileId>,
    keys: Option<Arc<TicketKeys>>,
    /// Whom the profiles trust; those that trust the same share one.
    trust: Vec<Arc<TrustStore>>,
    /// Whom they trust in what is only tried, where that is not in force for another profile.
    shadows: Vec<Arc<TrustStore>>,
    /// What an operator should know of the keys for tickets and of revocation lists.
    warnings: Vec<String>,
}

/// A profile's place among those of its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProfileId(usize);

impl ProfileId {
    /// The profile of `[tls]`.
    pub const FALLBACK: Self = Self(0);

    pub(super) fn nth(number: usize) -> Self {
        Self(number)
    }

    /// Its number.
    pub fn number(self) -> usize {
        self.0
    }
}

impl TlsProfiles {
    /// Opens the profile of `[tls]` and those for server names. Keys for tickets that the gateway made for `previous`,
    /// the configuration before, are kept. `clock` is for certificates that are judged in the handshake.
    ///
    /// # Errors
    /// Of each profile the first [`Error`] of its certificates and the first of what it asks of clients.
    pub fn build(settings: &ProfileSettings, previous: Option<&Self>, clock: &Clock) -> Result<Self, Vec<Error>> {
        let ProfileSettings { fallback, named: settings, tickets } = settings;
        let mut errors = Vec::new();
        let keys = tickets.as_ref().and_then(|tickets| {
            let keys = ticket_keys(tickets, previous.and_then(|previous| previous.keys.as_ref()));
            keys.map_err(|error| errors.push(error)).ok()
        });
        let mut shared = Shared { keys, clock, trust: Vec::new() };
        let mut names = HostMap::default();
        let mut named = Vec::new();
        let fallback = TlsProfile::build(fallback, &[], &mut shared).map_err(|more| errors.extend(more)).ok();
        for (index, one) in settings.iter().enumerate() {
            match TlsProfile::build(&one.profile, &one.names, &mut shared) {
                Ok(profile) => named.push(profile),
                Err(more) => errors.extend(more),
            }
            for name in &one.names {
                names.insert(name, ProfileId(index + 1));
            }
        }
        let Shared { keys, trust, .. } = shared;
        let Some(fallback) = fallback.filter(|_| errors.is_empty()) else { return Err(errors) };
        let is_in_force = |store: &Arc<TrustStore>| {
            let mut profiles = std::iter::once(&fallback).chain(&named);
            profiles.any(|profile| profile.trust().is_some_and(|trust| std::ptr::eq(trust, Arc::as_ptr(store))))
        };
        let (trust, shadows): (Vec<_>, Vec<_>) = trust.into_iter().map(|(_, store)| store).partition(is_in_force);
        let mut warnings: Vec<_> = tickets.iter().flat_map(|tickets| tickets::warnings(&tickets.keys)).collect();
        warnings.extend(trust.iter().flat_map(|store| store.warnings()));
        let tried = shadows.iter().flat_map(|store| store.warnings());
        warnings.extend(tried.map(|warning| format!("{IN_SHADOW}{warning}")));
        Ok(Self { fallback, named, names, keys, trust, shadows, warnings })
    }

    /// Whether there are profiles besides that of `[tls]`.
    pub fn has_names(&self) -> bool {
        !self.named.is_empty()
    }

    /// The profile for a server name; without one, or with one that no profile claims, that of `[tls]`.
    pub fn of_server_name(&self, sni: Option<&str>) -> ProfileId {
        if self.names.is_empty() {
            return ProfileId::FALLBACK;
        }
        sni.and_then(|sni| HostName::parse(sni).ok()).map_or(ProfileId::FALLBACK, |name| self.of_name(&name))
    }

    /// The profile that a request's Host belongs to; an address, or no Host, belongs to that of `[tls]`.
    pub fn of_host(&self, host: Option<&Host>) -> ProfileId {
        host.and_then(Host::name).map_or(ProfileId::FALLBACK, |name| self.of_name(name))
    }

    fn of_name(&self, name: &HostName) -> ProfileId {
        self.names.find(name).copied().unwrap_or(ProfileId::FALLBACK)
    }

    /// A profile.
    pub fn get(&self, id: ProfileId) -> &TlsProfile {
        id.0.checked_sub(1).and_then(|index| self.named.get(index)).unwrap_or(&self.fallback)
    }

    /// What an operator should know and may ignore, one sentence each.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.warnings.iter().chain(self.iter().flat_map(TlsProfile::warnings)).map(String::as_str)
    }

    /// Whom they trust, by host.
    pub fn host_trust(&self) -> HostTrust {
        HostTrust {
            profiles: self.iter().map(TlsProfile::shared_trust).collect(),
            shadows: self.iter().map(|profile| profile.shadow().cloned()).collect(),
            names: self.names.clone(),
        }
    }

    /// Whom the profiles trust, each store once.
    pub fn trust_stores(&self) -> impl Iterator<Item = &TrustStore> {
        self.trust.iter().map(AsRef::as_ref)
    }

    /// Whom they trust in what is only tried, each store once, without those that are in force somewhere.
    pub fn shadow_stores(&self) -> impl Iterator<Item = &TrustStore> {
        self.shadows.iter().map(AsRef::as_ref)
    }

    /// Every profile, that of `[tls]` first.
    pub fn iter(&self) -> impl Iterator<Item = &TlsProfile> {
        std::iter::once(&self.fallback).chain(&self.named)
    }
}

/// Before a warning of what is only tried.
pub const IN_SHADOW: &str = "in the shadow, which is only tried: ";

fn ticket_keys(settings: &TicketSettings, previous: Option<&Arc<TicketKeys>>) -> Result<Arc<TicketKeys>, Error> {
    if !settings.keys.is_empty() {
        return TicketKeys::shared(&settings.keys).map(Arc::new);
    }
    match previous.filter(|keys| keys.are_own()) {
        Some(keys) => Ok(Arc::clone(keys)),
        None => TicketKeys::own().map(Arc::new),
    }
}
