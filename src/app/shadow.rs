//! Says that something is only tried, so that nobody takes a shadow for what is in force, or forgets it.

use crate::config::Config;
use crate::tls::{Asked, ClientAuth, Settings, TrustSettings};

/// One line in the log for each profile with a shadow.
pub(super) fn announce(config: &Config) {
    let named = config.tls.named.iter().map(|named| {
        let names: Vec<_> = named.names.iter().map(ToString::to_string).collect();
        (names.join(", "), &named.profile)
    });
    let profiles = std::iter::once(("[tls]".to_owned(), &config.tls.fallback)).chain(named);
    for (index, (profile, settings)) in profiles.enumerate() {
        let Settings { client_auth: ClientAuth::Asked(Asked { trust, shadow, .. }), .. } = settings else { continue };
        let allow = config.proxy.shadow_allow.get(index).and_then(Option::as_ref);
        let tried = tried(trust, shadow.as_ref(), allow.map(Vec::len));
        if !tried.is_empty() {
            tracing::info!(
                profile,
                tried = tried.join(", "),
                "client_auth.shadow is tried and not enforced: the access log says would_refuse and would_allow"
            );
        }
    }
}

/// What differs from what is in force.
fn tried(in_force: &TrustSettings, shadow: Option<&TrustSettings>, rules: Option<usize>) -> Vec<String> {
    let mut tried = Vec::new();
    if let Some(shadow) = shadow {
        for (key, sources, own) in
            [("ca", &shadow.ca, &in_force.ca), ("crl", &shadow.revocation.crl, &in_force.revocation.crl)]
        {
            if sources != own {
                let sources: Vec<_> = sources.iter().map(ToString::to_string).collect();
                tried.push(format!("{key} = {}", sources.join(" and ")));
            }
        }
        if tried.is_empty() {
            tried.push("the trust that is in force".to_owned());
        }
    }
    tried.extend(rules.map(|rules| format!("allow with {rules} rule{}", if rules == 1 { "" } else { "s" })));
    tried
}
