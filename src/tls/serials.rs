//! A set of serial numbers: 20 bytes for each, and found by binary search. A list of a million is nothing unusual for
//! a public authority, and what is kept of it stays for as long as the gateway runs.

/// RFC 5280 section 4.1.2.2: no longer than this. Longer ones exist and are kept apart.
const LONGEST: usize = 20;

/// Serial numbers as unsigned numbers: leading zero bytes do not count.
#[derive(Default)]
pub(super) struct Serials {
    /// Sorted; each filled up with zeros in front.
    usual: Box<[[u8; LONGEST]]>,
    /// Sorted.
    long: Box<[Box<[u8]>]>,
}

impl std::fmt::Debug for Serials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} serial numbers", self.len())
    }
}

impl Serials {
    pub(super) fn len(&self) -> usize {
        self.usual.len() + self.long.len()
    }

    pub(super) fn contains(&self, serial: &[u8]) -> bool {
        let significant = significant(serial);
        match padded(significant) {
            Some(padded) => self.usual.binary_search(&padded).is_ok(),
            None => self.long.binary_search_by(|known| (**known).cmp(significant)).is_ok(),
        }
    }
}

/// Collects serial numbers, in any order, more than once.
#[derive(Default)]
pub(super) struct SerialsBuilder {
    usual: Vec<[u8; LONGEST]>,
    long: Vec<Box<[u8]>>,
}

impl SerialsBuilder {
    pub(super) fn add(&mut self, serial: &[u8]) {
        let significant = significant(serial);
        match padded(significant) {
            Some(padded) => self.usual.push(padded),
            None => self.long.push(significant.into()),
        }
    }

    pub(super) fn build(mut self) -> Serials {
        self.usual.sort_unstable();
        self.usual.dedup();
        self.long.sort_unstable();
        self.long.dedup();
        Serials { usual: self.usual.into(), long: self.long.into() }
    }
}

fn significant(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    serial.get(zeros..).unwrap_or_default()
}

fn padded(significant: &[u8]) -> Option<[u8; LONGEST]> {
    let mut padded = [0; LONGEST];
    let start = LONGEST.checked_sub(significant.len())?;
    padded.get_mut(start..)?.copy_from_slice(significant);
    Some(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_found_whatever_its_length_and_sign_byte() {
        let mut builder = SerialsBuilder::default();
        let long = [7; 30];
        for serial in [&[0x00, 0x81, 2][..], &[5], &[5], &[0x7f; 20], &long, &[0, 0, 9]] {
            builder.add(serial);
        }
        let serials = builder.build();
        assert_eq!(serials.len(), 5);
        for present in [&[0x81, 2][..], &[0, 0x81, 2], &[5], &[0, 5], &[0x7f; 20], &long, &[9]] {
            assert!(serials.contains(present), "{present:?}");
        }
        for absent in [&[][..], &[0], &[2], &[0x81], &[5, 0], &[0x7f; 19], &[7; 29], &[7; 31]] {
            assert!(!serials.contains(absent), "{absent:?}");
        }
    }
}
