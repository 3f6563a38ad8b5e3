//! Encryption with a password: PBES2 (RFC 8018), and the older way of PKCS#12 (RFC 7292 appendix B) with triple DES.
//!
//! What others encrypted is read in every way that OpenSSL, easy-rsa, step and Java write today. RC2, DES and RC4 are
//! not: they protect nothing.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{digest, pbkdf2, rand};
use des::TdesEde3;
use des::cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};
use md5::{Digest as _, Md5};
use zeroize::Zeroizing;

use super::der::{self, Reader, tag};
use super::ledger::from_hex;

/// Rounds of hashing: a tenth of a second for whoever has the password.
pub(super) const ROUNDS: u32 = 100_000;
/// As many as programs of the time of triple DES wrote.
pub(super) const COMPATIBLE_ROUNDS: u32 = 2048;
/// A file that asks for more would keep the program busy for minutes.
const MOST_ROUNDS: u64 = 10_000_000;
const LONGEST_SALT: usize = 1024;

pub(super) mod object {
    pub(in crate::pki) const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13];
    pub(in crate::pki) const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12];
    pub(in crate::pki) const PBE_SHA1_3DES: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1, 3];
    pub(in crate::pki) const HMAC_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 7];
    pub(in crate::pki) const HMAC_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 9];
    pub(in crate::pki) const HMAC_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 10];
    pub(in crate::pki) const HMAC_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 11];
    pub(in crate::pki) const DES_EDE3_CBC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 3, 7];
    pub(in crate::pki) const AES_128_CBC: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 2];
    pub(in crate::pki) const AES_192_CBC: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 22];
    pub(in crate::pki) const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 42];
}

/// Why something encrypted was not read. Each text goes on after the name of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CipherProblem {
    /// Not the structure that it says it is.
    #[error("is garbled")]
    Garbled,
    /// A way to encrypt that is not read here.
    #[error(
        "is encrypted in a way that is not supported: neither PBKDF2 nor PKCS#12's own, or neither AES nor triple DES. \
         Write it again: openssl pkey -in OLD -aes256 -out NEW, or openssl pkcs12 -export"
    )]
    Unsupported,
    /// The password does not open it.
    #[error("is not opened by this password")]
    Password,
    /// The library failed.
    #[error("cannot be encrypted: there is no randomness")]
    Randomness,
}

/// How to encrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// AES-256, PBKDF2 and SHA-256: whatever was made since about 2020.
    Modern,
    /// Triple DES and SHA-1: old macOS, Windows and Java.
    Compatible,
}

/// Encrypted bytes with what is needed to decrypt them, as AlgorithmIdentifier.
pub(super) struct Encrypted {
    pub(super) algorithm: Vec<u8>,
    pub(super) bytes: Vec<u8>,
}

/// Encrypts with a fresh salt.
pub(super) fn encrypt(plain: &[u8], password: &str, how: Encryption) -> Result<Encrypted, CipherProblem> {
    let salt = random::<16>()?;
    let object = |bytes: &[u8]| der::value(tag::OBJECT, &[bytes]);
    let salt_der = der::value(tag::OCTET_STRING, &[&salt]);
    if how == Encryption::Compatible {
        let parameters = der::sequence(&[&salt_der, &der::integer(u64::from(COMPATIBLE_ROUNDS))]);
        let algorithm = der::sequence(&[&object(object::PBE_SHA1_3DES), &parameters]);
        let (key, iv) = triple_des_of(password, &salt, COMPATIBLE_ROUNDS);
        return Ok(Encrypted { algorithm, bytes: triple_des_encrypt(&key, &iv, plain)? });
    }
    let key = Zeroizing::new(stretch(pbkdf2::PBKDF2_HMAC_SHA256, password, &salt, ROUNDS, 32)?);
    let mut bytes = plain.to_vec();
    let key = UnboundCipherKey::new(&AES_256, &key).and_then(PaddedBlockEncryptingKey::cbc_pkcs7);
    let context = key.and_then(|key| key.encrypt(&mut bytes)).map_err(|_| CipherProblem::Randomness)?;
    let DecryptionContext::Iv128(iv) = context else { return Err(CipherProblem::Randomness) };
    let hash = der::sequence(&[&object(object::HMAC_SHA256), &der::null()]);
    let stretching = der::sequence(&[&salt_der, &der::integer(u64::from(ROUNDS)), &hash]);
    let stretching = der::sequence(&[&object(object::PBKDF2), &stretching]);
    let scheme = der::sequence(&[&object(object::AES_256_CBC), &der::value(tag::OCTET_STRING, &[iv.as_ref()])]);
    let algorithm = der::sequence(&[&object(object::PBES2), &der::sequence(&[&stretching, &scheme])]);
    Ok(Encrypted { algorithm, bytes })
}

