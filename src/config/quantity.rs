//! Sizes and durations as people write them: `"10MiB"`, `"1m30s"`.

use std::time::Duration;

use super::diagnostic::quoted;
use super::reader::Problem;

/// Units of a size. `MB` is what disks are sold by, `MiB` what memory is.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Units of a duration in milliseconds, in the order in which they may follow each other.
const DURATIONS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a size: a number, and a unit unless it is in bytes.
pub fn parse_size(text: &str) -> Result<u64, Problem> {
    let trimmed = text.trim();
    let (digits, unit) = split_digits(trimmed);
    let unit = unit.trim_start();
    let malformed = || Problem::new(format!("{} is not a size", quoted(text)));
    let example = "a size is a number of bytes, or a number with KiB, MiB, GiB (or KB, MB, GB), as in \"10MiB\"";
    if digits.is_empty() {
        return Err(malformed().help(example));
    }
    let scale = if unit.is_empty() { Some(1) } else { unit_of(&SIZES, unit, str::eq_ignore_ascii_case) };
    let Some(scale) = scale else {
        // nginx writes 10m; whether that is 10^6 or 2^20 is for the operator to say.
        return Err(match unit {
            "k" | "K" => malformed().help(format!("write \"{digits}KiB\"")),
            "m" | "M" => malformed().help(format!("write \"{digits}MiB\"")),
            "g" | "G" => malformed().help(format!("write \"{digits}GiB\"")),
            _ => malformed().help(example),
        });
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(scale))
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| Problem::new(format!("{} is too large", quoted(text))))
}

/// The shortest exact text for a size.
pub fn print_size(bytes: u64) -> String {
    let unit = SIZES.iter().take(4).find(|(_, scale)| bytes > 0 && bytes.is_multiple_of(*scale));
    match unit {
        Some((unit, scale)) => format!("{}{unit}", bytes / scale),
        None => bytes.to_string(),
    }
}

/// Reads a duration: numbers with units, the larger first.
pub fn parse_duration(text: &str) -> Result<Duration, Problem> {
    let malformed = || Problem::new(format!("{} is not a duration", quoted(text)));
    let example = "a duration is a number with a unit (ms, s, m, h), as in \"5s\", \"1500ms\" or \"1m30s\"";
    let mut rest = text;
    let mut units = DURATIONS.iter();
    let mut total: u64 = 0;
    loop {
        let (digits, after) = split_digits(rest);
        let end = after.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        if !digits.is_empty() && after.is_empty() && rest.len() == text.len() {
            let message = format!("{} has no unit", quoted(text));
            return Err(Problem::new(message).help(format!("write \"{digits}s\" or \"{digits}ms\"")));
        }
        if digits.is_empty() || unit.is_empty() {
            return Err(malformed().help(example));
        }
        // Units that were passed over cannot come later: "30s1m" and "1s1s" are mistakes.
        let Some((_, scale)) = units.find(|(name, _)| *name == unit) else {
            let meant = match unit {
                "sec" | "secs" | "second" | "seconds" => "s",
                "min" | "mins" | "minute" | "minutes" => "m",
                "hr" | "hrs" | "hour" | "hours" => "h",
                _ => return Err(malformed().help(example)),
            };
            return Err(malformed().help(format!("write \"{digits}{meant}\"")));
        };
        let sum = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(*scale)?.checked_add(total));
        total = sum.ok_or_else(|| Problem::new(format!("{} is too long", quoted(text))))?;
        if next.is_empty() {
            return Ok(Duration::from_millis(total));
        }
        rest = next;
    }
}

/// An exact text for a duration in whole milliseconds, in one unit.
pub fn print_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let unit = DURATIONS.iter().find(|(_, scale)| milliseconds.is_multiple_of(u128::from(*scale)));
    let (unit, scale) = unit.unwrap_or(&("ms", 1));
    format!("{}{unit}", milliseconds / u128::from(*scale))
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

fn unit_of(units: &[(&str, u64)], unit: &str, same: impl Fn(&str, &str) -> bool) -> Option<u64> {
    units.iter().find(|(name, _)| same(name, unit)).map(|(_, scale)| *scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("0", 0),
            ("8192", 8192),
            ("32KiB", 32 << 10),
            ("10MiB", 10 << 20),
            ("10 MiB", 10 << 20),
            ("1MB", 1_000_000),
            ("1kb", 1000),
            ("7B", 7),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
        for (text, message) in [
            ("", "\"\" is not a size"),
            ("ten", "\"ten\" is not a size"),
            ("10m", "\"10m\" is not a size"),
            ("1.5MiB", "\"1.5MiB\" is not a size"),
            ("-1", "\"-1\" is not a size"),
            ("9999999999TiB", "\"9999999999TiB\" is too large"),
            ("99999999999999999999999", "\"99999999999999999999999\" is too large"),
        ] {
            assert_eq!(parse_size(text).unwrap_err().message, message);
        }
        assert_eq!(parse_size("10m").unwrap_err().hint.unwrap(), "write \"10MiB\"");
    }

    #[test]
    fn durations_are_read() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("1500ms", 1500),
            ("5s", 5000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1m30s", 90_000),
            ("1h2m3s4ms", 3_723_004),
            ("90m", 5_400_000),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(milliseconds), "{text}");
        }
        for (text, message) in [
            ("", "\"\" is not a duration"),
            ("5", "\"5\" has no unit"),
            ("s", "\"s\" is not a duration"),
            ("1.5s", "\"1.5s\" is not a duration"),
            ("5sec", "\"5sec\" is not a duration"),
            ("30s1m", "\"30s1m\" is not a duration"),
            ("1s1s", "\"1s1s\" is not a duration"),
            ("1m30", "\"1m30\" is not a duration"),
            ("-5s", "\"-5s\" is not a duration"),
            ("5 s", "\"5 s\" is not a duration"),
            ("1d", "\"1d\" is not a duration"),
            ("99999999999999999h", "\"99999999999999999h\" is too long"),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().message, message);
        }
    }

    #[test]
    fn what_is_printed_reads_the_same() {
        for bytes in [0, 1, 1000, 1024, 8192, 32 << 10, 10 << 20, 3 << 40, 10_000_000] {
            assert_eq!(parse_size(&print_size(bytes)).unwrap(), bytes);
        }
        for milliseconds in [0, 1, 1500, 5000, 75_000, 90_000, 600_000, 3_600_000, 5_400_000] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse_duration(&print_duration(duration)).unwrap(), duration);
        }
        assert_eq!(print_duration(Duration::from_secs(75)), "75s");
        assert_eq!(print_size(10 << 20), "10MiB");
    }
}
