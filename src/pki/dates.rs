//! Wall time in the forms that certificates, CRLs and the index have it: whole seconds, UTC.

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, macros::datetime};

use crate::clock::WallTime;

/// The last moment a certificate can name (RFC 5280 section 4.1.2.5).
const END_OF_TIME: OffsetDateTime = datetime!(9999-12-31 23:59:59 UTC);

const DAY_SECONDS: i64 = 86_400;

/// The time as RFC 3339 text in UTC, whole seconds.
pub fn rfc3339(time: WallTime) -> String {
    calendar(time).format(&Rfc3339).unwrap_or_else(|_| format!("{} s after 1970", time.unix_seconds()))
}

/// Whole days from `from` to `to`, rounded down: a certificate that lives 23 hours more has 0 days left, and one that
/// expired an hour ago has -1.
pub fn days_between(from: WallTime, to: WallTime) -> i64 {
    (to.unix_seconds() - from.unix_seconds()).div_euclid(DAY_SECONDS)
}

/// The time as a calendar date, cut to what a certificate can hold.
pub(super) fn calendar(time: WallTime) -> OffsetDateTime {
    match OffsetDateTime::from_unix_timestamp(time.unix_seconds()) {
        Ok(moment) => moment.min(END_OF_TIME),
        Err(_) if time.unix_seconds() < 0 => OffsetDateTime::UNIX_EPOCH,
        Err(_) => END_OF_TIME,
    }
}

/// `days` of 86 400 seconds later.
pub(super) fn days_after(time: WallTime, days: u32) -> WallTime {
    seconds_after(time, i64::from(days).saturating_mul(DAY_SECONDS))
}

/// `seconds` later, or earlier when negative.
pub(super) fn seconds_after(time: WallTime, seconds: i64) -> WallTime {
    WallTime::from_unix_seconds(time.unix_seconds().saturating_add(seconds))
}

/// How the index holds a time.
pub(super) mod as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::{OffsetDateTime, Rfc3339, WallTime, rfc3339};

    pub(in crate::pki) fn serialize<S: Serializer>(time: &WallTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(*time))
    }

    pub(in crate::pki) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<WallTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        let moment = OffsetDateTime::parse(&text, &Rfc3339).map_err(D::Error::custom)?;
        Ok(WallTime::from_unix_seconds(moment.unix_timestamp()))
    }
}

/// The same for a time that may be absent.
pub(super) mod as_optional_text {
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

    use super::{WallTime, as_text};

    #[derive(Deserialize)]
    struct Present(#[serde(with = "as_text")] WallTime);

    pub(in crate::pki) fn serialize<S: Serializer>(time: &Option<WallTime>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(super::rfc3339).serialize(serializer)
    }

    pub(in crate::pki) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<WallTime>, D::Error> {
        Ok(Option::<Present>::deserialize(deserializer)?.map(|present| present.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_beyond_what_a_certificate_can_hold_are_cut() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (253_402_300_800, "9999-12-31T23:59:59Z"),
            (i64::MAX / 1000, "9999-12-31T23:59:59Z"),
            (i64::MIN / 1000, "1970-01-01T00:00:00Z"),
        ];
        for (seconds, text) in cases {
            assert_eq!(rfc3339(WallTime::from_unix_seconds(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn days_left_round_down() {
        let now = WallTime::from_unix_seconds(1_000_000);
        for (seconds, days) in [(0, 0), (86_399, 0), (86_400, 1), (-1, -1), (-86_401, -2)] {
            assert_eq!(days_between(now, seconds_after(now, seconds)), days, "{seconds}");
        }
        assert_eq!(days_after(now, 2).unix_seconds(), 1_000_000 + 172_800);
    }
}
