//! PEM (RFC 7468): written strictly, read as leniently as other tools write it, with text around the blocks, CRLF or a
//! byte order mark.

use x509_parser::pem::Pem;
use zeroize::Zeroizing;

/// One block: what its label says, and the bytes.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) label: String,
    pub(super) der: Zeroizing<Vec<u8>>,
}

impl Block {
    pub(super) fn is_certificate(&self) -> bool {
        // OpenSSL's older label; its "TRUSTED CERTIFICATE" is another thing and stays unknown.
        matches!(self.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE")
    }

    pub(super) fn is_request(&self) -> bool {
        matches!(self.label.as_str(), "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST")
    }

    pub(super) fn is_crl(&self) -> bool {
        self.label == "X509 CRL"
    }
}

/// A block that was begun and is no PEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("PEM block {position} is garbled (cut short, or not base64)")]
pub struct GarbledPem {
    /// Which block, counted from 1.
    pub position: usize,
}

/// Text without the byte order mark that some editors put before it.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// The blocks of a file in their order; none when it has none.
pub(super) fn blocks(bytes: &[u8]) -> Result<Vec<Block>, GarbledPem> {
    let bytes = without_mark(bytes);
    let mut blocks = Vec::new();
    for block in Pem::iter_from_buffer(bytes) {
        let block = block.map_err(|_| GarbledPem { position: blocks.len() + 1 })?;
        blocks.push(Block { label: block.label, der: Zeroizing::new(block.contents) });
    }
    Ok(blocks)
}

/// A private key encrypted in the manner of RFC 1421, which OpenSSL wrote once and step still does.
pub(super) struct OldEncrypted {
    pub(super) block: Block,
    /// The cipher and its initialisation vector, as in `AES-256-CBC,00112233...`.
    pub(super) how: String,
}

/// The first key of this kind. Its headers stand inside the block, so nobody else reads it.
pub(super) fn old_encrypted(bytes: &[u8]) -> Option<OldEncrypted> {
    let text = std::str::from_utf8(without_mark(bytes)).ok()?;
    let begin = |line: &&str| line.starts_with("-----BEGIN ") && line.contains("PRIVATE KEY-----");
    let mut lines = text.lines().skip_while(|line| !begin(line));
    let first = lines.next()?;
    (lines.next()?.trim() == "Proc-Type: 4,ENCRYPTED").then_some(())?;
    let how = lines.next()?.trim().strip_prefix("DEK-Info: ")?.to_owned();
    let rest: String = std::iter::once(first).chain(lines).flat_map(|line| [line, "\n"]).collect();
    let block = blocks(rest.as_bytes()).ok()?.into_iter().next()?;
    Some(OldEncrypted { block, how })
}

/// One block: 64 characters a line, as section 2 of the RFC wants it.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        line.chunks(3).for_each(|group| push_base64(&mut text, group));
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// One to three bytes as four characters (RFC 4648 section 4).
fn push_base64(text: &mut String, group: &[u8]) {
    let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
    for place in 0..4 {
        let sextet = u8::try_from(bits >> (18 - 6 * place) & 0x3f).unwrap_or(0);
        text.push(match sextet {
            _ if place > group.len() => '=',
            0..=25 => char::from(b'A' + sextet),
            26..=51 => char::from(b'a' + sextet - 26),
            52..=61 => char::from(b'0' + sextet - 52),
            62 => '+',
            _ => '/',
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        assert_eq!(encode("X", &[0xfb, 0xff]), "-----BEGIN X-----\n+/8=\n-----END X-----\n");
        for length in 0..200_u8 {
            let bytes: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(91)).collect();
            let text = encode("CERTIFICATE", &bytes);
            assert!(text.lines().all(|line| line.len() <= 64));
            assert_eq!(blocks(text.as_bytes()).unwrap()[0].der.as_slice(), bytes, "{length}");
        }
    }

    #[test]
    fn text_around_blocks_is_ignored_and_garbage_inside_is_not() {
        let text = "\u{feff}Bag Attributes\r\n-----BEGIN X509 CRL-----\r\nAQID\r\n-----END X509 CRL-----\r\ntail\r\n";
        let read = blocks(text.as_bytes()).unwrap();
        assert_eq!(read.len(), 1);
        assert!(read[0].is_crl() && !read[0].is_certificate());
        assert_eq!(read[0].der.as_slice(), [1, 2, 3]);

        assert!(blocks(b"").unwrap().is_empty());
        assert!(blocks(b"no block\xff\xfe").unwrap().is_empty());
        for bad in
            ["-----BEGIN CERTIFICATE-----\nAQID\n", "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n"]
        {
            assert_eq!(blocks(bad.as_bytes()).err(), Some(GarbledPem { position: 1 }), "{bad}");
        }
    }
}
