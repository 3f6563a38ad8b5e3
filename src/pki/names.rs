//! What things are called: the file name of an entry, and the texts of a subject (RFC 5280 section 4.1.2.6).
//!
//! Both are types that cannot be wrong, so nothing that opens a file or signs a certificate has to ask again.

use std::fmt;
use std::str::FromStr;

/// Upper bound of the attributes we write, in characters (RFC 5280 appendix A: ub-common-name, ub-organization-name,
/// ub-organizational-unit-name).
const LONGEST_ATTRIBUTE: usize = 64;

/// A name that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It would not be a safe file name.
    #[error("a name is 1 to 64 of the characters A-Z a-z 0-9 . _ - and does not begin with a dot")]
    Entry,
    /// A subject attribute may not be empty.
    #[error("it may not be empty")]
    Empty,
    /// A subject attribute is too long.
    #[error("it has {0} characters; a certificate's subject allows 64")]
    TooLong(usize),
    /// A subject attribute would break the lines of logs and terminals.
    #[error("it may not contain control characters")]
    Control,
}

/// The name of a client's entry, which is also the name of its files: `[A-Za-z0-9._-]{1,64}`, no leading dot.
///
/// It can therefore never climb out of its folder, nor collide with the hidden files that writing needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryName(String);

impl EntryName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EntryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if matches!(text.len(), 1..=64) && !text.starts_with('.') && text.bytes().all(safe) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Entry)
        }
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of one subject attribute: 1 to 64 characters, no control characters. Written as UTF8String.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeText(String);

impl AttributeText {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AttributeText {
    /// The name of a CA that was given none.
    pub(super) fn authority(digits: &str) -> Self {
        Self(format!("gateway CA {digits}"))
    }

    /// The name of the root above a CA of this name.
    #[must_use]
    pub fn root(&self) -> Self {
        let short: String = self.0.chars().take(LONGEST_ATTRIBUTE - 5).collect();
        Self(format!("{short} root"))
    }

    /// The name of a CA that is filed under this one. It does not read as a host name, which Java would hold against the
    /// name constraints of the CAs above it.
    pub fn below(name: &EntryName) -> Self {
        let short: String = name.0.chars().take(LONGEST_ATTRIBUTE - 3).collect();
        Self(format!("{short} CA"))
    }

    /// The name of a server none of whose names is short enough.
    pub(super) fn gateway() -> Self {
        Self("gateway".to_owned())
    }
}

impl FromStr for AttributeText {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.trim().is_empty() {
            return Err(NameError::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        match text.chars().count() {
            ..=LONGEST_ATTRIBUTE => Ok(Self(text.to_owned())),
            characters => Err(NameError::TooLong(characters)),
        }
    }
}

impl From<&EntryName> for AttributeText {
    /// Every entry name is short and printable enough for a subject.
    fn from(name: &EntryName) -> Self {
        Self(name.0.clone())
    }
}

/// A subject: common name, and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// CN.
    pub common_name: AttributeText,
    /// O.
    pub organization: Option<AttributeText>,
    /// OU.
    pub organizational_unit: Option<AttributeText>,
}

impl Subject {
    /// Nothing but a common name.
    pub fn named(common_name: AttributeText) -> Self {
        Self { common_name, organization: None, organizational_unit: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_names_are_safe_file_names() {
        let longest = "a".repeat(64);
        for good in ["client-1", "a", "A.b_c-9", "-", "a..b", "1.2.3.4", longest.as_str()] {
            assert_eq!(good.parse::<EntryName>().map(|name| name.to_string()), Ok(good.to_owned()));
        }
        let too_long = "a".repeat(65);
        for bad in [
            "",
            ".",
            "..",
            ".hidden",
            "../x",
            "a/b",
            "/etc/passwd",
            "a\\b",
            "a b",
            "é",
            "a\n",
            "a\0",
            too_long.as_str(),
        ] {
            assert_eq!(bad.parse::<EntryName>(), Err(NameError::Entry), "{bad:?}");
        }
    }

    #[test]
    fn subject_texts_are_short_and_printable() {
        let longest = "é".repeat(64);
        for good in ["x", "Any Name", "Größe, \"Co\" + <Sons>", longest.as_str()] {
            assert!(good.parse::<AttributeText>().is_ok(), "{good:?}");
        }
        let too_long = "é".repeat(65);
        let cases = [
            ("", NameError::Empty),
            ("  ", NameError::Empty),
            (too_long.as_str(), NameError::TooLong(65)),
            ("a\nb", NameError::Control),
            ("a\u{0}", NameError::Control),
            ("a\u{7f}", NameError::Control),
            ("a\u{9b}31m", NameError::Control),
        ];
        for (bad, error) in cases {
            assert_eq!(bad.parse::<AttributeText>(), Err(error), "{bad:?}");
        }
    }
}
