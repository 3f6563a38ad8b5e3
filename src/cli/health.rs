//! `gateway health`: the health check of containers without curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::Uri;

use super::exit::Exit;
use super::output;
use super::overrides::RunFlags;
use crate::config::Config;
use crate::net::Host;
use crate::probe::{self, Question};
use crate::tls::{Connector, PemSource, ServerTrust};

/// ECS calls a check failed that says anything on standard error, so a good one says nothing there.
const DEADLINE: Duration = Duration::from_secs(3);

/// Asks a running gateway whether it is well: exit code 0 when it says OK, 1 when not.
///
/// Without --url it asks the plain health listener, if the configuration has one, and else the TLS listener, both on
/// this machine. A certificate is not verified on loopback.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// What to ask instead: `http://` or `https://`
    #[arg(long)]
    url: Option<String>,
    /// Authorities to know an https server by that is not on loopback
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    flags: RunFlags,
}

impl Health {
    pub(super) fn run(self) -> Exit {
        let (url, trust) = match self.target() {
            Ok(target) => target,
            Err(exit) => return exit,
        };
        let connector = match Connector::new(&trust, None) {
            Ok(connector) => connector,
            Err(error) => {
                output::error(error);
                return Exit::Usage;
            }
        };
        let question = Question { json: None, url: &url, tls: Some(&connector), deadline: DEADLINE };
        let answer = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(probe::ask(&question)),
            Err(error) => Err(error.to_string()),
        };
        match answer {
            Ok(answer) if answer.status == 200 => {
                output::line(answer.body.trim_end());
                Exit::Fine
            }
            Ok(answer) => {
                output::error(format_args!("{url} answered {}: {}", answer.status, answer.body.trim_end()));
                Exit::Finding
            }
            Err(error) => {
                output::error(error);
                Exit::Finding
            }
        }
    }

    fn target(&self) -> Result<(String, ServerTrust), Exit> {
        let Some(url) = &self.url else {
            // What it serves is no matter here: a gateway whose upstream is told to `run` alone has a health path, too.
            let loaded = self.flags.clone().with_some_upstream().load();
            let Some(config) = loaded.config else {
                for diagnostic in loaded.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()) {
                    output::note(diagnostic);
                }
                return Err(Exit::Usage);
            };
            return Ok((own_url(&config), ServerTrust::Loopback));
        };
        if !url.starts_with("http://") && !url.starts_with("https://") {
            output::error(format_args!("{url} is no URL: it begins with neither http:// nor https://"));
            return Err(Exit::Usage);
        }
        let trust = match &self.ca {
            Some(file) => ServerTrust::Authorities(PemSource::File(file.clone())),
            None if is_loopback(url) || url.starts_with("http://") => ServerTrust::Loopback,
            None => {
                output::error(format_args!(
                    "{url} is not on loopback: name the authorities to know it by with --ca FILE"
                ));
                return Err(Exit::Usage);
            }
        };
        Ok((url.clone(), trust))
    }
}

fn own_url(config: &Config) -> String {
    let (scheme, address) = match (&config.health, config.listener.addresses.first()) {
        (Some(health), _) => ("http", health.address),
        (None, Some(address)) => ("https", *address),
        (None, None) => ("https", SocketAddr::from(([127, 0, 0, 1], 8443))),
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("{scheme}://{}{}", SocketAddr::new(ip, address.port()), config.proxy.health_path)
}

fn is_loopback(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    match uri.host().and_then(|host| Host::parse(host).ok()) {
        Some(Host::Address(address)) => address.is_loopback(),
        Some(Host::Name(name)) => name.as_str() == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_loopback_goes_unverified() {
        for (url, expected) in [
            ("https://127.0.0.1:8443/health", true),
            ("https://localhost/health", true),
            ("https://[::1]:8443/health", true),
            ("https://localhost.example/health", false),
            ("https://10.0.0.1/health", false),
            ("https://127.0.0.1.example/health", false),
            ("nonsense", false),
        ] {
            assert_eq!(is_loopback(url), expected, "{url}");
        }
    }
}
