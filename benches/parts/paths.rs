//! Reading what a path may mean: one that means itself, one with percent-encoding, one with dot segments.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use mtls_gateway::route::Readings;

/// A kind of paths: eight bytes that are repeated, and how many readings there are.
const KINDS: [(&str, &str, usize); 4] =
    [("plain", "/orders7", 1), ("encoded", "/or%64er", 1), ("encoded slash", "/or%2fer", 2), ("dots", "/ab/./cd", 2)];

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read a path");
    for (name, piece, readings) in KINDS {
        for length in [16, 256, 4096] {
            let path = piece.repeat(length / piece.len());
            assert_eq!(Readings::of(&path).unwrap().iter().count(), readings, "{path}");
            assert_eq!(Readings::of(&path).unwrap().iter().any(|reading| reading == path), !path.contains("%64"));
            group.throughput(Throughput::Bytes(length as u64));
            group.bench_with_input(BenchmarkId::new(name, length), path.as_str(), |bencher, path| {
                bencher.iter(|| Readings::of(black_box(path)));
            });
        }
    }
    group.finish();
}
