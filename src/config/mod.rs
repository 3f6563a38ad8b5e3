//! From text to a [`Config`] that is valid by construction, or to every diagnostic at once.
//!
//! The only module that knows the file's format. Each part of the gateway owns the type of its settings; nothing but
//! this module and `app` sees them together.

mod settings;

pub use settings::{Config, HealthListener};
