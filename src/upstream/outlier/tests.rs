//! Ejection: what leads to it, how long it lasts, and that no history breaks its bounds.

use super::*;

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 80))
}

fn outliers(count: u8) -> (Outliers, Instant) {
    let now = Instant::now();
    let mut outliers = Outliers::new(now);
    assert!(outliers.keep(&(0..count).map(address).collect::<Vec<_>>()).is_empty());
    (outliers, now)
}

fn is_out(outliers: &Outliers, last: u8) -> bool {
    outliers.term(address(last)).is_some()
}

#[test]
fn what_ejects_and_what_does_not() {
    use Fault::{ConnectTimedOut, Cut, Error, FirstByteTimedOut, Malformed, Refused, Reset, Unavailable};
    let cases: [(&[Fault], bool); 8] = [
        (&[Refused], true),
        (&[Reset, Reset], false),
        (&[Reset, FirstByteTimedOut, Unavailable], true),
        (&[ConnectTimedOut, ConnectTimedOut, ConnectTimedOut], true),
        (&[Malformed, Malformed, Malformed], true),
        (&[Cut, Cut, Cut], true),
        (&[Error; 10], false),
        (&[Reset, Error, Reset], false),
    ];
    for (faults, expected) in cases {
        let (mut outliers, now) = outliers(2);
        for fault in faults {
            outliers.failed(address(0), *fault, now);
        }
        assert_eq!(is_out(&outliers, 0), expected, "{faults:?}");
    }
    let (mut outliers, now) = outliers(2);
    for _ in 0..10 {
        outliers.failed(address(0), Reset, now);
        outliers.failed(address(0), Reset, now);
        outliers.succeeded(address(0), 1, false, now);
    }
    assert!(!is_out(&outliers, 0), "failures in a row, not in all");
}

#[test]
fn never_more_than_half_and_never_the_only_one() {
    for (count, most) in [(1, 0), (2, 1), (3, 1), (4, 2), (7, 3)] {
        let (mut outliers, now) = outliers(count);
        for _ in 0..5 {
            for last in 0..count {
                outliers.failed(address(last), Fault::Refused, now);
            }
        }
        assert_eq!(outliers.out(), most, "of {count}");
    }
    // Those that left DNS make room for nobody.
    let (mut outliers, now) = outliers(4);
    outliers.failed(address(0), Fault::Refused, now);
    outliers.failed(address(1), Fault::Refused, now + Duration::from_millis(1));
    assert_eq!(outliers.keep(&[address(0), address(1), address(2)]), [address(0)]);
    assert_eq!(outliers.out(), 1);
}

#[test]
fn who_fails_much_more_often_than_the_others_is_ejected() {
    for (bad_here, bad_there, expected) in
        [(10, 0, true), (5, 0, false), (10, 4, true), (10, 9, false), (20, 20, false)]
    {
        let (mut outliers, now) = outliers(3);
        for last in 1..3 {
            outliers.succeeded(address(last), 20 - bad_there, false, now);
            for _ in 0..bad_there {
                outliers.failed(address(last), Fault::Error, now);
            }
        }
        outliers.succeeded(address(0), 20 - bad_here, false, now);
        for _ in 0..bad_here {
            outliers.failed(address(0), Fault::Error, now);
        }
        assert_eq!(is_out(&outliers, 0), expected, "{bad_here} of 20 here, {bad_there} of 20 there");
    }
}

#[test]
fn a_trial_brings_back_or_doubles_the_time() {
    let (mut outliers, mut now) = outliers(2);
    let mut expected = FIRST_EJECTION;
    outliers.failed(address(0), Fault::Refused, now);
    for trial in 0..8 {
        assert_eq!(outliers.trial(&[], true, now + expected - Duration::from_millis(1)), None);
        now += expected;
        assert_eq!(outliers.trial(&[], false, now), None, "a request that cannot be repeated is not risked");
        assert_eq!(outliers.trial(&[address(0)], true, now), None, "it was tried by this very request");
        let (tried, deadline) = outliers.trial(&[], true, now).unwrap();
        assert_eq!((tried, deadline), (address(0), Duration::from_secs(1 << trial)));
        assert_eq!(outliers.trial(&[], true, now), None, "one at a time");
        outliers.trial_abandoned(address(0));
        outliers.trial(&[], true, now).unwrap();
        expected = (expected * 2).min(LONGEST_EJECTION);
        let change = outliers.failed(address(0), Fault::FirstByteTimedOut, now);
        assert_eq!(change, Some(Change::Ejected { why: "no answer in time", lasts: expected }));
    }
    assert_eq!(expected, LONGEST_EJECTION);
    now += expected * 2;
    outliers.trial(&[], false, now).expect("nothing else came for long");
    assert_eq!(outliers.succeeded(address(0), 1, true, now), Some(Change::Readmitted));
    assert!(!is_out(&outliers, 0));
    // Soon after, the time is as long as ever; long after, it is forgiven.
    let change = outliers.failed(address(0), Fault::Refused, now);
    assert_eq!(change, Some(Change::Ejected { why: "connection refused", lasts: expected }));
    outliers.succeeded(address(0), 1, true, now);
    let change = outliers.failed(address(0), Fault::Refused, now + FORGIVEN_AFTER);
    assert_eq!(change, Some(Change::Ejected { why: "connection refused", lasts: FIRST_EJECTION }));
}

