//! From a checked configuration to what serves it: keys and certificates opened, upstreams started.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::interval;

use super::revocation;
use crate::clock::{Clock, WallTime};
use crate::config::Config;
use crate::explain;
use crate::proxy::{Proxy, Snapshot};
use crate::tls::{self, TlsProfiles, UpstreamTls};
use crate::upstream::{self, Cluster};

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

/// Opens everything. Upstreams of `running` whose settings have not changed are kept, with their connections.
///
/// # Errors
/// Every reason why this configuration cannot be served.
pub(super) async fn build(
    config: &Config,
    running: Option<&Snapshot>,
    generation: u64,
    clock: &Clock,
) -> Result<Built, Refused> {
    let mut problems = Vec::new();
    let mut may_pass = false;
    // A long revocation list takes time, in which a worker would serve nobody.
    let (settings, judging) = (config.tls.clone(), clock.clone());
    let previous = running.map(|running| Arc::clone(running.profiles()));
    let opened =
        tokio::task::spawn_blocking(move || TlsProfiles::build(&settings, previous.as_deref(), &judging)).await;
    let profiles = match opened {
        Ok(Ok(profiles)) => Some(profiles),
        Ok(Err(errors)) => {
            may_pass = errors.iter().all(|error| matches!(error, tls::Error::Mismatch { .. }));
            problems.extend(errors.iter().map(ToString::to_string));
            None
        }
        Err(error) => {
            problems.push(format!("the certificates could not be read: {error}"));
            None
        }
    };
    let mut clusters = Vec::new();
    let mut notes = Vec::new();
    for settings in &config.upstreams {
        let tls = match upstream_tls(settings) {
            Ok(tls) => tls,
            Err((error, problem)) => {
                may_pass |= matches!(error, tls::Error::Mismatch { .. });
                problems.push(problem);
                continue;
            }
        };
        notes.extend(tls.iter().flat_map(UpstreamTls::warnings).cloned());
        let mut kept = running.into_iter().flat_map(Snapshot::clusters);
        match kept.find(|cluster| cluster.is_like(settings, tls.as_ref())) {
            Some(cluster) => clusters.push(Arc::clone(cluster)),
            None => match Cluster::start(settings.clone(), tls) {
                Ok(cluster) => clusters.push(cluster),
                Err(problem) => problems.push(problem),
            },
        }
    }
    let Some(profiles) = profiles.filter(|_| problems.is_empty()) else {
        return Err(Refused { problems, may_pass });
    };
    notes.extend(profiles.warnings().map(str::to_owned));
    notes.extend(revocation::warnings(&profiles, clock.now()));
    let snapshot = Snapshot::new(generation, config.proxy.clone(), Arc::new(profiles), clusters);
    snapshot
        .map(|snapshot| Built { snapshot, notes })
        .map_err(|problem| Refused { problems: vec![problem], may_pass: false })
}

/// What `gateway check` finds beyond the text: opens certificates and keys, starts nothing.
///
/// # Errors
/// Every error; the warnings come with success.
pub fn inspect(config: &Config, now: WallTime) -> Result<Vec<String>, Vec<String>> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    match TlsProfiles::build(&config.tls, None, &Clock::system()) {
        Ok(profiles) => {
            warnings.extend(profiles.warnings().map(str::to_owned));
            warnings.extend(date_warnings(&profiles, now));
            warnings.extend(revocation::warnings(&profiles, now));
            problems.extend(explain::failures(config, profiles.host_trust(), now));
        }
        Err(errors) => problems.extend(errors.iter().map(ToString::to_string)),
    }
    for settings in &config.upstreams {
        match upstream_tls(settings) {
            Ok(tls) => {
                warnings.extend(tls.iter().flat_map(UpstreamTls::warnings).cloned());
                let fault = tls.as_ref().and_then(UpstreamTls::certificate).and_then(|shown| shown.date_fault(now));
                warnings.extend(fault.map(|fault| {
                    format!("upstream {}: the certificate that it is shown {fault}; it may refuse it", settings.name)
                }));
            }
            Err((_, problem)) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(warnings) } else { Err(problems) }
}

/// Opens what an upstream's TLS needs; `None` when it has none.
fn upstream_tls(settings: &upstream::Settings) -> Result<Option<UpstreamTls>, (tls::Error, String)> {
    let Some(tls) = &settings.tls else { return Ok(None) };
    UpstreamTls::build(tls, settings.protocol).map(Some).map_err(|error| {
        let problem = format!("upstream {}: {error}", settings.name);
        (error, problem)
    })
}

fn date_warnings(profiles: &TlsProfiles, now: WallTime) -> impl Iterator<Item = String> {
    profiles
        .iter()
        .flat_map(move |profile| profile.date_faults(now))
        .map(|(subject, fault)| format!("the server's own certificate ({subject}) {fault}; clients will refuse it"))
}

/// nginx starts with an expired certificate, too; here it is at least said, now and every hour.
pub(super) async fn watch_own_certificate(proxy: Weak<Proxy>, clock: Clock) {
    let mut ticks = interval(COMPLAIN);
    loop {
        ticks.tick().await;
        let Some(proxy) = proxy.upgrade() else { return };
        for warning in date_warnings(proxy.snapshot().profiles(), clock.now()) {
            tracing::error!("{warning}");
        }
    }
}
