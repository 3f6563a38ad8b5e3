//! Who is trusted to name the clients of which host: of all that profiles are, what decides who a client is.

use std::sync::Arc;

use super::Error;
use super::profiles::ProfileId;
use super::settings::{Asked, ClientAuth, ProfileSettings, Settings};
use super::trust::TrustStore;
use crate::net::{Host, HostMap};

/// Trust stores by host.
#[derive(Debug)]
pub struct HostTrust {
    /// By profile; `None` where no certificate is asked for.
    pub(super) profiles: Vec<Option<Arc<TrustStore>>>,
    /// By profile, those that are only tried; `None` where there is none.
    pub(super) shadows: Vec<Option<Arc<TrustStore>>>,
    pub(super) names: HostMap<ProfileId>,
}

impl HostTrust {
    /// Opens the trust stores of a configuration, and nothing else of it.
    ///
    /// # Errors
    /// [`Error`], the first that is met.
    pub fn open(settings: &ProfileSettings) -> Result<Self, Error> {
        let mut trust = Self { profiles: Vec::new(), shadows: Vec::new(), names: HostMap::default() };
        trust.add(&settings.fallback)?;
        for one in &settings.named {
            let id = ProfileId::nth(trust.profiles.len());
            trust.add(&one.profile)?;
            for name in &one.names {
                trust.names.insert(name, id);
            }
        }
        Ok(trust)
    }

    fn add(&mut self, profile: &Settings) -> Result<(), Error> {
        let (trust, shadow) = match &profile.client_auth {
            ClientAuth::Off => (None, None),
            ClientAuth::Asked(Asked { trust, shadow, .. }) => (Some(trust), shadow.as_ref()),
        };
        let open = |settings| TrustStore::open(settings).map(Arc::new);
        self.profiles.push(trust.map(open).transpose()?);
        self.shadows.push(shadow.map(open).transpose()?);
        Ok(())
    }

    /// The profile that a host belongs to.
    pub fn profile(&self, host: Option<&Host>) -> ProfileId {
        host.and_then(Host::name).and_then(|name| self.names.find(name)).copied().unwrap_or(ProfileId::FALLBACK)
    }

    /// Who is trusted for a host; `None` where no certificate is asked for.
    pub fn of(&self, host: Option<&Host>) -> Option<&TrustStore> {
        self.profiles.get(self.profile(host).number())?.as_deref()
    }

    /// Whether two hosts belong to the same profile.
    pub fn is_one_profile(&self, one: Option<&Host>, other: Option<&Host>) -> bool {
        self.profile(one) == self.profile(other)
    }

    /// Who is trusted for a host in what is only tried; `None` where that is as in [`HostTrust::of`].
    pub fn shadow_of(&self, host: Option<&Host>) -> Option<&TrustStore> {
        self.shadows.get(self.profile(host).number())?.as_deref()
    }
}
