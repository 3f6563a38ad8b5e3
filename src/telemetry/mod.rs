//! What the gateway tells its operator: application log and access log.

mod settings;

pub use settings::{LogFormat, Settings};
