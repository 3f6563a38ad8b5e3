//! What concerns several values at once: from a [`File`] to a [`Config`], or everything that is wrong with it.
//!
//! Pure. A value that was refused before ([`Located::sound`]) is not judged again.

mod headers;
mod routes;
mod tls;
mod upstream_tls;

use std::net::SocketAddr;
use std::time::Duration;

use super::diagnostic::{Diagnostic, Origin};
use super::file::{AdminAddress, ClientAuth, Drain, File, Health, Listener, Mode, Timeouts, Upstream};
use super::quantity::print_duration;
use super::reader::{Located, Shape as _};
use super::settings::{Config, HealthListener};
use crate::{drain, listen, proxy, upstream};

/// Checks a file. The configuration is `None` when something that it cannot be without was refused; the caller looks
/// for errors among the diagnostics before it uses one.
pub fn check(file: File, said: &mut Vec<Diagnostic>) -> Option<Config> {
    let admin = admin_address(&file.admin, said);
    addresses(&file.listener, file.health.address.as_ref(), admin.as_ref(), said);
    tls::check(&file, said);
    balancer(&file.client_auth, &file.health, said);
    routes::check(&file, said);
    headers::check(&file.headers, said);
    client_timeouts(&file.timeouts, said);
    draining(&file.drain, said);
    for one in &file.upstreams {
        upstream_settings(one, said);
        upstream_tls::check(one, said);
    }
    let routes = file.routes.into_iter().map(routes::settings).collect::<Option<Vec<_>>>()?;
    let upstreams = file.upstreams.into_iter().map(settings_of).collect::<Option<Vec<_>>>()?;
    let shadow_allow = tls::tried_rules(&file.tls, &file.client_auth);
    let tls = tls::settings(file.tls, file.client_auth);
    Some(Config {
        workers: file.workers,
        listener: listen::Settings {
            addresses: file.listener.addresses.into_iter().map(|address| address.value).collect(),
            max_connections: file.listener.max_connections,
        },
        health: file.health.address.map(|address| HealthListener { address: address.value }),
        tls,
        proxy: proxy::Settings {
            health_path: file.health.path.value,
            routes,
            shadow_allow,
            headers: headers::settings(file.headers),
            limits: file.limits,
            timeouts: file.timeouts.settings,
        },
        upstreams,
        tests: file.tests,
        drain: drain::Settings { delay: file.drain.delay.value, timeout: file.drain.timeout.value },
        logs: file.logs,
        admin: admin.map(|address| address.value),
    })
}

/// Two listeners on one address, or one on every address of the machine and one on a port of it, cannot both be bound.
fn addresses(
    listener: &Listener,
    health: Option<&Located<SocketAddr>>,
    admin: Option<&Located<SocketAddr>>,
    said: &mut Vec<Diagnostic>,
) {
    let mut seen: Vec<&Located<SocketAddr>> = Vec::new();
    // The default of the admin listener gives way to what somebody wrote.
    let admin = admin.filter(|address| address.origin != Origin::Default);
    for address in listener.addresses.iter().chain(health).chain(admin) {
        if let Some(other) = seen.iter().find(|other| clash(other.value, address.value)) {
            let message = if other.value == address.value {
                format!("{} is listened on already", address.value)
            } else {
                format!("{} cannot be listened on beside {}", address.value, other.value)
            };
            let hint = match &other.origin {
                Origin::Default => "the other is the default of listener.address".to_owned(),
                origin => format!("the other is from {origin}"),
            };
            said.push(Diagnostic::error(address.origin.clone(), message).help(hint));
        }
        seen.push(address);
    }
}

fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let same_host = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    // Port 0 is a free port of the system's choice, another for each.
    one.port() == other.port() && one.port() != 0 && one.is_ipv4() == other.is_ipv4() && same_host
}

/// The admin listener asks nobody who they are.
fn admin_address(admin: &Located<AdminAddress>, said: &mut Vec<Diagnostic>) -> Option<Located<SocketAddr>> {
    let AdminAddress::At(address) = admin.value else { return None };
    if admin.sound && !address.ip().is_loopback() {
        let message =
            format!("admin.address: whoever reaches {address} can read the configuration and drain the gateway");
        let warning = Diagnostic::warning(admin.origin.clone(), message);
        said.push(warning.help("listen on 127.0.0.1, or let nobody else through to this port"));
    }
    Some(Located { value: address, origin: admin.origin.clone(), sound: admin.sound })
}

