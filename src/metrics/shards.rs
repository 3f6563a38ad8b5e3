//! Numbers that many threads add to and one now and then reads: each thread has a place of its own, so that no two
//! fight over a cache line for every request.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Places; threads beyond them share.
const SHARDS: usize = 8;
/// What fits in a cache line.
const PER_LINE: usize = 8;

/// A cache line. 128 bytes apart, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line([AtomicU64; PER_LINE]);

/// So many numbers. They only grow, and begin again at zero after 2^64.
#[derive(Debug)]
pub(super) struct Shards {
    lines: Box<[Line]>,
    lines_each: usize,
}

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Which place is this thread's.
    static PLACE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
}

impl Shards {
    pub(super) fn new(numbers: usize) -> Self {
        let lines_each = numbers.div_ceil(PER_LINE);
        Self { lines: (0..SHARDS * lines_each).map(|_| Line::default()).collect(), lines_each }
    }

    /// Adds to the number of this index; there is no other than those it was made with.
    pub(super) fn add(&self, index: usize, amount: u64) {
        // A thread that is ending has no place any more.
        let place = PLACE.try_with(|place| *place).unwrap_or(0);
        let line = self.lines.get(place * self.lines_each + index / PER_LINE);
        if let Some(number) = line.and_then(|line| line.0.get(index % PER_LINE)) {
            number.fetch_add(amount, Ordering::Relaxed);
        }
    }

    pub(super) fn total(&self, index: usize) -> u64 {
        let of_place = |place: usize| {
            let line = self.lines.get(place * self.lines_each + index / PER_LINE)?;
            Some(line.0.get(index % PER_LINE)?.load(Ordering::Relaxed))
        };
        (0..SHARDS).filter_map(of_place).fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_between_threads() {
        let shards = Shards::new(PER_LINE + 2);
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| {
                    for turn in 0..1000 {
                        shards.add(turn % (PER_LINE + 2), 3);
                    }
                });
            }
        });
        let totals: Vec<_> = (0..PER_LINE + 2).map(|index| shards.total(index)).collect();
        assert_eq!(totals, vec![2 * SHARDS as u64 * 100 * 3; PER_LINE + 2]);
    }
}
