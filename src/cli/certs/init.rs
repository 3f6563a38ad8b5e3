//! `gateway certs init`.

use std::path::PathBuf;

use clap::Args;

use super::report::{Next, report};
use super::{DAYS, Exit, Failure, Format, Issuing};
use crate::cli::output;
use crate::pki::{
    self, AttributeText, AuthorityProfile, AuthorityRequest, Constraint, IntermediateRequest, Overwrite, Store,
    Subject, Validity, parse_constraint,
};

/// What a CA may issue.
#[derive(Debug, Args)]
pub(super) struct Constraints {
    /// Names that it may issue, as dns:example.com, email:example.com, ip:10.0.0.0/8; exclude: before one forbids it.
    /// A kind of name that no rule permits anything of is not limited. [default: any]
    #[arg(long, value_name = "RULE", num_args = 1.., value_parser = parse_constraint)]
    name_constraints: Vec<Constraint>,
}

impl Constraints {
    pub(super) fn is_empty(&self) -> bool {
        self.name_constraints.is_empty()
    }

    pub(super) fn profile(self, subject: Subject, validity: Validity) -> AuthorityProfile {
        AuthorityProfile { constraints: self.name_constraints, ..AuthorityProfile::new(subject, validity) }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  gateway certs init\n  gateway certs init --offline-root /media/vault/root \
                        --name-constraints dns:example.com")]
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
    constraints: Constraints,

    /// Make two CAs: a root in this folder, to be kept elsewhere, and one below it here, which issues
    #[arg(long, value_name = "DIR")]
    offline_root: Option<PathBuf>,

    #[command(flatten)]
    issuing: Issuing,
}

pub(super) fn run(store: &Store, arguments: Arguments, format: Format) -> Result<Exit, Failure> {
    let Arguments { cn, org, days, constraints, offline_root, issuing } = arguments;
    let overwrite = issuing.overwrite();
    let mut request = AuthorityRequest::new(cn);
    request.key_type = issuing.key_type;
    request.profile = constraints.profile(request.profile.subject, Validity::Days(days));
    request.profile.subject.organization = org;
    let Some(root) = offline_root else {
        let issued = store.init(&request, overwrite)?;
        report(store, &issued, Next::Server, format);
        return Ok(Exit::Fine);
    };
    if root == store.root() {
        return Err(Failure::usage("the root needs another folder than the CA that issues".to_owned()));
    }
    if overwrite == Overwrite::Refuse && store.authority_certificate().exists() {
        return Err(pki::Error::Exists { path: store.authority_certificate() }.into());
    }
    // Its name is the folder's CA's; the root is called after it.
    let mut below = request.clone();
    below.profile.path_length = Some(0);
    request.profile.subject.common_name = request.profile.subject.common_name.root();
    let above = Store::new(&root, store.clock());
    // A run that was killed in between goes on with the root that it made.
    if overwrite == Overwrite::Replace || !above.authority_certificate().exists() {
        above.init(&request, overwrite)?;
    }
    let intermediate = IntermediateRequest {
        name: "issuing".parse().map_err(|error: pki::NameError| Failure::usage(error.to_string()))?,
        profile: below.profile,
        key_type: below.key_type,
        into: store.root().to_path_buf(),
    };
    let issued = above.issue_intermediate(&intermediate, overwrite)?;
    report(store, &issued, Next::Server, format);
    output::note(format_args!(
        "the root is in {}: take it away from this machine and keep it safe; it is needed to make another CA below it, \
         and to revoke this one. Who checks revocation of the whole chain needs its ca.crl, too",
        root.display()
    ));
    Ok(Exit::Fine)
}