/// A load balancer has no certificate, and sends none that would do.
fn balancer(client_auth: &ClientAuth, health: &Health, said: &mut Vec<Diagnostic>) {
    let (mode, invalid) = (&client_auth.mode, &client_auth.invalid);
    if !mode.sound || !invalid.sound || mode.value == Mode::Off || health.address.is_some() {
        return;
    }
    let (what, origin) = match (mode.value, invalid.value) {
        (Mode::Required, _) => ("mode = \"required\"", &mode.origin),
        (_, crate::tls::Unfit::Reject) => ("invalid = \"reject\"", &invalid.origin),
        _ => return,
    };
    let message = format!("client_auth: with {what} a load balancer's health check may be refused in the handshake");
    let warning = Diagnostic::warning(origin.clone(), message);
    said.push(warning.help("give it the plain listener, as in [health] address = \"0.0.0.0:8081\""));
}

fn client_timeouts(timeouts: &Timeouts, said: &mut Vec<Diagnostic>) {
    let idle_timeout = Duration::from_secs(350);
    if timeouts.keepalive.sound && timeouts.keepalive.value >= idle_timeout {
        let message = format!(
            "timeouts.keepalive: a Network Load Balancer forgets connections that are idle for {}, before this",
            print_duration(idle_timeout)
        );
        let warning = Diagnostic::warning(timeouts.keepalive.origin.clone(), message);
        said.push(warning.help("clients would get a reset on a connection they think is open: keep it shorter"));
    }
}

fn draining(drain: &Drain, said: &mut Vec<Diagnostic>) {
    let Drain { delay, timeout } = drain;
    if !delay.sound || !timeout.sound {
        return;
    }
    if timeout.value < delay.value {
        let [longer, shorter] = [delay, timeout].map(|located| located.value.print());
        let message =
            format!("drain.timeout: {shorter} is shorter than drain.delay, {longer}; both count from the signal");
        // The one that somebody wrote is the one to look at.
        let origin = if timeout.origin.place().is_some() || delay.origin.place().is_none() { timeout } else { delay };
        said.push(Diagnostic::error(origin.origin.clone(), message));
    } else if timeout.value >= Duration::from_secs(30) {
        let message = "drain.timeout: ECS and Kubernetes kill a task 30s after SIGTERM unless told otherwise";
        let note = Diagnostic::note(timeout.origin.clone(), message);
        said.push(note.help("set stopTimeout, or terminationGracePeriodSeconds, to more than this"));
    }
}

fn upstream_settings(one: &Upstream, said: &mut Vec<Diagnostic>) {
    let (min_ttl, max_ttl) = (&one.dns.min_ttl, &one.dns.max_ttl);
    if min_ttl.sound && max_ttl.sound && max_ttl.value < min_ttl.value {
        let [least, most] = [min_ttl, max_ttl].map(|located| located.value.print());
        let message = format!("upstream.{}.dns.max_ttl: {most} is shorter than min_ttl, {least}", one.name);
        let origin = if max_ttl.origin.place().is_some() { max_ttl } else { min_ttl };
        said.push(Diagnostic::error(origin.origin.clone(), message));
    }
    let idle = &one.keepalive_idle;
    // Over HTTP/2 the upstream says which requests it did not see.
    if one.protocol == crate::tls::Protocol::Http1 && idle.sound && idle.value >= Duration::from_secs(2) {
        let path = format!("upstream.{}.keepalive_idle", one.name);
        let hint = "it must be shorter than the upstream's own, or requests meet a connection that is being closed";
        said.push(if idle.value >= Duration::from_secs(5) {
            let message = format!("{path}: gunicorn closes idle connections after 2s, Node and uvicorn after 5s");
            Diagnostic::warning(idle.origin.clone(), message).help(hint)
        } else {
            let message = format!("{path}: gunicorn closes idle connections after 2s");
            Diagnostic::note(idle.origin.clone(), message).help(hint)
        });
    }
}

fn settings_of(one: Upstream) -> Option<upstream::Settings> {
    let scheme = one.urls.first()?.value.scheme;
    let targets: Vec<_> = one.urls.into_iter().map(|url| url.value.target).collect();
    Some(upstream::Settings {
        name: one.name,
        tls: upstream_tls::settings(scheme, one.tls, &targets),
        protocol: one.protocol,
        targets,
        keepalive_idle: one.keepalive_idle.value,
        balance: one.balance,
        slow_start: one.slow_start,
        zones: one.zones,
        dns: one.dns.settings,
        timeouts: one.timeouts,
        health: one.health,
        limits: one.limits,
    })
}
