//! `gateway certs renew`.

use clap::Args;
use serde_json::{Value, json};

use super::report;
use super::{DAYS, Exit, Failure, Format, days_ahead};
use crate::cli::output;
use crate::pki::{KeyType, Overwrite, Renewal, Renewed, RenewedKey, Store, days_between, rfc3339};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  gateway certs renew client-1\n  gateway certs renew --expiring 30d")]
pub(super) struct Arguments {
    /// Names in the folder: server, or clients'
    #[arg(value_name = "NAME", required_unless_present_any = ["expiring", "previous_ca"])]
    names: Vec<String>,

    /// Whatever ends within this time, as in 30d
    #[arg(long, value_name = "TIME", value_parser = days_ahead, conflicts_with = "names")]
    expiring: Option<u32>,

    /// Whatever the CA issued that `rotate-ca` replaces
    #[arg(long, conflicts_with_all = ["names", "expiring"])]
    previous_ca: bool,

    /// How long the new certificate lives [default: as long as the old one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(DAYS))]
    days: Option<u32>,

    /// Kind of the new private key [default: that of the old one]
    #[arg(long, value_name = "KIND", value_enum, ignore_case = true, conflicts_with = "reuse_key")]
    key_type: Option<KeyType>,

    /// Keep the private key; needed where its owner has it and this folder has not
    #[arg(long)]
    reuse_key: bool,

    /// Renew a certificate even if it was revoked
    #[arg(long)]
    force: bool,
}

pub(super) fn run(store: &Store, arguments: Arguments, format: Format) -> Result<Exit, Failure> {
    let Arguments { names, expiring, previous_ca, days, key_type, reuse_key, force } = arguments;
    let key = if reuse_key { RenewedKey::Same } else { RenewedKey::New(key_type) };
    let revoked = if force { Overwrite::Replace } else { Overwrite::Refuse };
    let renewal = Renewal { days, key, revoked };
    let chosen = !names.is_empty();
    let names = match expiring {
        Some(days) => store.ending_within(days)?,
        None if previous_ca => store.under_previous()?,
        None => names,
    };
    let mut renewed = Vec::new();
    let mut failures = Vec::new();
    for name in &names {
        match store.renew(name, &renewal) {
            Ok(done) => renewed.push(done),
            // What was named by hand stops at the first mistake; a nightly run does what it can.
            Err(error) if chosen => return Err(error.into()),
            Err(error) => failures.push(error),
        }
    }
    match format {
        Format::Text => {
            renewed.iter().for_each(|done| text(store, done));
            if names.is_empty() {
                output::line("nothing to renew");
            }
        }
        Format::Json => {
            let objects: Vec<Value> = renewed.iter().map(|done| object(store, done)).collect();
            let failed: Vec<String> = failures.iter().map(ToString::to_string).collect();
            output::line(json!({ "renewed": objects, "failed": failed }));
        }
    }
    let mut warnings: Vec<String> = Vec::new();
    for warning in renewed.iter().flat_map(|done| &done.issued.warnings).map(ToString::to_string) {
        if !warnings.contains(&warning) {
            output::warning(&warning);
            warnings.push(warning);
        }
    }
    failures.iter().for_each(output::error);
    Ok(if failures.is_empty() { Exit::Fine } else { Exit::Finding })
}

fn text(store: &Store, done: &Renewed) {
    let facts = &done.issued.facts;
    for file in &done.issued.files {
        let secret = if *file == done.issued.key { "  (secret: mode 0600)" } else { "" };
        output::line(format_args!("wrote {}{secret}", file.display()));
    }
    let days = days_between(store.now(), facts.not_after);
    let until = rfc3339(facts.not_after);
    output::line(format_args!(
        "{}: serial {} in place of {}, until {until} ({days} days left)",
        facts.subject, facts.serial, done.replaced.serial
    ));
}

fn object(store: &Store, done: &Renewed) -> Value {
    let mut object = report::json(store, &done.issued);
    if let Some(fields) = object.as_object_mut() {
        fields.insert("replaced_serial".to_owned(), done.replaced.serial.clone().into());
    }
    object
}
