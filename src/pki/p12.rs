//! PKCS#12 (RFC 7292): a key and its chain in one file behind a password, for browsers, Java, Windows and macOS.

use aws_lc_rs::{digest, hmac};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::cipher::{
    self, COMPATIBLE_ROUNDS, CipherProblem, Encryption, ROUNDS, decrypt, encrypt, pkcs12_bytes, salt_and_rounds,
};
use super::der::{self, Reader, tag};

mod object {
    pub(super) const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    pub(super) const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 6];
    pub(super) const KEY_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 1];
    pub(super) const SHROUDED_KEY_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 2];
    pub(super) const CERTIFICATE_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 3];
    pub(super) const X509_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 22, 1];
    pub(super) const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 20];
    pub(super) const LOCAL_KEY_ID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 21];
    pub(super) const SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 26];
    pub(super) const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
    pub(super) const SHA384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
    pub(super) const SHA512: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];
}

/// The tag of a BMPString.
const BMP_STRING: u8 = 0x1e;

/// What a file holds.
pub(super) struct Contents {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// PKCS#8 in DER.
    pub(super) keys: Vec<Zeroizing<Vec<u8>>>,
}

/// Writes a key and its chain, the leaf first, under a name that people see.
pub(super) fn write(
    name: &str,
    key: &[u8],
    chain: &[CertificateDer<'_>],
    password: &str,
    how: Encryption,
) -> Result<Vec<u8>, CipherProblem> {
    let key_id = chain.first().map(|leaf| digest::digest(&digest::SHA256, leaf));
    let key_id = key_id.as_ref().and_then(|digest| digest.as_ref().get(..20)).unwrap_or_default();
    let attributes = attributes(name, key_id);
    let certificates: Vec<u8> = chain
        .iter()
        .enumerate()
        .flat_map(|(place, der)| {
            let wrapped = explicit(&der::value(tag::OCTET_STRING, &[der]));
            let bag = der::sequence(&[&object(object::X509_CERTIFICATE), &wrapped]);
            safe_bag(object::CERTIFICATE_BAG, &bag, if place == 0 { &attributes } else { &[] })
        })
        .collect();
    let certificates = encrypt(&der::sequence(&[&certificates]), password, how)?;
    let bytes = der::value(tag::IMPLICIT_0, &[&certificates.bytes]);
    let content = der::sequence(&[&object(object::DATA), &certificates.algorithm, &bytes]);
    let certificates = content_info(object::ENCRYPTED_DATA, &der::sequence(&[&der::integer(0), &content]));

    let key = encrypt(key, password, how)?;
    let key = der::sequence(&[&key.algorithm, &der::value(tag::OCTET_STRING, &[&key.bytes])]);
    let key = der::sequence(&[&safe_bag(object::SHROUDED_KEY_BAG, &key, &attributes)]);
    let key = content_info(object::DATA, &der::value(tag::OCTET_STRING, &[&key]));

    let safe = der::sequence(&[&certificates, &key]);
    let (hash, hash_id, rounds) = match how {
        Encryption::Modern => (&digest::SHA256, object::SHA256, ROUNDS),
        Encryption::Compatible => (&digest::SHA1_FOR_LEGACY_USE_ONLY, object::SHA1, COMPATIBLE_ROUNDS),
    };
    let salt = cipher::random::<16>()?;
    let mac = mac(hash, password, &salt, rounds, &safe).ok_or(CipherProblem::Unsupported)?;
    let algorithm = der::sequence(&[&object(hash_id), &der::null()]);
    let info = der::sequence(&[&algorithm, &der::value(tag::OCTET_STRING, &[mac.as_ref()])]);
    let salt = der::value(tag::OCTET_STRING, &[&salt]);
    let mac = der::sequence(&[&info, &salt, &der::integer(u64::from(rounds))]);
    let safe = content_info(object::DATA, &der::value(tag::OCTET_STRING, &[&safe]));
    Ok(der::sequence(&[&der::integer(3), &safe, &mac]))
}

/// Whether these bytes begin as a PKCS#12 file does.
pub(super) fn is_p12(bytes: &[u8]) -> bool {
    let version = || Reader::inside(bytes, tag::SEQUENCE)?.expect(tag::INTEGER).and_then(der::read_integer);
    version() == Some(3)
}

/// Reads what others wrote. The MAC is checked before anything is decrypted.
pub(super) fn read(bytes: &[u8], password: &str) -> Result<Contents, CipherProblem> {
    let garbled = CipherProblem::Garbled;
    let mut outer = Reader::inside(bytes, tag::SEQUENCE).ok_or(garbled)?;
    outer.expect(tag::INTEGER).ok_or(garbled)?;
    let safe = data_of(&mut outer).ok_or(garbled)?;
    if let Some(mut fields) = outer.enter(tag::SEQUENCE) {
        check_mac(&mut fields, password, safe)?;
    }
    let mut contents = Contents { certificates: Vec::new(), keys: Vec::new() };
    for info in Reader::inside(safe, tag::SEQUENCE).ok_or(garbled)? {
        let mut fields = Reader::new(info.of(tag::SEQUENCE).ok_or(garbled)?);
        match fields.expect(tag::OBJECT).ok_or(garbled)? {
            object::DATA => {
                let bags = fields.enter(tag::CONTEXT_0).and_then(|mut inner| inner.expect(tag::OCTET_STRING));
                take_bags(bags.ok_or(garbled)?, password, &mut contents)?;
            }
            object::ENCRYPTED_DATA => {
                let mut inner =
                    fields.enter(tag::CONTEXT_0).and_then(|mut inner| inner.enter(tag::SEQUENCE)).ok_or(garbled)?;
                inner.expect(tag::INTEGER).ok_or(garbled)?;
                let mut content = inner.enter(tag::SEQUENCE).ok_or(garbled)?;
                content.expect(tag::OBJECT).ok_or(garbled)?;
                let algorithm = content.expect(tag::SEQUENCE).ok_or(garbled)?;
                let bytes = content.expect(tag::IMPLICIT_0).ok_or(CipherProblem::Unsupported)?;
                take_bags(&decrypt(algorithm, bytes, password)?, password, &mut contents)?;
            }
            _ => return Err(CipherProblem::Unsupported),
        }
    }
    Ok(contents)
}

fn take_bags(bags: &[u8], password: &str, contents: &mut Contents) -> Result<(), CipherProblem> {
    let garbled = CipherProblem::Garbled;
    for bag in Reader::inside(bags, tag::SEQUENCE).ok_or(garbled)? {
        let mut fields = Reader::new(bag.of(tag::SEQUENCE).ok_or(garbled)?);
        let kind = fields.expect(tag::OBJECT).ok_or(garbled)?;
        let value = fields.expect(tag::CONTEXT_0).ok_or(garbled)?;
        match kind {
            object::CERTIFICATE_BAG => {
                let mut fields = Reader::inside(value, tag::SEQUENCE).ok_or(garbled)?;
                let is_x509 = fields.expect(tag::OBJECT) == Some(object::X509_CERTIFICATE);
                let der = fields.enter(tag::CONTEXT_0).and_then(|mut inner| inner.expect(tag::OCTET_STRING));
                if is_x509 {
                    contents.certificates.push(der.ok_or(garbled)?.to_vec().into());
                }
            }
            object::SHROUDED_KEY_BAG => contents.keys.push(decrypt_key(value, password)?),
            object::KEY_BAG => contents.keys.push(Zeroizing::new(value.to_vec())),
            _ => {}
        }
    }
    Ok(())
}

/// An EncryptedPrivateKeyInfo (RFC 5958 section 3), as PEM calls it ENCRYPTED PRIVATE KEY.
pub(super) fn decrypt_key(der: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, CipherProblem> {
    let mut fields = Reader::inside(der, tag::SEQUENCE).ok_or(CipherProblem::Garbled)?;
    let algorithm = fields.expect(tag::SEQUENCE).ok_or(CipherProblem::Garbled)?;
    let bytes = fields.expect(tag::OCTET_STRING).ok_or(CipherProblem::Garbled)?;
    let key = decrypt(algorithm, bytes, password)?;
    // A wrong password may leave what looks like padding; it does not leave what looks like a key.
    Reader::inside(&key, tag::SEQUENCE).ok_or(CipherProblem::Password)?;
    Ok(key)
}

fn check_mac(fields: &mut Reader<'_>, password: &str, safe: &[u8]) -> Result<(), CipherProblem> {
    let garbled = CipherProblem::Garbled;
    let mut info = fields.enter(tag::SEQUENCE).ok_or(garbled)?;
    let hash = match info.enter(tag::SEQUENCE).and_then(|mut algorithm| algorithm.expect(tag::OBJECT)).ok_or(garbled)? {
        object::SHA1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        object::SHA256 => &digest::SHA256,
        object::SHA384 => &digest::SHA384,
        object::SHA512 => &digest::SHA512,
        _ => return Err(CipherProblem::Unsupported),
    };
    let expected = info.expect(tag::OCTET_STRING).ok_or(garbled)?;
    let salt = fields.expect(tag::OCTET_STRING).ok_or(garbled)?;
    // The number of rounds is 1 when it is left out.
    let rounds = match fields.next() {
        Some(rounds) => {
            let both = [der::value(tag::OCTET_STRING, &[salt]), rounds.raw.to_vec()].concat();
            salt_and_rounds(&mut Reader::new(&both))?.1
        }
        None => 1,
    };
    let made = mac(hash, password, salt, rounds, safe).ok_or(CipherProblem::Unsupported)?;
    let same = aws_lc_rs::constant_time::verify_slices_are_equal(made.as_ref(), expected);
    same.map_err(|_| CipherProblem::Password)
}

fn mac(hash: &'static digest::Algorithm, password: &str, salt: &[u8], rounds: u32, safe: &[u8]) -> Option<hmac::Tag> {
    let known = [
        (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        (&digest::SHA256, hmac::HMAC_SHA256),
        (&digest::SHA384, hmac::HMAC_SHA384),
        (&digest::SHA512, hmac::HMAC_SHA512),
    ];
    let algorithm = known.iter().find(|known| known.0 == hash)?.1;
    let key = pkcs12_bytes(hash, password, salt, rounds, 3, hash.output_len());
    Some(hmac::sign(&hmac::Key::new(algorithm, &key), safe))
}

/// The octets of a ContentInfo of kind data.
fn data_of<'a>(fields: &mut Reader<'a>) -> Option<&'a [u8]> {
    let mut info = fields.enter(tag::SEQUENCE)?;
    (info.expect(tag::OBJECT)? == object::DATA).then_some(())?;
    info.enter(tag::CONTEXT_0)?.expect(tag::OCTET_STRING)
}

fn object(bytes: &[u8]) -> Vec<u8> {
    der::value(tag::OBJECT, &[bytes])
}

fn explicit(content: &[u8]) -> Vec<u8> {
    der::value(tag::CONTEXT_0, &[content])
}

fn content_info(kind: &[u8], content: &[u8]) -> Vec<u8> {
    der::sequence(&[&object(kind), &explicit(content)])
}

fn safe_bag(kind: &[u8], content: &[u8], attributes: &[u8]) -> Vec<u8> {
    der::sequence(&[&object(kind), &explicit(content), attributes])
}

/// What ties a key to its certificate, and the name that is shown.
fn attributes(name: &str, key_id: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let attribute = |kind: &[u8], value: &[u8]| der::sequence(&[&object(kind), &der::value(tag::SET, &[value])]);
    let key_id = attribute(object::LOCAL_KEY_ID, &der::value(tag::OCTET_STRING, &[key_id]));
    let name = attribute(object::FRIENDLY_NAME, &der::value(BMP_STRING, &[&name]));
    // A SET OF is sorted in DER.
    let mut both = [key_id, name];
    both.sort();
    der::value(tag::SET, &[&both.concat()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_that_is_broken() {
        let chain = [CertificateDer::from(vec![0x30, 1, 1]), CertificateDer::from(vec![0x30, 1, 2])];
        let key = der::sequence(&[&der::integer(0)]);
        let written = write("näme", &key, &chain, "secret", Encryption::Compatible).unwrap();
        assert!(is_p12(&written));
        let read_back = read(&written, "secret").unwrap();
        assert_eq!(read_back.certificates, chain);
        assert_eq!(read_back.keys[0].as_slice(), key);
        assert_eq!(read(&written, "other").err(), Some(CipherProblem::Password));
        for length in 0..written.len() {
            assert!(read(&written[..length], "secret").is_err(), "cut to {length}");
        }
        for place in 0..written.len() {
            let mut broken = written.clone();
            broken[place] ^= 1;
            // A name that is shown, and the like, may change; nothing panics, and the key stays the key.
            if let Ok(contents) = read(&broken, "secret") {
                assert!(contents.keys.iter().all(|read| read.as_slice() == key), "byte {place}");
            }
        }
    }
}
