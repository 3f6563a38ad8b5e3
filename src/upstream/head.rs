//! The head of a request to an upstream, in the form that its protocol wants: for HTTP/1 the very text that goes out,
//! since a table that is only filled to be written out again costs as much as all the rest of a request's way.

use http::header::{HeaderName, HeaderValue, TRAILER};
use http::{HeaderMap, Method, Request};

/// The head of a request to an upstream.
#[derive(Debug)]
pub enum RequestHead {
    /// For one that speaks HTTP/1.
    Http1(Http1Head),
    /// For one that speaks HTTP/2.
    Http2(Request<()>),
}

/// Where the fields of a request are gathered.
pub trait Fields {
    /// Adds a field. What has the same name already stays.
    fn put(&mut self, name: &HeaderName, value: &HeaderValue);

    /// Says which trailers may follow the body (RFC 9110 section 6.6.2).
    fn announce(&mut self, trailers: Vec<HeaderName>);
}

/// Fields that many requests have, in both forms.
#[derive(Debug, Clone, Default)]
pub struct KnownFields {
    table: HeaderMap,
    text: Box<[u8]>,
}

/// A request line and fields, as they go out.
#[derive(Debug)]
pub struct Http1Head {
    method: Method,
    text: Vec<u8>,
    trailers: Vec<HeaderName>,
}

impl From<HeaderMap> for KnownFields {
    fn from(table: HeaderMap) -> Self {
        let mut text = Vec::new();
        for (name, value) in &table {
            write_field(name, value, &mut text);
        }
        Self { table, text: text.into() }
    }
}

impl KnownFields {
    /// As a table.
    pub fn table(&self) -> &HeaderMap {
        &self.table
    }
}

impl Http1Head {
    /// A request line, and the fields in `known`. Room for about `more` bytes of other fields is made.
    pub fn new(method: &Method, path: &str, query: Option<&str>, known: Option<&KnownFields>, more: usize) -> Self {
        let known = known.map_or(&[][..], |known| &known.text);
        let mut text = Vec::with_capacity(path.len() + query.map_or(0, str::len) + known.len() + more + 64);
        text.extend_from_slice(method.as_str().as_bytes());
        text.push(b' ');
        text.extend_from_slice(path.as_bytes());
        if let Some(query) = query {
            text.push(b'?');
            text.extend_from_slice(query.as_bytes());
        }
        text.extend_from_slice(b" HTTP/1.1\r\n");
        text.extend_from_slice(known);
        Self { method: method.clone(), text, trailers: Vec::new() }
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    /// The text, which only the fields of the framing and the last line end are missing from, and the trailers.
    pub fn into_parts(self) -> (Vec<u8>, Vec<HeaderName>) {
        (self.text, self.trailers)
    }
}

impl Fields for Http1Head {
    fn put(&mut self, name: &HeaderName, value: &HeaderValue) {
        write_field(name, value, &mut self.text);
    }

    fn announce(&mut self, trailers: Vec<HeaderName>) {
        if let Some(value) = joined(&trailers) {
            self.put(&TRAILER, &value);
            self.trailers = trailers;
        }
    }
}

impl Fields for HeaderMap {
    fn put(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.append(name.clone(), value.clone());
    }

    fn announce(&mut self, trailers: Vec<HeaderName>) {
        if let Some(value) = joined(&trailers) {
            self.append(TRAILER, value);
        }
    }
}

/// `None` when there are none.
fn joined(names: &[HeaderName]) -> Option<HeaderValue> {
    let text = names.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
    HeaderValue::from_str(&text).ok().filter(|value| !value.is_empty())
}

/// Neither can hold a line end: their types see to it.
pub(super) fn write_field(name: &HeaderName, value: &HeaderValue, to: &mut Vec<u8>) {
    let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
    to.reserve(name.len() + value.len() + 4);
    to.extend_from_slice(name);
    to.extend_from_slice(b": ");
    to.extend_from_slice(value);
    to.extend_from_slice(b"\r\n");
}
