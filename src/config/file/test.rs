//! `[[test]]`: what the configuration promises of itself.

use http::Method;

use crate::config::diagnostic::quoted;
use crate::config::reader::{Item, Located, Problem, Section, Shape, Table, nearest, toml_string};
use crate::config::settings::{Expected, PolicyTest};
use crate::identity::Reason;
use crate::net::Host;
use crate::tls::PemSource;

/// The statuses that are decided before an upstream is asked; 200 is whatever the route answers.
const STATUSES: [u16; 6] = [200, 400, 403, 404, 405, 414];

/// Reasons that are not a certificate's.
const OTHER_REASONS: [&str; 5] = ["no_route", "method_not_allowed", "ambiguous_path", "bad_path", "uri_too_long"];

/// Reads the tests; one that lacks something is left out, and was complained of.
pub(super) fn read(root: &Table<'_>) -> Vec<PolicyTest> {
    let tests = root.sections("test", Section::Test, |index, table| {
        let certificate = table.key::<PemSource>("certificate").optional().map(|located| located.value);
        let path: Option<Located<String>> = table
            .key("path")
            .check(|path: &String| begins_at_the_root(path))
            .required("write the path of a request, as in path = \"/api/x\"");
        let host = table.key::<Called>("host").optional().map(|located| located.value.0);
        let method = table.key("method").or(Method::GET).value;
        let expect =
            table.key::<Expected>("expect").required("write expect = 200, or a reason such as \"not_allowed\"");
        Some(PolicyTest { number: index + 1, certificate, path: path?.value, host, method, expect: expect?.value })
    });
    tests.into_iter().flatten().flatten().collect()
}

fn begins_at_the_root(path: &str) -> Result<(), Problem> {
    if path.starts_with('/') {
        return Ok(());
    }
    Err(Problem::new(format!("{} is not a path", quoted(path))).help("a path begins with '/'"))
}

impl Shape for Expected {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        if let Some(toml::de::DeValue::Integer(_)) = item.value() {
            let status = item.integer("a status")?;
            let known = STATUSES.into_iter().find(|known| i64::from(*known) == status);
            return known.map(Self::Status).ok_or_else(|| {
                let message = format!("{status} is not a status that is decided before an upstream is asked");
                Problem::new(message)
                    .help(format!("they are: {}; 200 is let in", STATUSES.map(|one| one.to_string()).join(", ")))
            });
        }
        let text = item.string("a status such as 200, or a reason such as \"not_allowed\"")?;
        let words = || Reason::ALL.into_iter().map(Reason::as_str).chain(OTHER_REASONS);
        if words().any(|word| word == text) {
            return Ok(Self::Reason(text.into()));
        }
        let problem = Problem::new(format!("{} is not a reason", quoted(&text)));
        Err(match nearest(&text, words()) {
            Some(near) => problem.help(format!("did you mean \"{near}\"?")),
            None => problem.help("write expect = 200, or a reason such as \"not_allowed\""),
        })
    }

    fn print(&self) -> String {
        match self {
            Self::Status(status) => status.to_string(),
            Self::Reason(reason) => toml_string(reason),
        }
    }
}

/// The host of a request; a server's name in a certificate is read and explained otherwise.
#[derive(Debug)]
struct Called(Host);

impl Shape for Called {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        let text = item.string("a host such as \"api.example.com\"")?;
        Host::parse(&text).map(Self).map_err(|_| {
            Problem::new(format!("{} is not a host", quoted(&text)))
                .help("write the name that is called, without the port")
        })
    }

    fn print(&self) -> String {
        toml_string(&self.0.to_string())
    }
}
