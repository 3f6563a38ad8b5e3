//! `gateway certs rotate-ca`.

use clap::Args;
use serde_json::json;

use super::init::Constraints;
use super::report;
use super::{DAYS, Exit, Failure, Format, command_line};
use crate::cli::output;
use crate::pki::{AttributeText, AuthorityRequest, KeyType, Rotation, Store, Successor, Validity, rfc3339};

#[derive(Debug, Args)]
#[command(after_help = "Example: gateway certs rotate-ca")]
pub(super) struct Arguments {
    /// The new CA's name [default: "gateway CA" and eight random digits]
    #[arg(long, value_name = "NAME")]
    cn: Option<AttributeText>,

    /// The organisation it belongs to
    #[arg(long, value_name = "NAME")]
    org: Option<AttributeText>,

    /// How long it lives [default: 3650]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(DAYS))]
    days: Option<u32>,

    /// Kind of its key [default: that of the old one]
    #[arg(long, value_name = "KIND", value_enum, ignore_case = true)]
    key_type: Option<KeyType>,

    #[command(flatten)]
    constraints: Constraints,

    /// Drop the old CA
    #[arg(long, conflicts_with_all = ["cn", "org", "days", "key_type", "name_constraints"])]
    finish: bool,

    /// Drop it even if certificates are left that it issued: nobody accepts them from then on
    #[arg(long, requires = "finish")]
    force: bool,
}

pub(super) fn run(store: &Store, arguments: Arguments, format: Format) -> Result<Exit, Failure> {
    let Arguments { cn, org, days, key_type, constraints, finish, force } = arguments;
    match store.rotation()? {
        Some(rotation) if finish => end(store, &rotation, force, format),
        Some(_) if cn.is_some() || org.is_some() || days.is_some() || key_type.is_some() || !constraints.is_empty() => {
            Err(Failure::usage(
                "a rotation is under way, and its new CA is made already; see: gateway certs rotate-ca".to_owned(),
            ))
        }
        Some(rotation) => {
            under_way(store, &rotation, format);
            Ok(Exit::Fine)
        }
        None if finish => {
            Err(Failure::usage("no rotation is under way; one begins with: gateway certs rotate-ca".to_owned()))
        }
        None => {
            let request = AuthorityRequest::new(cn);
            let mut profile = constraints.profile(request.profile.subject, Validity::Days(days.unwrap_or(3650)));
            profile.subject.organization = org;
            begin(store, &Successor { profile, key_type }, format)
        }
    }
}

fn begin(store: &Store, successor: &Successor, format: Format) -> Result<Exit, Failure> {
    let issued = store.begin_rotation(successor)?;
    let next = command_line(store, "renew --previous-ca");
    match format {
        Format::Json => {
            let mut object = report::json(store, &issued);
            if let Some(fields) = object.as_object_mut() {
                fields.insert("step".to_owned(), "begun".into());
                fields.insert("next".to_owned(), next.into());
            }
            output::line(object);
        }
        Format::Text => {
            for file in &issued.files {
                let secret =
                    if file.extension().is_some_and(|end| end == "key") { "  (secret: mode 0600)" } else { "" };
                output::line(format_args!("wrote {}{secret}", file.display()));
            }
            output::line(format_args!("new CA: {}, until {}", issued.facts.subject, rfc3339(issued.facts.not_after)));
            output::line(format_args!(
                "step 1 of 3 is done: give {} to everybody who has it, and let the gateway reload",
                issued.certificate.display()
            ));
            output::line(format_args!("next: {next}"));
        }
    }
    issued.warnings.iter().for_each(output::warning);
    Ok(Exit::Fine)
}

fn under_way(store: &Store, rotation: &Rotation, format: Format) {
    let next =
        command_line(store, if rotation.remaining.is_empty() { "rotate-ca --finish" } else { "renew --previous-ca" });
    match format {
        Format::Json => output::line(json!({
            "step": "under_way",
            "previous": rotation.previous.subject,
            "current": rotation.current.subject,
            "remaining": rotation.remaining,
            "next": next,
        })),
        Format::Text => {
            output::line(format_args!("from {} to {}", rotation.previous.subject, rotation.current.subject));
            for row in &rotation.remaining {
                output::line(format_args!(
                    "still under the old CA: {} {}, serial {}, until {}",
                    row.kind.as_str(),
                    row.name,
                    row.serial,
                    rfc3339(row.not_after)
                ));
            }
            if rotation.remaining.is_empty() {
                output::line(
                    "nothing is left under the old CA. When everybody has the new ca.crt and the new certificates:",
                );
            }
            output::line(format_args!("next: {next}"));
        }
    }
}

fn end(store: &Store, rotation: &Rotation, force: bool, format: Format) -> Result<Exit, Failure> {
    if !rotation.remaining.is_empty() && !force {
        under_way(store, rotation, format);
        return Err(Failure::finding(format!(
            "{} certificates are still under the old CA and would not be accepted any more; renew them, or say --force",
            rotation.remaining.len()
        )));
    }
    let warnings = store.finish_rotation()?;
    let certificate = store.authority_certificate();
    match format {
        Format::Json => output::line(json!({
            "step": "finished",
            "dropped": rotation.previous.subject,
            "current": rotation.current.subject,
            "remaining": rotation.remaining,
        })),
        Format::Text => output::line(format_args!(
            "{} is dropped; give {} to everybody who has it, and let the gateway reload",
            rotation.previous.subject,
            certificate.display()
        )),
    }
    warnings.iter().for_each(output::warning);
    Ok(Exit::Fine)
}
