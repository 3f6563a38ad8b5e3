//! `gateway certs bootstrap`.

use clap::Args;
use serde_json::{Value, json};

use super::report::{self, call};
use super::{DAYS, Exit, Failure, Format, json_path};
use crate::cli::output;
use crate::identity::{CertificateFacts, SubjectAltName};
use crate::pki::{
    AuthorityRequest, BootstrapRequest, ClientRequest, EntryName, KeyType, ServerRequest, Step, Store, Validity,
    days_between, parse_server_name, rfc3339,
};

#[derive(Debug, Args)]
#[command(after_help = "Example: gateway certs bootstrap --server api.example.com --client client-1 client-2")]
pub(super) struct Arguments {
    /// The hosts that clients call: DNS names or IP addresses [default: localhost, 127.0.0.1, ::1]
    #[arg(long, value_name = "HOST", num_args = 1.., value_parser = parse_server_name)]
    server: Vec<SubjectAltName>,

    /// The clients: A-Z a-z 0-9 . _ -
    #[arg(long, value_name = "NAME", num_args = 1.., default_value = "client-1")]
    client: Vec<EntryName>,

    /// How long the server's and the clients' certificates live
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u32).range(DAYS))]
    days: u32,

    /// Kind of the private keys
    #[arg(long, value_name = "KIND", value_enum, default_value = "p256", ignore_case = true)]
    key_type: KeyType,

    /// Issue the server's and the clients' certificates anew, even if those there are good
    #[arg(long)]
    renew: bool,
}

pub(super) fn run(store: &Store, arguments: Arguments, format: Format) -> Result<Exit, Failure> {
    let Arguments { server, client, days, key_type, renew } = arguments;
    let mut authority = AuthorityRequest::new(None);
    authority.key_type = key_type;
    let mut server = ServerRequest::new(server);
    server.validity = Validity::Days(days);
    server.key_type = key_type;
    let clients = client.into_iter().map(|name| {
        let mut request = ClientRequest::new(name);
        request.validity = Validity::Days(days);
        request.key_type = key_type;
        request
    });
    let request = BootstrapRequest { authority, server, clients: clients.collect(), renew };
    let steps = store.bootstrap(&request)?;
    match format {
        Format::Text => {
            steps.iter().for_each(|step| text(store, step));
            if let Some((certificate, key)) = steps.last().map(pair) {
                output::line(format_args!("next: {}", call(store, certificate, key)));
            }
        }
        Format::Json => {
            let steps: Vec<Value> = steps.iter().map(|step| object(store, step)).collect();
            output::line(json!({ "certificates": steps }));
        }
    }
    for step in &steps {
        if let Step::Issued { issued, .. } = step {
            issued.warnings.iter().for_each(output::warning);
        }
    }
    Ok(Exit::Fine)
}

fn pair(step: &Step) -> (&std::path::Path, &std::path::Path) {
    match step {
        Step::Issued { issued, .. } => (&issued.certificate, &issued.key),
        Step::Kept { certificate, key, .. } => (certificate, key),
    }
}

fn text(store: &Store, step: &Step) {
    let line = |verb: &str, certificate: &std::path::Path, facts: &CertificateFacts, why: &str| {
        let days = days_between(store.now(), facts.not_after);
        let until = rfc3339(facts.not_after);
        output::line(format_args!(
            "{verb} {}  {}, until {until} ({days} days){why}",
            certificate.display(),
            facts.subject
        ));
    };
    match step {
        Step::Issued { issued, why } => {
            line("wrote", &issued.certificate, &issued.facts, &format!("; why: {}", why.as_str()));
        }
        Step::Kept { certificate, facts, .. } => line("kept ", certificate, facts, ""),
    }
}

fn object(store: &Store, step: &Step) -> Value {
    match step {
        Step::Issued { issued, why } => {
            let mut object = report::json(store, issued);
            if let Some(fields) = object.as_object_mut() {
                fields.insert("outcome".to_owned(), "issued".into());
                fields.insert("why".to_owned(), why.as_str().into());
            }
            object
        }
        Step::Kept { kind, certificate, key, facts } => {
            let mut object = report::describe(store, facts);
            if let Some(fields) = object.as_object_mut() {
                fields.insert("outcome".to_owned(), "kept".into());
                fields.insert("kind".to_owned(), kind.as_str().into());
                fields.insert("certificate".to_owned(), json_path(certificate).into());
                fields.insert("key".to_owned(), json_path(key).into());
            }
            object
        }
    }
}
