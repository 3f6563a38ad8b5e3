//! One configuration, as requests see it. Immutable: a reload publishes a new one, and a request that has begun keeps
//! the one it began with.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::client::Strangers;
use super::headers::{Dialects, RequestHeaderRules};
use super::known::KnownClients;
use super::settings::{Action, Limits, RouteSettings, Settings, Timeouts};
use super::shadow::Shadow;
use crate::policy::Access;
use crate::route::RouteTable;
use crate::tls::{ProfileId, TlsProfiles};
use crate::upstream::Cluster;

/// One configuration, as requests see it.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) generation: u64,
    pub(super) profiles: Arc<TlsProfiles>,
    /// By profile; empty when nothing is tried.
    shadows: Vec<Option<Shadow>>,
    pub(super) known: KnownClients,
    pub(super) strangers: Strangers,
    pub(super) dialects: Dialects,
    pub(super) health_path: String,
    pub(super) table: RouteTable,
    pub(super) routes: Vec<Route>,
    pub(super) headers: RequestHeaderRules,
    pub(super) limits: Limits,
    pub(super) timeouts: Timeouts,
    pub(super) clusters: Vec<Arc<Cluster>>,
}

/// One route, with its upstream at hand.
#[derive(Debug)]
pub(super) struct Route {
    /// Host and path as configured: what logs and metrics call it.
    pub(super) name: String,
    pub(super) access: Access,
    pub(super) target: Target,
    /// The place of its set among the snapshot's [`Dialects`].
    pub(super) client_cert: Option<usize>,
    pub(super) max_request_body: u64,
    pub(super) strip_prefix: Option<String>,
    pub(super) websocket: bool,
    pub(super) retry: bool,
}

/// What a route does.
#[derive(Debug)]
pub(super) enum Target {
    Forward(Arc<Cluster>),
    Respond { status: StatusCode, body: Bytes, content_type: HeaderValue },
}

impl Snapshot {
    /// Puts a configuration together. `generation` is greater than that of every snapshot before.
    ///
    /// # Errors
    /// A sentence when the settings do not fit together; checked settings always do.
    pub fn new(
        generation: u64,
        settings: Settings,
        profiles: Arc<TlsProfiles>,
        clusters: Vec<Arc<Cluster>>,
    ) -> Result<Self, String> {
        let specs: Vec<_> = settings.routes.iter().map(|route| route.spec.clone()).collect();
        let table = RouteTable::build(&specs).map_err(|_| "routes collide".to_owned())?;
        let by_name: HashMap<_, _> = clusters.iter().map(|cluster| (cluster.name(), cluster)).collect();
        let mut dialects = Dialects::new(profiles.iter().filter_map(|profile| profile.certificates().first()));
        let routes = settings.routes.into_iter().map(|route| Route::new(route, &by_name, &mut dialects));
        let routes = routes.collect::<Result<_, _>>()?;
        Ok(Self {
            generation,
            shadows: Shadow::of(&profiles, settings.shadow_allow),
            profiles,
            known: KnownClients::default(),
            strangers: Strangers::new(&dialects),
            dialects,
            health_path: settings.health_path,
            table,
            routes,
            headers: RequestHeaderRules::new(settings.headers),
            limits: settings.limits,
            timeouts: settings.timeouts,
            clusters,
        })
    }

    /// Its number; greater than every one before.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What is tried for the clients of a profile.
    pub(super) fn shadow(&self, profile: ProfileId) -> Option<&Shadow> {
        self.shadows.get(profile.number())?.as_ref()
    }

    /// The upstreams.
    pub fn clusters(&self) -> &[Arc<Cluster>] {
        &self.clusters
    }

    /// The server's certificates and what is asked of clients.
    pub fn profiles(&self) -> &Arc<TlsProfiles> {
        &self.profiles
    }
}

impl Route {
    fn new(
        settings: RouteSettings,
        clusters: &HashMap<&str, &Arc<Cluster>>,
        dialects: &mut Dialects,
    ) -> Result<Self, String> {
        let target = match settings.action {
            Action::Respond { status, body, content_type } => Target::Respond { status, body, content_type },
            Action::Forward(name) => match clusters.get(name.as_str()) {
                Some(cluster) => Target::Forward(Arc::clone(cluster)),
                None => return Err(format!("route {} names the unknown upstream {name}", settings.spec)),
            },
        };
        Ok(Self {
            name: settings.spec.to_string(),
            access: settings.access,
            target,
            client_cert: dialects.place(settings.forward_client_cert),
            max_request_body: settings.max_request_body,
            strip_prefix: settings.strip_prefix,
            websocket: settings.websocket,
            retry: settings.retry,
        })
    }
}
