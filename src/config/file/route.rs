//! `[[route]]`.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use super::upstream::Upstream;
use crate::config::diagnostic::{Diagnostic, Origin, quoted};
use crate::config::reader::{Item, Located, Problem, Section, Shape, Size, Table, choose};
use crate::net::HostPattern;
use crate::policy::Rule;
use crate::proxy::Dialect;
use crate::route::PathPattern;

/// `[[route]]`.
#[derive(Debug)]
pub struct Route {
    /// Where it begins.
    pub origin: Origin,
    /// The path; `None` when it was refused or is missing.
    pub path: Option<Located<PathPattern>>,
    /// The host; `None` is every host.
    pub host: Option<Located<HostPattern>>,
    /// The methods; empty is every method.
    pub methods: Vec<Method>,
    /// Whether path, host and methods are as they were meant, so that routes can be compared.
    pub comparable: bool,
    /// Whether anybody is let in.
    pub public: Located<bool>,
    /// What it asks for; empty when it does not say.
    pub require: Located<Vec<Located<Requirement>>>,
    /// Whom it lets in; `None` is every verified certificate.
    pub allow: Option<Located<Vec<Located<Rule>>>>,
    /// Whom it does not.
    pub deny: Located<Vec<Located<Rule>>>,
    /// The upstream it goes to.
    pub upstream: Option<Located<String>>,
    /// The answer it gives.
    pub respond: Option<Respond>,
    /// How the client's certificate is described.
    pub forward_client_cert: Located<Vec<Located<Dialect>>>,
    /// The longest body.
    pub max_request_body: Located<Size>,
    /// What is cut from the front of the path.
    pub strip_prefix: Option<Located<String>>,
    /// Whether a connection may become a WebSocket.
    pub websocket: bool,
    /// Whether requests may be sent a second time.
    pub retry: bool,
}

/// `respond = { … }`.
#[derive(Debug)]
pub struct Respond {
    /// Where it is.
    pub origin: Origin,
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
    /// Its type.
    pub content_type: HeaderValue,
}

/// Reads the routes. Without any, the only upstream gets everything. `upstreams` is `None` when they were refused.
pub(super) fn read(root: &Table<'_>, upstreams: Option<&[Upstream]>) -> Vec<Route> {
    let names: Vec<&str> = upstreams.unwrap_or_default().iter().map(|upstream| upstream.name.as_str()).collect();
    let Some(routes) = root.sections("route", Section::Route, |_, table| one(table, &names, None)) else {
        return Vec::new();
    };
    if !routes.is_empty() || upstreams.is_none() {
        return routes;
    }
    if root.has("route") {
        let error = Diagnostic::error(root.origin(), "the list `route` is empty");
        root.reader().report_missing(error.help("leave it out, or add [[route]] sections"));
        return routes;
    }
    match names.as_slice() {
        [only] => {
            vec![root.absent(Section::Route(0), Origin::Default, |table| one(table, &names, Some(only)))]
        }
        [] => {
            let error = Diagnostic::error(root.origin(), "there is nothing to do: no [upstream.NAME] and no [[route]]");
            let mend = "add [upstream.api] with url = \"http://host:port\", or use --upstream or GATEWAY_UPSTREAM";
            root.reader().report_missing(error.help(mend));
            Vec::new()
        }
        [..] => {
            let message = format!("there are {} upstreams and no [[route]] that says which gets what", names.len());
            let mend = "add [[route]] sections with `path` and `upstream`";
            root.reader().report_missing(Diagnostic::error(root.origin(), message).help(mend));
            Vec::new()
        }
    }
}

