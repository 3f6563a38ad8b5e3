//! What path a request target means, when programs behind us may read it differently.
//!
//! `/a%2Fb` is one segment to one server and two to another; `/public/../admin` is `/admin` only to those that
//! remove dot segments. A gate that takes one meaning while the upstream takes the other is a hole, so an ambiguous
//! path is read every way it can be, and only a path whose readings all select the same route goes on
//! ([`super::RouteTable::find`]). A plain path, which is nearly every one, has a single reading and is not copied.
//!
//! The readings (RFC 3986 sections 2.4, 5.2.4 and 6.2.2):
//! - literal: unreserved characters decoded, `%2F`, `%5C` and encoded dots left as they are, dot segments kept;
//! - the same with its dot segments removed;
//! - decoded: `%2F`, `%5C` and encoded dots too, then dot segments removed. A backslash counts as a slash there.

use std::borrow::Cow;

/// Why a path is refused, whatever the routes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("the path does not begin with '/'")]
    NotAbsolute,
    /// A backslash, or a raw control byte, DEL among them.
    #[error("the path holds a backslash or a control character")]
    ForbiddenCharacter,
    /// `%` without two hex digits after it, or `%00`.
    #[error("the path holds a broken percent-encoding, or an encoded NUL")]
    PercentEncoding,
    /// `..` above the root, in some reading.
    #[error("the path climbs above the root")]
    AboveRoot,
}

/// Every path that a request target may mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readings<'a> {
    literal: Cow<'a, str>,
    /// With dot segments removed, and decoded: only where they differ from the literal one.
    others: Vec<String>,
}

impl<'a> Readings<'a> {
    /// Reads the path of a request target (without its query).
    ///
    /// # Errors
    /// [`PathError`] for a path that is refused on any table.
    pub fn of(path: &'a str) -> Result<Self, PathError> {
        let bytes = path.as_bytes();
        if bytes.first() != Some(&b'/') {
            return Err(PathError::NotAbsolute);
        }
        let mut encoded = false;
        let mut dotted = false;
        let mut previous = 0;
        for &byte in bytes {
            match byte {
                b'\\' | ..0x20 | 0x7f => return Err(PathError::ForbiddenCharacter),
                b'%' => encoded = true,
                b'.' if previous == b'/' => dotted = true,
                _ => {}
            }
            previous = byte;
        }
        if !encoded && !dotted {
            return Ok(Self { literal: Cow::Borrowed(path), others: Vec::new() });
        }
        Self::of_unusual(path, encoded)
    }

    fn of_unusual(path: &'a str, encoded: bool) -> Result<Self, PathError> {
        let (literal, decoded) = if encoded {
            let (literal, decoded) = decode(path)?;
            (Cow::Owned(literal), Cow::Owned(decoded))
        } else {
            (Cow::Borrowed(path), Cow::Borrowed(path))
        };
        let mut others = Vec::new();
        for other in [remove_dot_segments(&literal)?, remove_dot_segments(&decoded)?] {
            if other != literal && !others.contains(&other) {
                others.push(other);
            }
        }
        Ok(Self { literal, others })
    }

    /// Whether what is left of the path without `prefix` is a path, too. Dot segments that lead out of the prefix and
    /// back in again, as in `/api/../api/x`, would climb above the root without it.
    ///
    /// # Errors
    /// [`PathError::AboveRoot`].
    pub fn check_without(&self, prefix: &str) -> Result<(), PathError> {
        match self.literal.strip_prefix(prefix) {
            None | Some("") => Ok(()),
            Some(rest) => Readings::of(rest).map(|_| ()),
        }
    }

    /// The path, when it has one meaning only.
    pub fn only(&self) -> Option<&str> {
        self.others.is_empty().then_some(&*self.literal)
    }

    /// Every meaning; there is at least one.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.literal).chain(self.others.iter().map(String::as_str))
    }
}

/// The literal reading, and the one in which slashes, backslashes and dots are decoded too. Nothing is decoded twice.
fn decode(path: &str) -> Result<(String, String), PathError> {
    let mut literal = String::with_capacity(path.len());
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(percent) = rest.find('%') {
        let (plain, encoded) = rest.split_at(percent);
        let triplet = encoded.get(..3).ok_or(PathError::PercentEncoding)?;
        // `from_str_radix` alone would take "%+1".
        if !triplet.bytes().skip(1).all(|digit| digit.is_ascii_hexdigit()) {
            return Err(PathError::PercentEncoding);
        }
        let byte = triplet.get(1..).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let byte = byte.filter(|byte| *byte != 0).ok_or(PathError::PercentEncoding)?;
        for text in [&mut literal, &mut decoded] {
            text.push_str(plain);
        }
        match byte {
            b'/' | b'\\' => {
                literal.push_str(triplet);
                decoded.push('/');
            }
            b'.' => {
                literal.push_str(triplet);
                decoded.push('.');
            }
            byte if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) => {
                literal.push(char::from(byte));
                decoded.push(char::from(byte));
            }
            _ => {
                literal.push_str(triplet);
                decoded.push_str(triplet);
            }
        }
        rest = encoded.get(3..).unwrap_or_default();
    }
    literal.push_str(rest);
    decoded.push_str(rest);
    Ok((literal, decoded))
}

