//! TLS towards an upstream: wanted by its URL, described in a section of its own.

use crate::config::diagnostic::{Diagnostic, Origin};
use crate::config::file::{Scheme, Upstream, UpstreamTls};
use crate::net::Host;
use crate::tls;
use crate::upstream::Target;

/// Checks that URLs and section fit.
pub(super) fn check(one: &Upstream, said: &mut Vec<Diagnostic>) {
    let Some(url) = one.urls.first() else { return };
    let section = format!("upstream.{}.tls", one.name);
    match url.value.scheme {
        Scheme::Http | Scheme::SrvHttp => {
            if let Some((key, origin)) = first_key(&one.tls) {
                let message =
                    format!("{section}.{key}: the upstream's `url` begins with http://, which is without TLS");
                let mend = format!("write https:// there, or remove [{section}]");
                said.push(Diagnostic::error(origin.clone(), message).help(mend));
            }
        }
        Scheme::Https => {
            let ca = &one.tls.ca;
            if ca.sound && ca.value.is_empty() {
                let message = format!("{section}.ca: there is no CA to know the upstream by");
                let mend = format!(
                    "name the CA of its certificate in [{section}], as in ca = [\"certs/api-ca.crt\"]; for a public one \
                     the system's bundle, often /etc/ssl/certs/ca-certificates.crt"
                );
                said.push(Diagnostic::error(url.origin.clone(), message).help(mend));
            }
            let other = one.urls.iter().find(|other| host(&other.value.target) != host(&url.value.target));
            if let Some(other) = other.filter(|_| one.tls.server_name.is_none() && !one.tls.name_refused) {
                let message =
                    format!("{section}.server_name: the URLs have several hosts, and the certificates one name");
                let mend = format!("set `server_name` in [{section}] to the name in the certificates of all");
                said.push(Diagnostic::error(other.origin.clone(), message).help(mend));
            }
        }
    }
    let pair = (&one.tls.certificate, &one.tls.private_key);
    let alone = match pair {
        (Some(certificate), None) if one.tls.pair_sound => Some((certificate, "certificate", "private_key")),
        (None, Some(key)) if one.tls.pair_sound => Some((key, "private_key", "certificate")),
        _ => None,
    };
    if let Some((given, key, missing)) = alone {
        let message = format!("{section}.{key}: `{missing}` is missing, and neither is of use without the other");
        said.push(Diagnostic::error(given.origin.clone(), message));
    }
}

/// How hands are shaken with an upstream at `targets`.
pub(super) fn settings(scheme: Scheme, section: UpstreamTls, targets: &[Target]) -> Option<tls::UpstreamSettings> {
    if scheme != Scheme::Https {
        return None;
    }
    Some(tls::UpstreamSettings {
        ca: section.ca.value.into_iter().map(|ca| ca.value).collect(),
        server_name: section.server_name.map(|name| name.value).or_else(|| host(targets.first()?).cloned())?,
        identity: section.certificate.zip(section.private_key).map(|(one, other)| (one.value, other.value)),
    })
}

fn host(target: &Target) -> Option<&Host> {
    match target {
        Target::Host(target) => Some(&target.host),
        Target::Service(_) => None,
    }
}

fn first_key(section: &UpstreamTls) -> Option<(&'static str, &Origin)> {
    let ca = (section.ca.origin != Origin::Default).then_some(("ca", &section.ca.origin));
    let name = section.server_name.as_ref().map(|name| ("server_name", &name.origin));
    let certificate = section.certificate.as_ref().map(|one| ("certificate", &one.origin));
    let key = section.private_key.as_ref().map(|one| ("private_key", &one.origin));
    ca.or(name).or(certificate).or(key)
}
