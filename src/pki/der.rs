//! DER (X.690 section 10), as much of it as is needed to take a signed structure apart and put it together again.
//!
//! What a structure means is left to who asks; nothing here nests, so nothing here recurses.

/// Tags of the types that are written here.
pub(super) mod tag {
    pub(in crate::pki) const INTEGER: u8 = 0x02;
    pub(in crate::pki) const BIT_STRING: u8 = 0x03;
    pub(in crate::pki) const OCTET_STRING: u8 = 0x04;
    pub(in crate::pki) const NULL: u8 = 0x05;
    pub(in crate::pki) const OBJECT: u8 = 0x06;
    pub(in crate::pki) const SEQUENCE: u8 = 0x30;
    pub(in crate::pki) const SET: u8 = 0x31;
    /// `[0]`, constructed: explicit tags and implicit ones of constructed types.
    pub(in crate::pki) const CONTEXT_0: u8 = 0xa0;
    /// `[0]`, primitive.
    pub(in crate::pki) const IMPLICIT_0: u8 = 0x80;
}

/// One value: its tag, what is in it, and all its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) raw: &'a [u8],
}

impl<'a> Value<'a> {
    /// What is in it, when it is of this kind.
    pub(super) fn of(self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.content)
    }
}

/// Values that follow each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The values inside the one value of this kind that `bytes` are.
    pub(super) fn inside(bytes: &'a [u8], tag: u8) -> Option<Self> {
        let mut outer = Self(bytes);
        let content = outer.next()?.of(tag)?;
        outer.0.is_empty().then_some(Self(content))
    }

    /// What is in the next value, when it is of this kind.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()?.of(tag)
    }

    /// The values inside the next one, when it is of this kind.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Self> {
        self.expect(tag).map(Self)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Value<'a>;

    /// `None` at the end, and for what is no DER.
    fn next(&mut self) -> Option<Value<'a>> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        let (length, header) = if first < 0x80 {
            (usize::from(first), 2)
        } else {
            let count = usize::from(first & 0x7f);
            let bytes = rest.get(..count).filter(|bytes| (1..=4).contains(&bytes.len()))?;
            (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), 2 + count)
        };
        let end = header.checked_add(length)?;
        let (raw, after) = self.0.split_at_checked(end)?;
        self.0 = after;
        Some(Value { tag, content: raw.get(header..)?, raw })
    }
}

/// A value of this kind, of these parts one after the other.
pub(super) fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = Vec::with_capacity(length + 6);
    bytes.push(tag);
    if length < 0x80 {
        bytes.push(u8::try_from(length).unwrap_or_default());
    } else {
        let digits: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|&byte| byte == 0).collect();
        bytes.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
        bytes.extend(digits);
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// A SEQUENCE.
pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(tag::SEQUENCE, parts)
}

/// An INTEGER that is not negative.
pub(super) fn integer(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let zeros = bytes.iter().take(7).take_while(|&&byte| byte == 0).count();
    let digits = bytes.get(zeros..).unwrap_or_default();
    // The first bit is the sign.
    let sign: &[u8] = if digits.first().is_some_and(|&first| first >= 0x80) { &[0] } else { &[] };
    value(tag::INTEGER, &[sign, digits])
}

/// A NULL.
pub(super) fn null() -> Vec<u8> {
    value(tag::NULL, &[])
}

/// An INTEGER that is not negative and fits.
pub(super) fn read_integer(content: &[u8]) -> Option<u64> {
    let digits = content.strip_prefix(&[0]).unwrap_or(content);
    (digits.len() <= 8 && content.first().is_some_and(|&first| first < 0x80))
        .then(|| digits.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x1_0000] {
            let content = vec![7; length];
            let bytes = value(tag::OCTET_STRING, &[&content, &[]]);
            let read = Reader::new(&bytes).next().unwrap();
            assert_eq!((read.tag, read.content, read.raw), (tag::OCTET_STRING, &content[..], &bytes[..]));
        }
        for number in [0, 1, 0x7f, 0x80, 0xffff, u64::MAX] {
            let bytes = integer(number);
            assert_eq!(read_integer(Reader::new(&bytes).expect(tag::INTEGER).unwrap()), Some(number));
        }
        assert_eq!(integer(128), [2, 2, 0, 128]);
    }

    #[test]
    fn what_is_cut_short_is_the_end() {
        let whole = sequence(&[&integer(70_000), &null()]);
        for length in 0..whole.len() {
            assert!(Reader::inside(&whole[..length], tag::SEQUENCE).is_none());
        }
        assert!(Reader::inside(&whole, tag::SET).is_none());
        for garbage in [&[0x30, 0x80][..], &[0x30, 0x85, 1, 1, 1, 1, 1], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]] {
            assert!(Reader::new(garbage).next().is_none());
        }
    }
}
