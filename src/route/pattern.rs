//! What a configuration may write for a route's path.

use std::fmt;

use super::path::Readings;

/// `"/x"` is exact, `"/x/*"` is a prefix: `/x/` and all below it, neither `/x` nor `/xy`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// This path and no other.
    Exact(Box<str>),
    /// Every path that begins with this text, which ends in a slash.
    Prefix(Box<str>),
}

/// Why a pattern is none; the text tells what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A path that does not begin with a slash.
    #[error("a path begins with '/'")]
    NotAbsolute,
    /// A star elsewhere than as the whole last segment.
    #[error("'*' stands only at the end, as in \"/api/*\"")]
    StrayStar,
    /// Something a request path is never compared as: dot segments, percent-encoding, a query.
    #[error(
        "a path is written as it is compared: without percent-encoding, '.' or '..' segments, ';', '?', '#' or '\\'"
    )]
    NotCanonical,
}

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] with what is wrong.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if !text.starts_with('/') {
            return Err(PatternError::NotAbsolute);
        }
        let (fixed, is_prefix) = match text.strip_suffix('*') {
            Some(fixed) if fixed.ends_with('/') => (fixed, true),
            Some(_) => return Err(PatternError::StrayStar),
            None => (text, false),
        };
        if fixed.contains('*') {
            return Err(PatternError::StrayStar);
        }
        let plain = fixed.bytes().all(|byte| byte.is_ascii_graphic() && !b"%?#\\;".contains(&byte));
        if !plain || !Readings::of(fixed).is_ok_and(|readings| readings.only().is_some()) {
            return Err(PatternError::NotCanonical);
        }
        Ok(if is_prefix { Self::Prefix(fixed.into()) } else { Self::Exact(fixed.into()) })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_pattern_is_written_as_it_is_compared() {
        assert_eq!(PathPattern::parse("/api/*"), Ok(PathPattern::Prefix("/api/".into())));
        assert_eq!(PathPattern::parse("/*"), Ok(PathPattern::Prefix("/".into())));
        assert_eq!(PathPattern::parse("/api"), Ok(PathPattern::Exact("/api".into())));
        for (text, error) in [
            ("", PatternError::NotAbsolute),
            ("api", PatternError::NotAbsolute),
            ("*", PatternError::NotAbsolute),
            ("/api*", PatternError::StrayStar),
            ("/*/x", PatternError::StrayStar),
            ("/a/*/*", PatternError::StrayStar),
            ("/a/../b", PatternError::NotCanonical),
            ("/a/./*", PatternError::NotCanonical),
            ("/a%20b", PatternError::NotCanonical),
            ("/a?b", PatternError::NotCanonical),
            ("/a b", PatternError::NotCanonical),
            ("/é", PatternError::NotCanonical),
        ] {
            assert_eq!(PathPattern::parse(text), Err(error), "{text:?}");
        }
    }
}
