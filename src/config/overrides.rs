//! What flags and environment variables say: texts that stand in for values of the file.
//!
//! The one list of what can be said that way. The command line makes its flags from it, the reader asks it by key, and
//! a test holds the documentation to it. Nothing here reads the environment.

use super::diagnostic::Origin;

/// A key that a flag or a variable may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overridable {
    /// The key, such as `listener.address`.
    pub key: &'static str,
    /// The flag, such as `--listen`.
    pub flag: &'static str,
    /// The variable, such as `GATEWAY_LISTEN`.
    pub variable: &'static str,
    /// What the flag's value is called in the help.
    pub value_name: &'static str,
    /// Whether the flag may be repeated, and the variable hold a list with commas.
    pub repeatable: bool,
    /// What it does, for the help.
    pub help: &'static str,
}

/// Every key that a flag or a variable may set.
pub const OVERRIDABLE: [Overridable; 15] = [
    one("runtime.workers", "--workers", "GATEWAY_WORKERS", "NUMBER", "Worker threads; 0 is one for each CPU"),
    many("listener.address", "--listen", "GATEWAY_LISTEN", "ADDR", "Address and port of the TLS listener"),
    one(
        "listener.max_connections",
        "--max-connections",
        "GATEWAY_MAX_CONNECTIONS",
        "NUMBER",
        "Client connections open at once",
    ),
    one("health.path", "--health-path", "GATEWAY_HEALTH_PATH", "PATH", "Path of the health check"),
    one(
        "health.address",
        "--health-listen",
        "GATEWAY_HEALTH_LISTEN",
        "ADDR",
        "Address and port of a plain-HTTP listener for health checks",
    ),
    one(
        "tls.certificate",
        "--tls-certificate",
        "GATEWAY_TLS_CERTIFICATE",
        "FILE",
        "The server's certificate chain, PEM; env:NAME takes it from an environment variable",
    ),
    one(
        "tls.private_key",
        "--tls-private-key",
        "GATEWAY_TLS_PRIVATE_KEY",
        "FILE",
        "Its private key, PEM; env:NAME takes it from an environment variable",
    ),
    one(
        "tls.min_version",
        "--min-tls-version",
        "GATEWAY_MIN_TLS_VERSION",
        "VERSION",
        "Oldest TLS version spoken: 1.2 or 1.3",
    ),
    many(
        "client_auth.ca",
        "--client-ca",
        "GATEWAY_CLIENT_CA",
        "FILE",
        "CA certificates that client certificates are judged by, PEM; env:NAME takes them from an environment variable",
    ),
    one("upstream.url", "--upstream", "GATEWAY_UPSTREAM", "URL", "The API behind the gateway: http://host:port"),
    one("drain.delay", "--drain-delay", "GATEWAY_DRAIN_DELAY", "DURATION", "From SIGTERM on, still accept this long"),
    one("drain.timeout", "--drain-timeout", "GATEWAY_DRAIN_TIMEOUT", "DURATION", "From SIGTERM to the end"),
    one("logs.format", "--log-format", "GATEWAY_LOG_FORMAT", "FORMAT", "How log lines look: json or text"),
    one("logs.access", "--access-log", "GATEWAY_ACCESS_LOG", "BOOL", "Log requests: true or false"),
    one("admin.address", "--admin", "GATEWAY_ADMIN_ADDRESS", "ADDR", "Address and port of the admin listener, or off"),
];

/// A value from a flag or a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The text as it was given.
    pub text: String,
    /// Which flag or variable.
    pub origin: Origin,
}

/// What flags and variables say, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    values: Vec<(&'static str, Override)>,
}

impl Overrides {
    /// Adds the value of a flag. Several values of a list add up.
    #[must_use]
    pub fn with_flag(mut self, overridable: &Overridable, text: impl Into<String>) -> Self {
        let origin = Origin::Flag(overridable.flag);
        self.values.push((overridable.key, Override { text: text.into(), origin }));
        self
    }

    /// Adds the value of a variable; a list is split at its commas. An empty variable counts as not set.
    #[must_use]
    pub fn with_variable(mut self, overridable: &Overridable, text: &str) -> Self {
        if text.trim().is_empty() {
            return self;
        }
        let origin = Origin::Variable(overridable.variable);
        let texts: Vec<&str> =
            if overridable.repeatable { text.split(',').map(str::trim).collect() } else { vec![text] };
        self.values.extend(
            texts.into_iter().map(|text| (overridable.key, Override { text: text.into(), origin: origin.clone() })),
        );
        self
    }

    /// Sets a key as its flag would; a key that no flag sets is ignored.
    #[must_use]
    pub fn set(self, key: &str, text: impl Into<String>) -> Self {
        match OVERRIDABLE.iter().find(|overridable| overridable.key == key) {
            Some(overridable) => self.with_flag(overridable, text),
            None => self,
        }
    }

    /// What is said of a key, in the order in which it was said.
    pub fn of(&self, key: &str) -> Vec<&Override> {
        self.values.iter().filter(|(name, _)| *name == key).map(|(_, value)| value).collect()
    }
}

const fn one(
    key: &'static str,
    flag: &'static str,
    variable: &'static str,
    value_name: &'static str,
    help: &'static str,
) -> Overridable {
    Overridable { key, flag, variable, value_name, repeatable: false, help }
}

const fn many(
    key: &'static str,
    flag: &'static str,
    variable: &'static str,
    value_name: &'static str,
    help: &'static str,
) -> Overridable {
    Overridable { key, flag, variable, value_name, repeatable: true, help }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_a_list_where_the_flag_repeats_and_counts_as_unset_when_empty() {
        let [listen, workers] = ["listener.address", "runtime.workers"]
            .map(|key| OVERRIDABLE.iter().find(|overridable| overridable.key == key).unwrap());
        let overrides =
            Overrides::default().with_variable(listen, "a:1, b:2").with_variable(workers, " ").with_flag(workers, "4");
        let texts = |key| overrides.of(key).iter().map(|value| value.text.as_str()).collect::<Vec<_>>();
        assert_eq!(texts("listener.address"), ["a:1", "b:2"]);
        assert_eq!(texts("runtime.workers"), ["4"]);
    }

    #[test]
    fn flags_variables_and_keys_are_unlike_each_other() {
        for names in [
            OVERRIDABLE.map(|overridable| overridable.key),
            OVERRIDABLE.map(|overridable| overridable.flag),
            OVERRIDABLE.map(|overridable| overridable.variable),
        ] {
            let mut sorted = names.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), names.len());
        }
        for overridable in OVERRIDABLE {
            assert!(overridable.flag.starts_with("--") && overridable.variable.starts_with("GATEWAY_"));
        }
    }
}
