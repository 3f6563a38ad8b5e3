//! How values are spread over ranges that were chosen beforehand.

use super::shards::Shards;
use super::text::{Exposition, Kind};

/// More than this counts as this, so that no single value makes the sum begin again.
const LARGEST: u64 = u32::MAX as u64;

/// Whole numbers, counted by range.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One number for each range, the last of what is above all bounds; and the sum of all values.
    counts: Shards,
}

impl Histogram {
    /// The ranges end at these bounds, which grow; each bound belongs to the range that it ends.
    pub fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: Shards::new(bounds.len() + 2) }
    }

    /// Counts a value.
    pub fn observe(&self, value: u64) {
        let value = value.min(LARGEST);
        self.counts.add(self.bounds.partition_point(|bound| *bound < value), 1);
        self.counts.add(self.bounds.len() + 1, value);
    }

    /// Writes the family. Each bucket holds those below it, too, as Prometheus wants it.
    pub fn write(&self, page: &mut Exposition, name: &'static str, help: &'static str) {
        let mut family = page.family(name, Kind::Histogram, help);
        let mut below = 0_u64;
        for (index, bound) in self.bounds.iter().enumerate() {
            below = below.wrapping_add(self.counts.total(index));
            family.part("_bucket", &[("le", &bound.to_string())], below);
        }
        // Once only: the count has to be that of the last bucket, whoever observes something meanwhile.
        let all = below.wrapping_add(self.counts.total(self.bounds.len()));
        family.part("_bucket", &[("le", "+Inf")], all);
        family.part("_sum", &[], self.counts.total(self.bounds.len() + 1));
        family.part("_count", &[], all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_every_bucket_from_its_own_on() {
        let histogram = Histogram::new(&[10, 100]);
        for value in [0, 10, 11, 100, 101, u64::MAX] {
            histogram.observe(value);
        }
        let mut page = Exposition::default();
        histogram.write(&mut page, "x_seconds", "Help.");
        let sum = 10 + 11 + 100 + 101 + LARGEST;
        let expected = format!(
            "# HELP x_seconds Help.\n# TYPE x_seconds histogram\nx_seconds_bucket{{le=\"10\"}} \
             2\nx_seconds_bucket{{le=\"100\"}} 4\nx_seconds_bucket{{le=\"+Inf\"}} 6\nx_seconds_sum \
             {sum}\nx_seconds_count 6\n"
        );
        assert_eq!(page.into_text(), expected);
    }
}
