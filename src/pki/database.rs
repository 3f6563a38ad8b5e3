//! The index of `openssl ca`, which easy-rsa keeps, too: what a CA revoked, whether or not it has signed a list since.
//!
//! One line for each certificate, in fields between tabs: status, end, revocation, serial number, file, subject. Only
//! revoked ones matter here; those that are good say nothing that their certificate does not.

use time::macros::format_description;
use time::{Date, PrimitiveDateTime, Time};

use super::crl::{RevocationReason, Revoked};
use super::ledger::from_hex;
use crate::clock::WallTime;

/// An index that cannot be read. The text goes on after the name of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseProblem {
    /// Not text.
    #[error("is not text: give the index.txt of openssl ca or easy-rsa")]
    NotText,
    /// A line of another form.
    #[error("is not an index of openssl ca: line {line} {what}. It lies beside the CA's files and is called index.txt")]
    Line {
        /// Which, counted from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// What an index says is revoked, in its order.
pub(super) fn revoked(bytes: &[u8]) -> Result<Vec<Revoked>, DatabaseProblem> {
    let text = std::str::from_utf8(bytes).map_err(|_| DatabaseProblem::NotText)?;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let refused = |what| DatabaseProblem::Line { line: number + 1, what };
        found.extend(entry(line).map_err(refused)?);
    }
    Ok(found)
}

fn entry(line: &str) -> Result<Option<Revoked>, &'static str> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [status, _end, revocation, serial, _file, _subject] = fields.as_slice() else {
        return Err("does not have six fields with tabs between them");
    };
    match *status {
        "V" | "E" => return Ok(None),
        "R" => {}
        _ => return Err("begins with another letter than V, R or E"),
    }
    // An odd number of digits is what old programs wrote for a serial number that begins with a zero.
    let digits = if serial.len().is_multiple_of(2) { (*serial).to_owned() } else { format!("0{serial}") };
    let serial = from_hex(&digits).ok_or("has a serial number that is not hex")?;
    let zeros = serial.iter().take_while(|&&byte| byte == 0).count().min(serial.len().saturating_sub(1));
    let serial = serial.get(zeros..).unwrap_or_default().to_vec();
    let mut parts = revocation.split(',');
    let at = parts.next().and_then(moment).ok_or("has a date of revocation that cannot be read")?;
    let (word, detail) = (parts.next(), parts.next());
    let since = || detail.and_then(moment).ok_or("has a date of compromise that cannot be read");
    let (reason, invalid_since) = match word.map(str::to_ascii_lowercase).as_deref() {
        None | Some("unspecified") => (None, None),
        Some("keycompromise") => (Some(RevocationReason::KeyCompromise), None),
        Some("cacompromise") => (Some(RevocationReason::CaCompromise), None),
        Some("affiliationchanged") => (Some(RevocationReason::AffiliationChanged), None),
        Some("superseded") => (Some(RevocationReason::Superseded), None),
        Some("cessationofoperation") => (Some(RevocationReason::CessationOfOperation), None),
        // With a word of what to do about the hold, or without.
        Some("certificatehold" | "holdinstruction") => (Some(RevocationReason::CertificateHold), None),
        // Of delta lists alone: a full list that would say it takes nothing off.
        Some("removefromcrl") => return Ok(None),
        Some("keytime") => (Some(RevocationReason::KeyCompromise), Some(since()?)),
        Some("cakeytime") => (Some(RevocationReason::CaCompromise), Some(since()?)),
        Some(_) => return Err("has a reason for the revocation that is not known"),
    };
    Ok(Some(Revoked { serial, at, reason, invalid_since }))
}

