//! Profiles against each other, certificates against their keys, and which of them asks for a certificate.

use crate::config::diagnostic::{Diagnostic, Origin};
use crate::config::file::{Certificates, ClientAuth, File, Mode, Shadow, Sni, Tls};
use crate::config::reader::Located;
use crate::net::{HostMap, HostPattern};
use crate::policy::Rule;
use crate::tls::{self, CertificateSettings, PemSource, ProfileSettings, SniSettings, TicketSettings};

/// Checks `[tls]`, `[client_auth]` and every profile.
pub(super) fn check(file: &File, said: &mut Vec<Diagnostic>) {
    pairs(&file.tls.certificates, said);
    tickets(&file.tls, said);
    trust("client_auth", &file.client_auth, said);
    shadow("client_auth", &file.client_auth, said);
    let mut names: HostMap<&Located<HostPattern>> = HostMap::default();
    for profile in &file.tls.sni {
        pairs(&profile.certificates, said);
        // What was inherited was judged where it stands.
        if profile.client_auth.ca.origin != Origin::Default {
            trust("tls.sni.client_auth", &profile.client_auth, said);
        }
        shadow("tls.sni.client_auth", &profile.client_auth, said);
        for name in &profile.names {
            if let Some(first) = names.of_pattern(&name.value) {
                let message = format!("tls.sni.names: {} belongs to another profile already", name.value);
                let hint = format!("the other is from {}; a server name has one profile", first.origin);
                said.push(Diagnostic::error(name.origin.clone(), message).help(hint));
            } else {
                names.insert(&name.value, name);
            }
        }
    }
}

/// The settings of `[tls]` and of the profiles.
pub(super) fn settings(tls: Tls, client_auth: ClientAuth) -> ProfileSettings {
    let min_version = tls.min_version;
    let profile = |certificates: Certificates, client_auth: ClientAuth| tls::Settings {
        certificates: certificates
            .certificate
            .value
            .into_iter()
            .zip(certificates.private_key.value)
            .map(|(certificate, key)| CertificateSettings { certificate: certificate.value, private_key: key.value })
            .collect(),
        min_version,
        expiry_notice: client_auth.expiry_notice,
        client_auth: client_auth_settings(client_auth),
    };
    let keys = tls.ticket_keys.value.into_iter().map(|key| key.value).collect();
    let fallback = profile(tls.certificates, client_auth);
    let named = tls.sni.into_iter().map(|sni| SniSettings {
        names: sni.names.into_iter().map(|name| name.value).collect(),
        profile: profile(sni.certificates, sni.client_auth),
    });
    ProfileSettings { fallback, named: named.collect(), tickets: tls.resumption.then_some(TicketSettings { keys }) }
}

/// The mode by which no client of a host can have a certificate; `None` when one may, or the modes are unsure.
pub(super) fn silent_mode<'a>(file: &'a File, host: Option<&HostPattern>) -> Option<&'a Located<Mode>> {
    let mut names: HostMap<&Sni> = HostMap::default();
    for sni in &file.tls.sni {
        for name in &sni.names {
            names.insert(&name.value, sni);
        }
    }
    let fallback = &file.client_auth.mode;
    let own = |sni: &&'a Sni| &sni.client_auth.mode;
    let modes: Vec<_> = match host {
        None => std::iter::once(fallback).chain(file.tls.sni.iter().map(|sni| &sni.client_auth.mode)).collect(),
        Some(HostPattern::Exact(name)) => vec![names.find(name).map_or(fallback, own)],
        Some(pattern @ HostPattern::Wildcard(suffix)) => {
            let below = |name: &HostPattern| match name {
                HostPattern::Exact(name) => {
                    name.as_str().split_once('.').is_some_and(|(_, rest)| rest == suffix.as_str())
                }
                HostPattern::Wildcard(_) => false,
            };
            let exact = file.tls.sni.iter().filter(|sni| sni.names.iter().any(|name| below(&name.value)));
            let whole = names.of_pattern(pattern).map_or(fallback, own);
            std::iter::once(whole).chain(exact.map(|sni| &sni.client_auth.mode)).collect()
        }
    };
    let all_off = modes.iter().all(|mode| mode.sound && mode.value == Mode::Off);
    modes.first().copied().filter(|_| all_off)
}

