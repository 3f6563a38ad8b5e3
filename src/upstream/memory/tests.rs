//! Answers, failures and waits, one by one and thousands at random.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::*;

fn settings() -> DnsSettings {
    DnsSettings {
        min_ttl: Duration::from_secs(1),
        max_ttl: Duration::from_secs(5),
        stale_for: Duration::from_secs(300),
        resolvers: Vec::new(),
    }
}

fn at(last: usize) -> SocketAddr {
    let [high, low] = u16::try_from(last).unwrap().to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 80))
}

/// What a server that knows these says: all of them, or a sample.
fn answer(addresses: impl IntoIterator<Item = usize>, ttl: u64) -> Result<Answer, LookupError> {
    let found: Vec<_> = addresses.into_iter().map(|last| Discovered::new(at(last))).collect();
    let v4 = if found.len() >= 8 { Extent::Sample } else { Extent::Whole };
    Ok(Answer { found, ttl: Duration::from_secs(ttl), v4, v6: Extent::Whole })
}

fn no_name() -> Result<Answer, LookupError> {
    Err(LookupError::NoAddress("NXDOMAIN".to_owned()))
}

fn no_answer() -> Result<Answer, LookupError> {
    Err(LookupError::Failed("request timed out".to_owned()))
}

fn published(memory: &Memory) -> Vec<SocketAddr> {
    memory.published.iter().map(|one| one.address).collect()
}

/// A memory, and a time that moves when told.
struct Told {
    memory: Memory,
    now: Instant,
}

impl Told {
    fn new() -> Self {
        Self { memory: Memory::new(settings()), now: Instant::now() }
    }

    fn next(&mut self, after: u64, answer: Result<Answer, LookupError>) -> Step {
        self.now += Duration::from_secs(after);
        self.memory.next(answer, self.now)
    }
}

#[test]
fn the_ttl_is_followed_within_bounds() {
    let mut told = Told::new();
    for (ttl, expected) in [(0, 1), (1, 1), (3, 3), (60, 5)] {
        assert_eq!(told.next(1, answer([1], ttl)).again_in, Duration::from_secs(expected), "TTL {ttl}");
    }
}

#[test]
fn the_last_good_answer_is_kept_and_then_given_up() {
    let mut told = Told::new();
    told.next(0, answer([1], 5));
    assert_eq!(published(&told.memory), [at(1)]);
    let step = told.next(299, no_name());
    assert_eq!((step.publish, step.notes.len()), (None, 1));
    let step = told.next(2, no_name());
    assert_eq!((step.publish, step.notes), (Some(Vec::new()), vec![Note::GivenUp]));
    let step = told.next(1, no_name());
    assert_eq!((step.publish, step.notes), (None, Vec::new()));
    let step = told.next(1, answer([1], 5));
    assert_eq!((published(&told.memory), step.notes), (vec![at(1)], vec![Note::Recovered]));
}

/// Ten minutes without a DNS server, with a `stale_for` that is longer: nothing changes, one line is logged.
#[test]
fn a_dns_server_that_is_down_for_ten_minutes_takes_nothing_away() {
    let mut told = Told::new();
    told.memory.settings.stale_for = Duration::from_mins(15);
    told.next(0, answer(1..=20, 10));
    let mut notes = 0;
    for _ in 0..600 {
        let step = told.next(1, no_answer());
        assert_eq!((step.publish, step.again_in), (None, Duration::from_secs(1)));
        notes += step.notes.len();
    }
    assert_eq!((published(&told.memory).len(), notes), (20, 1));
    // The outage has not aged those that the first sample after it does not name.
    told.next(1, answer(1..=8, 10));
    assert_eq!(published(&told.memory).len(), 20);
}

#[test]
fn a_name_that_never_resolved_is_asked_for_again() {
    let mut told = Told::new();
    let step = told.next(0, no_name());
    assert_eq!((step.publish, step.again_in), (None, Duration::from_secs(1)));
    assert_eq!(told.memory.gives_up_at(None), None);
}

#[test]
fn a_failure_of_another_kind_is_told_again_and_the_same_is_not() {
    let mut told = Told::new();
    let notes: Vec<_> = [no_name(), no_name(), no_answer(), no_answer(), no_name(), answer([1], 1)]
        .into_iter()
        .map(|answer| told.next(1, answer).notes.len())
        .collect();
    assert_eq!(notes, [1, 0, 1, 0, 1, 1]);
}

