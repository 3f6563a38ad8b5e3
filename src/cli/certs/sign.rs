//! `gateway certs sign`.

use std::path::PathBuf;

use clap::Args;

use super::report::{self, Next};
use super::show::read;
use super::{DAYS, Exit, Failure, Format};
use crate::cli::output;
use crate::identity::SubjectAltName;
use crate::pki::{
    AttributeText, ClientRequest, EntryName, Overwrite, SignedAs, SigningRequest, Store, Subject, Validity,
    parse_alternative_name, server_common_name,
};

#[derive(Debug, Args)]
#[command(after_help = "Example: gateway certs sign partner.csr --name partner-1 --san spiffe://example.org/partner-1")]
pub(super) struct Arguments {
    /// The certificate signing request, PEM or DER
    #[arg(value_name = "FILE")]
    request: PathBuf,

    /// Under which name the certificate is filed [default: the request's file name]
    #[arg(long, value_name = "NAME")]
    name: Option<EntryName>,

    /// The client's name in the certificate's subject [default: NAME]
    #[arg(long, value_name = "TEXT", conflicts_with = "accept_subject")]
    cn: Option<AttributeText>,

    /// The client's organisation
    #[arg(long, value_name = "TEXT", conflicts_with = "accept_subject")]
    org: Option<AttributeText>,

    /// Its unit in that organisation
    #[arg(long, value_name = "TEXT", conflicts_with = "accept_subject")]
    ou: Option<AttributeText>,

    /// Its alternative names [default: NAME as DNS name, or urn:gateway:client:NAME]
    #[arg(long, value_name = "NAME", num_args = 1.., value_parser = parse_alternative_name)]
    san: Vec<SubjectAltName>,

    /// Take over the subject that the request asks for
    #[arg(long)]
    accept_subject: bool,

    /// Take over the alternative names that the request asks for
    #[arg(long, conflicts_with = "san")]
    accept_names: bool,

    /// Issue the server's certificate, as server.crt, for the names of --san or --accept-names
    #[arg(long, conflicts_with = "name")]
    server: bool,

    /// How long the certificate lives
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u32).range(DAYS))]
    days: u32,

    /// Replace the certificate if it is there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(store: &Store, arguments: Arguments, format: Format) -> Result<Exit, Failure> {
    let path = &arguments.request;
    let request = SigningRequest::read(&read(path)?)
        .map_err(|problem| Failure::usage(format!("{} {problem}", path.display())))?;
    let ignored = ignored(&request, &arguments);
    let names = (!arguments.san.is_empty()).then_some(arguments.san);
    let subject = |default: Subject| Subject {
        common_name: arguments.cn.unwrap_or(default.common_name),
        organization: arguments.org,
        organizational_unit: arguments.ou,
    };
    let validity = Validity::Days(arguments.days);
    let signed_as = if arguments.server {
        if names.is_none() && !arguments.accept_names {
            return Err(Failure::usage("--server needs the hosts that clients call: --san HOST".to_owned()));
        }
        let default = Subject::named(server_common_name(names.as_deref().unwrap_or_default()));
        let subject = (!arguments.accept_subject).then(|| subject(default));
        SignedAs { name: None, subject, names, validity }
    } else {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = match arguments.name {
            Some(name) => name,
            None => stem.parse::<EntryName>().map_err(|error| {
                Failure::usage(format!("{stem:?} is no name to file it under: {error}; say --name"))
            })?,
        };
        let default = ClientRequest::new(name.clone());
        let names = if arguments.accept_names { None } else { Some(names.unwrap_or(default.names)) };
        let subject = (!arguments.accept_subject).then(|| subject(default.subject));
        SignedAs { name: Some(name), subject, names, validity }
    };
    let overwrite = if arguments.force { Overwrite::Replace } else { Overwrite::Refuse };
    let issued = store.sign(&request, &signed_as, overwrite).map_err(|error| match error {
        crate::pki::Error::Request(problem) => Failure::usage(format!("{} {problem}", path.display())),
        error => error.into(),
    })?;
    match format {
        Format::Text => report::report(store, &issued, Next::Hand, format),
        Format::Json => {
            let mut object = report::json(store, &issued);
            if let Some(fields) = object.as_object_mut() {
                fields.remove("key");
                fields.insert("ignored".to_owned(), ignored.clone().into());
            }
            output::line(object);
            issued.warnings.iter().for_each(output::warning);
        }
    }
    if !ignored.is_empty() {
        output::note(format_args!("the request asked for more, which was ignored: {}", ignored.join("; ")));
    }
    Ok(Exit::Fine)
}

fn ignored(request: &SigningRequest, arguments: &Arguments) -> Vec<String> {
    let mut ignored = Vec::new();
    if !arguments.accept_subject && !request.subject_text.is_empty() {
        ignored.push(format!("subject {}", request.subject_text));
    }
    if !arguments.accept_names && !request.names.is_empty() {
        ignored.push(format!("names {}", request.names.join(", ")));
    }
    ignored.extend(request.wishes.iter().cloned());
    ignored
}
