//! The shadow: what clients would be told under trust anchors, revocation lists or an allow list that are only tried.
//! It is judged on live traffic, counted and logged; nobody is let in or refused for it.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use super::client::{Client, refused_until};
use crate::clock::WallTime;
use crate::identity::{ClientCert, Reason};
use crate::policy::{Access, Difference, Rule, Tried};
use crate::tls::{TlsProfiles, TrustStore};

/// The shadow of a profile.
#[derive(Debug)]
pub(super) struct Shadow {
    /// `None` when trust is as in force.
    trust: Option<Arc<TrustStore>>,
    /// In the place of every route's own list.
    allow: Option<Vec<Rule>>,
    /// Whether a bad certificate would end the handshake.
    rejects: bool,
}

impl Shadow {
    /// The shadows of all profiles, by number; none at all when no profile has one.
    pub(super) fn of(profiles: &TlsProfiles, allow: Vec<Option<Vec<Rule>>>) -> Vec<Option<Self>> {
        let mut allow = allow.into_iter();
        let shadows: Vec<_> = profiles
            .iter()
            .map(|profile| {
                let (trust, allow) = (profile.shadow().cloned(), allow.next().flatten());
                // Where nobody is asked for a certificate there is nothing to try.
                let is_tried = profile.trust().is_some() && (trust.is_some() || allow.is_some());
                is_tried.then(|| Self { trust, allow, rejects: profile.rejects() })
            })
            .collect();
        if shadows.iter().all(Option::is_none) { Vec::new() } else { shadows }
    }

    /// Who the holder of a chain would be, and how long that holds; `None` when that is as in force.
    pub(super) fn judge(&self, chain: &[CertificateDer<'_>], now: WallTime) -> Option<(ClientCert, WallTime)> {
        Some(match self.trust.as_ref()?.judge(chain, now) {
            Ok(believed) => (ClientCert::Verified(believed.facts), believed.until),
            Err(reason) => (ClientCert::Refused { reason, shown: None }, refused_until(reason, now)),
        })
    }

    /// What would come out differently for a request to a route that lets in whom `access` says; `refused` is what
    /// came of it.
    pub(super) fn difference(&self, client: &Client, access: &Access, refused: Option<Reason>) -> Option<Difference> {
        let tried = client.shadow.as_ref().unwrap_or(&client.certificate);
        let tried = Tried { client: tried, allow: self.allow.as_deref(), rejects: self.rejects };
        tried.difference(access, &client.certificate, refused)
    }
}
