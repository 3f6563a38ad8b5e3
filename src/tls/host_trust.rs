//! Who is trusted to name the clients of which host: of all that profiles are, what decides who a client is.

use std::sync::Arc;

use super::Error;
use super::profiles::ProfileId;
use super::settings::{ProfileSettings, Settings};
use super::trust::TrustStore;
use crate::net::{Host, HostMap};

/// Trust stores by host.
#[derive(Debug)]
pub struct HostTrust {
    /// By profile; `None` where no certificate is asked for.
    pub(super) profiles: Vec<Option<Arc<TrustStore>>>,
    pub(super) names: HostMap<ProfileId>,
}

impl HostTrust {
    /// Opens the trust stores of a configuration, and nothing else of it.
    ///
    /// # Errors
    /// [`Error`], the first that is met.
    pub fn open(settings: &ProfileSettings) -> Result<Self, Error> {
        let store = |profile: &Settings| TrustStore::open(&profile.client_auth).map(|store| store.map(Arc::new));
        let mut trust = Self { profiles: vec![store(&settings.fallback)?], names: HostMap::default() };
        for one in &settings.named {
            let id = ProfileId::nth(trust.profiles.len());
            trust.profiles.push(store(&one.profile)?);
            for name in &one.names {
                trust.names.insert(name, id);
            }
        }
        Ok(trust)
    }

    /// Who is trusted for a host; `None` where no certificate is asked for.
    pub fn of(&self, host: Option<&Host>) -> Option<&TrustStore> {
        self.profiles.get(self.profile(host).number())?.as_deref()
    }

    /// Whether two hosts belong to the same profile.
    pub fn is_one_profile(&self, one: Option<&Host>, other: Option<&Host>) -> bool {
        self.profile(one) == self.profile(other)
    }

    fn profile(&self, host: Option<&Host>) -> ProfileId {
        let id = host.and_then(Host::name).and_then(|name| self.names.find(name)).copied();
        id.unwrap_or(ProfileId::FALLBACK)
    }
}