#[test]
fn a_look_up_that_hangs_is_no_failure_until_it_is_late() {
    let mut told = Told::new();
    told.next(0, answer([1], 5));
    let good = told.now;
    let stale = good + Duration::from_secs(300);
    // Nothing is asked, and nothing has failed.
    assert_eq!(told.memory.gives_up_at(None), None);
    assert_eq!(told.memory.gives_up_at(Some(good + Duration::from_secs(5))), Some(stale));
    assert_eq!(told.memory.gives_up_at(Some(stale)), Some(stale + ATTEMPT));
    told.next(5, no_answer());
    assert_eq!(told.memory.gives_up_at(None), Some(stale));
    let step = told.memory.give_up();
    assert_eq!((step.publish, step.notes), (Some(Vec::new()), vec![Note::GivenUp]));
    assert_eq!(told.memory.gives_up_at(None), None);
}

#[test]
fn fewer_than_eight_are_all_there_are() {
    let mut told = Told::new();
    told.next(0, answer(1..=20, 1));
    told.next(1, answer([3, 30], 1));
    assert_eq!(published(&told.memory), [at(3), at(30)]);
}

#[test]
fn samples_are_merged_and_what_is_long_unnamed_is_forgotten() {
    let mut told = Told::new();
    told.next(0, answer(1..=8, 10));
    told.next(1, answer(9..=16, 10));
    assert_eq!(published(&told.memory).len(), 16);
    // Six times the TTL of 10 s, counted in answers.
    for second in (0..60).step_by(5) {
        told.next(5, answer(1..=8, 10));
        assert_eq!(published(&told.memory).len(), 16, "after {second} s");
    }
    told.next(5, answer(1..=8, 10));
    assert_eq!(published(&told.memory).len(), 8);
}

#[test]
fn there_is_a_hurry_while_samples_name_new_addresses() {
    let mut told = Told::new();
    let seconds: Vec<_> = [(1..=8), (5..=12), (1..=8), (5..=12), (1..=8), (9..=16), (1..=8)]
        .into_iter()
        .map(|addresses| told.next(1, answer(addresses, 60)).again_in.as_secs())
        .collect();
    assert_eq!(seconds, [1, 1, 1, 1, 5, 1, 1]);
}

#[test]
fn one_kind_of_address_that_was_not_heard_of_is_kept() {
    let v6 = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 80));
    let mut told = Told::new();
    let mut both = answer([1], 5).unwrap();
    both.found.push(Discovered::new(v6));
    told.next(0, Ok(both));
    let unheard = || Ok(Answer { v6: Extent::Unheard, ..answer([2], 5).unwrap() });
    told.next(5, unheard());
    assert_eq!(published(&told.memory), [at(2), v6]);
    told.next(296, unheard());
    assert_eq!(published(&told.memory), [at(2)]);
}

#[test]
fn more_addresses_than_are_kept_are_told_of_once() {
    let mut told = Told::new();
    assert_eq!(told.next(0, answer(1..=MOST_ADDRESSES, 1)).notes, []);
    assert_eq!(told.next(1, answer(2000..2008, 1)).notes, [Note::Crowded]);
    let addresses = published(&told.memory);
    assert_eq!(addresses.len(), MOST_ADDRESSES);
    assert!((2000..2008).all(|last| addresses.contains(&at(last))));
    assert_eq!(told.next(1, answer(3000..3008, 1)).notes, []);
}

/// Thousands of random sequences of answers, failures and waits; what must hold holds after each step.
#[test]
fn whatever_the_answers_are_the_endpoints_are_sound() {
    for seed in 0..2000 {
        Simulation::new(seed).run(60);
    }
}