fn one(table: &Table<'_>, names: &[&str], only: Option<&str>) -> Route {
    let everything = PathPattern::Prefix("/".into());
    let (path, upstream) = match only {
        Some(only) => (Some(table.key("path").or(everything)), Some(table.key("upstream").or(only.to_owned()))),
        None => (
            table.key("path").required("write path = \"/x\" for one path, or path = \"/x/*\" for all below it"),
            table.key("upstream").optional(),
        ),
    };
    let host = table.key("host").optional();
    let methods = table.list("methods").filled("leave `methods` out to take every method").distinct().optional();
    let comparable = path.is_some() && methods.sound && (host.is_some() || !table.has("host"));
    let public = table.key("public").or(false);
    let require = table.list("require").filled("leave `require` out; a route for anybody has public = true");
    let require = require.distinct().optional();
    let allow =
        table.list("allow").filled("it would let nobody in; leave `allow` out to let in every verified certificate");
    let allow = allow.distinct().optional();
    let allow = table.has("allow").then_some(allow);
    let deny = table.list("deny").distinct().or(Vec::new());
    let forward_client_cert = table.list("forward_client_cert").distinct().or(vec![Dialect::Nginx]);
    let max_request_body = table.key("max_request_body").or(Size(10 << 20));
    let strip_prefix = table.key::<String>("strip_prefix").check(|prefix| strippable(prefix)).optional();
    let retry = table.key("retry").or(true).value;
    // A route that answers by itself has nobody to speak another protocol with.
    let upgradable = if table.has("respond") { Vec::new() } else { vec![Upgrade::WebSocket] };
    let upgrades = table.list("upgrades").distinct().or(upgradable);
    if table.has("respond") && !upgrades.value.is_empty() {
        let error = Diagnostic::error(upgrades.origin, "the route answers by itself, so no connection can be upgraded");
        table.reader().report(error.help("remove `upgrades`"));
    }
    let respond = table.inline("respond", Section::Respond(index(table.section())), respond);
    match (table.has("upstream"), table.has("respond")) {
        (true, true) => {
            let origin = respond.as_ref().map_or_else(|| table.origin(), |respond| respond.origin.clone());
            let error = Diagnostic::error(origin, "the route has both `upstream` and `respond`");
            table.reader().report(error.help("leave one of them out"));
        }
        (false, false) if only.is_none() => {
            let error = Diagnostic::error(table.origin(), "the route has neither `upstream` nor `respond`");
            let mend = match names {
                [] => "add respond = { status = 200, body = \"...\" }, or an [upstream.NAME] and upstream = \"NAME\""
                    .into(),
                [name, ..] => format!("add upstream = \"{name}\""),
            };
            table.reader().report_missing(error.help(mend));
        }
        _ => {}
    }
    Route {
        origin: table.origin(),
        path,
        host,
        methods: methods.value.into_iter().map(|method| method.value).collect(),
        comparable,
        public,
        require,
        allow,
        deny,
        upstream,
        respond,
        forward_client_cert,
        max_request_body,
        strip_prefix,
        websocket: !upgrades.value.is_empty(),
        retry,
    }
}

fn respond(table: &Table<'_>) -> Respond {
    let status: u16 = super::sections::number(&table.key("status").within(&(200..=599)).or(200));
    let content_type = table.key("content_type").or(HeaderValue::from_static("text/plain")).value;
    let without_body = status == 204 || status == 304;
    let body: String = table
        .key("body")
        .check(|body: &String| {
            if without_body && !body.is_empty() {
                return Err(Problem::new(format!("an answer with status {status} has no body")).help("remove `body`"));
            }
            Ok(())
        })
        .or(String::new())
        .value;
    Respond {
        origin: table.origin(),
        status: StatusCode::from_u16(status).unwrap_or_default(),
        body: body.into(),
        content_type,
    }
}

fn index(section: &Section) -> usize {
    match section {
        Section::Route(index) => *index,
        _ => 0,
    }
}

fn strippable(prefix: &str) -> Result<(), Problem> {
    let problem = || Problem::new(format!("{} is not a prefix that can be cut", quoted(prefix)));
    match (PathPattern::parse(prefix), prefix.trim_end_matches('/')) {
        (Err(error), _) => Err(problem().help(error.to_string())),
        (Ok(_), "") => Err(problem().help("leave `strip_prefix` out to cut nothing")),
        (Ok(PathPattern::Prefix(_)), _) => {
            let without = prefix.trim_end_matches('*').trim_end_matches('/');
            Err(problem().help(format!("write it without '*': {}", quoted(without))))
        }
        (Ok(PathPattern::Exact(_)), without) if without.len() < prefix.len() => {
            Err(problem().help(format!("it ends at a segment, not after it: write {}", quoted(without))))
        }
        _ => Ok(()),
    }
}

const DIALECTS: [(&str, Dialect); 5] = [
    ("nginx", Dialect::Nginx),
    ("rfc9440", Dialect::Rfc9440),
    ("xfcc", Dialect::Xfcc),
    ("alb", Dialect::Alb),
    ("traefik", Dialect::Traefik),
];

impl Shape for Dialect {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        choose(item, &DIALECTS, &[])
    }

    fn print(&self) -> String {
        let word = DIALECTS.iter().find(|(_, dialect)| dialect == self).map_or("", |(word, _)| word);
        format!("\"{word}\"")
    }
}

/// What a client has to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// A verified certificate.
    Mtls,
}

impl Shape for Requirement {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        choose(item, &[("mtls", Self::Mtls)], &["jwt", "token"])
    }

    fn print(&self) -> String {
        "\"mtls\"".to_owned()
    }
}

/// A protocol that a connection may change to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    WebSocket,
}

impl Shape for Upgrade {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        choose(item, &[("websocket", Self::WebSocket)], &[])
    }

    fn print(&self) -> String {
        "\"websocket\"".to_owned()
    }
}
