//! Header rules: what passes from outside, what ends here, and what we say ourselves.

mod client_cert;
mod head;
mod hop;
mod protected;
mod request;
mod response;

pub(super) use client_cert::{ClientCertHeaders, Dialects};
pub(super) use response::{AnswerTrailers, clean_trailers, declared_trailers};

pub use client_cert::client_cert_fields;
pub use protected::is_protected;
pub use request::{RequestHeaderRules, RequestHeaders};
pub use response::clean_answer;