/// Beside the memory, what an observer can know of it.
struct Simulation {
    random: fastrand::Rng,
    memory: Memory,
    now: Instant,
    seed: u64,
    last_good: Option<Instant>,
    last: Option<Answer>,
    /// When each address was last in an answer, for those that nothing but samples has followed.
    sampled: BTreeMap<SocketAddr, Instant>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let min_ttl = Duration::from_millis(random.u64(100..3000));
        let settings = DnsSettings {
            min_ttl,
            max_ttl: min_ttl + Duration::from_millis(random.u64(0..60_000)),
            stale_for: Duration::from_millis(random.choice([0, 500, 30_000, 300_000]).unwrap()),
            resolvers: Vec::new(),
        };
        let memory = Memory::new(settings);
        Self { random, memory, now: Instant::now(), seed, last_good: None, last: None, sampled: BTreeMap::new() }
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            let before = self.memory.published.clone();
            let asked = self.now;
            let takes = Duration::from_millis(self.random.choice([1, 20, 500, 10_000]).unwrap());
            // As the task does: what is too old is given up while a look-up hangs.
            if let Some(at) = self.memory.gives_up_at(Some(asked)).filter(|at| *at < asked + takes) {
                let step = self.memory.give_up();
                assert_eq!(step.publish.as_deref(), (!before.is_empty()).then_some(&[][..]), "seed {}", self.seed);
                assert!(self.last_good.unwrap() + self.memory.settings.stale_for <= at, "seed {}", self.seed);
                self.forget();
            }
            self.now += takes;
            let before = self.memory.published.clone();
            let answer = self.answer();
            let step = self.memory.next(answer.clone(), self.now);
            match answer {
                Ok(answer) => self.heard(answer),
                Err(_) => {
                    let stale_for = self.memory.settings.stale_for;
                    if self.last_good.is_some_and(|at| self.now >= at + stale_for) {
                        self.forget();
                    }
                }
            }
            let changed = before != self.memory.published;
            assert_eq!(step.publish.as_ref(), changed.then_some(&self.memory.published), "seed {}", self.seed);
            self.check(&step);
            let pause = step.again_in.mul_f64(1.0 - 0.1 * self.random.f64());
            // Nor is it used for longer while nothing is asked.
            if let Some(at) = self.memory.gives_up_at(None).filter(|at| *at < self.now + pause) {
                assert!(at > self.now && self.memory.error().is_some(), "seed {}", self.seed);
                self.memory.give_up();
                self.forget();
            }
            self.now += pause;
        }
    }

    fn answer(&mut self) -> Result<Answer, LookupError> {
        match self.random.u8(0..10) {
            0 | 1 => return no_name(),
            2 => return no_answer(),
            _ => {}
        }
        let (mut known, mut most) = (self.random.usize(1..40), self.random.choice([1, 7, 8, 8, 30]).unwrap());
        if self.seed.is_multiple_of(500) {
            (known, most) = (1500, self.random.choice([8, 1200]).unwrap());
        }
        let mut all: Vec<_> = (1..=known).collect();
        self.random.shuffle(&mut all);
        all.truncate(most);
        let mut answer = answer(all, self.random.choice([0, 1, 10, 60, 86_400]).unwrap()).unwrap();
        if self.seed.is_multiple_of(2) {
            for one in &mut answer.found {
                (one.priority, one.weight) = (self.random.u16(0..3), self.random.u16(..));
            }
        }
        if self.random.u8(0..4) == 0 {
            answer.found.push(Discovered::new(SocketAddr::new(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), 80)));
        } else if self.random.u8(0..4) == 0 {
            answer.v6 = Extent::Unheard;
        }
        Ok(answer)
    }

    fn heard(&mut self, answer: Answer) {
        if answer.v4 == Extent::Whole {
            self.sampled.clear();
        }
        let v4 = answer.found.iter().filter(|one| one.address.is_ipv4());
        self.sampled.extend(v4.map(|one| (one.address, self.now)));
        self.last_good = Some(self.now);
        self.last = Some(answer);
    }

    fn forget(&mut self) {
        self.sampled.clear();
        self.last = None;
    }

    fn check(&self, step: &Step) {
        let Self { memory, now, seed, .. } = self;
        let DnsSettings { min_ttl, max_ttl, stale_for, .. } = memory.settings;
        assert!((min_ttl..=max_ttl).contains(&step.again_in), "seed {seed}: {:?}", step.again_in);
        assert!(memory.seen.len() <= MOST_ADDRESSES, "seed {seed}: {}", memory.seen.len());
        let published: BTreeSet<_> = published(memory).into_iter().collect();
        assert_eq!(published.len(), memory.published.len(), "seed {seed}: an address stands twice");
        let lowest = memory.seen.values().map(|seen| seen.priority).min();
        assert!(memory.published.iter().all(|one| Some(one.priority) == lowest), "seed {seed}");
        let good = self.last_good.is_some_and(|at| *now < at + stale_for || at == *now);
        assert!(!good || !published.is_empty(), "seed {seed}: empty with a good answer");
        let Some(last) = &self.last else {
            assert!(published.is_empty(), "seed {seed}: too old, and still in use");
            return;
        };
        let named: BTreeSet<_> = last.found.iter().map(|one| one.address).collect();
        if named.len() <= MOST_ADDRESSES {
            assert!(named.iter().all(|one| memory.seen.contains_key(one)), "seed {seed}: a named address is missing");
        }
        for address in memory.seen.keys() {
            let extent = if address.is_ipv4() { last.v4 } else { last.v6 };
            let gone = extent == Extent::Whole && !named.contains(address);
            assert!(!gone, "seed {seed}: {address} is gone and still in use");
        }
        if self.sampled.len() <= MOST_ADDRESSES {
            for (address, at) in &self.sampled {
                let young = now.duration_since(*at) < SHORTEST_AGE;
                assert!(!young || memory.seen.contains_key(address), "seed {seed}: {address} was forgotten too soon");
            }
        }
        for (address, seen) in &memory.seen {
            let age = memory.heard - seen.heard;
            assert!(address.is_ipv6() || age <= LONGEST_AGE, "seed {seed}: {address} has not been named for {age:?}");
        }
    }
}
