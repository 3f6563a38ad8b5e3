//! The configuration as it takes effect, with where each value comes from: TOML that loads to the same again.

use std::fmt;

use super::diagnostic::{Origin, without_controls};
use super::reader::{Entry, Section, toml_string};

/// Every value of a configuration and its origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effective {
    entries: Vec<Entry>,
}

impl Effective {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        Self { entries }
    }

    /// Where a value comes from, by its key (`tls.certificate`, `upstream.api.url`); for a list, the item of this
    /// index where there is one.
    pub fn origin(&self, key: &str, item: usize) -> Origin {
        let entry = self.entries.iter().find(|entry| entry.section.path(entry.key) == key);
        entry.map_or(Origin::Default, |entry| entry.items.get(item).unwrap_or(&entry.origin).clone())
    }

    /// The keys and values of a section and its sort, without their origins; `None` is a value that is not set.
    pub fn values(&self) -> impl Iterator<Item = (String, Option<&str>)> {
        self.entries.iter().map(|entry| (entry.section.path(entry.key), entry.value.as_deref()))
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("# The configuration as it takes effect, and where each value comes from.\n")?;
        let mut section = &Section::Root;
        for entry in &self.entries {
            if entry.section != *section {
                section = &entry.section;
                writeln!(f, "\n{}", header(section))?;
            }
            match (&entry.value, &entry.origin) {
                (Some(value), Origin::Default) => writeln!(f, "{} = {value}  # default", entry.key)?,
                (Some(value), origin) => {
                    writeln!(f, "{} = {value}  # from {}", entry.key, without_controls(&origin.to_string()))?
                }
                (None, _) => writeln!(f, "# {} is not set", entry.key)?,
            }
        }
        Ok(())
    }
}

fn header(section: &Section) -> String {
    match section {
        Section::Route(_) => "[[route]]".to_owned(),
        Section::Test(_) => "[[test]]".to_owned(),
        Section::Respond(_) => "[route.respond]".to_owned(),
        Section::Upstream(name) => format!("[upstream.{}]", key(name)),
        Section::UpstreamPart(name, part) => format!("[upstream.{}.{part}]", key(name)),
        Section::Sni(_) => "[[tls.sni]]".to_owned(),
        Section::SniClientAuth(_) => "[tls.sni.client_auth]".to_owned(),
        Section::SniShadow(_) => "[tls.sni.client_auth.shadow]".to_owned(),
        Section::Root | Section::Plain(_) | Section::Upstreams => format!("[{}]", section.pattern()),
    }
}

/// A bare key where TOML takes one.
fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !name.is_empty() && name.bytes().all(bare) { name.to_owned() } else { toml_string(name) }
}
