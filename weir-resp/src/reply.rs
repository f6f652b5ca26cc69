//! Replies, as a client reads them.
//!
//! Invariants:
//! * Nesting, elements and bytes of a reply stay within [`ReplyLimits`], whatever its headers announce.
//! * Memory is taken for elements that are there, not for those announced.

use std::fmt;

use crate::number::{LengthLine, length_line, parse_i64};

/// A reply of either protocol.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `_`, `$-1` or `*-1`.
    Null,
    /// A simple string.
    Simple(Vec<u8>),
    /// An error, its code word first; from `-` and `!` alike.
    Error(Vec<u8>),
    /// An integer.
    Int(i64),
    /// A bulk string.
    Bulk(Vec<u8>),
    /// An array.
    Array(Vec<Self>),
    /// A map, in the order it came; a key may stand in it twice.
    Map(Vec<(Self, Self)>),
    /// A set, in the order it came.
    Set(Vec<Self>),
    /// A message nobody asked for.
    Push(Vec<Self>),
    /// A floating point number.
    Double(f64),
    /// A truth value.
    Bool(bool),
    /// An integer of any size, as its decimal text.
    BigNumber(Vec<u8>),
    /// Text with its format, `txt` or `mkd`.
    Verbatim {
        /// Three letters.
        format: [u8; 3],
        /// The text behind the colon.
        text: Vec<u8>,
    },
}

impl Value {
    /// The bytes of anything that is text: simple, bulk and verbatim strings.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(bytes) | Self::Bulk(bytes) => Some(bytes),
            Self::Verbatim { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The elements of an array, set or push.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) | Self::Set(elements) | Self::Push(elements) => Some(elements),
            _ => None,
        }
    }

    /// An integer, also where it came as text.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            other => parse_i64(other.as_bytes()?),
        }
    }

    /// The text of an error.
    #[must_use]
    pub fn as_error(&self) -> Option<&[u8]> {
        match self {
            Self::Error(text) => Some(text),
            _ => None,
        }
    }
}

/// What a reply may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyLimits {
    /// How deep aggregates may nest. Default 32.
    pub depth_max: u32,
    /// Elements of one reply, nested ones included; a map's pair counts two. Default 16 Mi.
    pub elements_max: u32,
    /// Bytes of one string. Default 512 MiB.
    pub bulk_max: u32,
    /// Bytes of one line. Default 64 KiB.
    pub line_max: u32,
}

impl ReplyLimits {
    /// The defaults named at each field.
    pub const DEFAULT: Self = Self {
        depth_max: 32,
        elements_max: 16 * 1024 * 1024,
        bulk_max: 512 * 1024 * 1024,
        line_max: 64 * 1024,
    };
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How far [`decode_reply`] came.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A reply that took `consumed` bytes from the front of the buffer.
    Complete {
        /// The reply.
        value: Value,
        /// Its length in bytes.
        consumed: usize,
    },
    /// Not all there. It will be read from its start again; for a large reply that arrives in many pieces,
    /// wait for its end with a [`crate::ReplyScanner`] first.
    Incomplete,
}

/// Bytes that are no reply, or one over the limits. Close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyError {
    /// A reply starts with this byte, which announces no type known here.
    UnknownType(u8),
    /// A length is no number or negative.
    BadLength,
    /// A number, double, boolean or null is not written like one.
    BadValue,
    /// Nested deeper than [`ReplyLimits::depth_max`].
    TooDeep,
    /// More elements, a longer string or a longer line than the limits allow.
    TooLarge,
    /// A value is not of the type its reader expects; only from [`crate::ReplyCursor`].
    Unexpected,
    /// The bytes end inside a value; only from [`crate::ReplyCursor`].
    Truncated,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType(byte) => {
                write!(f, "no reply type starts with byte 0x{byte:02x}; is this a RESP server?")
            }
            Self::BadLength => f.write_str("a reply's length is no valid number"),
            Self::BadValue => f.write_str("a reply's value is not written like its type"),
            Self::TooDeep => f.write_str("a reply is nested too deeply"),
            Self::TooLarge => f.write_str("a reply is larger than the limits allow"),
            Self::Unexpected => f.write_str("a reply is not of the type that was expected"),
            Self::Truncated => f.write_str("a reply ends too early"),
        }
    }
}

impl std::error::Error for ReplyError {}

