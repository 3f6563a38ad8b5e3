//! The API behind the gateway: where its endpoints are, which one to take, and a request to it.
//!
//! Nothing is sent without a [`crate::policy::Grant`]: a [`Lease`], without which there is no sending, is only given
//! to the holder of one. How often to try is the caller's business.

mod answer;
mod balance;
mod body;
mod budget;
mod check;
mod cluster;
mod discover;
mod discovered;
mod endpoint;
mod error;
mod head;
mod health;
mod http1;
mod http2;
mod lease;
mod lookup;
mod memory;
mod outlier;
mod pending;
mod resolve;
mod set;
mod settings;
mod standing;
mod status;
mod stream;
mod upgraded;
mod window;

pub use body::{AnswerBody, AnswerCut, RequestBody};
pub use cluster::Cluster;
pub use discovered::{Discovered, DiscoveryStatus};
pub use endpoint::{Condition, Endpoint, Reuse};
pub use error::{Failure, FailureKind, Replay};
pub use head::{Fields, Http1Head, KnownFields, RequestHead};
pub use http1::{WholeAnswer, read_whole_answer};
pub use lease::Lease;
pub use settings::{Balance, DnsSettings, HealthCheck, Limits, Settings, Target, Timeouts};
pub use status::{ClusterStatus, EndpointState, EndpointStatus, LookupState, LookupStatus};
pub use upgraded::Upgraded;
