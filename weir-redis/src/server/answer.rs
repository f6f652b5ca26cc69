//! From the library's values and errors to the wire's.

use redis::{RedisError, ServerError, Value as Raw};
use weir_core::{Error, ErrorKind};
use weir_wire::{Value, error_from_line};

/// The same value in the words of the wire.
pub(super) fn value(raw: Raw) -> Value {
    match raw {
        Raw::BulkString(bytes) => Value::Bulk(bytes),
        Raw::Array(items) | Raw::Set(items) => Value::Array(items.into_iter().map(value).collect()),
        Raw::Int(number) => Value::Int(number),
        Raw::SimpleString(word) => Value::Simple(word),
        Raw::Okay => Value::Simple("OK".to_owned()),
        Raw::Map(pairs) => {
            Value::Map(pairs.into_iter().flat_map(|(name, item)| [value(name), value(item)]).collect())
        }
        Raw::Double(number) => Value::Double(number),
        Raw::Boolean(flag) => Value::Int(flag.into()),
        Raw::VerbatimString { text, .. } => Value::Bulk(text.into_bytes()),
        Raw::ServerError(said) => Value::Error(line(&said)),
        // Nothing else is an answer to a command of ours.
        _ => Value::Null,
    }
}

fn line(said: &ServerError) -> Vec<u8> {
    [said.code(), " ", said.details().unwrap_or_default()].concat().into_bytes()
}

/// The error behind a failed command: what the server said, or that the way to it is broken.
pub(super) fn error(failed: RedisError) -> Error {
    if let Some(code) = failed.code() {
        return error_from_line([code, " ", failed.detail().unwrap_or_default()].concat().as_bytes());
    }
    match failed.kind() {
        redis::ErrorKind::AuthenticationFailed => Error::new(ErrorKind::Denied)
            .with_context("the server wants another password")
            .with_source(failed),
        redis::ErrorKind::InvalidClientConfig => {
            Error::new(ErrorKind::Invalid("the connection cannot be set up")).with_source(failed)
        }
        _ => Error::new(ErrorKind::Unavailable).with_source(failed),
    }
}

/// Whether a failure says that the connection is of no use any more.
pub(super) fn is_broken(error: &Error) -> bool {
    *error.kind() == ErrorKind::Unavailable && std::error::Error::source(error).is_some()
}
