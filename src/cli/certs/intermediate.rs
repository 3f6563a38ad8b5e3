//! `gateway certs intermediate`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::init::Constraints;
use super::report;
use super::{DAYS, Exit, Failure, Format, Issuing, quoted};
use crate::cli::output;
use crate::pki::{AttributeText, EntryName, IntermediateRequest, Store, Subject, Validity, days_between, rfc3339};

#[derive(Debug, Args)]
#[command(after_help = "Example: gateway certs intermediate --name team-a --name-constraints dns:team-a.example.com")]
pub(super) struct Arguments {
    /// Under which name the index knows it: A-Z a-z 0-9 . _ -
    #[arg(long, value_name = "NAME", default_value = "intermediate-1")]
    name: EntryName,

    /// The CA's name in its subject [default: NAME and the word CA]
    #[arg(long, value_name = "TEXT")]
    cn: Option<AttributeText>,

    /// The organisation it belongs to
    #[arg(long, value_name = "TEXT")]
    org: Option<AttributeText>,

    /// How many CAs may stand below it
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=6))]
    path_length: u8,

    #[command(flatten)]
    constraints: Constraints,

    /// The folder of the new CA [default: intermediates/NAME below this one]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,

    /// How long it lives
    #[arg(long, value_name = "N", default_value_t = 1825, value_parser = clap::value_parser!(u32).range(DAYS))]
    days: u32,

    #[command(flatten)]
    issuing: Issuing,
}

pub(super) fn run(store: &Store, arguments: Arguments, format: Format) -> Result<Exit, Failure> {
    let overwrite = arguments.issuing.overwrite();
    let into = arguments.into.unwrap_or_else(|| store.intermediate_folder(&arguments.name));
    let common_name = arguments.cn.unwrap_or_else(|| AttributeText::below(&arguments.name));
    let mut profile = arguments.constraints.profile(Subject::named(common_name), Validity::Days(arguments.days));
    profile.subject.organization = arguments.org;
    profile.path_length = Some(arguments.path_length);
    let request = IntermediateRequest { name: arguments.name, profile, key_type: arguments.issuing.key_type, into };
    let issued = store.issue_intermediate(&request, overwrite)?;
    let next = format!("gateway certs --dir {} client", quoted(&request.into.to_string_lossy()));
    match format {
        Format::Json => {
            let mut object = report::json(store, &issued);
            if let (Some(fields), Some(folder)) = (object.as_object_mut(), request.into.to_str()) {
                fields.insert("folder".to_owned(), json!(folder));
            }
            output::line(object);
        }
        Format::Text => {
            for file in &issued.files {
                let secret = if *file == issued.key { "  (secret: mode 0600)" } else { "" };
                output::line(format_args!("wrote {}{secret}", file.display()));
            }
            let days = days_between(store.now(), issued.facts.not_after);
            output::line(format_args!("subject: {}", issued.facts.subject));
            output::line(format_args!("serial: {}", issued.facts.serial));
            output::line(format_args!("valid until: {} ({days} days left)", rfc3339(issued.facts.not_after)));
            output::line(format_args!("next: {next}"));
        }
    }
    issued.warnings.iter().for_each(output::warning);
    Ok(Exit::Fine)
}
