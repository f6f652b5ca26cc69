//! What is answered, as a tree of values in the words of RESP.
//!
//! A map is written as a map to clients of RESP3 and as a flat array to those of RESP2; readers take either.

use std::time::Duration;

use weir_core::{EntryId, Error, ErrorKind, Timestamp};

use crate::error::error_from_line;
use crate::number::{parse_id, parse_u64, push_id};
use crate::words::millis;

/// A value of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `+DONE`
    Simple(String),
    /// Bytes.
    Bulk(Vec<u8>),
    /// A whole number.
    Int(i64),
    /// Values.
    Array(Vec<Self>),
    /// Keys and values in turn.
    Map(Vec<Self>),
    /// Nothing where there could be something.
    Null,
    /// A refusal: its code, a space, its text.
    Error(Vec<u8>),
    /// A number that need not be whole.
    Double(f64),
}

/// The error for an answer that is none of those a command may have.
pub(crate) fn malformed(wanted: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported(
        "an answer that is not understood; use client and server of one version",
    ))
    .with_context(wanted)
}

impl Value {
    pub(crate) fn bulk(bytes: &[u8]) -> Self {
        Self::Bulk(bytes.to_vec())
    }

    pub(crate) fn simple(word: &str) -> Self {
        Self::Simple(word.to_owned())
    }

    /// A count; beyond what an integer of RESP can say it is a text.
    pub(crate) fn count(count: u64) -> Self {
        i64::try_from(count).map_or_else(|_| Self::Bulk(count.to_string().into_bytes()), Self::Int)
    }

    pub(crate) fn flag(flag: bool) -> Self {
        Self::Int(i64::from(flag))
    }

    pub(crate) fn id(id: EntryId) -> Self {
        let mut text = Vec::with_capacity(32);
        push_id(&mut text, id);
        Self::Bulk(text)
    }

    pub(crate) fn millis(duration: Duration) -> Self {
        Self::count(millis(duration))
    }

    pub(crate) fn time(time: Timestamp) -> Self {
        Self::count(time.0)
    }

    pub(crate) fn option<T>(value: Option<T>, some: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::Null, some)
    }

    pub(crate) fn array<T>(items: impl IntoIterator<Item = T>, each: impl FnMut(T) -> Self) -> Self {
        Self::Array(items.into_iter().map(each).collect())
    }

    /// A refusal is the error it stands for.
    ///
    /// # Errors
    /// When it is one.
    pub fn accepted(self) -> Result<Self, Error> {
        match self {
            Self::Error(line) => Err(error_from_line(&line)),
            value => Ok(value),
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(crate) fn into_option<T>(
        self,
        some: impl FnOnce(Self) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        if self.is_null() { Ok(None) } else { some(self).map(Some) }
    }

    pub(crate) fn into_bytes(self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Bulk(bytes) => Ok(bytes),
            Self::Simple(word) => Ok(word.into_bytes()),
            _ => Err(malformed("a text")),
        }
    }

    pub(crate) fn into_u64(self) -> Result<u64, Error> {
        let number = match self {
            Self::Int(number) => u64::try_from(number).ok(),
            Self::Bulk(text) => parse_u64(&text),
            _ => None,
        };
        number.ok_or_else(|| malformed("a count"))
    }

    pub(crate) fn into_u32(self) -> Result<u32, Error> {
        u32::try_from(self.into_u64()?).map_err(|_| malformed("a small count"))
    }

    pub(crate) fn into_flag(self) -> Result<bool, Error> {
        match self {
            Self::Int(0) => Ok(false),
            Self::Int(1) => Ok(true),
            _ => Err(malformed("0 or 1")),
        }
    }

    pub(crate) fn into_id(self) -> Result<EntryId, Error> {
        parse_id(&self.into_bytes()?).ok_or_else(|| malformed("an entry ID"))
    }

    pub(crate) fn into_millis(self) -> Result<Duration, Error> {
        self.into_u64().map(Duration::from_millis)
    }

    pub(crate) fn into_time(self) -> Result<Timestamp, Error> {
        self.into_u64().map(Timestamp)
    }

    pub(crate) fn into_f64(self) -> Result<f64, Error> {
        let text = match self {
            Self::Double(number) => return Ok(number),
            #[expect(clippy::cast_precision_loss, reason = "rates are small")]
            Self::Int(number) => return Ok(number as f64),
            Self::Bulk(text) => text,
            _ => return Err(malformed("a number")),
        };
        std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| malformed("a number"))
    }

    pub(crate) fn into_items(self) -> Result<Vec<Self>, Error> {
        match self {
            Self::Array(items) => Ok(items),
            _ => Err(malformed("an array")),
        }
    }

    pub(crate) fn into_list<T>(self, each: impl FnMut(Self) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        self.into_items()?.into_iter().map(each).collect()
    }

    /// An array of exactly so many.
    pub(crate) fn into_tuple<const N: usize>(self) -> Result<[Self; N], Error> {
        self.into_items()?.try_into().map_err(|_| malformed("an array of another length"))
    }

    pub(crate) fn into_ok(self) -> Result<(), Error> {
        match self {
            Self::Simple(word) if word == "OK" => Ok(()),
            _ => Err(malformed("OK")),
        }
    }

    pub(crate) fn into_map(self) -> Result<MapReader, Error> {
        match self {
            Self::Map(items) | Self::Array(items) if items.len().is_multiple_of(2) => Ok(MapReader { items }),
            _ => Err(malformed("a map")),
        }
    }
}

/// Makes a map.
#[derive(Debug, Default)]
pub(crate) struct MapWriter {
    items: Vec<Value>,
}

impl MapWriter {
    pub(crate) fn put(mut self, name: &str, value: Value) -> Self {
        self.items.extend([Value::bulk(name.as_bytes()), value]);
        self
    }

    pub(crate) fn done(self) -> Value {
        Value::Map(self.items)
    }
}

/// Reads a map by its names; names it does not know are left alone.
#[derive(Debug)]
pub(crate) struct MapReader {
    items: Vec<Value>,
}

impl MapReader {
    /// Takes out what stands under a name; a null when nothing does.
    pub(crate) fn take(&mut self, name: &str) -> Value {
        let is_it = |key: &Value| match key {
            Value::Bulk(text) => text == name.as_bytes(),
            Value::Simple(text) => text == name,
            _ => false,
        };
        let at = self.items.iter().step_by(2).position(is_it);
        at.map_or(Value::Null, |at| std::mem::replace(&mut self.items[2 * at + 1], Value::Null))
    }
}
