//! What a command answers, before it is bytes.
//!
//! A reply is made under the engine's lock and rendered after the flush, in the protocol of its client. So it is
//! small, owned, and says entries by their places in the log.

use std::borrow::Cow;
use std::sync::Arc;

use weir_core::EntryId;
use weir_engine::{EntryRef, Given, Read, ReadGroup, ReadOutcome};

/// An answer, in the words of RESP3; RESP2 clients get what RESP2 has for it.
#[derive(Debug)]
pub(crate) enum Reply {
    /// `+OK`
    Ok,
    /// A simple string known beforehand.
    Simple(&'static str),
    /// A simple string.
    Line(Box<str>),
    /// An integer.
    Int(i64),
    /// An entry ID, as a bulk string.
    Id(EntryId),
    /// A bulk string known beforehand.
    Text(&'static str),
    /// A bulk string.
    Bulk(Box<[u8]>),
    /// A number as a bulk string.
    BulkInt(i64),
    /// A floating point number.
    Double(f64),
    /// No value where there could be one.
    Null,
    /// No array where there could be one.
    NullArray,
    /// An error with its code word.
    Error(Cow<'static, [u8]>),
    /// Text for people.
    Verbatim(Box<str>),
    /// An array.
    Array(Vec<Self>),
    /// Keys and values in turn.
    Map(Vec<Self>),
    /// A set.
    Set(Vec<Self>),
    /// An array of entry IDs.
    Ids(Vec<EntryId>),
    /// An array of entries.
    Entries(Vec<EntryRef>),
    /// Deliveries, as the wire has them.
    Given(Vec<Given>),
    /// One entry.
    Entry(EntryRef),
    /// What XREAD and XREADGROUP answer.
    Streams(Box<StreamsReply>),
    /// Bytes that are RESP already.
    Raw(Box<[u8]>),
    /// The same for several clients.
    Shared(Arc<[u8]>),
    /// A reply in another protocol than its surroundings (HELLO inside MULTI).
    In(weir_resp::Proto, Box<Self>),
    /// Nothing is sent (the command pushed its answers itself).
    Nothing,
}

/// What streams have for a reader, and the request that says their names.
#[derive(Debug)]
pub(crate) struct StreamsReply {
    pub(crate) request: ReadRequest,
    pub(crate) outcome: ReadOutcome,
}

/// A read of either kind.
#[derive(Debug, Clone)]
pub(crate) enum ReadRequest {
    Plain(Read),
    Group(ReadGroup),
}

impl ReadRequest {
    /// Heap bytes held, about.
    pub(crate) fn heap_bytes(&self) -> usize {
        const EACH: usize = 64;
        match self {
            Self::Plain(read) => read.streams.iter().map(|(name, _)| name.len() + EACH).sum(),
            Self::Group(read) => {
                let names: usize = read.streams.iter().map(|(name, _)| name.len() + EACH).sum();
                names + read.group.len() + read.consumer.len()
            }
        }
    }

    /// The name of the request's stream with this index.
    pub(crate) fn stream_name(&self, index: usize) -> &[u8] {
        match self {
            Self::Plain(read) => read.streams.get(index).map_or(&[], |(name, _)| name),
            Self::Group(read) => read.streams.get(index).map_or(&[], |(name, _)| name),
        }
    }
}

impl Reply {
    /// An error whose text is known beforehand.
    pub(crate) const fn error(text: &'static str) -> Self {
        Self::Error(Cow::Borrowed(text.as_bytes()))
    }

    /// An integer from a count; cut to what RESP can say.
    pub(crate) fn count(count: u64) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// A truth value as `:1` or `:0`.
    pub(crate) fn flag(value: bool) -> Self {
        Self::Int(i64::from(value))
    }

    /// A bulk string from bytes.
    pub(crate) fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bulk(bytes.as_ref().into())
    }

    /// An integer, or a null.
    pub(crate) fn count_or_null(count: Option<u64>) -> Self {
        count.map_or(Self::Null, Self::count)
    }

    /// A number that may be unknown, and negative.
    pub(crate) fn int_or_null(number: Option<i64>) -> Self {
        number.map_or(Self::Null, Self::Int)
    }

    /// An array of simple strings, as HELP answers.
    pub(crate) fn lines(lines: &'static [&'static str]) -> Self {
        Self::Array(lines.iter().copied().map(Self::Simple).collect())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_reply_stays_small() {
        assert!(size_of::<super::Reply>() <= 32);
    }
}
