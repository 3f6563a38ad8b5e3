//! What may be configured of logs.

/// Logs on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How a line looks.
    pub format: LogFormat,
    /// Whether requests are logged.
    pub access: bool,
    /// Whether health checks are logged, too.
    pub health: bool,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// For a person at a terminal.
    Text,
}
