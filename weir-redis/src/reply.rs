//! Taking replies apart. What a server sends that cannot be is an error, never a panic.

use redis::Value;
use weir_core::{Entry, EntryId, Error, ErrorKind, Fields, Timestamp};

/// The server answered something that this program does not understand.
pub(crate) fn unexpected(what: &str) -> Error {
    Error::new(ErrorKind::Io).with_context(format!("the Redis answered something else than {what}"))
}

/// The elements of an array; a map is its keys and values in turn; of anything else none.
pub(crate) fn array(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) | Value::Set(values) => values,
        Value::Map(pairs) => pairs.into_iter().flat_map(|(name, value)| [name, value]).collect(),
        _ => Vec::new(),
    }
}

/// A whole number, also when it comes as text.
pub(crate) fn int(value: Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(number),
        Value::Double(number) => format!("{number:.0}").parse().ok(),
        other => text(other)?.parse().ok(),
    }
}

pub(crate) fn uint(value: Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(number).ok(),
        other => text(other)?.parse().ok(),
    }
}

/// Bytes; `None` for nil and for what is no text.
pub(crate) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.into_bytes()),
        Value::Okay => Some(b"OK".to_vec()),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        _ => None,
    }
}

pub(crate) fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}

pub(crate) fn id(value: Value) -> Option<EntryId> {
    match value {
        Value::BulkString(bytes) => EntryId::parse(&bytes, 0).ok(),
        other => EntryId::parse(&bytes(other)?, 0).ok(),
    }
}

/// Values one after the other, each of which has to be there.
pub(crate) struct Row(std::vec::IntoIter<Value>);

impl Row {
    pub(crate) fn new(value: Value) -> Self {
        Self(array(value).into_iter())
    }

    pub(crate) fn take<T>(&mut self, what: &str, read: impl FnOnce(Value) -> Option<T>) -> Result<T, Error> {
        self.0.next().and_then(read).ok_or_else(|| unexpected(what))
    }

    pub(crate) fn value(&mut self) -> Value {
        self.0.next().unwrap_or_default()
    }
}

/// Names and values in turn.
pub(crate) fn pairs(value: Value) -> Vec<(Vec<u8>, Value)> {
    let mut values = array(value).into_iter();
    let mut found = Vec::new();
    while let (Some(name), Some(value)) = (values.next(), values.next()) {
        found.extend(bytes(name).map(|name| (name, value)));
    }
    found
}

pub(crate) fn fields(value: Value) -> Fields {
    let mut values = array(value).into_iter();
    let mut found = Vec::with_capacity(values.len() / 2);
    while let (Some(name), Some(value)) = (values.next(), values.next()) {
        if let (Some(name), Some(value)) = (bytes(name), bytes(value)) {
            found.push((name, value));
        }
    }
    found
}

/// An entry. Others may write to the Redis as well, so it has no position.
pub(crate) fn entry(id: EntryId, fields: Fields) -> Entry {
    Entry { id, position: None, global_position: None, appended_at: Timestamp(id.ms), fields }
}

/// What `XRANGE` answers.
pub(crate) fn entries(value: Value) -> Result<Vec<Entry>, Error> {
    array(value)
        .into_iter()
        .map(|value| {
            let mut row = Row::new(value);
            let id = row.take("the ID of an entry", id)?;
            Ok(entry(id, fields(row.value())))
        })
        .collect()
}

/// What `XREAD` answers about its only stream.
pub(crate) fn stream_entries(value: Value) -> Result<Vec<Entry>, Error> {
    let found = match value {
        Value::Map(pairs) => pairs.into_iter().next().map(|(_, entries)| entries),
        other => array(other).into_iter().next().and_then(|pair| array(pair).into_iter().nth(1)),
    };
    found.map_or_else(|| Ok(Vec::new()), entries)
}
