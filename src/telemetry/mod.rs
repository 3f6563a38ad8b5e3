//! What the gateway tells its operator: application log and access log, both on standard output.

mod log;
mod settings;
mod sink;
mod subscriber;
mod time;

pub use log::{
    ConnectionLine, LONGEST_HOST, LONGEST_LINE, LONGEST_METHOD, LONGEST_PATH, LONGEST_TEXT, Log, RequestLine, loss_line,
};
pub use settings::{LogFormat, Settings};
pub use sink::{LogSink, LogWriter};
pub use subscriber::install;
pub use time::rfc3339;
