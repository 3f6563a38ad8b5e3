//! The chain walk: what was shown, certificate by certificate, and where it leads.

use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use time::macros::format_description;

use super::{Mark, Step, fact, printable};
use crate::clock::WallTime;
use crate::identity::{CertificateFacts, ClientCert, Reason};
use crate::tls::TrustStore;

pub(super) fn steps(
    chain: &[CertificateDer<'_>],
    trust: Option<&TrustStore>,
    client: &ClientCert,
    now: WallTime,
) -> Vec<Step> {
    let mut steps: Vec<_> = chain.iter().map(|certificate| shown(certificate, now)).collect();
    steps.push(match client {
        ClientCert::NotRequested => {
            fact("chain", "client_auth.mode is \"off\": no certificate is asked for".to_owned())
        }
        ClientCert::NotPresented => Step::new("chain", Mark::No, "no certificate is sent".to_owned()),
        ClientCert::Refused { reason, .. } => Step::new("chain", Mark::No, refused(*reason)),
        ClientCert::Verified(_) => {
            let path = trust.and_then(|trust| trust.judge(chain, now).ok()).map(|believed| believed.path);
            Step::new("chain", Mark::Yes, printable(&way(&path.unwrap_or_default())))
        }
    });
    steps
}

fn refused(reason: Reason) -> String {
    format!("{reason}: {}", reason.advice())
}

fn way(path: &[CertificateDer<'_>]) -> String {
    let facts: Vec<_> = path.iter().filter_map(|der| CertificateFacts::from_der(der).ok()).collect();
    let mut names: Vec<_> = facts.iter().map(|facts| facts.subject.as_str()).collect();
    names.extend(facts.last().map(|facts| facts.issuer.as_str()));
    format!("{}, which is trusted", names.join(" <- "))
}

fn shown(certificate: &CertificateDer<'_>, now: WallTime) -> Step {
    let facts = match CertificateFacts::from_der(certificate) {
        Ok(facts) => facts,
        Err(error) => return Step::new("certificate", Mark::No, error),
    };
    let names = if facts.subject_alt_names.is_empty() { "no names".to_owned() } else { facts.san_text() };
    let dates = if now.unix_seconds() > facts.not_after.unix_seconds() {
        format!("EXPIRED on {}", date(facts.not_after))
    } else if now < facts.not_before {
        format!("NOT VALID until {}", date(facts.not_before))
    } else {
        format!("valid until {}", date(facts.not_after))
    };
    let text = format!(
        "{} ({names}), issued by {}, {dates}, serial {}, SHA-256 {}",
        if facts.subject.is_empty() { "no subject" } else { &facts.subject },
        facts.issuer,
        facts.serial,
        facts.sha256
    );
    fact("certificate", printable(&text))
}

fn date(time: WallTime) -> String {
    OffsetDateTime::from_unix_timestamp(time.unix_seconds())
        .ok()
        .and_then(|time| time.format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC")).ok())
        .unwrap_or_default()
}
