//! Routes against each other, against the health path, and against the upstreams.

use std::collections::BTreeSet;

use crate::config::diagnostic::{Diagnostic, Origin, quoted};
use crate::config::file::{File, Route};
use crate::config::reader::{Located, nearest};
use crate::policy::{Access, Rule, Rules};
use crate::proxy::{Action, RouteSettings};
use crate::route::{PathPattern, RouteSpec, RouteTable};

/// Checks every route.
pub(super) fn check(file: &File, said: &mut Vec<Diagnostic>) {
    collisions(&file.routes, said);
    let names: Vec<&str> = file.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
    for route in &file.routes {
        health_path(route, file, said);
        target(route, &names, said);
        prefix(route, said);
        access(route, file, said);
        rules(route, said);
        body(route, said);
    }
    whole_certificates(&file.routes, said);
    // A route whose upstream is misspelled, or could not be read, may have been the one that is missed here.
    let unsure = file.routes.is_empty()
        || file.routes.iter().any(|route| match &route.upstream {
            Some(name) => !names.contains(&name.value.as_str()),
            None => route.respond.is_none(),
        });
    for upstream in file.upstreams.iter().filter(|_| !unsure) {
        let leads = |route: &Route| route.upstream.as_ref().is_some_and(|name| name.value == upstream.name);
        if !file.routes.iter().any(leads) {
            let message = format!("no route leads to the upstream `{}`", upstream.name);
            said.push(Diagnostic::warning(upstream.origin.clone(), message));
        }
    }
}

/// The data path's settings for a route; `None` when a part that it cannot be without was refused.
pub(super) fn settings(route: Route) -> Option<RouteSettings> {
    let action = match (route.respond, route.upstream) {
        (Some(respond), _) => {
            Action::Respond { status: respond.status, body: respond.body, content_type: respond.content_type }
        }
        (None, Some(name)) => Action::Forward(name.value),
        (None, None) => return None,
    };
    let of_list = |list: Located<Vec<Located<Rule>>>| list.value.into_iter().map(|rule| rule.value).collect();
    let rules = Rules { allow: route.allow.map(of_list), deny: of_list(route.deny) };
    Some(RouteSettings {
        spec: RouteSpec { path: route.path?.value, host: route.host.map(|host| host.value), methods: route.methods },
        access: if route.public.value { Access::Public } else { Access::Certificate(rules) },
        action,
        forward_client_cert: route.forward_client_cert.value.into_iter().map(|dialect| dialect.value).collect(),
        max_request_body: route.max_request_body.value.0,
        strip_prefix: route.strip_prefix.map(|prefix| prefix.value),
        websocket: route.websocket,
        retry: route.retry,
    })
}

fn collisions(routes: &[Route], said: &mut Vec<Diagnostic>) {
    let comparable: Vec<_> = routes
        .iter()
        .filter(|route| route.comparable)
        .filter_map(|route| {
            let spec = RouteSpec {
                path: route.path.as_ref()?.value.clone(),
                host: route.host.as_ref().map(|host| host.value.clone()),
                methods: route.methods.clone(),
            };
            Some((spec, route))
        })
        .collect();
    let specs: Vec<_> = comparable.iter().map(|(spec, _)| spec.clone()).collect();
    let Err(collisions) = RouteTable::build(&specs) else { return };
    let mut told = BTreeSet::new();
    for collision in collisions {
        let (Some((spec, first)), Some((_, second))) =
            (comparable.get(collision.first.0), comparable.get(collision.second.0))
        else {
            continue;
        };
        // One complaint for each route, not one for each pair.
        if !told.insert(collision.second) {
            continue;
        }
        let origin = second.path.as_ref().map_or_else(|| second.origin.clone(), |path| path.origin.clone());
        let before = first.path.as_ref().map_or(&first.origin, |path| &path.origin);
        let message = match before.place() {
            Some(place) => {
                format!("the route {spec} collides with the one in line {}: same host, path and method", place.line)
            }
            None => format!("the route {spec} stands twice: same host, path and method"),
        };
        said.push(Diagnostic::error(origin, message).help("give them different `methods`, or remove one"));
    }
}

fn health_path(route: &Route, file: &File, said: &mut Vec<Diagnostic>) {
    let Some(path) = &route.path else { return };
    if let PathPattern::Exact(exact) = &path.value
        && file.health.path.sound
        && **exact == *file.health.path.value
    {
        let message = format!("{exact} is the health check's path and never reaches a route");
        let mend = match file.health.path.origin {
            Origin::Default => "set `path` in [health] to another, or remove the route".to_owned(),
            _ => format!("it is set by {}; choose another, or remove the route", file.health.path.origin),
        };
        said.push(Diagnostic::error(path.origin.clone(), message).help(mend));
    }
}

