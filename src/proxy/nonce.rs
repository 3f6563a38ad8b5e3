//! The key of a WebSocket handshake, and the answer that proves that it was understood (RFC 6455 section 4.1).
//!
//! It is no secret: it keeps a server that knows nothing of WebSocket from agreeing to it by accident.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use http::HeaderValue;

/// What the key is hashed with.
const SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A key that was used once.
#[derive(Debug)]
pub(super) struct Nonce(String);

impl Nonce {
    /// Sixteen random bytes.
    pub(super) fn random() -> Self {
        Self(base64(&fastrand::u128(..).to_be_bytes()))
    }

    pub(super) fn key(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// Whether this is the answer to it.
    pub(super) fn is_accepted(&self, accept: &HeaderValue) -> bool {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{}{SUFFIX}", self.0).as_bytes());
        accept.as_bytes() == base64(hash.as_ref()).as_bytes()
    }
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0, |bits: u32, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit) & 0x3f) as usize;
            let letter = ALPHABET.get(index).copied().filter(|_| digit <= chunk.len()).unwrap_or(b'=');
            text.push(char::from(letter));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn the_answer_is_that_of_rfc_6455() {
        let nonce = Nonce("dGhlIHNhbXBsZSBub25jZQ==".to_owned());
        assert!(nonce.is_accepted(&HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
        assert!(!nonce.is_accepted(&HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo")));
        assert_eq!(Nonce::random().0.len(), 24);
        assert_ne!(Nonce::random().0, Nonce::random().0);
    }
}
