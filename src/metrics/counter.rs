//! Counters of one family, one for each value of its label.

use std::marker::PhantomData;

use super::shards::Shards;
use super::text::{Exposition, Kind};

/// The values that a label may have: a closed set, all of which are shown from the start, so that the first of a kind
/// is seen as an increase.
pub trait Label: Copy + 'static {
    /// Its name.
    const NAME: &'static str;
    /// Every value, in the order of [`Label::index`].
    const ALL: &'static [Self];

    /// The place among all.
    fn index(self) -> usize;

    /// The word.
    fn value(self) -> &'static str;
}

/// A counter for each value of a label.
#[derive(Debug)]
pub struct Counters<L> {
    counts: Shards,
    label: PhantomData<fn(L)>,
}

impl<L: Label> Default for Counters<L> {
    fn default() -> Self {
        Self { counts: Shards::new(L::ALL.len()), label: PhantomData }
    }
}

impl<L: Label> Counters<L> {
    /// Counts one.
    pub fn count(&self, value: L) {
        self.counts.add(value.index(), 1);
    }

    /// How many there were.
    pub fn total(&self, value: L) -> u64 {
        self.counts.total(value.index())
    }

    /// Writes the family.
    pub fn write(&self, page: &mut Exposition, name: &'static str, help: &'static str) {
        let mut family = page.family(name, Kind::Counter, help);
        for value in L::ALL {
            family.sample(&[(L::NAME, value.value())], self.total(*value));
        }
    }
}
