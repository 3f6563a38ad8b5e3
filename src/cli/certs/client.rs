//! `gateway certs client`.

use clap::Args;

use super::report::{Next, report};
use super::{DAYS, Exit, Failure, Format, Issuing};
use crate::identity::SubjectAltName;
use crate::pki::{AttributeText, ClientRequest, EntryName, Store, Validity, parse_alternative_name};

#[derive(Debug, Args)]
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

    /// How long the certificate lives
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u32).range(DAYS))]
    days: u32,

    #[command(flatten)]
    issuing: Issuing,
}

pub(super) fn run(store: &Store, arguments: Arguments, format: Format) -> Result<Exit, Failure> {
    let overwrite = arguments.issuing.overwrite();
    let mut request = ClientRequest::new(arguments.name);
    if let Some(common_name) = arguments.cn {
        request.subject.common_name = common_name;
    }
    request.subject.organization = arguments.org;
    request.subject.organizational_unit = arguments.ou;
    if !arguments.san.is_empty() {
        request.names = arguments.san;
    }
    request.validity = Validity::Days(arguments.days);
    request.key_type = arguments.issuing.key_type;
    let issued = store.issue_client(&request, overwrite)?;
    report(store, &issued, Next::Call, format);
    Ok(Exit::Fine)
}
