//! The data path: a request from its head to the last byte of its answer.

mod settings;

pub use settings::{Action, HeaderSettings, Limits, RouteSettings, Settings, Timeouts};
