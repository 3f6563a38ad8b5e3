//! The pages of the admin listener, and which method each takes.

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use super::{View, guard, metrics, table};
use crate::drain::Phase;
use crate::metrics::CONTENT_TYPE as PROMETHEUS;
use crate::telemetry::rfc3339;
use crate::upstream::ClusterStatus;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    List,
    Ready,
    Upstreams,
    Metrics,
    Config,
    Drain,
}

/// Every page, with the methods it takes and what it tells.
const PAGES: [(&str, &str, Page, &str); 6] = [
    ("/", "GET, HEAD", Page::List, "this list"),
    ("/ready", "GET, HEAD", Page::Ready, "200 when every upstream has an endpoint and no drain has begun, else 503"),
    ("/upstreams", "GET, HEAD", Page::Upstreams, "upstreams and their endpoints; a table with Accept: text/plain"),
    ("/metrics", "GET, HEAD", Page::Metrics, "counters and gauges, as Prometheus reads them"),
    ("/config", "GET, HEAD", Page::Config, "the configuration in force, and where each value comes from"),
    ("/drain", "GET, HEAD, POST", Page::Drain, "how far the drain is; POST begins one, as SIGTERM does"),
];

/// Answers one question.
pub(super) async fn answer(view: &View, head: &Parts) -> Response<Full<Bytes>> {
    if let Some(why) = guard::refuse(head) {
        return json(StatusCode::FORBIDDEN, &Mistake { error: why, pages: Vec::new() });
    }
    let Some((_, methods, page, _)) = PAGES.iter().find(|(path, ..)| *path == head.uri.path()) else {
        return json(StatusCode::NOT_FOUND, &Mistake { error: "there is no such page", pages: list() });
    };
    if !methods.split(", ").any(|method| method == head.method.as_str()) {
        let mistake = Mistake { error: "this page does not take this method", pages: list() };
        let mut response = json(StatusCode::METHOD_NOT_ALLOWED, &mistake);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
        return response;
    }
    match page {
        Page::List => json(StatusCode::OK, &List { pages: list() }),
        Page::Ready => ready(view),
        Page::Upstreams => upstreams(view, &head.headers),
        Page::Metrics => respond(StatusCode::OK, PROMETHEUS, metrics::page(view).into_bytes()),
        Page::Config => config(view),
        Page::Drain => drain(view, &head.method).await,
    }
}

#[derive(Serialize)]
struct Mistake {
    error: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pages: Vec<Line>,
}

#[derive(Serialize)]
struct List {
    pages: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    path: &'static str,
    methods: &'static str,
    about: &'static str,
}

fn list() -> Vec<Line> {
    PAGES.iter().map(|(path, methods, _, about)| Line { path, methods, about }).collect()
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    draining: bool,
    upstreams_without_endpoint: Vec<String>,
}

/// The same meaning as `/ready` of the health listener.
fn ready(view: &View) -> Response<Full<Bytes>> {
    let readiness = view.proxy.readiness();
    let is_ready = readiness.is_ready();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let (draining, upstreams_without_endpoint) = (readiness.draining, readiness.without_endpoint);
    json(status, &Ready { ready: is_ready, draining, upstreams_without_endpoint })
}

#[derive(Serialize)]
struct Upstreams {
    generation: u64,
    upstreams: Vec<ClusterStatus>,
}

fn upstreams(view: &View, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let snapshot = view.proxy.snapshot();
    let upstreams: Vec<_> = snapshot.clusters().iter().map(|cluster| cluster.status()).collect();
    if prefers_text(headers) {
        return respond(StatusCode::OK, TEXT, table::draw(&upstreams).into_bytes());
    }
    json(StatusCode::OK, &Upstreams { generation: snapshot.generation(), upstreams })
}

/// JSON unless text is what is asked for by name: browsers and curl ask for anything.
fn prefers_text(headers: &HeaderMap) -> bool {
    let mut ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    let named = |range: &str, name: &str| range.split(';').next().is_some_and(|range| range.trim() == name);
    let first = ranges.find(|range| named(range, "text/plain") || named(range, JSON) || named(range, "*/*"));
    first.is_some_and(|range| named(range, "text/plain"))
}

/// TOML that loads to the same again.
fn config(view: &View) -> Response<Full<Bytes>> {
    let in_force = view.in_force.load();
    let text =
        format!("# Generation {}, loaded at {}.\n{}", in_force.generation, rfc3339(in_force.loaded), in_force.text);
    respond(StatusCode::OK, TEXT, text.into_bytes())
}

#[derive(Serialize)]
struct Drain {
    phase: &'static str,
}

async fn drain(view: &View, method: &Method) -> Response<Full<Bytes>> {
    let mut drain = view.drain.clone();
    let mut status = StatusCode::OK;
    if method == Method::POST {
        view.control.drain().await;
        drain.reached(Phase::Announced).await;
        status = StatusCode::ACCEPTED;
    }
    let phase = match drain.phase() {
        Phase::Serving => "serving",
        Phase::Announced => "announced",
        Phase::Closing => "closing",
        Phase::Cut => "cut",
    };
    json(status, &Drain { phase })
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    let mut body = serde_json::to_vec_pretty(value).unwrap_or_default();
    body.push(b'\n');
    respond(status, JSON, body)
}

fn respond(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_for_who_asks_for_it() {
        for (accept, expected) in [
            ("*/*", false),
            ("text/plain", true),
            ("text/plain;q=0.9", true),
            ("application/json, text/plain", false),
            ("text/html, text/plain", true),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
            assert_eq!(prefers_text(&headers), expected, "{accept}");
        }
    }
}
