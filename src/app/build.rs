//! From a checked configuration to what serves it: keys and certificates opened, upstreams started.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::interval;

use crate::clock::{Clock, WallTime};
use crate::config::Config;
use crate::proxy::{Proxy, Snapshot};
use crate::tls::{self, TlsProfile};
use crate::upstream::Cluster;

/// How often a server certificate that is out of date is complained of.
const COMPLAIN: Duration = Duration::from_secs(3600);

/// What serves a configuration.
pub(super) struct Built {
    pub(super) snapshot: Snapshot,
    /// What an operator should know and may ignore.
    pub(super) notes: Vec<String>,
}

/// Why a configuration cannot be served.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) problems: Vec<String>,
    /// A certificate and a key that do not match may be a pair in a moment: they are two files.
    pub(super) may_pass: bool,
}

/// Opens everything. Upstreams in `running` whose settings have not changed are kept, with their connections.
///
/// # Errors
/// Every reason why this configuration cannot be served.
pub(super) fn build(config: &Config, running: &[Arc<Cluster>], generation: u64) -> Result<Built, Refused> {
    let mut problems = Vec::new();
    let mut may_pass = false;
    let profile = TlsProfile::build(&config.tls)
        .map_err(|error| {
            may_pass = matches!(error, tls::Error::Mismatch { .. });
            problems.push(error.to_string());
        })
        .ok();
    let mut clusters = Vec::new();
    for settings in &config.upstreams {
        match running.iter().find(|cluster| cluster.settings() == settings) {
            Some(cluster) => clusters.push(Arc::clone(cluster)),
            None => match Cluster::start(settings.clone()) {
                Ok(cluster) => clusters.push(cluster),
                Err(problem) => problems.push(problem),
            },
        }
    }
    let Some(profile) = profile.filter(|_| problems.is_empty()) else {
        return Err(Refused { problems, may_pass });
    };
    let notes = profile.warnings().to_vec();
    let snapshot = Snapshot::new(generation, config.proxy.clone(), Arc::new(profile), clusters);
    snapshot
        .map(|snapshot| Built { snapshot, notes })
        .map_err(|problem| Refused { problems: vec![problem], may_pass: false })
}

/// What `gateway check` finds beyond the text: opens certificates and keys, starts nothing.
///
/// # Errors
/// Every error; the warnings come with success.
pub fn inspect(config: &Config, now: WallTime) -> Result<Vec<String>, Vec<String>> {
    let profile = TlsProfile::build(&config.tls).map_err(|error| vec![error.to_string()])?;
    let mut warnings = profile.warnings().to_vec();
    warnings.extend(date_warning(&profile, now));
    Ok(warnings)
}

fn date_warning(profile: &TlsProfile, now: WallTime) -> Option<String> {
    profile.date_fault(now).map(|fault| {
        format!("the server's own certificate ({}) {fault}; clients will refuse it", profile.certificate().subject)
    })
}

/// nginx starts with an expired certificate, too; here it is at least said, now and every hour.
pub(super) async fn watch_own_certificate(proxy: Weak<Proxy>, clock: Clock) {
    let mut ticks = interval(COMPLAIN);
    loop {
        ticks.tick().await;
        let Some(proxy) = proxy.upgrade() else { return };
        if let Some(warning) = date_warning(proxy.snapshot().profile(), clock.now()) {
            tracing::error!("{warning}");
        }
    }
}
