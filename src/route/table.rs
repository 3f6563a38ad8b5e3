//! The table: host, path and method to a route.
//!
//! The most specific wins: an exact host over a wildcard over none, then an exact path over a prefix and a longer
//! prefix over a shorter one. A route without a host is for every host, so a host whose own routes do not cover the
//! path falls back to it. Methods come last and never send a request to a less specific path.

use std::collections::HashMap;
use std::fmt;

use http::Method;

use super::path::Readings;
use super::pattern::PathPattern;
use crate::net::{Host, HostPattern};

/// What the configuration says of one route, as far as finding it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSpec {
    /// The path.
    pub path: PathPattern,
    /// The host; `None` is every host.
    pub host: Option<HostPattern>,
    /// The methods; empty is every method.
    pub methods: Vec<Method>,
}

/// A route's place in the list the table was built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub usize);

/// Two routes that the same request would select.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collision {
    /// The one that stands first.
    pub first: RouteId,
    /// The one that collides with it.
    pub second: RouteId,
}

/// What a look-up found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// One route, by every reading of the path.
    Route(RouteId),
    /// No route covers the path.
    NoPath,
    /// Routes cover the path and none takes the method; these are the methods they take.
    NoMethod(Vec<Method>),
    /// The readings of the path lead to different routes.
    Ambiguous,
}

/// Routes by host, path and method. Immutable.
#[derive(Debug, Default)]
pub struct RouteTable {
    exact: HashMap<Box<str>, Paths>,
    wildcard: HashMap<Box<str>, Paths>,
    any: Paths,
}

/// The routes of one host.
#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<Box<str>, Vec<Entry>>,
    prefix: HashMap<Box<str>, Vec<Entry>>,
    /// Slashes in the deepest prefix: how many prefixes of a path are worth looking up, whatever a client sends.
    deepest: usize,
}

#[derive(Debug)]
struct Entry {
    id: RouteId,
    /// Empty is every method.
    methods: Box<[Method]>,
}

impl RouteTable {
    /// Builds the table; a route's id is its place in `specs`.
    ///
    /// # Errors
    /// Every pair of routes with the same host and path and a method in common.
    pub fn build(specs: &[RouteSpec]) -> Result<Self, Vec<Collision>> {
        let mut table = Self::default();
        let mut collisions = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            let paths = match &spec.host {
                None => &mut table.any,
                Some(HostPattern::Exact(name)) => table.exact.entry(name.as_str().into()).or_default(),
                Some(HostPattern::Wildcard(name)) => table.wildcard.entry(name.as_str().into()).or_default(),
            };
            let entries = match &spec.path {
                PathPattern::Exact(path) => paths.exact.entry(path.clone()).or_default(),
                PathPattern::Prefix(prefix) => {
                    paths.deepest = paths.deepest.max(prefix.bytes().filter(|byte| *byte == b'/').count());
                    paths.prefix.entry(prefix.clone()).or_default()
                }
            };
            let entry = Entry { id: RouteId(index), methods: spec.methods.clone().into() };
            collisions.extend(
                entries
                    .iter()
                    .filter(|other| other.overlaps(&entry))
                    .map(|other| Collision { first: other.id, second: entry.id }),
            );
            entries.push(entry);
        }
        if collisions.is_empty() { Ok(table) } else { Err(collisions) }
    }

    /// Looks up a request. `host` is `None` for an HTTP/1.0 request without one.
    pub fn find(&self, host: Option<&Host>, path: &Readings<'_>, method: &Method) -> Match {
        let mut readings = path.iter();
        let Some(first) = readings.next() else { return Match::NoPath };
        let found = self.find_path(host, first, method);
        if readings.all(|reading| self.find_path(host, reading, method) == found) { found } else { Match::Ambiguous }
    }

    fn find_path(&self, host: Option<&Host>, path: &str, method: &Method) -> Match {
        let entries = self.candidates(host).find_map(|paths| paths.covering(path));
        let Some(entries) = entries else { return Match::NoPath };
        if let Some(entry) = entries.iter().find(|entry| entry.takes(method)) {
            return Match::Route(entry.id);
        }
        Match::NoMethod(entries.iter().flat_map(|entry| entry.methods.iter().cloned()).collect())
    }

    fn candidates<'a>(&'a self, host: Option<&Host>) -> impl Iterator<Item = &'a Paths> + use<'a> {
        let name = host.and_then(Host::name).map(|name| name.as_str());
        let exact = name.and_then(|name| self.exact.get(name));
        let wildcard = name.and_then(|name| name.split_once('.')).and_then(|(_, rest)| self.wildcard.get(rest));
        exact.into_iter().chain(wildcard).chain(std::iter::once(&self.any))
    }
}

impl Paths {
    fn covering(&self, path: &str) -> Option<&[Entry]> {
        if let Some(entries) = self.exact.get(path) {
            return Some(entries);
        }
        if self.deepest == 0 {
            return None;
        }
        let end = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/').take(self.deepest).last()?.0;
        let mut prefix = path.get(..=end)?;
        loop {
            if let Some(entries) = self.prefix.get(prefix) {
                return Some(entries);
            }
            let shorter = prefix.strip_suffix('/')?.rfind('/')?;
            prefix = prefix.get(..=shorter)?;
        }
    }
}

impl Entry {
    fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.methods.is_empty() || other.methods.is_empty() || self.methods.iter().any(|method| other.takes(method))
    }
}