/// Reads the reply at the front of `buffer`. RESP3 attributes are dropped.
///
/// # Errors
/// When the bytes are no RESP or the reply is over a limit.
pub fn decode_reply(buffer: &[u8], limits: &ReplyLimits) -> Result<Reply, ReplyError> {
    let mut parser = Parser { buffer, position: 0, elements_left: limits.elements_max, limits };
    match parser.value(limits.depth_max) {
        Ok(value) => Ok(Reply::Complete { value, consumed: parser.position }),
        Err(Stop::Incomplete) => Ok(Reply::Incomplete),
        Err(Stop::Error(error)) => Err(error),
    }
}

enum Stop {
    Incomplete,
    Error(ReplyError),
}

impl From<ReplyError> for Stop {
    fn from(error: ReplyError) -> Self {
        Self::Error(error)
    }
}

struct Parser<'a> {
    buffer: &'a [u8],
    position: usize,
    elements_left: u32,
    limits: &'a ReplyLimits,
}

impl<'a> Parser<'a> {
    fn value(&mut self, depth: u32) -> Result<Value, Stop> {
        let kind = *self.buffer.get(self.position).ok_or(Stop::Incomplete)?;
        self.position += 1;
        Ok(match kind {
            b'+' => Value::Simple(self.line()?.to_vec()),
            b'-' => Value::Error(self.line()?.to_vec()),
            b':' => Value::Int(parse_i64(self.line()?).ok_or(ReplyError::BadValue)?),
            b'(' => Value::BigNumber(big_number(self.line()?)?.to_vec()),
            b',' => Value::Double(double(self.line()?)?),
            b'#' => Value::Bool(boolean(self.line()?)?),
            b'_' if self.line()?.is_empty() => Value::Null,
            b'_' => return Err(ReplyError::BadValue.into()),
            b'$' => self.bulk()?.map_or(Value::Null, |bytes| Value::Bulk(bytes.to_vec())),
            b'!' => Value::Error(self.bulk()?.ok_or(ReplyError::BadLength)?.to_vec()),
            b'=' => verbatim(self.bulk()?.ok_or(ReplyError::BadLength)?)?,
            b'*' => self.elements(depth, 1, true)?.map_or(Value::Null, Value::Array),
            b'~' => Value::Set(self.elements(depth, 1, false)?.unwrap_or_default()),
            b'>' => Value::Push(self.elements(depth, 1, false)?.unwrap_or_default()),
            b'%' => Value::Map(pairs(self.elements(depth, 2, false)?.unwrap_or_default())),
            b'|' => {
                self.elements(depth, 2, false)?;
                // Attributes do not nest, but each costs a level, so a chain of them ends.
                return self.value(depth.checked_sub(1).ok_or(ReplyError::TooDeep)?);
            }
            other => return Err(ReplyError::UnknownType(other).into()),
        })
    }

    /// The elements behind an aggregate's type byte; `None` for the null array.
    fn elements(&mut self, depth: u32, per_element: u32, nullable: bool) -> Result<Option<Vec<Value>>, Stop> {
        let depth = depth.checked_sub(1).ok_or(ReplyError::TooDeep)?;
        let count = self.length()?;
        if nullable && count == -1 {
            return Ok(None);
        }
        let count = u32::try_from(count).map_err(|_| ReplyError::BadLength)?;
        let count = count.checked_mul(per_element).ok_or(ReplyError::TooLarge)?;
        self.elements_left = self.elements_left.checked_sub(count).ok_or(ReplyError::TooLarge)?;
        // An element has at least three bytes.
        let present_max = (self.buffer.len() - self.position) / 3;
        let mut elements = Vec::with_capacity(present_max.min(count as usize));
        for _ in 0..count {
            elements.push(self.value(depth)?);
        }
        Ok(Some(elements))
    }

    fn bulk(&mut self) -> Result<Option<&'a [u8]>, Stop> {
        let length = self.length()?;
        if length == -1 {
            return Ok(None);
        }
        let length = u32::try_from(length).map_err(|_| ReplyError::BadLength)?;
        if length > self.limits.bulk_max {
            return Err(ReplyError::TooLarge.into());
        }
        let end = self.position + length as usize;
        if end + 2 > self.buffer.len() {
            return Err(Stop::Incomplete);
        }
        let bytes = &self.buffer[self.position..end];
        self.position = end + 2;
        Ok(Some(bytes))
    }

    fn length(&mut self) -> Result<i64, Stop> {
        match length_line(self.buffer, self.position, 0) {
            LengthLine::Value { value, next } => {
                self.position = next;
                Ok(value)
            }
            LengthLine::Bad { .. } => Err(ReplyError::BadLength.into()),
            LengthLine::Partial => Err(self.partial_line()),
        }
    }

    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.buffer[self.position..];
        let Some(end) = memchr::memchr(b'\n', rest) else {
            return Err(self.partial_line());
        };
        if end > self.limits.line_max as usize {
            return Err(ReplyError::TooLarge.into());
        }
        self.position += end + 1;
        Ok(rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]))
    }

    fn partial_line(&self) -> Stop {
        let length = self.buffer.len() - self.position;
        if length > self.limits.line_max as usize { ReplyError::TooLarge.into() } else { Stop::Incomplete }
    }
}