/// Decrypts what `algorithm`, an AlgorithmIdentifier's content, says how to.
pub(super) fn decrypt(algorithm: &[u8], bytes: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, CipherProblem> {
    let mut fields = Reader::new(algorithm);
    let garbled = CipherProblem::Garbled;
    match fields.expect(tag::OBJECT).ok_or(garbled)? {
        object::PBES2 => pbes2(fields.enter(tag::SEQUENCE).ok_or(garbled)?, bytes, password),
        object::PBE_SHA1_3DES => {
            let (salt, rounds) = salt_and_rounds(&mut fields.enter(tag::SEQUENCE).ok_or(garbled)?)?;
            let (key, iv) = triple_des_of(password, salt, rounds);
            triple_des_decrypt(&key, &iv, bytes)
        }
        _ => Err(CipherProblem::Unsupported),
    }
}

/// Decrypts a block of PEM in the manner of RFC 1421; `how` is a cipher and its initialisation vector.
pub(super) fn decrypt_old(bytes: &[u8], how: &str, password: &str) -> Result<Zeroizing<Vec<u8>>, CipherProblem> {
    let (cipher, iv) = how.split_once(',').ok_or(CipherProblem::Garbled)?;
    let iv = from_hex(iv).ok_or(CipherProblem::Garbled)?;
    let salt = iv.get(..8).ok_or(CipherProblem::Garbled)?;
    let key = |length| old_key(password, salt, length);
    match cipher {
        "AES-128-CBC" => aes_decrypt(&AES_128, &key(16), &iv, bytes),
        "AES-192-CBC" => aes_decrypt(&AES_192, &key(24), &iv, bytes),
        "AES-256-CBC" => aes_decrypt(&AES_256, &key(32), &iv, bytes),
        "DES-EDE3-CBC" => triple_des_decrypt(&key(24), &iv, bytes),
        _ => Err(CipherProblem::Unsupported),
    }
}

/// OpenSSL's EVP_BytesToKey with one round of MD5.
fn old_key(password: &str, salt: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::new());
    let mut last = Vec::new();
    while key.len() < length {
        last = Md5::new().chain_update(&last).chain_update(password).chain_update(salt).finalize().to_vec();
        key.extend_from_slice(&last);
    }
    key.truncate(length);
    key
}

fn pbes2(mut fields: Reader<'_>, bytes: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, CipherProblem> {
    let garbled = CipherProblem::Garbled;
    let mut stretching = fields.enter(tag::SEQUENCE).ok_or(garbled)?;
    if stretching.expect(tag::OBJECT) != Some(object::PBKDF2) {
        return Err(CipherProblem::Unsupported);
    }
    let mut parameters = stretching.enter(tag::SEQUENCE).ok_or(garbled)?;
    let (salt, rounds) = salt_and_rounds(&mut parameters)?;
    // The length of the key may stand here; the cipher says it, too.
    let hash = parameters
        .find(|field| field.tag == tag::SEQUENCE)
        .and_then(|field| Reader::new(field.content).expect(tag::OBJECT));
    let hash = match hash {
        None | Some(object::HMAC_SHA1) => pbkdf2::PBKDF2_HMAC_SHA1,
        Some(object::HMAC_SHA256) => pbkdf2::PBKDF2_HMAC_SHA256,
        Some(object::HMAC_SHA384) => pbkdf2::PBKDF2_HMAC_SHA384,
        Some(object::HMAC_SHA512) => pbkdf2::PBKDF2_HMAC_SHA512,
        Some(_) => return Err(CipherProblem::Unsupported),
    };
    let mut scheme = fields.enter(tag::SEQUENCE).ok_or(garbled)?;
    let cipher = scheme.expect(tag::OBJECT).ok_or(garbled)?;
    let iv = scheme.expect(tag::OCTET_STRING).ok_or(garbled)?;
    let (algorithm, length): (&'static Algorithm, usize) = match cipher {
        object::AES_128_CBC => (&AES_128, 16),
        object::AES_192_CBC => (&AES_192, 24),
        object::AES_256_CBC => (&AES_256, 32),
        object::DES_EDE3_CBC => {
            let key = Zeroizing::new(stretch(hash, password, salt, rounds, 24)?);
            return triple_des_decrypt(&key, iv, bytes);
        }
        _ => return Err(CipherProblem::Unsupported),
    };
    let key = Zeroizing::new(stretch(hash, password, salt, rounds, length)?);
    aes_decrypt(algorithm, &key, iv, bytes)
}

