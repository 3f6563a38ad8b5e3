//! How old the revocation lists are, and when that is worth a warning. One that ends without a successor locks out
//! every client of its issuer, so nobody shall be able to say that it came as a surprise.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{Instant, interval_at};

use crate::clock::{Clock, WallTime};
use crate::proxy::Proxy;
use crate::telemetry::rfc3339;
use crate::tls::{IN_SHADOW, RevocationList, StaleCrl, TlsProfiles};

const HOUR: Duration = Duration::from_secs(3600);
/// Hours between two warnings of a list that is past half of its life, until its last tenth.
const DAY: u32 = 24;

/// How much of its life is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Fresh,
    HalfOver,
    LastTenth,
    Over,
}

/// What an operator should know of the lists' ages: one sentence each.
pub(super) fn warnings(profiles: &TlsProfiles, now: WallTime) -> Vec<String> {
    said_of(profiles, now, |age| age != Age::Fresh)
}

/// Where the gateway begins with lists, or without: for the log.
pub(super) fn announce(profiles: &TlsProfiles) {
    for trust in profiles.trust_stores() {
        if !trust.asks_revocation_lists() {
            tracing::info!("client certificates are not checked for revocation: no CRL is configured");
        }
        for list in trust.revocation_lists() {
            tracing::info!(
                issuer = list.issuer,
                file = list.origin,
                revoked = list.len(),
                next_update = %rfc3339(list.next_update),
                "client certificates of this CA are checked for revocation"
            );
        }
        if trust.denied() > 0 {
            tracing::info!(certificates = trust.denied(), "the deny list refuses certificates");
        }
    }
}

/// Warns for as long as the gateway runs.
pub(super) async fn watch(proxy: Weak<Proxy>, clock: Clock) {
    let mut ticks = interval_at(Instant::now() + HOUR, HOUR);
    let mut hour: u32 = 0;
    loop {
        ticks.tick().await;
        hour = hour.wrapping_add(1);
        let Some(proxy) = proxy.upgrade() else { return };
        let is_due = |age| match age {
            Age::Fresh => false,
            Age::HalfOver => hour.is_multiple_of(DAY),
            Age::LastTenth | Age::Over => true,
        };
        for warning in said_of(proxy.snapshot().profiles(), clock.now(), is_due) {
            tracing::warn!("{warning}");
        }
    }
}

fn said_of(profiles: &TlsProfiles, now: WallTime, is_due: impl Fn(Age) -> bool) -> Vec<String> {
    let mut said = Vec::new();
    let tried = profiles.shadow_stores().map(|trust| (IN_SHADOW, trust));
    for (before, trust) in profiles.trust_stores().map(|trust| ("", trust)).chain(tried) {
        let lists = trust.revocation_lists().iter();
        let aged = lists.map(|list| (list, age(list.this_update, list.next_update, now)));
        let due = aged.filter(|(_, age)| is_due(*age));
        said.extend(due.map(|(list, age)| format!("{before}{}", sentence(list, age, trust.stale_lists()))));
    }
    said
}

fn sentence(list: &RevocationList, age: Age, stale: StaleCrl) -> String {
    let RevocationList { issuer, origin, .. } = list;
    let end = rfc3339(list.next_update);
    match (age, stale) {
        (Age::Over, StaleCrl::Refuse) => format!(
            "the CRL of {issuer:?} in {origin} ended at {end}: its clients are refused as revocation_unknown until there \
             is a new one"
        ),
        (Age::Over, StaleCrl::Accept) => {
            format!("the CRL of {issuer:?} in {origin} ended at {end}: who was revoked since is let in")
        }
        _ => {
            format!("the CRL of {issuer:?} in {origin} is past half of its life and ends at {end}: put a new one there")
        }
    }
}

fn age(this_update: WallTime, next_update: WallTime, now: WallTime) -> Age {
    let life = next_update.unix_seconds().saturating_sub(this_update.unix_seconds());
    let left = next_update.unix_seconds().saturating_sub(now.unix_seconds());
    match left {
        ..=0 => Age::Over,
        _ if left <= life / 10 => Age::LastTenth,
        _ if left <= life / 2 => Age::HalfOver,
        _ => Age::Fresh,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_warned_of_from_half_of_its_life_on() {
        let at = WallTime::from_unix_seconds;
        for (now, expected) in [
            (900, Age::Fresh),
            (1000, Age::Fresh),
            (1499, Age::Fresh),
            (1500, Age::HalfOver),
            (1899, Age::HalfOver),
            (1900, Age::LastTenth),
            (1999, Age::LastTenth),
            (2000, Age::Over),
            (9000, Age::Over),
        ] {
            assert_eq!(age(at(1000), at(2000), at(now)), expected, "{now}");
        }
        assert_eq!(age(at(i64::MAX), at(i64::MIN), at(0)), Age::Over);
    }
}
