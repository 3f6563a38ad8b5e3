//! The application log: `tracing` events as lines of the same log.

use std::fmt;
use std::fmt::Write as _;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};

use super::settings::LogFormat;
use super::sink::LogSink;
use super::time::with_rfc3339;
use crate::clock::Clock;

/// Libraries are quiet unless asked: what they warn of is what peers do.
const DEFAULT_FILTER: &str = "error,mtls_gateway=info";

/// Sends this process's `tracing` events to `sink`. `filter` is what `RUST_LOG` said, if anything.
///
/// # Errors
/// A sentence for the operator when the filter is none, or when a subscriber is already set.
pub fn install(sink: LogSink, format: LogFormat, clock: Clock, filter: Option<&str>) -> Result<(), String> {
    let filter = filter.filter(|filter| !filter.is_empty()).unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("RUST_LOG is not a log filter: {error}"))?;
    let lines = LineLayer { sink, format, clock };
    Registry::default().with(lines.with_filter(filter)).try_init().map_err(|error| error.to_string())
}

#[derive(Debug)]
struct LineLayer {
    sink: LogSink,
    format: LogFormat,
    clock: Clock,
}

impl<S: Subscriber> Layer<S> for LineLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let line = with_rfc3339(self.clock.now(), |time| match self.format {
            LogFormat::Json => fields.into_json(time, level),
            LogFormat::Text => fields.into_text(time, level),
        });
        self.sink.write_line(line.as_bytes());
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    /// `time`, `level` and `event` come first, where an eye looks for them.
    fn into_json(self, time: &str, level: Level) -> String {
        let level = level.as_str().to_ascii_lowercase();
        let message = Value::from(self.message);
        let mut line = format!("{{\"time\":\"{time}\",\"level\":\"{level}\",\"event\":\"log\",\"message\":{message}");
        for (name, value) in self.others {
            let _ = write!(line, ",{}:{value}", Value::from(name));
        }
        line.push_str("}\n");
        line
    }

    fn into_text(self, time: &str, level: Level) -> String {
        let mut line = format!("{time} {level:5} {}", self.message);
        for (name, value) in self.others {
            let _ = match value {
                Value::String(text) => write!(line, " {name}={}", text.escape_debug()),
                value => write!(line, " {name}={value}"),
            };
        }
        line.push('\n');
        line
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.others.insert(field.name().to_owned(), value.into());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}
