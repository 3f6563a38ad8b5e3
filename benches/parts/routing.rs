//! Finding the route of a request, in tables of one route to ten thousand.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use http::Method;
use mtls_gateway::net::{Authority, HostPattern};
use mtls_gateway::route::{Match, PathPattern, Readings, RouteId, RouteSpec, RouteTable};

/// Different requests that take turns, so that a large table is looked into everywhere, and a small one is not spared
/// the reading of as many requests.
const REQUESTS: usize = 1024;

/// A kind of routes, by their numbers, and of requests for them.
struct Kind {
    name: &'static str,
    host: fn(usize) -> Option<String>,
    path: fn(usize) -> String,
    asked_host: fn(usize) -> String,
    asked_path: fn(usize) -> String,
    is_found: bool,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "exact path",
        host: |_| None,
        path: |number| format!("/api/v1/resource-{number}"),
        asked_host: |_| "api.example.com".to_owned(),
        asked_path: |number| format!("/api/v1/resource-{number}"),
        is_found: true,
    },
    Kind {
        name: "prefix",
        host: |_| None,
        path: |number| format!("/service-{number}/v1/*"),
        asked_host: |_| "api.example.com".to_owned(),
        asked_path: |number| format!("/service-{number}/v1/orders/17/items"),
        is_found: true,
    },
    Kind {
        name: "wildcard host",
        host: |number| Some(format!("*.tenant-{number}.example.com")),
        path: |_| "/v1/*".to_owned(),
        asked_host: |number| format!("api.tenant-{number}.example.com"),
        asked_path: |_| "/v1/orders/17/items".to_owned(),
        is_found: true,
    },
    Kind {
        name: "no route",
        host: |_| None,
        path: |number| format!("/service-{number}/v1/*"),
        asked_host: |_| "api.example.com".to_owned(),
        asked_path: |number| format!("/service-{number}/v2/orders/17/items"),
        is_found: false,
    },
];

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find a route");
    for kind in &KINDS {
        for routes in [1, 100, 10_000] {
            let specs: Vec<_> = (0..routes).map(|number| kind.spec(number)).collect();
            let table = RouteTable::build(&specs).unwrap();
            // A prime: neighbours in time are no neighbours in the table.
            let numbers: Vec<_> = (0..REQUESTS).map(|turn| turn * 7919 % routes).collect();
            let paths: Vec<_> = numbers.iter().map(|number| (kind.asked_path)(*number)).collect();
            let host = |number: &usize| Authority::parse(&(kind.asked_host)(*number)).unwrap().host;
            let requests: Vec<_> =
                numbers.iter().map(host).zip(paths.iter().map(|path| Readings::of(path).unwrap())).collect();
            for ((host, path), number) in requests.iter().zip(&numbers) {
                let expected = if kind.is_found { Match::Route(RouteId(*number)) } else { Match::NoPath };
                assert_eq!(table.find(Some(host), path, &Method::GET), expected);
            }
            group.bench_with_input(BenchmarkId::new(kind.name, routes), &table, |bencher, table| {
                let mut turn = requests.iter().cycle();
                bencher.iter(|| {
                    let (host, path) = turn.next().unwrap();
                    black_box(table).find(Some(host), path, &Method::GET)
                });
            });
        }
    }
    group.finish();
}

impl Kind {
    fn spec(&self, number: usize) -> RouteSpec {
        RouteSpec {
            path: PathPattern::parse(&(self.path)(number)).unwrap(),
            host: (self.host)(number).map(|host| HostPattern::parse(&host).unwrap()),
            methods: vec![Method::GET, Method::POST],
        }
    }
}
