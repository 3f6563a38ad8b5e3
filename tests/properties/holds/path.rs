//! Whatever a program behind the gateway makes of a path, the gateway has made it, too, or refuses the path.

use mtls_gateway::route::Readings;

/// The property.
pub fn check(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    let Ok(readings) = Readings::of(path) else {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~/:@!$&'()*+,=".contains(&byte);
        assert!(!path.starts_with('/') || !path.bytes().all(plain), "a plain path is refused: {path:?}");
        return;
    };
    let all: Vec<&str> = readings.iter().collect();
    assert_eq!(readings.only(), (all.len() == 1).then(|| all[0]));
    for reading in &all {
        assert!(reading.starts_with('/'), "{reading:?}");
        assert!(!reading.bytes().any(|byte| byte < 0x20 || byte == 0x7f || byte == b'\\'), "{reading:?}");
    }
    // Some remove dot segments before they decode, some after, some do not at all, some take a backslash for a slash.
    for decodes in [false, true] {
        let read = if decodes { decoded(path) } else { path.to_owned() };
        let removed = without_dot_segments(&read).expect("a path that climbs above the root is refused");
        assert!(all.iter().any(|one| same(one, &removed)), "{path:?} may mean {removed:?}, which is not among {all:?}");
    }
    assert!(all.iter().any(|one| same(one, path)), "{path:?} may mean itself, which is not among {all:?}");
}

/// Equal but for unreserved characters that one of them has encoded, which mean the same everywhere (RFC 3986 section
/// 6.2.2.2), and the case of hex digits.
fn same(one: &str, other: &str) -> bool {
    unreserved(one) == unreserved(other)
}

fn unreserved(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|digits| first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        match digits {
            Some(digits) => {
                let byte = u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
                if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
                    bytes.push(byte);
                } else {
                    bytes.push(b'%');
                    bytes.extend(digits.to_ascii_uppercase());
                }
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

/// Slashes, backslashes and dots decoded: what changes which segments there are.
fn decoded(path: &str) -> String {
    let mut text = path.to_owned();
    for (encoded, plain) in [("%2F", "/"), ("%2f", "/"), ("%5C", "/"), ("%5c", "/"), ("%2E", "."), ("%2e", ".")] {
        text = text.replace(encoded, plain);
    }
    text
}

/// RFC 3986 section 5.2.4; a segment that is dots up to a `;` is dots. `None` above the root.
fn without_dot_segments(path: &str) -> Option<String> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let mut kept: Vec<&str> = Vec::new();
    for (place, segment) in segments.iter().enumerate() {
        let is_last = place + 1 == segments.len();
        match segment.split(';').next().unwrap() {
            "." if is_last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop()?;
                if is_last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    Some(format!("/{}", kept.join("/")))
}