fn target(route: &Route, names: &[&str], said: &mut Vec<Diagnostic>) {
    let Some(name) = &route.upstream else { return };
    if names.contains(&name.value.as_str()) {
        return;
    }
    let error = Diagnostic::error(name.origin.clone(), format!("there is no upstream {}", quoted(&name.value)));
    said.push(match (nearest(&name.value, names.iter().copied()), names) {
        (Some(near), _) => error.help(format!("did you mean \"{near}\"?")),
        (None, []) => error.help("add [upstream.NAME] with a `url`"),
        (None, names) => error.help(format!("the upstreams are: {}", names.join(", "))),
    });
}

fn prefix(route: &Route, said: &mut Vec<Diagnostic>) {
    let Some(prefix) = &route.strip_prefix else { return };
    if route.respond.is_some() {
        let message = "route.strip_prefix: a route with `respond` sends nothing on";
        said.push(Diagnostic::error(prefix.origin.clone(), message).help("remove `strip_prefix`"));
        return;
    }
    let Some(path) = &route.path else { return };
    let below = format!("{}/", prefix.value);
    let covered = match &path.value {
        PathPattern::Exact(exact) => **exact == *prefix.value || exact.starts_with(&below),
        PathPattern::Prefix(covered) => covered.starts_with(&below),
    };
    if !covered {
        let message = format!("route.strip_prefix: not every path of {} begins with {}/", path.value, prefix.value);
        let mend = format!("the route's path would have to be \"{}/*\", or longer", prefix.value);
        said.push(Diagnostic::error(prefix.origin.clone(), message).help(mend));
    }
}

fn body(route: &Route, said: &mut Vec<Diagnostic>) {
    let longest = &route.max_request_body;
    if longest.sound && longest.value.0 == 0 && route.upstream.is_some() {
        let message = "route.max_request_body: 0 refuses every body; in nginx it means no limit";
        let warning = Diagnostic::warning(longest.origin.clone(), message);
        said.push(warning.help("write a size; for routes without bodies, `methods` says it better"));
    }
}

fn access(route: &Route, file: &File, said: &mut Vec<Diagnostic>) {
    let public = &route.public;
    let host = route.host.as_ref().map(|host| &host.value);
    if public.sound
        && !public.value
        && let Some(mode) = super::tls::silent_mode(file, host)
    {
        let what = match &route.path {
            Some(path) => format!("the route {}", path.value),
            None => "a route".to_owned(),
        };
        let message = format!("{what} needs a client certificate, and client_auth.mode = \"off\" asks for none");
        let origin = if route.origin == Origin::Default { mode.origin.clone() } else { route.origin.clone() };
        said.push(Diagnostic::error(origin, message).help("set mode = \"optional\", or public = true for the route"));
    }
    let everything = route.path.as_ref().is_some_and(|path| path.value == PathPattern::Prefix("/".into()));
    if public.value && everything && route.upstream.is_some() {
        let message =
            "this route lets anybody reach the upstream without a certificate, on every path no other route has";
        said.push(Diagnostic::warning(public.origin.clone(), message).help("name the paths that are public"));
    }
}

/// Who is not let in with a certificate would leave it away and come in without one.
fn rules(route: &Route, said: &mut Vec<Diagnostic>) {
    if !route.public.sound || !route.public.value {
        return;
    }
    let keys = [
        ("allow", route.allow.as_ref().map(|allow| &allow.origin)),
        ("deny", Some(&route.deny.origin).filter(|_| !route.deny.value.is_empty())),
        ("require", Some(&route.require.origin).filter(|_| !route.require.value.is_empty())),
    ];
    for (key, origin) in keys {
        let Some(origin) = origin else { continue };
        let message = format!("route.{key}: the route lets in anybody, because it has public = true");
        said.push(Diagnostic::error(origin.clone(), message).help(format!("remove `public`, or `{key}`")));
    }
}

/// Said once, for the first route: a note for each would drown the rest.
fn whole_certificates(routes: &[Route], said: &mut Vec<Diagnostic>) {
    let mut dialects = routes.iter().flat_map(|route| &route.forward_client_cert.value);
    if let Some(dialect) = dialects.find(|dialect| dialect.value.sends_whole_certificates()) {
        let message = "route.forward_client_cert: a certificate of more than about 6 KiB, or a chain of them, makes a \
                       field of over 8190 bytes, which gunicorn and others refuse; such a field is left out";
        let note = Diagnostic::note(dialect.origin.clone(), message);
        said.push(note.help("\"nginx\" and \"xfcc\" tell the names alone, and stay short"));
    }
}
