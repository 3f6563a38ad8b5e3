//! A list of certificates that are refused whatever their issuer says: a text file for the hour in which a key is
//! stolen and the authority that could revoke the certificate is somebody else's, or asleep.
//!
//! One certificate a line: a serial number in hex, with or without colons, or `sha256:` and the fingerprint of the
//! certificate in hex. `#` begins a comment. A serial number counts for every issuer; a fingerprint is exact.

use std::collections::HashSet;

use aws_lc_rs::digest::{SHA256, digest};

use super::Error;
use super::serials::{Serials, SerialsBuilder};

/// Refused certificates.
#[derive(Debug, Default)]
pub(super) struct DenyList {
    serials: Serials,
    fingerprints: HashSet<[u8; 32]>,
}

impl DenyList {
    /// Reads the text of a list; `origin` is for the error.
    pub(super) fn parse(origin: &str, text: &[u8]) -> Result<Self, Error> {
        let garbled = |line: usize, what: &str| {
            let advice = "write a serial number in hex, or sha256: and a fingerprint in hex, one a line";
            Error::Garbled(origin.to_owned(), format!("line {}: {what}; {advice}", line + 1))
        };
        let text = std::str::from_utf8(text).map_err(|_| Error::Garbled(origin.to_owned(), "no UTF-8".to_owned()))?;
        let mut serials = SerialsBuilder::default();
        let mut fingerprints = HashSet::new();
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            match entry.split_once(':') {
                Some((kind, hex)) if kind.eq_ignore_ascii_case("sha256") => {
                    let fingerprint = bytes(hex.trim()).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
                    fingerprints.insert(fingerprint.ok_or_else(|| garbled(number, "this is no SHA-256"))?);
                }
                _ => serials.add(&bytes(entry).ok_or_else(|| garbled(number, "this is no serial number"))?),
            }
        }
        Ok(Self { serials: serials.build(), fingerprints })
    }

    /// How many certificates it names.
    pub(super) fn len(&self) -> usize {
        self.serials.len() + self.fingerprints.len()
    }

    pub(super) fn has(&self, serial: &[u8], certificate: &[u8]) -> bool {
        if self.serials.contains(serial) {
            return true;
        }
        if self.fingerprints.is_empty() {
            return false;
        }
        self.fingerprints.contains(digest(&SHA256, certificate).as_ref())
    }

    /// The same by what a log says of a certificate, both in hex.
    pub(super) fn names(&self, serial: Option<&str>, sha256: Option<&str>) -> bool {
        let fingerprint = sha256.and_then(bytes).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        serial.and_then(bytes).is_some_and(|serial| self.serials.contains(&serial))
            || fingerprint.is_some_and(|fingerprint| self.fingerprints.contains(&fingerprint))
    }
}

/// The bytes that hex digits stand for, with or without colons between them. A leading zero may be missing.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = hex
        .chars()
        .filter(|character| *character != ':')
        .map(|character| character.to_digit(16))
        .collect::<Option<_>>()?;
    if digits.is_empty() {
        return None;
    }
    let (first, pairs) = digits.split_at(digits.len() % 2);
    let value = |digits: &[u32]| digits.iter().fold(0, |value, digit| value << 4 | digit);
    let values = (!first.is_empty()).then(|| value(first)).into_iter().chain(pairs.chunks(2).map(value));
    values.map(|value| u8::try_from(value).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_and_fingerprints_are_read_as_tools_print_them() {
        let fingerprint = digest(&SHA256, b"a certificate");
        let hex: String = fingerprint.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        let text = format!(
            "# stolen\n\n 01:AB:cd  # with colons\nabc\n0\nSHA256:{hex}\n00FF\r\nsha256: {}\n",
            "11:".repeat(31) + "11"
        );
        let list = DenyList::parse("denied.txt", text.as_bytes()).unwrap();
        assert_eq!(list.len(), 6);
        for serial in [&[1, 0xab, 0xcd][..], &[0x0a, 0xbc], &[0, 0xff], &[0]] {
            assert!(list.has(serial, b""), "{serial:?}");
        }
        assert!(list.has(&[9], b"a certificate"));
        assert!(!list.has(&[9], b"another"));
        assert!(list.names(Some("01ABCD"), None) && list.names(Some("ABC"), Some("")) && list.names(None, Some(&hex)));
        assert!(list.names(Some("09"), Some(&hex.to_ascii_lowercase())) && list.names(Some("00"), None));
        assert!(!list.names(Some("09"), Some(&"12".repeat(32))) && !list.names(Some("x"), Some("y")));
        assert!(!list.names(None, None));
        assert_eq!(DenyList::parse("denied.txt", b"").unwrap().len(), 0);
    }

    #[test]
    fn a_line_that_is_neither_is_told_with_its_number() {
        for (line, what) in
            [("12 34", "serial"), ("client-1", "serial"), ("sha256:1234", "SHA-256"), ("sha256:", "SHA")]
        {
            let error = DenyList::parse("denied.txt", format!("# x\n{line}\n").as_bytes()).unwrap_err().to_string();
            assert!(error.contains("denied.txt") && error.contains("line 2") && error.contains(what), "{error}");
        }
        assert!(DenyList::parse("denied.txt", b"\xff").is_err());
    }
}
