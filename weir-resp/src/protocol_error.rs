//! What can be wrong with a request, in the words Redis uses.

use std::fmt;

/// A request that cannot be read any further.
///
/// The server answers it (see [`crate::Writer::protocol_error`]) and closes the connection, since nothing
/// tells where the next request would begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// An argument does not start with `$` but with this byte.
    ExpectedDollar(u8),
    /// The number of arguments is no number, or above [`crate::Limits::args_max`].
    InvalidMultibulkLength,
    /// The length of an argument is no number, negative, or above [`crate::Limits::bulk_max`].
    InvalidBulkLength,
    /// An inline request ends inside quotes, or goes on right behind closing quotes.
    UnbalancedQuotes,
    /// An inline request is longer than [`crate::Limits::inline_max`].
    TooBigInline,
    /// The line with the number of arguments is longer than [`crate::Limits::inline_max`].
    TooBigMultibulkCount,
    /// The line with the length of an argument is longer than [`crate::Limits::inline_max`].
    TooBigBulkCount,
    /// More than ten arguments from a client that has not authenticated.
    UnauthenticatedMultibulkLength,
    /// An argument over 16 KiB from a client that has not authenticated.
    UnauthenticatedBulkLength,
    /// The whole request is larger than [`crate::Limits::request_max`].
    TooBigRequest,
}

impl ProtocolError {
    /// The text behind `-ERR `, with the offending byte as it came.
    pub(crate) fn append_text(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Protocol error: ");
        out.extend_from_slice(self.detail().as_bytes());
        if let Self::ExpectedDollar(byte) = self {
            // The text is one line, and a line must not end inside it.
            let printed = if byte == b'\r' || byte == b'\n' { b' ' } else { byte };
            out.extend_from_slice(&[b'\'', printed, b'\'']);
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::ExpectedDollar(_) => "expected '$', got ",
            Self::InvalidMultibulkLength => "invalid multibulk length",
            Self::InvalidBulkLength => "invalid bulk length",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
            Self::TooBigInline => "too big inline request",
            Self::TooBigMultibulkCount => "too big mbulk count string",
            Self::TooBigBulkCount => "too big bulk count string",
            Self::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            Self::UnauthenticatedBulkLength => "unauthenticated bulk length",
            Self::TooBigRequest => "too big request",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.append_text(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl std::error::Error for ProtocolError {}
