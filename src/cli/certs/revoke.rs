//! `gateway certs revoke` and `gateway certs crl`.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueHint};
use serde_json::{Value, json};

use super::{DAYS, Exit, Failure, Format, json_path};
use crate::cli::output;
use crate::pki::{ListsSigned, RevocationReason, Store, rfc3339};

/// What can be said when something is revoked for good; the rest of RFC 5280's reasons are for delta lists, attribute
/// certificates, and a hold that could be lifted.
const REASONS: [RevocationReason; 7] = [
    RevocationReason::Unspecified,
    RevocationReason::KeyCompromise,
    RevocationReason::CaCompromise,
    RevocationReason::AffiliationChanged,
    RevocationReason::Superseded,
    RevocationReason::CessationOfOperation,
    RevocationReason::PrivilegeWithdrawn,
];

#[derive(Debug, Args)]
#[command(after_help = "Example: gateway certs revoke client-1 --reason key-compromise")]
pub(super) struct RevokeArguments {
    /// Names in the folder, serial numbers, or files of certificates
    #[arg(value_name = "NAME|SERIAL|FILE", required = true, value_hint = ValueHint::AnyPath)]
    what: Vec<String>,

    /// Why
    #[arg(long, default_value = "unspecified", value_parser = reasons())]
    reason: RevocationReason,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: gateway certs crl --days 30")]
pub(super) struct CrlArguments {
    /// How long the list is good for
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(DAYS))]
    days: u32,
}

fn reasons() -> impl TypedValueParser<Value = RevocationReason> {
    let words = PossibleValuesParser::new(REASONS.map(RevocationReason::as_str));
    words.map(|word| RevocationReason::from_word(&word).unwrap_or(RevocationReason::Unspecified))
}

pub(super) fn revoke(store: &Store, arguments: &RevokeArguments, format: Format) -> Result<Exit, Failure> {
    let done = store.revoke(&arguments.what, arguments.reason)?;
    match format {
        Format::Text => {
            for row in &done.revoked {
                output::line(format_args!("revoked {}  {}, serial {}", row.name, row.subject, row.serial));
            }
            for row in &done.already {
                let since = row.revoked_at.map(rfc3339).unwrap_or_default();
                let reason = row.revocation_reason.as_deref().unwrap_or("unspecified");
                output::line(format_args!(
                    "revoked already, since {since} ({reason}): {}, serial {}",
                    row.name, row.serial
                ));
            }
            lists(&done.signed);
        }
        Format::Json => output::line(json!({
            "revoked": done.revoked,
            "already_revoked": done.already,
            "crl": object(&done.signed),
        })),
    }
    done.signed.warnings.iter().for_each(output::warning);
    Ok(Exit::Fine)
}

pub(super) fn crl(store: &Store, arguments: &CrlArguments, format: Format) -> Result<Exit, Failure> {
    let signed = store.sign_lists(arguments.days)?;
    match format {
        Format::Text => lists(&signed),
        Format::Json => output::line(object(&signed)),
    }
    signed.warnings.iter().for_each(output::warning);
    Ok(Exit::Fine)
}

fn lists(signed: &ListsSigned) {
    if signed.lists.is_empty() {
        return;
    }
    output::line(format_args!("wrote {}", signed.path.display()));
    for list in &signed.lists {
        let until = list.next_update.map(rfc3339).unwrap_or_default();
        let plural = if list.revoked == 1 { "" } else { "s" };
        output::line(format_args!(
            "list {} of {}: {} certificate{plural}, good until {until}",
            list.number, list.issuer, list.revoked
        ));
    }
}

fn object(signed: &ListsSigned) -> Value {
    let lists: Vec<Value> = signed
        .lists
        .iter()
        .map(|list| {
            json!({
                "issuer": list.issuer,
                "number": list.number,
                "next_update": list.next_update.map(rfc3339),
                "revoked": list.revoked,
            })
        })
        .collect();
    json!({
        "file": json_path(&signed.path),
        "signed": lists,
        "warnings": signed.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
