//! Distinguished names, from DER and from RFC 4514 text, brought into one form to be compared.

use super::der;

/// Attributes by RDN, the last RDN first: type, and the value as text where it is text of a type with a name.
pub type Name = Vec<Vec<(String, Value)>>;

/// A value in either of its two forms (RFC 4514 section 2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Characters.
    Text(String),
    /// The value's own DER.
    Der(Vec<u8>),
}

/// What RFC 4514 section 3 calls types.
const SHORT: [(&str, &str); 9] = [
    ("CN", "2.5.4.3"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("C", "2.5.4.6"),
    ("STREET", "2.5.4.9"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
];

/// A name from the content of its DER; `None` for what is not one by the letter.
pub fn from_der(content: &[u8]) -> Option<Name> {
    let mut name = Vec::new();
    for (tag, set) in der::all(content)? {
        (tag == 0x31).then_some(())?;
        let mut attributes = Vec::new();
        for (tag, attribute) in der::all(set)? {
            (tag == 0x30).then_some(())?;
            let (6, oid, rest) = der::read(attribute)? else { return None };
            let (kind, value, []) = der::read(rest)? else { return None };
            let oid = der::dotted(oid);
            let text = text(kind, value).filter(|_| SHORT.iter().any(|short| short.1 == oid));
            let value = text.map_or_else(|| Value::Der(rest.to_vec()), Value::Text);
            attributes.push((oid, value));
        }
        name.push(attributes);
    }
    name.reverse();
    Some(name)
}

/// The characters of an ASN.1 string.
fn text(tag: u8, value: &[u8]) -> Option<String> {
    let units = |size: usize| {
        let whole = value.len().is_multiple_of(size);
        whole.then(|| value.chunks(size).map(|unit| unit.iter().fold(0_u32, |all, &byte| all << 8 | u32::from(byte))))
    };
    match tag {
        12 => std::str::from_utf8(value).ok().map(str::to_owned),
        18 | 19 | 22 | 26 => value.iter().all(u8::is_ascii).then(|| value.iter().map(|&byte| byte as char).collect()),
        20 => Some(value.iter().map(|&byte| byte as char).collect()),
        30 => char::decode_utf16(units(2)?.map(|unit| unit as u16)).collect::<Result<_, _>>().ok(),
        28 => units(4)?.map(char::from_u32).collect(),
        _ => None,
    }
}

/// A name from text by section 3's grammar; panics for what is no such text.
pub fn from_text(text: &str) -> Name {
    assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "not printable ASCII: {text:?}");
    if text.is_empty() {
        return Vec::new();
    }
    let mut name = vec![Vec::new()];
    let mut rest = text;
    loop {
        let (kind, after) = rest.split_once('=').unwrap_or_else(|| panic!("no type in {text:?}"));
        assert!(
            kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".#".contains(&byte)),
            "a type {kind:?} in {text:?}"
        );
        let kind = SHORT.iter().find(|short| short.0 == kind).map_or(kind, |short| short.1);
        let (value, after) = value(after);
        name.last_mut().unwrap().push((kind.to_owned(), value));
        match after.split_at_checked(1) {
            None => return name,
            Some((",", after)) => (rest, _) = (after, name.push(Vec::new())),
            Some(("+", after)) => rest = after,
            Some(_) => panic!("a value goes on after its end: {text:?}"),
        }
    }
}

/// One value, and what follows it.
fn value(text: &str) -> (Value, &str) {
    if let Some(hex) = text.strip_prefix('#') {
        let end = hex.find([',', '+']).unwrap_or(hex.len());
        return (Value::Der(unhex(&hex[..end])), &hex[end..]);
    }
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match first {
            ',' | '+' => break,
            '"' | ';' | '<' | '>' => panic!("a bare {first:?} in {text:?}"),
            '\\' => match rest.as_bytes()[1] {
                digit if digit.is_ascii_hexdigit() => {
                    bytes.extend(unhex(&rest[1..3]));
                    rest = &rest[3..];
                }
                special => {
                    assert!(b" \"#+,;<=>\\".contains(&special), "an escape of nothing in {text:?}");
                    bytes.push(special);
                    rest = &rest[2..];
                }
            },
            plain => {
                bytes.push(plain as u8);
                rest = &rest[1..];
            }
        }
    }
    (Value::Text(String::from_utf8(bytes).expect("UTF-8")), rest)
}

/// Hex digits, two for each byte.
pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2) && text.bytes().all(|digit| digit.is_ascii_hexdigit()), "no hex: {text:?}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Base64 with its padding (RFC 4648 section 4).
pub fn unbase64(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(4), "base64 of {} characters", text.len());
    let mut bytes = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let padding = group.iter().rev().take_while(|&&byte| byte == b'=').count();
        let bits = group.iter().fold(0_u32, |bits, &byte| {
            let sextet = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' => 0,
                other => panic!("no base64: {other}"),
            };
            bits << 6 | u32::from(sextet)
        });
        bytes.extend(&bits.to_be_bytes()[1..4 - padding]);
    }
    bytes
}

/// Percent-encoding (RFC 3986 section 2.1).
pub fn unpercent(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let taken = if first == b'%' { 3 } else { 1 };
        bytes.extend(if first == b'%' { unhex(&rest[1..3]) } else { vec![first] });
        rest = &rest[taken..];
    }
    bytes
}
