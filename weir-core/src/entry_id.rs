//! Entry IDs: `ms-seq`, unique and increasing within a stream.

use std::fmt;
use std::str::FromStr;

/// The identity of an entry in its stream: milliseconds and a sequence number.
///
/// Ordered first by `ms`, then by `seq`. Written `ms-seq` in decimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryId {
    /// Usually the milliseconds since the Unix epoch at which the entry was added; explicit IDs need not be times.
    pub ms: u64,
    /// Tells entries of the same millisecond apart.
    pub seq: u64,
}

impl EntryId {
    /// `0-0`: below every entry; no entry can have it.
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    /// The greatest ID there is.
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// An ID from its two parts.
    #[must_use]
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The next greater ID, or `None` after [`EntryId::MAX`].
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => self.ms.checked_add(1).map(|ms| Self { ms, seq: 0 }),
        }
    }

    /// The next smaller ID, or `None` before [`EntryId::MIN`].
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => self.ms.checked_sub(1).map(|ms| Self { ms, seq: u64::MAX }),
        }
    }

    /// Reads `ms-seq` or `ms`, where a missing sequence number becomes `seq_default`.
    ///
    /// Follows the grammar of Redis: leading white space, a leading `+` and leading zeros are read in either part;
    /// a minus sign, trailing bytes, a third part, overflow and more than 127 bytes are refused.
    ///
    /// # Errors
    /// [`ParseEntryIdError`] when `text` is not such an ID.
    pub fn parse(text: &[u8], seq_default: u64) -> Result<Self, ParseEntryIdError> {
        if text.len() > 127 {
            return Err(ParseEntryIdError);
        }
        match text.iter().position(|&b| b == b'-') {
            None => Ok(Self { ms: parse_part(text)?, seq: seq_default }),
            Some(dash) => Ok(Self { ms: parse_part(&text[..dash])?, seq: parse_part(&text[dash + 1..])? }),
        }
    }
}

fn parse_part(text: &[u8]) -> Result<u64, ParseEntryIdError> {
    let blanks = text.iter().take_while(|b| b.is_ascii_whitespace() || **b == 0x0b).count();
    let text = &text[blanks..];
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if digits.is_empty() {
        return Err(ParseEntryIdError);
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|d| *d <= 9).ok_or(ParseEntryIdError)?;
        value.checked_mul(10).and_then(|v| v.checked_add(u64::from(digit))).ok_or(ParseEntryIdError)
    })
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EntryId {
    type Err = ParseEntryIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text.as_bytes(), 0)
    }
}

/// The text is not an entry ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an entry ID; write it as ms-seq, for example 1526919030474-55")]
pub struct ParseEntryIdError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_redis_reads() {
        for (text, want) in [
            ("1-1", Some((1, 1))),
            ("007-1", Some((7, 1))),
            ("+7- 2", Some((7, 2))),
            ("5", Some((5, 9))),
            ("18446744073709551615-18446744073709551615", Some((u64::MAX, u64::MAX))),
            ("18446744073709551616-0", None),
            ("14-", None),
            ("-14", None),
            ("1-1-1", None),
            ("1-1 ", None),
            ("1--1", None),
            ("", None),
        ] {
            let got = EntryId::parse(text.as_bytes(), 9).ok().map(|id| (id.ms, id.seq));
            assert_eq!(got, want, "{text:?}");
        }
    }

    #[test]
    fn neighbours() {
        assert_eq!(EntryId::new(1, u64::MAX).next(), Some(EntryId::new(2, 0)));
        assert_eq!(EntryId::new(2, 0).previous(), Some(EntryId::new(1, u64::MAX)));
        assert_eq!(EntryId::MAX.next(), None);
        assert_eq!(EntryId::MIN.previous(), None);
    }
}
