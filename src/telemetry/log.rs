//! The lines of the log: one JSON object each, or text for a person at a terminal. Every line has `time`, `level` and
//! `event`; what a peer sent is escaped, and a line never exceeds [`LONGEST_LINE`].

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use super::settings::{LogFormat, Settings};
use super::sink::LogSink;
use super::time::with_rfc3339;
use crate::clock::Clock;

/// Docker and FireLens split lines at 16 KiB.
pub const LONGEST_LINE: usize = 16 * 1024;
/// Bytes of a path, a host, a method, and of each thing that a certificate says, that are worth logging. Together with
/// their escapes they keep a line under [`LONGEST_LINE`]. Who reads a log takes a field of this length for one that was
/// cut.
pub const LONGEST_PATH: usize = 2 * 1024;
/// See [`LONGEST_PATH`].
pub const LONGEST_HOST: usize = 256;
/// See [`LONGEST_PATH`].
pub const LONGEST_METHOD: usize = 64;
/// See [`LONGEST_PATH`].
pub const LONGEST_TEXT: usize = 1024;

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The log, as the data path writes it. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Log {
    sink: LogSink,
    format: LogFormat,
    wanted: Arc<Wanted>,
    clock: Clock,
}

/// What may change at a reload.
#[derive(Debug)]
struct Wanted {
    access: AtomicBool,
    health: AtomicBool,
}

/// One request, when its answer has ended. Absent values are `null`.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are the contract's, and docs/troubleshooting.md explains them")]
pub struct RequestLine<'a> {
    pub request_id: &'a str,
    pub client_ip: std::net::IpAddr,
    pub client_port: u16,
    pub tls_version: Option<&'a str>,
    pub tls_cipher: Option<&'a str>,
    pub tls_group: Option<&'a str>,
    pub sni: Option<&'a str>,
    pub tls_resumed: bool,
    pub client_verify: &'a str,
    pub client_subject: Option<&'a str>,
    pub client_serial: Option<&'a str>,
    pub client_sha256: Option<&'a str>,
    pub client_san: Option<&'a str>,
    pub method: &'a str,
    pub host: Option<&'a str>,
    pub path: &'a str,
    pub protocol: &'a str,
    pub route: &'a str,
    pub upstream: Option<&'a str>,
    pub upstream_addr: Option<SocketAddr>,
    pub attempts: u32,
    pub status: u16,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub duration_ms: f64,
    pub upstream_ms: Option<f64>,
    pub trace_id: Option<&'a str>,
    pub reason: Option<&'a str>,
    /// Only there where something is tried that comes out differently.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_refuse: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_allow: Option<&'a str>,
    pub aborted: Option<&'a str>,
}

/// What became of a connection before there was a request.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are the contract's, and docs/troubleshooting.md explains them")]
pub struct ConnectionLine<'a> {
    pub client_ip: std::net::IpAddr,
    pub client_port: u16,
    pub reason: &'a str,
    pub detail: &'a str,
    pub status: Option<u16>,
}

impl Log {
    /// A log that writes to `sink`.
    pub fn new(sink: LogSink, settings: Settings, clock: Clock) -> Self {
        let wanted = Arc::new(Wanted { access: settings.access.into(), health: settings.health.into() });
        Self { sink, format: settings.format, wanted, clock }
    }

    /// Takes over what a reload may change: everything but the format.
    pub fn adjust(&self, settings: Settings) {
        self.wanted.access.store(settings.access, Ordering::Relaxed);
        self.wanted.health.store(settings.health, Ordering::Relaxed);
    }

    /// Whether requests are logged; `health` tells a health check.
    pub fn wants_request(&self, health: bool) -> bool {
        self.wanted.access.load(Ordering::Relaxed) && (!health || self.wanted.health.load(Ordering::Relaxed))
    }

    /// Logs a request.
    pub fn request(&self, request: &RequestLine<'_>) {
        match self.format {
            LogFormat::Json => self.json("info", "request", request),
            LogFormat::Text => self.text("INFO", |line| {
                let RequestLine { method, path, status, duration_ms, client_verify, client_ip, .. } = request;
                let _ = write!(line, "{status} {method} {} {duration_ms:.1}ms {client_ip}", path.escape_debug());
                let _ = write!(line, " client={client_verify}");
                for (name, value) in [
                    ("subject", request.client_subject),
                    ("upstream", request.upstream),
                    ("reason", request.reason),
                    ("would_refuse", request.would_refuse),
                    ("would_allow", request.would_allow),
                    ("aborted", request.aborted),
                ] {
                    if let Some(value) = value {
                        let _ = write!(line, " {name}={}", value.escape_debug());
                    }
                }
                let _ = write!(line, " id={}", request.request_id);
            }),
        }
    }