impl fmt::Display for RouteSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            host.fmt(f)?;
        }
        self.path.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Authority;

    fn spec(text: &str) -> RouteSpec {
        let (methods, target) = text.split_once(' ').unwrap();
        let slash = target.find('/').unwrap();
        let (host, path) = target.split_at(slash);
        RouteSpec {
            path: PathPattern::parse(path).unwrap(),
            host: (!host.is_empty()).then(|| HostPattern::parse(host).unwrap()),
            methods: methods.split('|').filter(|m| *m != "*").map(|m| m.parse().unwrap()).collect(),
        }
    }

    fn find(table: &RouteTable, method: &str, host: &str, path: &str) -> Match {
        let host = (!host.is_empty()).then(|| Authority::parse(host).unwrap().host);
        table.find(host.as_ref(), &Readings::of(path).unwrap(), &method.parse().unwrap())
    }

    #[test]
    fn the_most_specific_route_wins() {
        let specs = [
            "* /*",
            "* /api/*",
            "* /api/v1/*",
            "GET /api/v1/users",
            "POST|PUT /api/v1/users",
            "* api.example.com/v2/*",
            "* *.example.com/v2/*",
            "* *.example.com/v2/deep/*",
        ];
        let table = RouteTable::build(&specs.map(spec)).unwrap();
        let cases = [
            ("GET", "", "/", Match::Route(RouteId(0))),
            ("GET", "", "/api", Match::Route(RouteId(0))),
            ("GET", "", "/apix", Match::Route(RouteId(0))),
            ("GET", "", "/api/", Match::Route(RouteId(1))),
            ("GET", "", "/api/v1", Match::Route(RouteId(1))),
            ("GET", "", "/api/v1/", Match::Route(RouteId(2))),
            ("GET", "", "/api/v1/a/b/c/d/e/f", Match::Route(RouteId(2))),
            ("GET", "", "/api/v1/users", Match::Route(RouteId(3))),
            ("PUT", "", "/api/v1/users", Match::Route(RouteId(4))),
            ("GET", "", "/API/v1/users", Match::Route(RouteId(0))),
            ("GET", "", "//api/", Match::Route(RouteId(0))),
            ("GET", "", "/api;x/v1/", Match::Route(RouteId(0))),
            ("GET", "api.example.com", "/v2/deep/x", Match::Route(RouteId(5))),
            ("GET", "API.example.com.:443", "/v2/x", Match::Route(RouteId(5))),
            ("GET", "api.example.com:8443", "/v2/x", Match::Route(RouteId(5))),
            ("GET", "www.example.com", "/v2/x", Match::Route(RouteId(6))),
            ("GET", "www.example.com", "/v2/deep/x", Match::Route(RouteId(7))),
            ("GET", "a.www.example.com", "/v2/x", Match::Route(RouteId(0))),
            ("GET", "example.com", "/v2/x", Match::Route(RouteId(0))),
            ("GET", "api.example.com", "/v1", Match::Route(RouteId(0))),
            ("GET", "10.0.0.1", "/v2/x", Match::Route(RouteId(0))),
            ("GET", "", "/v2/x", Match::Route(RouteId(0))),
        ];
        for (method, host, path, expected) in cases {
            assert_eq!(find(&table, method, host, path), expected, "{method} {host}{path}");
        }
        let Match::NoMethod(allowed) = find(&table, "DELETE", "", "/api/v1/users") else { panic!("405") };
        assert_eq!(allowed, [Method::GET, Method::POST, Method::PUT]);
    }

    #[test]
    fn readings_that_lead_to_different_routes_are_ambiguous() {
        let table = RouteTable::build(&["* /public/*", "* /api/*", "GET /api/x"].map(spec)).unwrap();
        let cases = [
            ("/public/../api/y", Match::Ambiguous),
            ("/public/%2e%2e/api/y", Match::Ambiguous),
            ("/public/..%2fapi/y", Match::Ambiguous),
            ("/public/..;/api/y", Match::Ambiguous),
            ("/public%2f..%2fapi/y", Match::Ambiguous),
            ("/public/a%2fb", Match::Route(RouteId(0))),
            ("/public/./a/../b", Match::Route(RouteId(0))),
            ("/api/y/../x", Match::Ambiguous),
            ("/%70ublic/a", Match::Route(RouteId(0))),
            ("/none/../none", Match::NoPath),
            ("/none/../public/x", Match::Ambiguous),
        ];
        for (path, expected) in cases {
            assert_eq!(find(&table, "GET", "", path), expected, "{path}");
        }
    }

    #[test]
    fn a_single_catch_all_takes_every_reading() {
        let table = RouteTable::build(&["* /*"].map(spec)).unwrap();
        for path in ["/a/../b", "/a%2f..%2fb", "/x/..;/y", "/%2e/x"] {
            assert_eq!(find(&table, "GET", "", path), Match::Route(RouteId(0)), "{path}");
        }
    }

    #[test]
    fn routes_that_the_same_request_would_select_collide() {
        let collides = |specs: &[&str]| {
            let specs: Vec<_> = specs.iter().map(|text| spec(text)).collect();
            RouteTable::build(&specs).err().map_or(0, |collisions| collisions.len())
        };
        assert_eq!(collides(&["* /a", "GET /a"]), 1);
        assert_eq!(collides(&["GET|POST /a", "POST /a"]), 1);
        assert_eq!(collides(&["* /a/*", "* /a/*", "* /a/*"]), 3);
        assert_eq!(collides(&["GET /a", "POST /a", "* /a/*", "* x.test/a", "* *.test/a"]), 0);
    }

    #[test]
    fn a_path_of_slashes_costs_no_more_than_the_deepest_prefix() {
        let table = RouteTable::build(&["* /a/b/*"].map(spec)).unwrap();
        let path = "/".repeat(8192);
        assert_eq!(find(&table, "GET", "", &path), Match::NoPath);
        assert_eq!(table.any.deepest, 3);
    }
}
