//! Judging a client's chain: signatures, above all, and what a long revocation list adds to them.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use mtls_gateway::clock::WallTime;
use mtls_gateway::identity::Reason;

use crate::pki::{Keys, NOW, OF_CLIENT, Pki, serial};

/// Serial numbers on a list.
const SIZES: [u64; 3] = [1, 1000, 100_000];

pub(crate) fn measure(criterion: &mut Criterion) {
    let now = WallTime::from_unix_seconds(NOW);
    let mut group = criterion.benchmark_group("judge a chain");
    for keys in [Keys::P256, Keys::Rsa2048] {
        let pki = Pki::new(keys);
        let trust = pki.trust();
        for (place, chain) in [("below the root", pki.below_root()), ("with an intermediate", pki.below_intermediate())]
        {
            assert_eq!(trust.judge(&chain, now).unwrap().path, chain);
            // Of another root with the same name.
            let stranger = Pki::new(keys).below_root();
            assert_eq!(trust.judge(&stranger, now).unwrap_err(), Reason::BadSignature);
            group.bench_with_input(BenchmarkId::new(keys.name(), place), &chain, |bencher, chain| {
                bencher.iter(|| trust.judge(black_box(chain), now));
            });
        }
    }
    group.finish();
    with_lists(criterion, now);
}

/// How long the list is should not be felt: beside a signature by no means, and by itself as its logarithm.
fn with_lists(criterion: &mut Criterion, now: WallTime) {
    let pki = Pki::new(Keys::P256);
    let chain = pki.below_root();
    let others = |size: u64| OF_CLIENT + 1..OF_CLIENT + 1 + size;
    let stores: Vec<_> = SIZES.iter().map(|size| (*size, pki.trust_with_list(others(*size)))).collect();

    let mut group = criterion.benchmark_group("judge a chain, with a revocation list");
    for (size, trust) in &stores {
        assert_eq!(trust.judge(&chain, now).unwrap().path, chain);
        let revoking = pki.trust_with_list(others(size - 1).chain([OF_CLIENT]));
        assert_eq!(revoking.judge(&chain, now).unwrap_err(), Reason::Revoked);
        group.bench_with_input(BenchmarkId::from_parameter(size), trust, |bencher, trust| {
            bencher.iter(|| trust.judge(black_box(&chain), now));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("look a serial number up");
    group.throughput(Throughput::Elements(1));
    for (size, trust) in &stores {
        let [list] = trust.revocation_lists() else { panic!("one list became several") };
        assert_eq!(list.len() as u64, *size);
        // As many that are not on it as are, from all over it.
        let serials: Vec<_> = (0..1024).map(|turn| serial(OF_CLIENT + turn * 7919 % (2 * size))).collect();
        assert!(list.revokes(&serial(OF_CLIENT + 1)) && !list.revokes(&serial(OF_CLIENT)));
        group.bench_with_input(BenchmarkId::from_parameter(size), list, |bencher, list| {
            let mut turn = serials.iter().cycle();
            bencher.iter(|| list.revokes(turn.next().unwrap()));
        });
    }
    group.finish();
}