fn pairs(certificates: &Certificates, said: &mut Vec<Diagnostic>) {
    let Certificates { section, certificate, private_key } = certificates;
    let (chains, keys) = (certificate.value.len(), private_key.value.len());
    if !certificate.sound || !private_key.sound || chains == 0 || keys == 0 || chains == keys {
        return;
    }
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let message = format!("{section}: {chains} certificate{} and {keys} private key{}", plural(chains), plural(keys));
    let origin = if private_key.origin.place().is_some() { private_key } else { certificate };
    let error = Diagnostic::error(origin.origin.clone(), message);
    said.push(error.help("write as many keys as certificates, each in the place of its certificate"));
}

fn tickets(tls: &Tls, said: &mut Vec<Diagnostic>) {
    let keys = &tls.ticket_keys;
    if !tls.resumption && !keys.value.is_empty() {
        let message = "tls.tickets.key: does nothing while tls.resumption is \"off\"";
        let warning = Diagnostic::warning(keys.origin.clone(), message);
        said.push(warning.help("set resumption = \"on\", or remove the key"));
    }
}

fn trust(section: &str, client_auth: &ClientAuth, said: &mut Vec<Diagnostic>) {
    let ca = &client_auth.ca;
    if client_auth.mode.value != Mode::Off && ca.sound && ca.value.is_empty() {
        let message = format!("{section}.ca: there is no CA to judge client certificates by");
        let error = Diagnostic::error(ca.origin.clone(), message);
        said.push(error.help("name at least one file of CA certificates, as in ca = [\"certs/ca.crt\"]"));
    }
}

fn shadow(section: &str, client_auth: &ClientAuth, said: &mut Vec<Diagnostic>) {
    let shadow = client_auth.shadow.iter().find(|shadow| shadow.origin != Origin::Default);
    if let Some(shadow) = shadow
        && client_auth.mode.sound
        && client_auth.mode.value == Mode::Off
    {
        let message = format!("{section}.shadow: does nothing while {section}.mode is \"off\"");
        let warning = Diagnostic::warning(shadow.origin.clone(), message);
        said.push(warning.help("nobody is asked for a certificate: set mode = \"optional\", or remove the section"));
    }
}

/// The allow lists that are only tried, by profile.
pub(super) fn tried_rules(tls: &Tls, client_auth: &ClientAuth) -> Vec<Option<Vec<Rule>>> {
    let profiles = std::iter::once(client_auth).chain(tls.sni.iter().map(|sni| &sni.client_auth));
    profiles.map(|client_auth| client_auth.shadow.as_ref()?.allow.clone()).collect()
}

fn client_auth_settings(client_auth: ClientAuth) -> tls::ClientAuth {
    let absent = match client_auth.mode.value {
        Mode::Optional => tls::Unfit::Forbid,
        Mode::Required => tls::Unfit::Reject,
        Mode::Off => return tls::ClientAuth::Off,
    };
    let trust = tls::TrustSettings {
        ca: client_auth.ca.value.into_iter().map(|ca| ca.value).collect(),
        max_chain_depth: client_auth.max_chain_depth,
        revocation: client_auth.revocation,
    };
    let shadow = client_auth.shadow.as_ref().and_then(|shadow| tried_trust(shadow, &trust));
    tls::ClientAuth::Asked(tls::Asked { absent, invalid: client_auth.invalid.value, trust, shadow })
}

/// Whom a shadow trusts; `None` when it says nothing else than what is in force.
fn tried_trust(shadow: &Shadow, in_force: &tls::TrustSettings) -> Option<tls::TrustSettings> {
    if shadow.ca.is_empty() && shadow.crl.is_empty() {
        return None;
    }
    let or = |tried: &[PemSource], own: &[PemSource]| if tried.is_empty() { own } else { tried }.to_vec();
    let mut tried = in_force.clone();
    tried.ca = or(&shadow.ca, &in_force.ca);
    tried.revocation.crl = or(&shadow.crl, &in_force.revocation.crl);
    Some(tried)
}
