//! One RESP value as a tree, and its bytes.
//!
//! Kept apart from `weir-resp` on purpose: a codec that judges the server must not be the server's own.
//! Decoding is strict, so that equal trees mean equal bytes: whatever is not in its one canonical form is refused.

use std::fmt;

/// Which dialect of RESP a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2: maps are flat arrays, nulls come as bulk or array.
    Resp2,
    /// RESP3: maps are maps and there is one null.
    Resp3,
}

/// A reply, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `+text`
    Simple(Vec<u8>),
    /// `-CODE text`
    Error(Vec<u8>),
    /// `:n`
    Int(i64),
    /// `$len bytes`
    Bulk(Vec<u8>),
    /// `=len txt:bytes`, the prefix included
    Verbatim(Vec<u8>),
    /// `$-1`, or `_` in RESP3
    Null,
    /// `*-1`, or `_` in RESP3
    NullArray,
    /// `*n`
    Array(Vec<Self>),
    /// `%n`, or `*2n` in RESP2
    Map(Vec<(Self, Self)>),
    /// `%n`, or in RESP2 `*n` of arrays of two: only XREAD and XREADGROUP answer so, and only the model knows it.
    StreamMap(Vec<(Self, Self)>),
    /// `~n`, or `*n` in RESP2
    Set(Vec<Self>),
    /// `>n`, or `*n` in RESP2
    Push(Vec<Self>),
}

impl Value {
    /// `+OK`
    #[must_use]
    pub fn ok() -> Self {
        Self::Simple(b"OK".to_vec())
    }

    /// A bulk string.
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bulk(bytes.as_ref().to_vec())
    }

    /// A map whose keys are bulk strings.
    #[must_use]
    pub fn map<const N: usize>(pairs: [(&str, Self); N]) -> Self {
        Self::Map(pairs.into_iter().map(|(name, value)| (Self::bulk(name), value)).collect())
    }

    /// The same value as it looks after travelling over `protocol`.
    #[must_use]
    pub fn over(self, protocol: Protocol) -> Self {
        let all = |items: Vec<Self>| items.into_iter().map(|item| item.over(protocol)).collect();
        match (self, protocol) {
            (Self::Array(items), _) => Self::Array(all(items)),
            (Self::Set(items) | Self::Push(items), Protocol::Resp2) => Self::Array(all(items)),
            (Self::Set(items), Protocol::Resp3) => Self::Set(all(items)),
            (Self::Push(items), Protocol::Resp3) => Self::Push(all(items)),
            (Self::Map(pairs), Protocol::Resp2) => {
                Self::Array(all(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()))
            }
            (Self::StreamMap(pairs), Protocol::Resp2) => {
                let pair = |(key, value): (Self, Self)| Self::Array(vec![key, value.over(protocol)]);
                Self::Array(pairs.into_iter().map(pair).collect())
            }
            (Self::Map(pairs) | Self::StreamMap(pairs), Protocol::Resp3) => Self::Map(
                pairs.into_iter().map(|(key, value)| (key.over(protocol), value.over(protocol))).collect(),
            ),
            (Self::NullArray, Protocol::Resp3) => Self::Null,
            (Self::Verbatim(text), Protocol::Resp2) => Self::Bulk(text[4.min(text.len())..].to_vec()),
            (other, _) => other,
        }
    }

    /// Reads one value from the front of `bytes`.
    ///
    /// Answers the value and how many bytes it took, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes cannot become a canonical value.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let mut reader = Reader { bytes, at: 0 };
        match reader.value() {
            Ok(value) => Ok(Some((value, reader.at))),
            Err(Stop::Incomplete) => Ok(None),
            Err(Stop::Malformed(why)) => Err(Malformed { at: reader.at, why }),
        }
    }
}

/// Bytes that are not a canonical RESP value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a RESP value at byte {at}: {why}")]
pub struct Malformed {
    at: usize,
    why: &'static str,
}

