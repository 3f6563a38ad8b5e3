//! The client's certificate told to the upstream, in the dialects that the routes ask for: made once for all
//! connections that show it, from parsed values only.
//!
//! Who is not believed is described in no dialect; `nginx` alone says why. A certificate's issuer may have put anything
//! into its names, so each dialect escapes by its own rules what could read as a second field, value or name, or leaves
//! out what its rules cannot express.

mod alb;
mod nginx;
mod rfc9440;
mod text;
mod traefik;
mod xfcc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::WallTime;
use crate::identity::{CertificateFacts, ClientCert, SubjectAltName};
use crate::proxy::settings::Dialect;
use crate::tls::ProfileId;
use crate::upstream::KnownFields;

/// A field with its name and line end; gunicorn refuses a longer one. What would be longer is left out.
const LONGEST_FIELD: usize = 8190;

/// Room for the fields of most requests: to copy a table that is large enough costs less than to let one grow.
const ROOM: usize = 24;

/// The sets of dialects that the routes of one configuration ask for.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Dialects {
    sets: Vec<Vec<Dialect>>,
    /// URIs of the server's own certificate, by TLS profile: whom the client called.
    own_uris: Vec<Vec<String>>,
}

/// The fields for one client, each as the beginning of a request's: one table for each set of dialects.
#[derive(Debug)]
pub(in crate::proxy) struct ClientCertHeaders(Box<[KnownFields]>);

/// A client that was believed.
struct Shown<'a> {
    facts: &'a CertificateFacts,
    /// Its certificate and the intermediates that lead to the trust anchor, in DER.
    path: &'a [CertificateDer<'static>],
    own_uris: &'a [String],
}

impl Dialects {
    /// No sets yet. `own` is what the server's own certificate says, of each profile.
    pub(in crate::proxy) fn new<'a>(own: impl Iterator<Item = &'a CertificateFacts>) -> Self {
        let uri = |name: &SubjectAltName| match name {
            SubjectAltName::Uri(uri) => Some(uri.clone()),
            _ => None,
        };
        let uris = |own: &CertificateFacts| own.subject_alt_names.iter().filter_map(uri).collect();
        Self { sets: Vec::new(), own_uris: own.map(uris).collect() }
    }

    /// The place of a set, which is `None` for the empty one. There are no more sets than subsets of five dialects,
    /// however many routes.
    pub(in crate::proxy) fn place(&mut self, mut wanted: Vec<Dialect>) -> Option<usize> {
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            return None;
        }
        let known = self.sets.iter().position(|set| *set == wanted);
        Some(known.unwrap_or_else(|| {
            self.sets.push(wanted);
            self.sets.len() - 1
        }))
    }

    /// Describes a client of this profile. `path` is what led from a believed one to the trust anchor, its own certificate first.
    pub(in crate::proxy) fn describe(
        &self,
        profile: ProfileId,
        client: &ClientCert,
        path: &[CertificateDer<'static>],
    ) -> ClientCertHeaders {
        let own_uris = self.own_uris.get(profile.number()).map(Vec::as_slice).unwrap_or_default();
        let shown = client.verified().map(|facts| Shown { facts, path, own_uris });
        // The values are made once, and shared by the tables that have them.
        let mut spoken: Vec<(Dialect, HeaderMap)> = Vec::new();
        for dialect in self.sets.iter().flatten() {
            if !spoken.iter().any(|(known, _)| known == dialect) {
                spoken.push((*dialect, fields(*dialect, client, shown.as_ref())));
            }
        }
        let table = |set: &Vec<Dialect>| {
            let mut table = HeaderMap::with_capacity(ROOM);
            for (_, fields) in spoken.iter().filter(|(dialect, _)| set.contains(dialect)) {
                table.extend(fields.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
            // A copy has room in its index only.
            KnownFields::from(table.clone())
        };
        ClientCertHeaders(self.sets.iter().map(table).collect())
    }
}

impl ClientCertHeaders {
    /// The fields for the set of dialects of this place.
    pub(in crate::proxy) fn fields(&self, place: usize) -> Option<&KnownFields> {
        self.0.get(place)
    }
}

/// What an upstream is told of a client in these dialects, by a server whose own certificate is `own`. `path` is as for a
/// believed client: its certificate first, without the trust anchor.
pub fn client_cert_fields(
    dialects: Vec<Dialect>,
    own: &CertificateFacts,
    client: &ClientCert,
    path: &[CertificateDer<'static>],
) -> HeaderMap {
    let mut known = Dialects::new(std::iter::once(own));
    let place = known.place(dialects);
    let told = known.describe(ProfileId::FALLBACK, client, path);
    place.and_then(|place| told.fields(place)).map(|fields| fields.table().clone()).unwrap_or_default()
}

fn fields(dialect: Dialect, client: &ClientCert, shown: Option<&Shown<'_>>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    match (dialect, shown) {
        (Dialect::Nginx, _) => nginx::write(client, &mut fields),
        (_, None) => {}
        (Dialect::Rfc9440, Some(shown)) => rfc9440::write(shown, &mut fields),
        (Dialect::Xfcc, Some(shown)) => xfcc::write(shown, &mut fields),
        (Dialect::Alb, Some(shown)) => alb::write(shown, &mut fields),
        (Dialect::Traefik, Some(shown)) => traefik::write(shown, &mut fields),
    }
    fields
}

/// Adds a field unless it is too long; says whether it did.
fn put(fields: &mut HeaderMap, name: &'static str, text: &str) -> bool {
    let length = name.len() + ": ".len() + text.len() + "\r\n".len();
    // The texts are printable ASCII by construction; one that is not is a bug, and must not become a split header.
    match HeaderValue::from_str(text) {
        Ok(value) if length <= LONGEST_FIELD => {
            fields.insert(HeaderName::from_static(name), value);
            true
        }
        _ => false,
    }
}

fn rfc3339(time: WallTime) -> String {
    OffsetDateTime::from_unix_timestamp(time.unix_seconds())
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