/// UTCTime or GeneralizedTime, as certificates have them (RFC 5280 section 4.1.2.5).
fn moment(text: &str) -> Option<WallTime> {
    let full = match text.len() {
        // Two digits from 50 on are of the last century.
        13 if text.as_bytes().first().is_some_and(|&digit| digit >= b'5') => format!("19{text}"),
        13 => format!("20{text}"),
        15 => text.to_owned(),
        _ => return None,
    };
    let (day, clock) = full.strip_suffix('Z')?.split_at_checked(8)?;
    let day = Date::parse(day, format_description!("[year][month][day]")).ok()?;
    let clock = Time::parse(clock, format_description!("[hour][minute][second]")).ok()?;
    Some(WallTime::from_unix_seconds(PrimitiveDateTime::new(day, clock).assume_utc().unix_timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_revoked_is_read_with_its_reason_and_the_rest_is_passed_over() {
        let text = "V\t290223173150Z\t\tBD49\tunknown\t/CN=old\n\
                    R\t290223173152Z\t261121173154Z,superseded\t02B0\tunknown\t/CN=gone\n\
                    E\t200223173152Z\t\t03\tunknown\t/CN=ended\n\
                    R\t20500223173152Z\t20500101000000Z\t0A0\tunknown\t/CN=späť\n\
                    R\t261221173158Z\t261121173159Z,keyTime,20260101000000Z\t1000\tunknown\t/CN=a\n\
                    R\t261221173158Z\t991231235959Z,holdInstruction,holdInstructionReject\t05\tunknown\t/CN=a\n\
                    R\t261221173158Z\t261121173159Z,removeFromCRL\t06\tunknown\t/CN=a\n";
        let at = |seconds| WallTime::from_unix_seconds(seconds);
        let entry = |serial: &[u8], seconds, reason, since| Revoked {
            serial: serial.to_vec(),
            at: at(seconds),
            reason,
            invalid_since: since,
        };
        let expected = [
            entry(&[2, 0xb0], 1_795_282_314, Some(RevocationReason::Superseded), None),
            entry(&[0xa0], 2_524_608_000, None, None),
            entry(&[0x10, 0], 1_795_282_319, Some(RevocationReason::KeyCompromise), Some(at(1_767_225_600))),
            entry(&[5], 946_684_799, Some(RevocationReason::CertificateHold), None),
        ];
        assert_eq!(revoked(text.as_bytes()).unwrap(), expected);
        assert_eq!(revoked(text.replace('\n', "\r\n").as_bytes()).unwrap(), expected);
        assert_eq!(revoked(b"").unwrap(), []);
    }

    #[test]
    fn a_line_that_is_not_understood_is_told_and_nothing_is_taken() {
        let good = "R\t290223173152Z\t261121173154Z\t02B0\tunknown\t/CN=gone\n";
        for (line, expected) in [
            ("R\t290223173152Z\t261121173154Z\t02B0\tunknown", "six fields"),
            ("-----BEGIN CERTIFICATE-----", "six fields"),
            ("X\t290223173152Z\t261121173154Z\t02B0\tunknown\t/CN=a", "another letter"),
            ("R\t290223173152Z\t261121173154Z\t02G0\tunknown\t/CN=a", "not hex"),
            ("R\t290223173152Z\t261121173154Z\t+2+0\tunknown\t/CN=a", "not hex"),
            ("R\t290223173152Z\t\t02B0\tunknown\t/CN=a", "date of revocation"),
            ("R\t290223173152Z\t261321173154Z\t02B0\tunknown\t/CN=a", "date of revocation"),
            ("R\t290223173152Z\tééééééZ\t02B0\tunknown\t/CN=a", "date of revocation"),
            ("R\t290223173152Z\t261121173154Z,because\t02B0\tunknown\t/CN=a", "reason"),
            ("R\t290223173152Z\t261121173154Z,keyTime\t02B0\tunknown\t/CN=a", "date of compromise"),
        ] {
            let problem = revoked(format!("{good}{line}\n").as_bytes()).unwrap_err().to_string();
            assert!(problem.contains("line 2 ") && problem.contains(expected), "{line:?}: {problem}");
        }
        assert_eq!(revoked(b"\xff"), Err(DatabaseProblem::NotText));
    }
}
