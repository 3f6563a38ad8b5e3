//! `${NAME}` and `${NAME:-default}` in the strings of a file.
//!
//! `$$` is a `$`; a `$` before anything else stays as it is. As in a shell, the default stands in for a variable that
//! is unset or empty; without a default an unset variable is an error and an empty one is empty.

use std::borrow::Cow;

use super::diagnostic::quoted;

/// A text after substitution.
#[derive(Debug, PartialEq, Eq)]
pub struct Interpolated<'a> {
    /// The text.
    pub text: Cow<'a, str>,
    /// Whether a variable was looked up for it.
    pub substituted: bool,
}

/// What is wrong with a `${`.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// In one line.
    pub message: String,
    /// How to mend it.
    pub hint: String,
    /// Which of the text's `${` it is, from 0.
    pub occurrence: usize,
}

/// Replaces every `${…}`.
pub fn interpolate<'a>(text: &'a str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Interpolated<'a>, Fault> {
    if !text.contains('$') {
        return Ok(Interpolated { text: text.into(), substituted: false });
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    let mut occurrence = 0;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        if let Some(next) = after.strip_prefix('$') {
            result.push('$');
            rest = next;
        } else if let Some(inside) = after.strip_prefix('{') {
            let fault = |message: String, hint: String| Fault { message, hint, occurrence };
            let Some((expression, next)) = inside.split_once('}') else {
                let message = "`${` is not closed by `}`".to_owned();
                return Err(fault(message, "write `$$` for a `$` that is only a `$`".to_owned()));
            };
            let (name, default) = match expression.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (expression, None),
            };
            if !is_name(name) {
                let message = format!("{} is not the name of an environment variable", quoted(name));
                return Err(fault(message, "write `${NAME}`, or `${NAME:-default}`; `$$` is a `$`".to_owned()));
            }
            match (environment(name), default) {
                (Some(value), None) => result.push_str(&value),
                (Some(value), Some(_)) if !value.is_empty() => result.push_str(&value),
                (_, Some(default)) => result.push_str(default),
                (None, None) => {
                    let message = format!("the environment variable {name} is not set");
                    return Err(fault(message, format!("set it, or write `${{{name}:-default}}`")));
                }
            }
            occurrence += 1;
            rest = next;
        } else {
            result.push('$');
            rest = after;
        }
    }
    result.push_str(rest);
    Ok(Interpolated { text: result.into(), substituted: occurrence > 0 })
}

/// Letters, digits and underscores, not beginning with a digit.
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("api.local".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_once() {
        for (text, expected, substituted) in [
            ("plain", "plain", false),
            ("http://${HOST}:80", "http://api.local:80", true),
            ("${HOST}${HOST}", "api.localapi.local", true),
            ("${NONE:-a:-b}", "a:-b", true),
            ("${NONE:-}", "", true),
            ("${EMPTY}", "", true),
            ("${EMPTY:-x}", "x", true),
            ("${HOST:-x}", "api.local", true),
            ("${NESTED}", "${HOST}", true),
            ("$${HOST}", "${HOST}", false),
            ("$$$$", "$$", false),
            ("a$b $", "a$b $", false),
            ("é$$ü", "é$ü", false),
        ] {
            let result = interpolate(text, &environment).unwrap();
            assert_eq!((&*result.text, result.substituted), (expected, substituted), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_told() {
        for (text, message, occurrence) in [
            ("${NONE}", "the environment variable NONE is not set", 0),
            ("${HOST} ${NONE}", "the environment variable NONE is not set", 1),
            ("${HOST", "`${` is not closed by `}`", 0),
            ("${}", "\"\" is not the name of an environment variable", 0),
            ("${1A}", "\"1A\" is not the name of an environment variable", 0),
            ("${A-B}", "\"A-B\" is not the name of an environment variable", 0),
        ] {
            let fault = interpolate(text, &environment).unwrap_err();
            assert_eq!((fault.message.as_str(), fault.occurrence), (message, occurrence), "{text}");
        }
    }
}
