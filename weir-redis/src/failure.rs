//! From a server's error to a broker's: by the first word of its text, which is its code.

use redis::{ErrorKind as RedisKind, RedisError};
use weir_core::{EntryId, Error, ErrorKind};

/// Whether a request was done, as far as its failure tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was refused, and asking again is refused again.
    Refused,
    /// It was not done, and may be asked again after a while.
    Later,
    /// Nobody knows: the connection was lost, or the answer was late.
    Unknown,
}

/// What became of a request that failed so.
pub(crate) fn fate_of(error: &RedisError) -> Fate {
    match error.code() {
        Some("LOADING" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN" | "READONLY" | "BUSY") => Fate::Later,
        Some(_) => Fate::Refused,
        None => match error.kind() {
            RedisKind::Io | RedisKind::Parse => Fate::Unknown,
            _ if error.is_connection_dropped() || error.is_timeout() => Fate::Unknown,
            _ => Fate::Refused,
        },
    }
}

/// The server cannot be reached, for this reason.
pub(crate) fn unavailable(cause: RedisError) -> Error {
    if cause.kind() == RedisKind::AuthenticationFailed || is_denied(&cause) {
        return Error::new(ErrorKind::Denied).with_source(cause);
    }
    Error::new(ErrorKind::Unavailable).with_source(cause)
}

/// Whether the server does not let this user in, so that trying again is of no use.
pub(crate) fn is_denied(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
        || error.kind() == RedisKind::AuthenticationFailed
}

/// What a refusal means.
pub(crate) fn refused(error: RedisError) -> Error {
    let detail = error.detail().unwrap_or_default();
    let kind = match error.code().unwrap_or_default() {
        "WRONGTYPE" => ErrorKind::WrongType,
        "NOGROUP" => ErrorKind::NoSuchGroup,
        "BUSYGROUP" => ErrorKind::GroupExists,
        "NOAUTH" | "WRONGPASS" | "NOPERM" => ErrorKind::Denied,
        "OOM" => ErrorKind::LimitReached("the memory of the Redis (maxmemory)"),
        "MISCONF" => ErrorKind::DiskFull,
        "LOADING" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN" | "READONLY" | "BUSY" | "NOREPLICAS"
        | "UNBLOCKED" => ErrorKind::Unavailable,
        "CROSSSLOT" => ErrorKind::Invalid("the keys are not in one hash slot of the cluster"),
        "WEIRNOTGREATER" => ErrorKind::IdNotGreater { last: first_word(detail).unwrap_or(EntryId::MAX) },
        "WEIRIDZERO" => ErrorKind::IdZero,
        "WEIREXHAUSTED" => ErrorKind::StreamExhausted,
        "WEIRVERSION" => ErrorKind::VersionMismatch { actual: first_word(detail) },
        "WEIRTAKEN" => ErrorKind::DeadLetterTaken,
        _ => kind_of_text(detail),
    };
    Error::new(kind).with_source(error)
}

fn first_word<T: std::str::FromStr>(detail: &str) -> Option<T> {
    detail.split_ascii_whitespace().next()?.parse().ok()
}

/// Errors that have no code of their own.
fn kind_of_text(detail: &str) -> ErrorKind {
    if detail.contains("no such key") {
        ErrorKind::NoSuchGroup
    } else if detail.contains("exhausted the last possible ID") {
        ErrorKind::StreamExhausted
    } else if detail.contains("Elements are too large") || detail.contains("too many results to unpack") {
        ErrorKind::EntryTooLarge
    } else {
        ErrorKind::Io
    }
}