    /// Logs a handshake that failed.
    pub fn handshake(&self, connection: &ConnectionLine<'_>) {
        self.connection("handshake", connection);
    }

    /// Logs what was refused before it was a request.
    pub fn rejected(&self, connection: &ConnectionLine<'_>) {
        self.connection("rejected", connection);
    }

    fn connection(&self, event: &'static str, connection: &ConnectionLine<'_>) {
        match self.format {
            LogFormat::Json => self.json("warn", event, connection),
            LogFormat::Text => self.text("WARN", |line| {
                let ConnectionLine { client_ip, reason, detail, .. } = connection;
                let _ = write!(line, "{event} {client_ip} reason={reason}: {}", detail.escape_debug());
            }),
        }
    }

    /// `fields` is a struct with fields; level and event need no escapes.
    fn json<T: Serialize>(&self, level: &'static str, event: &'static str, fields: &T) {
        LINE.with_borrow_mut(|line| {
            line.clear();
            with_rfc3339(self.clock.now(), |time| {
                for piece in ["{\"time\":\"", time, "\",\"level\":\"", level, "\",\"event\":\"", event, "\""] {
                    line.extend_from_slice(piece.as_bytes());
                }
            });
            // The object of the fields goes on where this one is.
            let joint = line.len();
            let written = fields.serialize(&mut Serializer::with_formatter(&mut *line, Visible));
            if let Some(brace) = line.get_mut(joint) {
                *brace = b',';
            }
            line.push(b'\n');
            if written.is_ok() && line.len() <= LONGEST_LINE {
                self.sink.write_line(line);
            }
        });
    }

    fn text(&self, level: &str, write: impl FnOnce(&mut String)) {
        let mut line = with_rfc3339(self.clock.now(), |time| format!("{time} {level:5} "));
        write(&mut line);
        line.push('\n');
        self.sink.write_line(line.as_bytes());
    }
}

/// JSON in which every character shows itself. JSON itself has only the first control characters of ASCII escaped; a
/// terminal obeys those of Latin-1, too, and others turn around what stands beside them.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        // Nearly every one.
        if fragment.bytes().all(|byte| byte < 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some((index, character)) = rest.char_indices().find(|(_, character)| is_hidden(*character)) {
            let (before, hidden) = rest.split_at(index);
            write!(writer, "{before}\\u{:04x}", u32::from(character))?;
            rest = hidden.get(character.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Control characters that JSON leaves as they are, ends of lines and paragraphs, and what changes the direction of text.
const fn is_hidden(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// The line that tells of lost lines.
pub fn loss_line(format: LogFormat, clock: &Clock, count: u64) -> Vec<u8> {
    with_rfc3339(clock.now(), |time| match format {
        LogFormat::Json => {
            format!("{{\"time\":\"{time}\",\"level\":\"warn\",\"event\":\"log_lines_dropped\",\"count\":{count}}}\n")
        }
        LogFormat::Text => format!("{time} WARN  {count} log lines were dropped because nobody read them\n"),
    })
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut json = Vec::new();
        text.serialize(&mut Serializer::with_formatter(&mut json, Visible)).unwrap();
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        for (text, expected) in [
            ("plain", "\"plain\""),
            ("\u{e9}\u{1f600}", "\"\u{e9}\u{1f600}\""),
            ("a\u{9b}31m\u{202e}b\u{2028}", "\"a\\u009b31m\\u202eb\\u2028\""),
            ("\u{85}\"\u{1}\u{2066}", "\"\\u0085\\\"\\u0001\\u2066\""),
        ] {
            assert_eq!(written(text), expected);
        }
    }

    proptest! {
        #[test]
        fn every_text_reads_back_to_itself(text in "[a-c\"\\\\\u{0}\u{7f}-\u{9f}\u{e9}\u{2028}-\u{202e}]{0,12}|.{0,12}") {
            let json = written(&text);
            prop_assert!(!json.chars().any(|character| character.is_control() || is_hidden(character)), "{}", json);
            let read: String = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read, text);
        }
    }
}
