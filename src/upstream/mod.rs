//! The API behind the gateway: where its endpoints are, which one to take, and a request to it.
//!
//! Nothing is sent without a [`crate::policy::Grant`]: a [`Lease`], without which there is no sending, is only given
//! to the holder of one. How often to try is the caller's business.

mod answer;
mod balance;
mod body;
mod cluster;
mod connection;
mod discover;
mod endpoint;
mod error;
mod resolve;
mod settings;

pub use body::{AnswerBody, AnswerCut, RequestBody};
pub use cluster::Cluster;
pub use endpoint::{Endpoint, Lease};
pub use error::{Failure, FailureKind, Replay};
pub use settings::{DnsSettings, Settings, Timeouts};
