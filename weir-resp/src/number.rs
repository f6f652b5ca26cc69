//! Decimal numbers and the length lines made of them, as strictly as Redis reads them.
//!
//! A number has no leading zeros, no plus sign, no blanks, and fits an `i64`.

use memchr::memchr;

/// Longest run of digits the quick path reads; it cannot overflow a `u32`.
const QUICK_DIGITS: usize = 9;

/// What stands between a type byte and the end of its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LengthLine {
    /// A number; `next` is the offset behind the line.
    Value { value: i64, next: usize },
    /// The line is complete, and is no number. `end` is the offset of its CR.
    Bad { end: usize },
    /// The line is not complete yet.
    Partial,
}

/// Reads the line that starts at `start` (behind the type byte).
///
/// No CR stands before `scanned`, which spares looking again at bytes that were looked at before.
/// The byte behind the CR is taken to be LF without a look, as Redis does.
#[inline]
pub(crate) fn length_line(buffer: &[u8], start: usize, scanned: usize) -> LengthLine {
    let rest = buffer.get(start..).unwrap_or_default();
    let mut value = 0_u32;
    let mut digits = 0;
    for byte in rest.iter().take(QUICK_DIGITS) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value * 10 + u32::from(digit);
        digits += 1;
    }
    let canonical = digits == 1 || (digits > 1 && rest[0] != b'0');
    if canonical && rest.len() > digits + 1 && rest[digits] == b'\r' {
        return LengthLine::Value { value: i64::from(value), next: start + digits + 2 };
    }
    length_line_slow(buffer, start, scanned)
}

#[cold]
fn length_line_slow(buffer: &[u8], start: usize, scanned: usize) -> LengthLine {
    let from = start.max(scanned);
    let Some(found) = buffer.get(from..).and_then(|rest| memchr(b'\r', rest)) else {
        return LengthLine::Partial;
    };
    let end = from + found;
    if end + 1 >= buffer.len() {
        return LengthLine::Partial;
    }
    match parse_i64(&buffer[start..end]) {
        Some(value) => LengthLine::Value { value, next: end + 2 },
        None => LengthLine::Bad { end },
    }
}

/// A canonical decimal `i64`: what printing the number would give, and nothing else.
pub(crate) fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let leading_zero = digits.first() == Some(&b'0');
    if digits.is_empty() || (leading_zero && (negative || digits.len() > 1)) {
        return None;
    }
    // Counting downwards reaches i64::MIN without overflow.
    let mut value = 0_i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_numbers_are_read() {
        for (text, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("1234567890123", Some(1_234_567_890_123)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-0", None),
            ("007", None),
            ("+1", None),
            (" 1", None),
            ("", None),
            ("-", None),
            ("1a", None),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn quick_and_slow_reading_agree() {
        for text in
            ["0", "7", "16", "160", "999999999", "1000000000", "9223372036854775807", "01", "", "x", "-1"]
        {
            let line = format!("${text}\r\n");
            assert_eq!(
                length_line(line.as_bytes(), 1, 0),
                length_line_slow(line.as_bytes(), 1, 0),
                "{text:?}"
            );
            let cut = &line.as_bytes()[..line.len() - 1];
            assert_eq!(length_line(cut, 1, 0), LengthLine::Partial, "{text:?}");
        }
    }
}