fn aes_decrypt(
    algorithm: &'static Algorithm,
    key: &[u8],
    iv: &[u8],
    bytes: &[u8],
) -> Result<Zeroizing<Vec<u8>>, CipherProblem> {
    let iv: [u8; 16] = iv.try_into().map_err(|_| CipherProblem::Garbled)?;
    let mut plain = Zeroizing::new(bytes.to_vec());
    let key = UnboundCipherKey::new(algorithm, key).and_then(PaddedBlockDecryptingKey::cbc_pkcs7);
    let key = key.map_err(|_| CipherProblem::Unsupported)?;
    let length = key
        .decrypt(&mut plain, DecryptionContext::Iv128(FixedLength::from(iv)))
        .map_err(|_| CipherProblem::Password)?
        .len();
    plain.truncate(length);
    Ok(plain)
}

pub(super) fn salt_and_rounds<'a>(fields: &mut Reader<'a>) -> Result<(&'a [u8], u32), CipherProblem> {
    let salt = fields.expect(tag::OCTET_STRING).ok_or(CipherProblem::Garbled)?;
    let rounds = fields.expect(tag::INTEGER).and_then(der::read_integer).ok_or(CipherProblem::Garbled)?;
    if salt.len() > LONGEST_SALT || !(1..=MOST_ROUNDS).contains(&rounds) {
        return Err(CipherProblem::Unsupported);
    }
    Ok((salt, u32::try_from(rounds).map_err(|_| CipherProblem::Unsupported)?))
}

fn stretch(
    hash: pbkdf2::Algorithm,
    password: &str,
    salt: &[u8],
    rounds: u32,
    length: usize,
) -> Result<Vec<u8>, CipherProblem> {
    let mut key = vec![0; length];
    let rounds = NonZeroU32::new(rounds).ok_or(CipherProblem::Garbled)?;
    pbkdf2::derive(hash, rounds, salt, password.as_bytes(), &mut key);
    Ok(key)
}

/// RFC 7292 appendix B.2: `length` bytes for this purpose (1 a key, 2 an initialisation vector, 3 a MAC key).
pub(super) fn pkcs12_bytes(
    hash: &'static digest::Algorithm,
    password: &str,
    salt: &[u8],
    rounds: u32,
    purpose: u8,
    length: usize,
) -> Zeroizing<Vec<u8>> {
    let block = hash.block_len();
    let password: Zeroizing<Vec<u8>> =
        Zeroizing::new(password.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect());
    let fill =
        |bytes: &[u8]| -> Vec<u8> { bytes.iter().copied().cycle().take(bytes.len().div_ceil(block) * block).collect() };
    let mut state = Zeroizing::new([fill(salt), fill(&password)].concat());
    let mut derived = Zeroizing::new(Vec::new());
    while derived.len() < length {
        let mut first = digest::Context::new(hash);
        first.update(&vec![purpose; block]);
        first.update(&state);
        let mut round = first.finish();
        for _ in 1..rounds {
            round = digest::digest(hash, round.as_ref());
        }
        derived.extend_from_slice(round.as_ref());
        let added: Vec<u8> = round.as_ref().iter().copied().cycle().take(block).collect();
        for chunk in state.chunks_mut(block) {
            // The chunk plus the hash plus one, as one long number.
            let mut carry = 1_u16;
            for (byte, add) in chunk.iter_mut().zip(&added).rev() {
                carry += u16::from(*byte) + u16::from(*add);
                let [high, low] = carry.to_be_bytes();
                (*byte, carry) = (low, u16::from(high));
            }
        }
    }
    derived.truncate(length);
    derived
}