/// RFC 3986 section 5.2.4, with one addition: what follows a `;` in a segment is its parameter, and servers that strip
/// parameters first see `..` in `..;x`. Doubled slashes stay.
fn remove_dot_segments(path: &str) -> Result<String, PathError> {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_in_dots = false;
    for segment in path.split('/').skip(1) {
        let name = segment.split(';').next().unwrap_or(segment);
        ends_in_dots = matches!(name, "." | "..");
        match name {
            "." => {}
            ".." => {
                kept.pop().ok_or(PathError::AboveRoot)?;
            }
            _ => kept.push(segment),
        }
    }
    let mut text = String::with_capacity(path.len());
    for segment in &kept {
        text.push('/');
        text.push_str(segment);
    }
    if ends_in_dots || kept.is_empty() {
        text.push('/');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn readings(path: &str) -> Vec<String> {
        Readings::of(path).unwrap_or_else(|error| panic!("{path}: {error}")).iter().map(str::to_owned).collect()
    }

    #[test]
    fn a_plain_path_means_itself() {
        for path in
            ["/", "/api", "/api/", "/a//b", "//", "/a;x=1/b", "/a.b/..c/.d", "/é", "/a:b@c!$&'()*+,=", "/...", "/;"]
        {
            // A segment that begins with a dot is looked at, and found to be plain.
            assert_eq!(readings(path), [path], "{path}");
        }
    }

    #[test]
    fn an_ambiguous_path_has_every_meaning() {
        let cases: [(&str, &[&str]); 17] = [
            ("/%61pi/%7Eme", &["/api/~me"]),
            ("/a%2Fb", &["/a%2Fb", "/a/b"]),
            ("/a%5cb", &["/a%5cb", "/a/b"]),
            ("/a/../b", &["/a/../b", "/b"]),
            ("/a/./b", &["/a/./b", "/a/b"]),
            ("/a/..", &["/a/..", "/"]),
            ("/a/b/..", &["/a/b/..", "/a/"]),
            ("/a/.", &["/a/.", "/a/"]),
            ("/public/%2e%2e/admin", &["/public/%2e%2e/admin", "/admin"]),
            ("/public/%2E./admin", &["/public/%2E./admin", "/admin"]),
            ("/public/..;x/admin", &["/public/..;x/admin", "/admin"]),
            ("/a%252Fb", &["/a%252Fb"]),
            ("/a%20b%3Fc%23d", &["/a%20b%3Fc%23d"]),
            ("/v1%2e0/x", &["/v1%2e0/x", "/v1.0/x"]),
            (
                "/public/../private/..%2fpublic/x",
                &["/public/../private/..%2fpublic/x", "/private/..%2fpublic/x", "/public/x"],
            ),
            ("/a//../b", &["/a//../b", "/a/b"]),
            ("/a/.;p/b", &["/a/.;p/b", "/a/b"]),
        ];
        for (path, expected) in cases {
            assert_eq!(readings(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_left_without_a_prefix_stays_below_the_root() {
        for (path, prefix, fine) in [
            ("/api/x", "/api", true),
            ("/api", "/api", true),
            ("/api/a/../b", "/api", true),
            ("/%61pi/x", "/api", true),
            ("/api/../api/x", "/api", false),
            ("/api/%2e%2e/api/x", "/api", false),
            ("/api/..%2fapi/x", "/api", false),
            ("/a/b/../b/x", "/a/b", false),
            ("/a/b/../b/x", "/a", true),
        ] {
            assert_eq!(Readings::of(path).unwrap().check_without(prefix).is_ok(), fine, "{path} without {prefix}");
        }
    }

    #[test]
    fn refuses_what_has_no_good_meaning() {
        let cases = [
            ("", PathError::NotAbsolute),
            ("api", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("/a\\b", PathError::ForbiddenCharacter),
            ("/a\x7fb", PathError::ForbiddenCharacter),
            ("/a\tb", PathError::ForbiddenCharacter),
            ("/a%00", PathError::PercentEncoding),
            ("/a%", PathError::PercentEncoding),
            ("/a%2", PathError::PercentEncoding),
            ("/a%zz", PathError::PercentEncoding),
            ("/a%+1", PathError::PercentEncoding),
            ("/%é", PathError::PercentEncoding),
            ("/..", PathError::AboveRoot),
            ("/a/../..", PathError::AboveRoot),
            ("/%2e%2e/x", PathError::AboveRoot),
            ("/..%2fx", PathError::AboveRoot),
            ("/..;/x", PathError::AboveRoot),
            ("/a/..%5c..%5cx", PathError::AboveRoot),
        ];
        for (path, expected) in cases {
            assert_eq!(Readings::of(path), Err(expected), "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_never_leaves_a_dot_segment_in_the_decoded_reading(
            path in "/([a.;/\\\\%]|%2[eEfF]|%5[cC]|\\.\\.|%61|é){0,24}"
        ) {
            if let Ok(readings) = Readings::of(&path) {
                let last = readings.iter().last().unwrap().to_owned();
                let dots = last.split('/').any(|segment| {
                    let name = segment.split(';').next().unwrap();
                    name == "." || name == ".."
                });
                prop_assert!(!dots, "{} -> {}", path, last);
                prop_assert!(readings.iter().all(|reading| reading.starts_with('/')));
            }
        }
    }
}
