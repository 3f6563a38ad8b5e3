//! One configuration, as requests see it. Immutable: a reload publishes a new one, and a request that has begun keeps
//! the one it began with.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::headers::RequestHeaderRules;
use super::settings::{Action, Limits, RouteSettings, Settings, Timeouts};
use crate::policy::Access;
use crate::route::RouteTable;
use crate::tls::TlsProfile;
use crate::upstream::Cluster;

/// One configuration, as requests see it.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) generation: u64,
    pub(super) profile: Arc<TlsProfile>,
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
    pub(super) forward_client_cert: bool,
    pub(super) max_request_body: u64,
    pub(super) strip_prefix: Option<String>,
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
        profile: Arc<TlsProfile>,
        clusters: Vec<Arc<Cluster>>,
    ) -> Result<Self, String> {
        let specs: Vec<_> = settings.routes.iter().map(|route| route.spec.clone()).collect();
        let table = RouteTable::build(&specs).map_err(|_| "routes collide".to_owned())?;
        let by_name: HashMap<_, _> = clusters.iter().map(|cluster| (cluster.name(), cluster)).collect();
        let routes = settings.routes.into_iter().map(|route| Route::new(route, &by_name)).collect::<Result<_, _>>()?;
        Ok(Self {
            generation,
            profile,
            health_path: settings.health_path,
            table,
            routes,
            headers: RequestHeaderRules::new(settings.headers),
            limits: settings.limits,
            timeouts: settings.timeouts,
            clusters,
        })
    }

    /// The upstreams.
    pub fn clusters(&self) -> &[Arc<Cluster>] {
        &self.clusters
    }

    /// The server's certificate and what is asked of clients.
    pub fn profile(&self) -> &Arc<TlsProfile> {
        &self.profile
    }
}

impl Route {
    fn new(settings: RouteSettings, clusters: &HashMap<&str, &Arc<Cluster>>) -> Result<Self, String> {
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
            forward_client_cert: settings.forward_client_cert,
            max_request_body: settings.max_request_body,
            strip_prefix: settings.strip_prefix,
        })
    }
}
