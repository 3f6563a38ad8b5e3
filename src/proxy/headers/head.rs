//! The head of a request to an upstream, put together: what is asked for, what is known of the client, and the fields.

use http::{Request, Uri, request};

use super::request::{RequestHeaderRules, RequestHeaders};
use crate::proxy::upgrade;
use crate::tls::Protocol;
use crate::upstream::{Http1Head, KnownFields, RequestHead};

/// Bytes of the fields that every request to an upstream has.
const OWN_FIELDS: usize = 384;
/// And of one of the client's, on average.
const USUAL_FIELD: usize = 64;

impl RequestHeaderRules {
    /// The head that an upstream gets of a client's request. `target` is what is asked for there, and `known` are the
    /// fields about the client's certificate.
    pub fn head(
        &self,
        client: &request::Parts,
        target: &Uri,
        known: Option<&KnownFields>,
        ours: &RequestHeaders<'_>,
    ) -> RequestHead {
        let method = upgrade::method(client);
        match ours.upstream {
            Protocol::Http1 => {
                let more = OWN_FIELDS + client.headers.len() * USUAL_FIELD;
                let mut head = Http1Head::new(method, target.path(), target.query(), known, more);
                self.apply(client, ours, &mut head);
                RequestHead::Http1(head)
            }
            Protocol::Http2 => {
                let mut head = Request::new(());
                *head.method_mut() = method.clone();
                *head.uri_mut() = target.clone();
                let fields = head.headers_mut();
                if let Some(known) = known {
                    known.table().clone_into(fields);
                }
                self.apply(client, ours, fields);
                RequestHead::Http2(head)
            }
        }
    }
}
