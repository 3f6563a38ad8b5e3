//! RFC 3339 times with milliseconds, cheaply: the part up to the second is kept until the second is over.

use std::cell::RefCell;
use std::fmt::Write as _;

use time::OffsetDateTime;

use crate::clock::WallTime;

thread_local! {
    static LAST: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// Calls `use_it` with the time as `2026-11-21T07:53:00.123Z`.
pub(super) fn with_rfc3339<T>(time: WallTime, use_it: impl FnOnce(&str) -> T) -> T {
    let second = time.unix_seconds();
    let millis = time.unix_millis().rem_euclid(1000);
    LAST.with_borrow_mut(|(last, text)| {
        if *last != second {
            *last = second;
            text.clear();
            let date = OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            let (year, month, day) = date.to_calendar_date();
            let (hour, minute, second) = date.to_hms();
            let month = u8::from(month);
            let _ = write!(text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        }
        text.truncate("2026-11-21T07:53:00".len());
        let _ = write!(text, ".{millis:03}Z");
        use_it(text)
    })
}

/// The time as `2026-11-21T07:53:00.123Z`.
pub fn rfc3339(time: WallTime) -> String {
    with_rfc3339(time, str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_247_580_007, "2026-11-21T07:53:00.007Z"),
            (1_795_247_580_999, "2026-11-21T07:53:00.999Z"),
            (1_795_247_581_000, "2026-11-21T07:53:01.000Z"),
        ] {
            with_rfc3339(WallTime::from_unix_millis(millis), |text| assert_eq!(text, expected));
        }
    }
}
