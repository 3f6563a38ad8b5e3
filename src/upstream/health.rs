//! What active checks have found of one endpoint: a pure state machine.
//!
//! An endpoint nobody has checked yet is used, since DNS names it; its first check decides at once. After that it takes
//! several checks in a row to change what is believed.

use std::time::Duration;

use super::settings::HealthCheck;

/// How soon an endpoint is checked again while no endpoint of the upstream is well.
const NOBODY_IS_WELL: Duration = Duration::from_millis(500);

/// What is believed of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Verdict {
    /// It has not been checked.
    #[default]
    Unknown,
    Well,
    Unwell,
}

/// What checks have found of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Health {
    verdict: Verdict,
    /// Checks in a row that contradict the verdict.
    contrary: u32,
}

impl Health {
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// A check has ended. Tells the new verdict when it has changed.
    pub(super) fn checked(&mut self, passed: bool, check: &HealthCheck) -> Option<Verdict> {
        let (found, needed) = if passed {
            (Verdict::Well, check.healthy_threshold)
        } else {
            (Verdict::Unwell, check.unhealthy_threshold)
        };
        if found == self.verdict {
            self.contrary = 0;
            return None;
        }
        self.contrary += 1;
        if self.verdict != Verdict::Unknown && self.contrary < needed {
            return None;
        }
        *self = Self { verdict: found, contrary: 0 };
        Some(found)
    }

    /// When the next check begins, counted from the beginning of the last; `draw` is from 0 to 1. Up to a tenth earlier
    /// than configured, so that gateways do not check in step.
    pub(super) fn next_in(check: &HealthCheck, anybody_is_well: bool, draw: f64) -> Duration {
        let interval = if anybody_is_well { check.interval } else { check.interval.min(NOBODY_IS_WELL) };
        interval.mul_f64(1.0 - 0.1 * draw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> HealthCheck {
        HealthCheck {
            path: http::uri::PathAndQuery::from_static("/health"),
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            healthy_threshold: 2,
            unhealthy_threshold: 3,
        }
    }

    #[test]
    fn the_first_check_decides_and_then_it_takes_several() {
        for (checks, expected) in [
            ("", Verdict::Unknown),
            ("+", Verdict::Well),
            ("-", Verdict::Unwell),
            ("+--", Verdict::Well),
            ("+---", Verdict::Unwell),
            ("+--+--", Verdict::Well),
            ("-+", Verdict::Unwell),
            ("-++", Verdict::Well),
            ("-+-+-+", Verdict::Unwell),
            ("+---++", Verdict::Well),
        ] {
            let mut health = Health::default();
            for passed in checks.chars().map(|one| one == '+') {
                health.checked(passed, &check());
            }
            assert_eq!(health.verdict(), expected, "{checks:?}");
        }
    }

    /// Thousands of random histories: the verdict is what the last run of equal checks that was long enough said.
    #[test]
    fn the_verdict_follows_the_last_run_that_was_long_enough() {
        let check = check();
        for seed in 0..5_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut health, mut run, mut last, mut expected) = (Health::default(), 0, None, Verdict::Unknown);
            for _ in 0..50 {
                let passed = random.f32() < 0.7;
                run = if last == Some(passed) { run + 1 } else { 1 };
                last = Some(passed);
                let before = health.verdict();
                let change = health.checked(passed, &check);
                let (found, needed) = if passed {
                    (Verdict::Well, check.healthy_threshold)
                } else {
                    (Verdict::Unwell, check.unhealthy_threshold)
                };
                if expected == Verdict::Unknown || run >= needed {
                    expected = found;
                }
                assert_eq!(health.verdict(), expected, "seed {seed}");
                assert_eq!(change, (before != expected).then_some(expected), "seed {seed}");
            }
        }
    }

    #[test]
    fn checks_are_more_frequent_while_nobody_is_well() {
        let second = Duration::from_secs(1);
        assert_eq!(Health::next_in(&check(), true, 0.0), second * 2);
        assert_eq!(Health::next_in(&check(), true, 1.0), Duration::from_millis(1800));
        assert_eq!(Health::next_in(&check(), false, 0.0), second / 2);
    }
}
