//! Ending without losing a request: who is told what, and when.

use std::time::Duration;

/// How long a drain takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// From the signal: health says DRAINING and connections are still accepted, so that load balancers can leave.
    pub delay: Duration,
    /// From the signal: what is left then is cut. Not shorter than `delay`.
    pub timeout: Duration,
}