#[test]
fn what_was_under_way_before_the_ejection_brings_nobody_back() {
    let (mut outliers, now) = outliers(2);
    outliers.failed(address(0), Fault::Refused, now);
    assert_eq!(outliers.succeeded(address(0), 1, false, now), None);
    assert_eq!(outliers.checked_well(address(0), now), None, "its time is not over");
    assert!(is_out(&outliers, 0));
    assert_eq!(outliers.checked_well(address(0), now + FIRST_EJECTION), Some(Change::Readmitted));
}

#[test]
fn who_keeps_several_waiting_and_answers_nobody_is_silent() {
    let second = Duration::from_secs(1);
    // Requests that wait, heads that come each second here and there, the slowest good answer, and when it is ejected.
    for (waiting, here, there, slowest, expected) in [
        (3, 0, 1, None, Some(5)),
        (100, 0, 1, None, Some(5)),
        (2, 0, 1, None, None),
        (3, 1, 1, None, None),
        (3, 0, 0, None, None),
        (3, 0, 1, Some(second * 4), Some(9)),
        (3, 0, 1, Some(second), Some(5)),
    ] {
        let (mut outliers, start) = outliers(2);
        if let Some(slowest) = slowest {
            outliers.note_slow(slowest, start);
        }
        let ejected = (1..=30).find(|tick| {
            let now = start + second * *tick;
            let tick = u64::from(*tick);
            outliers.observe(address(1), Pulse { waiting: 5, heads: there * tick }, now);
            outliers.observe(address(0), Pulse { waiting, heads: here * tick }, now).is_some()
        });
        assert_eq!(ejected, expected, "{waiting} waiting, {here} here, {there} there, {slowest:?}");
    }
}

/// Thousands of random histories; after each step, what must hold, holds.
#[test]
fn the_invariants_hold_in_every_history() {
    for seed in 0..2_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut now = Instant::now();
        let mut outliers = Outliers::new(now);
        let mut present: Vec<SocketAddr> = (0..random.u8(1..6)).map(address).collect();
        outliers.keep(&present);
        let mut on_trial: Vec<SocketAddr> = Vec::new();
        for _ in 0..60 {
            let here = address(random.u8(0..8));
            match random.u8(0..12) {
                0 => {
                    present = (0..8).filter(|_| random.bool()).map(address).collect();
                    let back = outliers.keep(&present);
                    on_trial.retain(|address| present.contains(address) && !back.contains(address));
                }
                1..=4 => {
                    let faults = [Fault::Refused, Fault::Reset, Fault::Cut, Fault::Error, Fault::Unavailable];
                    let was_in = outliers.term(here).is_none();
                    let room = (outliers.out() + 1) * 2 <= present.len();
                    let fault = faults[random.usize(..faults.len())];
                    let change = outliers.failed(here, fault, now);
                    on_trial.retain(|other| *other != here);
                    if present.contains(&here) && was_in && room && fault == Fault::Refused {
                        assert!(matches!(change, Some(Change::Ejected { .. })), "seed {seed}");
                    }
                    if let Some(Change::Ejected { lasts, .. }) = change {
                        assert!((FIRST_EJECTION..=LONGEST_EJECTION).contains(&lasts), "seed {seed}");
                    }
                }
                5..=7 => {
                    let decisive = on_trial.contains(&here);
                    let change = outliers.succeeded(here, 1, decisive, now);
                    assert_eq!(change.is_some(), decisive, "seed {seed}");
                    on_trial.retain(|other| *other != here);
                }
                8 | 9 => {
                    if let Some((address, _)) = outliers.trial(&[], random.bool(), now) {
                        assert!(present.contains(&address) && !on_trial.contains(&address), "seed {seed}");
                        on_trial.push(address);
                    }
                }
                10 => {
                    outliers.trial_abandoned(here);
                    on_trial.retain(|other| *other != here);
                }
                _ => now += Duration::from_millis(random.u64(..20_000)),
            }
            assert!(outliers.out() * 2 <= present.len(), "seed {seed}: more than half are out");
            assert_eq!(outliers.rows.len(), present.len(), "seed {seed}");
            for address in &on_trial {
                assert!(outliers.term(*address).is_some(), "seed {seed}: one on trial is not in");
            }
        }
        // Whoever is out comes back by a trial.
        now += LONGEST_EJECTION * 2;
        for address in on_trial {
            outliers.trial_abandoned(address);
        }
        while let Some((address, _)) = outliers.trial(&[], false, now) {
            assert_eq!(outliers.succeeded(address, 1, true, now), Some(Change::Readmitted), "seed {seed}");
        }
        assert_eq!(outliers.out(), 0, "seed {seed}");
    }
}