fn pairs(flat: Vec<Value>) -> Vec<(Value, Value)> {
    let mut flat = flat.into_iter();
    std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect()
}

fn verbatim(bytes: &[u8]) -> Result<Value, ReplyError> {
    match bytes {
        [a, b, c, b':', text @ ..] => Ok(Value::Verbatim { format: [*a, *b, *c], text: text.to_vec() }),
        _ => Err(ReplyError::BadValue),
    }
}

fn boolean(line: &[u8]) -> Result<bool, ReplyError> {
    match line {
        b"t" => Ok(true),
        b"f" => Ok(false),
        _ => Err(ReplyError::BadValue),
    }
}

fn double(line: &[u8]) -> Result<f64, ReplyError> {
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(ReplyError::BadValue)
}

fn big_number(line: &[u8]) -> Result<&[u8], ReplyError> {
    let digits = line.strip_prefix(b"-").unwrap_or(line);
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if valid { Ok(line) } else { Err(ReplyError::BadValue) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Reply, ReplyError> {
        decode_reply(text.replace(' ', "\r\n").as_bytes(), &ReplyLimits::DEFAULT)
    }

    fn value(text: &str) -> Value {
        match read(text).unwrap() {
            Reply::Complete { value, consumed } => {
                assert_eq!(consumed, text.replace(' ', "\r\n").len());
                value
            }
            Reply::Incomplete => panic!("{text:?} is complete"),
        }
    }

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    #[test]
    fn every_type() {
        assert_eq!(value("+OK "), Value::Simple(b"OK".to_vec()));
        assert_eq!(value("-NOGROUP "), Value::Error(b"NOGROUP".to_vec()));
        assert_eq!(value(":-12 "), Value::Int(-12));
        assert_eq!(value("$2 ab "), bulk("ab"));
        assert_eq!(value("$0  "), bulk(""));
        for null in ["$-1 ", "*-1 ", "_ "] {
            assert_eq!(value(null), Value::Null, "{null:?}");
        }
        assert_eq!(value("*2 :1 *1 $1 a "), Value::Array(vec![Value::Int(1), Value::Array(vec![bulk("a")])]));
        assert_eq!(value("%1 $1 a :1 "), Value::Map(vec![(bulk("a"), Value::Int(1))]));
        assert_eq!(value("~1 :1 "), Value::Set(vec![Value::Int(1)]));
        assert_eq!(value(">1 :1 "), Value::Push(vec![Value::Int(1)]));
        assert_eq!(value(",1.5 "), Value::Double(1.5));
        assert_eq!(value(",-inf "), Value::Double(f64::NEG_INFINITY));
        assert_eq!(value("#t "), Value::Bool(true));
        assert_eq!(value("(-123456789012345678901 "), Value::BigNumber(b"-123456789012345678901".to_vec()));
        assert_eq!(value("=7 txt:a:1 "), Value::Verbatim { format: *b"txt", text: b"a:1".to_vec() });
        assert_eq!(value("!3 ERR "), Value::Error(b"ERR".to_vec()));
        assert_eq!(value("|1 $1 k :9 :1 "), Value::Int(1));
    }

    #[test]
    fn nonsense_is_refused() {
        for (text, error) in [
            ("x ", ReplyError::UnknownType(b'x')),
            ("$-2 ", ReplyError::BadLength),
            ("*x ", ReplyError::BadLength),
            ("%-1 ", ReplyError::BadLength),
            (":1x ", ReplyError::BadValue),
            ("_x ", ReplyError::BadValue),
            ("#x ", ReplyError::BadValue),
            ("=3 txt ", ReplyError::BadValue),
            ("$999999999999 ", ReplyError::BadLength),
            ("$1999999999 ", ReplyError::TooLarge),
            ("*100000000 ", ReplyError::TooLarge),
        ] {
            assert_eq!(read(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn depth_is_limited() {
        assert!(matches!(read(&("*1 ".repeat(32) + ":1 ")), Ok(Reply::Complete { .. })));
        assert_eq!(read(&("*1 ".repeat(33) + ":1 ")), Err(ReplyError::TooDeep));
        assert_eq!(read(&("|0 ".repeat(100) + ":1 ")), Err(ReplyError::TooDeep));
    }
}
