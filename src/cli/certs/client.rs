//! `gateway certs client`.

use std::path::PathBuf;

use clap::Args;

use super::report::{Next, report};
use super::{DAYS, Exit, Failure, Format, Issuing, bulk};
use crate::identity::SubjectAltName;
use crate::pki::{AttributeText, ClientRequest, EntryName, Store, Validity, parse_alternative_name};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  gateway certs client --name client-1 --san spiffe://example.org/client-1\n  gateway \
                        certs client --from clients.csv --days 30"
)]
pub(super) struct Arguments {
    /// Under which name the certificate is filed: A-Z a-z 0-9 . _ -
    #[arg(long, value_name = "NAME", default_value = "client-1")]
    name: EntryName,

    /// The client's name in the certificate's subject [default: NAME]
    #[arg(long, value_name = "TEXT")]
    cn: Option<AttributeText>,

    /// The client's organisation
    #[arg(long, value_name = "TEXT")]
    org: Option<AttributeText>,

    /// Its unit in that organisation
    #[arg(long, value_name = "TEXT")]
    ou: Option<AttributeText>,

    /// Its alternative names: DNS names, IP addresses, URIs (spiffe://...), email addresses; say which with dns:, ip:,
    /// uri: or email: [default: NAME as DNS name, or urn:gateway:client:NAME]
    #[arg(long, value_name = "NAME", num_args = 1.., value_parser = parse_alternative_name)]
    san: Vec<SubjectAltName>,

    /// Issue for every client of this table: comma-separated values, the first line names the columns
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "cn", "san", "force"])]
    from: Option<PathBuf>,

    /// How long the certificate lives
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u32).range(DAYS))]
    days: u32,

    #[command(flatten)]
    issuing: Issuing,
}

pub(super) fn run(store: &Store, arguments: Arguments, format: Format) -> Result<Exit, Failure> {
    let overwrite = arguments.issuing.overwrite();
    let template = |name| {
        let mut request = ClientRequest::new(name);
        request.subject.organization = arguments.org.clone();
        request.subject.organizational_unit = arguments.ou.clone();
        request.validity = Validity::Days(arguments.days);
        request.key_type = arguments.issuing.key_type;
        request
    };
    if let Some(path) = &arguments.from {
        return bulk::run(store, path, template, format);
    }
    let mut request = template(arguments.name);
    if let Some(common_name) = arguments.cn {
        request.subject.common_name = common_name;
    }
    if !arguments.san.is_empty() {
        request.names = arguments.san;
    }
    let issued = store.issue_client(&request, overwrite)?;
    report(store, &issued, Next::Call, format);
    Ok(Exit::Fine)
}
