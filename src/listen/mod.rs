//! Sockets: bind, accept with back-pressure, survive running out of files.

mod settings;

pub use settings::Settings;