enum Stop {
    Incomplete,
    Malformed(&'static str),
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Result<Value, Stop> {
        let line = self.line()?;
        let (&kind, rest) = line.split_first().ok_or(Stop::Malformed("empty line"))?;
        match kind {
            b'+' => Ok(Value::Simple(rest.to_vec())),
            b'-' => Ok(Value::Error(rest.to_vec())),
            b':' => integer(rest).map(Value::Int),
            b'$' => Ok(self.blob(rest)?.map_or(Value::Null, Value::Bulk)),
            b'=' => Ok(self.blob(rest)?.map_or(Value::Null, Value::Verbatim)),
            b'_' if rest.is_empty() => Ok(Value::Null),
            b'*' if rest == b"-1" => Ok(Value::NullArray),
            b'*' => self.items(rest).map(Value::Array),
            b'~' => self.items(rest).map(Value::Set),
            b'>' => self.items(rest).map(Value::Push),
            b'%' => {
                let pairs = count(rest)?;
                (0..pairs)
                    .map(|_| Ok((self.value()?, self.value()?)))
                    .collect::<Result<_, _>>()
                    .map(Value::Map)
            }
            _ => Err(Stop::Malformed("unknown type byte")),
        }
    }

    fn items(&mut self, length: &[u8]) -> Result<Vec<Value>, Stop> {
        (0..count(length)?).map(|_| self.value()).collect()
    }

    fn blob(&mut self, length: &[u8]) -> Result<Option<Vec<u8>>, Stop> {
        if length == b"-1" {
            return Ok(None);
        }
        let length = count(length)?;
        let rest = &self.bytes[self.at..];
        if rest.len() < length + 2 {
            return Err(Stop::Incomplete);
        }
        if &rest[length..length + 2] != b"\r\n" {
            return Err(Stop::Malformed("blob without its end"));
        }
        self.at += length + 2;
        Ok(Some(rest[..length].to_vec()))
    }

    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(Stop::Incomplete)?;
        self.at += end + 2;
        Ok(&rest[..end])
    }
}

fn integer(text: &[u8]) -> Result<i64, Stop> {
    crate::model::canonical_integer(text).ok_or(Stop::Malformed("not a canonical integer"))
}

fn count(text: &[u8]) -> Result<usize, Stop> {
    integer(text).and_then(|n| usize::try_from(n).map_err(|_| Stop::Malformed("negative length")))
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(text) => write!(f, "+{}", readable(text)),
            Self::Error(text) => write!(f, "-{}", readable(text)),
            Self::Int(n) => write!(f, "{n}"),
            Self::Bulk(bytes) => write!(f, "\"{}\"", readable(bytes)),
            Self::Verbatim(bytes) => write!(f, "=\"{}\"", readable(bytes)),
            Self::Null => f.write_str("null"),
            Self::NullArray => f.write_str("null-array"),
            Self::Array(items) => list(f, "[", items, "]"),
            Self::Set(items) => list(f, "~[", items, "]"),
            Self::Push(items) => list(f, ">[", items, "]"),
            Self::Map(pairs) | Self::StreamMap(pairs) => {
                f.write_str("{")?;
                for (at, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Bytes as ASCII, with what cannot be printed escaped.
pub(crate) fn readable(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\'", "'")
}

fn list(f: &mut fmt::Formatter<'_>, open: &str, items: &[Value], close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (at, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if at == 0 { "" } else { " " })?;
    }
    f.write_str(close)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_servers_send() {
        let cases: &[(&[u8], Value)] = &[
            (b"+OK\r\n", Value::ok()),
            (b"$-1\r\n", Value::Null),
            (b"_\r\n", Value::Null),
            (b"*-1\r\n", Value::NullArray),
            (b"*2\r\n:-5\r\n$2\r\na\r\r\n", Value::Array(vec![Value::Int(-5), Value::bulk("a\r")])),
            (b"%1\r\n$1\r\nk\r\n~0\r\n", Value::Map(vec![(Value::bulk("k"), Value::Set(vec![]))])),
        ];
        for (bytes, want) in cases {
            assert_eq!(Value::decode(bytes), Ok(Some((want.clone(), bytes.len()))));
            for cut in 0..bytes.len() {
                assert_eq!(Value::decode(&bytes[..cut]), Ok(None), "{}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn refuses_what_is_not_canonical() {
        for bytes in
            [&b":+5\r\n"[..], b":05\r\n", b"$-2\r\n", b"*-2\r\n", b"!x\r\n", b"$1\r\nab\r\n", b"\r\n"]
        {
            assert!(Value::decode(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn resp2_flattens_maps() {
        let map = Value::map([("a", Value::Int(1)), ("b", Value::NullArray)]);
        assert_eq!(map.clone().over(Protocol::Resp2).to_string(), "[\"a\" 1 \"b\" null-array]");
        assert_eq!(map.over(Protocol::Resp3).to_string(), "{\"a\": 1, \"b\": null}");
    }
}
