//! `gateway certs init`.

use clap::Args;

use super::report::{Next, report};
use super::{DAYS, Exit, Failure, Format, Issuing};
use crate::pki::{AttributeText, AuthorityRequest, Store, Validity};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The CA's name [default: "gateway CA" and eight random digits]
    #[arg(long, value_name = "NAME")]
    cn: Option<AttributeText>,

    /// The organisation it belongs to
    #[arg(long, value_name = "NAME")]
    org: Option<AttributeText>,

    /// How long the CA lives
    #[arg(long, value_name = "N", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(DAYS))]
    days: u32,

    #[command(flatten)]
    issuing: Issuing,
}

pub(super) fn run(store: &Store, arguments: Arguments, format: Format) -> Result<Exit, Failure> {
    let mut request = AuthorityRequest::new(arguments.cn);
    request.profile.subject.organization = arguments.org;
    request.profile.validity = Validity::Days(arguments.days);
    request.key_type = arguments.issuing.key_type;
    let issued = store.init(&request, arguments.issuing.overwrite())?;
    report(store, &issued, Next::Server, format);
    Ok(Exit::Fine)
}
