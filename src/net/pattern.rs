//! Patterns for host names, as routes and TLS profiles have them.

use std::collections::HashMap;
use std::fmt;

use super::host::HostName;

/// An exact name, or `*.` and a name: one label, then the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This name.
    Exact(HostName),
    /// Any one label before this name.
    Wildcard(HostName),
}

/// A text that is no pattern for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a host is a DNS name such as \"api.example.com\", or \"*.example.com\" for one label before it")]
pub struct HostPatternError;

impl HostPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`HostPatternError`].
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        match text.strip_prefix("*.") {
            Some(rest) => HostName::parse(rest).map(Self::Wildcard),
            None => HostName::parse(text).map(Self::Exact),
        }
        .map_err(|_| HostPatternError)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Wildcard(name) => write!(f, "*.{name}"),
        }
    }
}

/// What belongs to which name: an exact pattern wins over a wildcard.
#[derive(Debug, Clone)]
pub struct HostMap<T> {
    exact: HashMap<Box<str>, T>,
    wildcard: HashMap<Box<str>, T>,
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new() }
    }
}

impl<T> HostMap<T> {
    /// Adds a pattern; `false`, and nothing is changed, when it is there already.
    pub fn insert(&mut self, pattern: &HostPattern, value: T) -> bool {
        let (map, name) = match pattern {
            HostPattern::Exact(name) => (&mut self.exact, name),
            HostPattern::Wildcard(name) => (&mut self.wildcard, name),
        };
        if map.contains_key(name.as_str()) {
            return false;
        }
        map.insert(name.as_str().into(), value);
        true
    }

    /// What belongs to this pattern itself.
    pub fn of_pattern(&self, pattern: &HostPattern) -> Option<&T> {
        match pattern {
            HostPattern::Exact(name) => self.exact.get(name.as_str()),
            HostPattern::Wildcard(name) => self.wildcard.get(name.as_str()),
        }
    }

    /// What belongs to a name.
    pub fn find(&self, name: &HostName) -> Option<&T> {
        if let Some(value) = self.exact.get(name.as_str()) {
            return Some(value);
        }
        if self.wildcard.is_empty() {
            return None;
        }
        name.as_str().split_once('.').and_then(|(_, rest)| self.wildcard.get(rest))
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_wins_over_a_wildcard_which_is_one_label() {
        let mut map = HostMap::default();
        for (index, text) in ["*.example.com", "api.example.com", "*.a.example.com"].iter().enumerate() {
            assert!(map.insert(&HostPattern::parse(text).unwrap(), index));
        }
        assert!(!map.insert(&HostPattern::parse("API.example.com.").unwrap(), 9));
        let find = |text: &str| map.find(&HostName::parse(text).unwrap()).copied();
        assert_eq!(find("api.example.com"), Some(1));
        assert_eq!(find("x.example.com"), Some(0));
        assert_eq!(find("x.a.example.com"), Some(2));
        assert_eq!(find("a.example.com"), Some(0));
        assert_eq!(find("example.com"), None);
        assert_eq!(find("x.y.example.com"), None);
        assert_eq!(find("localhost"), None);
    }
}
