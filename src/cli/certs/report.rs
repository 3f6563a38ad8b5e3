//! What a subcommand that issued something says: the files, what is in them, and what to do next.

use std::path::Path;

use serde_json::{Value, json};

use super::{Format, command_line, json_path, quoted};
use crate::cli::output;
use crate::identity::CertificateFacts;
use crate::pki::{Issued, Kind, Store, days_between, rfc3339};

/// What usually comes next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    /// The server's certificate.
    Server,
    /// A client's certificate.
    Client,
    /// A call with the client's certificate.
    Call,
    /// To give the certificate to who has its key.
    Hand,
}

pub(super) fn report(store: &Store, issued: &Issued, next: Next, format: Format) {
    match format {
        Format::Text => text(store, issued, next),
        Format::Json => output::line(json(store, issued)),
    }
    for warning in &issued.warnings {
        output::warning(warning);
    }
}

fn text(store: &Store, issued: &Issued, next: Next) {
    for file in &issued.files {
        let secret = if *file == issued.key { "  (secret: mode 0600)" } else { "" };
        output::line(format_args!("wrote {}{secret}", file.display()));
    }
    let facts = &issued.facts;
    output::line(format_args!("subject: {}", facts.subject));
    if issued.kind != Kind::Authority {
        output::line(format_args!("names: {}", facts.san_text().replace(',', ", ")));
    }
    output::line(format_args!("serial: {}", facts.serial));
    let days = days_between(store.now(), facts.not_after);
    output::line(format_args!("valid until: {} ({days} days left)", rfc3339(facts.not_after)));
    if let Next::Hand = next {
        return;
    }
    output::line(format_args!("next: {}", next_command(store, issued, next)));
}

pub(super) fn json(store: &Store, issued: &Issued) -> Value {
    let mut object = describe(store, &issued.facts);
    if let (Some(fields), Value::Object(more)) = (
        object.as_object_mut(),
        json!({
            "kind": issued.kind,
            "certificate": json_path(&issued.certificate),
            "key": json_path(&issued.key),
            "files": issued.files.iter().map(|file| json_path(file)).collect::<Vec<_>>(),
            "warnings": issued.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
    ) {
        fields.extend(more);
    }
    object
}

/// What a certificate says.
pub(super) fn describe(store: &Store, facts: &CertificateFacts) -> Value {
    json!({
        "subject": facts.subject,
        "subject_alt_names": facts.san_text().split(',').filter(|name| !name.is_empty()).collect::<Vec<_>>(),
        "serial": facts.serial,
        "sha256": facts.sha256,
        "not_before": rfc3339(facts.not_before),
        "not_after": rfc3339(facts.not_after),
        "days_left": days_between(store.now(), facts.not_after),
    })
}

fn next_command(store: &Store, issued: &Issued, next: Next) -> String {
    match next {
        Next::Server => command_line(store, "server"),
        Next::Client => command_line(store, "client"),
        Next::Call | Next::Hand => call(store, &issued.certificate, &issued.key),
    }
}

/// A call with a client's certificate.
pub(super) fn call(store: &Store, certificate: &Path, key: &Path) -> String {
    format!(
        "curl --cacert {} --cert {} --key {} https://localhost:8443/",
        quoted(&store.authority_certificate().to_string_lossy()),
        quoted(&certificate.to_string_lossy()),
        quoted(&key.to_string_lossy()),
    )
}
