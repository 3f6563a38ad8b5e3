//! `gateway certs server`.

use clap::Args;

use super::report::{Next, report};
use super::{DAYS, Exit, Failure, Format, Issuing};
use crate::identity::SubjectAltName;
use crate::pki::{ServerRequest, Store, Validity, parse_server_name};

#[derive(Debug, Args)]
#[command(after_help = "Example: gateway certs server --name api.example.com")]
pub(super) struct Arguments {
    /// The host that clients call: a DNS name (*.example.com too) or an IP address [default: localhost, 127.0.0.1, ::1]
    #[arg(long, value_name = "HOST", value_parser = parse_server_name)]
    name: Option<SubjectAltName>,

    /// Further hosts
    #[arg(long, value_name = "HOST", num_args = 1.., value_parser = parse_server_name)]
    san: Vec<SubjectAltName>,

    /// How long the certificate lives
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u32).range(DAYS))]
    days: u32,

    #[command(flatten)]
    issuing: Issuing,
}

pub(super) fn run(store: &Store, arguments: Arguments, format: Format) -> Result<Exit, Failure> {
    let names = arguments.name.into_iter().chain(arguments.san).collect();
    let mut request = ServerRequest::new(names);
    request.validity = Validity::Days(arguments.days);
    request.key_type = arguments.issuing.key_type;
    let issued = store.issue_server(&request, arguments.issuing.overwrite())?;
    report(store, &issued, Next::Client, format);
    Ok(Exit::Fine)
}