fn triple_des_of(password: &str, salt: &[u8], rounds: u32) -> (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>) {
    let hash = &digest::SHA1_FOR_LEGACY_USE_ONLY;
    (pkcs12_bytes(hash, password, salt, rounds, 1, 24), pkcs12_bytes(hash, password, salt, rounds, 2, 8))
}

/// CBC with the padding of RFC 8018 section 6.1.1.
fn triple_des_encrypt(key: &[u8], iv: &[u8], plain: &[u8]) -> Result<Vec<u8>, CipherProblem> {
    let cipher = TdesEde3::new_from_slice(key).map_err(|_| CipherProblem::Garbled)?;
    let mut chained: [u8; 8] = iv.try_into().map_err(|_| CipherProblem::Garbled)?;
    let padding = 8 - plain.len() % 8;
    let mut padded = Zeroizing::new(plain.to_vec());
    padded.extend(std::iter::repeat_n(u8::try_from(padding).unwrap_or(8), padding));
    let mut encrypted = Vec::with_capacity(padded.len());
    for block in padded.as_chunks::<8>().0 {
        for (chained, byte) in chained.iter_mut().zip(block) {
            *chained ^= byte;
        }
        let mut block = chained.into();
        cipher.encrypt_block(&mut block);
        chained = block.into();
        encrypted.extend_from_slice(&chained);
    }
    Ok(encrypted)
}

fn triple_des_decrypt(key: &[u8], iv: &[u8], bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, CipherProblem> {
    let cipher = TdesEde3::new_from_slice(key).map_err(|_| CipherProblem::Garbled)?;
    let mut before: [u8; 8] = iv.try_into().map_err(|_| CipherProblem::Garbled)?;
    let (blocks, rest) = bytes.as_chunks::<8>();
    if blocks.is_empty() || !rest.is_empty() {
        return Err(CipherProblem::Garbled);
    }
    let mut plain = Zeroizing::new(Vec::with_capacity(bytes.len()));
    for encrypted in blocks {
        let mut block = (*encrypted).into();
        cipher.decrypt_block(&mut block);
        let block: [u8; 8] = block.into();
        plain.extend(block.iter().zip(before).map(|(byte, before)| byte ^ before));
        before = *encrypted;
    }
    let padding = usize::from(plain.last().copied().unwrap_or_default());
    let kept = plain.len().checked_sub(padding).filter(|_| (1..=8).contains(&padding));
    let kept = kept.ok_or(CipherProblem::Password)?;
    if plain.get(kept..).unwrap_or_default().iter().any(|&byte| usize::from(byte) != padding) {
        return Err(CipherProblem::Password);
    }
    plain.truncate(kept);
    Ok(plain)
}

pub(super) fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], CipherProblem> {
    let mut bytes = [0; LENGTH];
    rand::fill(&mut bytes).map_err(|_| CipherProblem::Randomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_is_decrypted_with_the_same_password_alone() {
        for how in [Encryption::Modern, Encryption::Compatible] {
            for plain in [&b""[..], b"1234567", b"12345678", b"a longer text than one block has room for"] {
                let encrypted = encrypt(plain, "Pässwörd", how).unwrap();
                let algorithm = Reader::new(&encrypted.algorithm).expect(tag::SEQUENCE).unwrap();
                assert_eq!(decrypt(algorithm, &encrypted.bytes, "Pässwörd").unwrap().as_slice(), plain);
                // One in 256 wrong passwords leaves something that looks like padding.
                assert_ne!(decrypt(algorithm, &encrypted.bytes, "other").ok().as_deref(), Some(&plain.to_vec()));
            }
        }
    }

    #[test]
    fn rounds_without_end_are_refused() {
        let parameters = [der::value(tag::OCTET_STRING, &[b"salt"]), der::integer(MOST_ROUNDS + 1)].concat();
        assert_eq!(salt_and_rounds(&mut Reader::new(&parameters)).unwrap_err(), CipherProblem::Unsupported);
    }
}
