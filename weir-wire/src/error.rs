//! The one table between kinds of errors and the lines that say them, used in both directions.
//!
//! ```text
//! CODE text
//! CODE text: what it is about
//! VERSION 17 text         IDNOTGREATER 5-1 text
//! ```
//!
//! Programs branch on the code, so a kind keeps its code for ever.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use weir_core::{Error, ErrorKind};

use crate::number::{parse_id, parse_u64};

/// The kinds that are nothing but a code.
const PLAIN: &[(&str, ErrorKind)] = &[
    ("WRONGTYPE", ErrorKind::WrongType),
    ("NOSTREAM", ErrorKind::NoSuchStream),
    ("NOGROUP", ErrorKind::NoSuchGroup),
    ("BUSYGROUP", ErrorKind::GroupExists),
    ("IDZERO", ErrorKind::IdZero),
    ("DEADLETTERTAKEN", ErrorKind::DeadLetterTaken),
    ("UNAVAILABLE", ErrorKind::Unavailable),
    ("NOPERM", ErrorKind::Denied),
    ("EXHAUSTED", ErrorKind::StreamExhausted),
    ("TOOLARGE", ErrorKind::EntryTooLarge),
    ("DISKFULL", ErrorKind::DiskFull),
    ("FAULTED", ErrorKind::Faulted),
    ("CORRUPT", ErrorKind::Corrupt),
    ("INUSE", ErrorKind::InUse),
    ("IOERR", ErrorKind::Io),
    ("CLOSED", ErrorKind::Closed),
];

/// What a server says that was not asked by way of this table: read, never written.
const FOREIGN: &[(&str, ErrorKind)] = &[
    ("NOAUTH", ErrorKind::Denied),
    ("WRONGPASS", ErrorKind::Denied),
    ("LOADING", ErrorKind::Unavailable),
    ("BUSY", ErrorKind::Unavailable),
    ("MASTERDOWN", ErrorKind::Unavailable),
    ("CLUSTERDOWN", ErrorKind::Unavailable),
    ("TRYAGAIN", ErrorKind::Unavailable),
    ("UNBLOCKED", ErrorKind::Unavailable),
    ("OOM", ErrorKind::LimitReached("memory of the server")),
    ("MISCONF", ErrorKind::Faulted),
];

const LIMIT: &str = "LIMIT";
const INVALID: &str = "INVALID";
const UNSUPPORTED: &str = "UNSUPPORTED";
const VERSION: &str = "VERSION";
const ID_NOT_GREATER: &str = "IDNOTGREATER";
/// The version of a stream that nothing was added to.
const NO_VERSION: &str = "NONE";
/// Between the text of a kind and what it is about.
const BEFORE_CONTEXT: &str = ": ";

/// The line that says an error, without the dash before it. It has no line break.
#[must_use]
pub fn error_line(error: &Error) -> Vec<u8> {
    let kind = error.kind();
    let head = match kind {
        ErrorKind::LimitReached(what) => format!("{LIMIT} {what}"),
        ErrorKind::Invalid(what) => format!("{INVALID} {what}"),
        ErrorKind::Unsupported(what) => format!("{UNSUPPORTED} {what}"),
        ErrorKind::VersionMismatch { actual: Some(version) } => format!("{VERSION} {version} {kind}"),
        ErrorKind::VersionMismatch { actual: None } => format!("{VERSION} {NO_VERSION} {kind}"),
        ErrorKind::IdNotGreater { last } => format!("{ID_NOT_GREATER} {last} {kind}"),
        kind => format!("{} {kind}", plain_code(kind)),
    };
    let context = error.context().map(|context| [BEFORE_CONTEXT, context].concat()).unwrap_or_default();
    (head + &context).replace(['\r', '\n'], " ").into_bytes()
}

/// A kind that is not in the table is one that this version does not know how to say.
fn plain_code(kind: &ErrorKind) -> &'static str {
    PLAIN.iter().find(|(_, known)| known == kind).map_or("ERR", |(code, _)| *code)
}

/// The error that a line says, with or without the dash before it.
#[must_use]
pub fn error_from_line(line: &[u8]) -> Error {
    let line = String::from_utf8_lossy(line.strip_prefix(b"-").unwrap_or(line));
    let (code, text) = line.split_once(' ').unwrap_or((&line, ""));
    if let Some((_, kind)) = PLAIN.iter().find(|(known, _)| *known == code) {
        return with_context(kind.clone(), text.strip_prefix(&kind.to_string()).unwrap_or(text));
    }
    if let Some((_, kind)) = FOREIGN.iter().find(|(known, _)| *known == code) {
        return about(kind.clone(), text);
    }
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    match code {
        LIMIT => worded(ErrorKind::LimitReached, text),
        INVALID => worded(ErrorKind::Invalid, text),
        UNSUPPORTED => worded(ErrorKind::Unsupported, text),
        VERSION => {
            let kind = ErrorKind::VersionMismatch { actual: parse_u64(first.as_bytes()) };
            let context = rest.strip_prefix(&kind.to_string()).unwrap_or_default().to_owned();
            with_context(kind, &context)
        }
        ID_NOT_GREATER => {
            let kind = ErrorKind::IdNotGreater { last: parse_id(first.as_bytes()).unwrap_or_default() };
            let context = rest.strip_prefix(&kind.to_string()).unwrap_or_default().to_owned();
            with_context(kind, &context)
        }
        _ if text.starts_with("unknown command") || text.starts_with("unknown subcommand") => {
            about(ErrorKind::Unsupported("the server does not know the command"), text)
        }
        _ => about(ErrorKind::Invalid("the server refused the command"), &line),
    }
}

fn about(kind: ErrorKind, context: &str) -> Error {
    if context.is_empty() { Error::new(kind) } else { Error::new(kind).with_context(context) }
}

/// What follows the text of a kind is its context, if it begins like one.
fn with_context(kind: ErrorKind, rest: &str) -> Error {
    about(kind, rest.strip_prefix(BEFORE_CONTEXT).unwrap_or(rest))
}

fn worded(kind: fn(&'static str) -> ErrorKind, text: &str) -> Error {
    let (what, context) = text.split_once(BEFORE_CONTEXT).unwrap_or((text, ""));
    match kept(what) {
        Some(what) => about(kind(what), context),
        None => about(kind("the server's reason"), text),
    }
}

/// Texts that are kept for ever, so that an error has the same words here as where it came from.
const KEPT_MAX: usize = 512;
/// Bytes of one of them.
const KEPT_BYTES_MAX: usize = 512;

/// The same text for as long as the program runs; `None` when there are too many already. Those that brokers refuse
/// with are a few dozen; a server that makes up more does not fill the memory.
fn kept(text: &str) -> Option<&'static str> {
    static KEPT: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = kept.get_or_insert_with(HashSet::new);
    if let Some(known) = kept.get(text) {
        return Some(known);
    }
    if text.len() > KEPT_BYTES_MAX || kept.len() >= KEPT_MAX {
        return None;
    }
    let text: &'static str = Box::leak(text.into());
    kept.insert(text);
    Some(text)
}

#[cfg(test)]
mod tests {
    use weir_core::EntryId;

    use super::*;

    fn kinds() -> Vec<ErrorKind> {
        let worded = [
            ErrorKind::IdNotGreater { last: EntryId::new(5, u64::MAX) },
            ErrorKind::VersionMismatch { actual: Some(17) },
            ErrorKind::VersionMismatch { actual: None },
            ErrorKind::Unsupported("positions are not counted here"),
            ErrorKind::Invalid("the lease must be at least a millisecond"),
            ErrorKind::LimitReached("keys (keys_max); delete some"),
        ];
        PLAIN.iter().map(|(_, kind)| kind.clone()).chain(worded).collect()
    }

    #[test]
    fn a_kind_comes_back_as_it_was_with_its_context() {
        for kind in kinds() {
            for context in [None, Some("orders"), Some("a: b: c"), Some("")] {
                let mut error = Error::new(kind.clone());
                if let Some(context) = context {
                    error = error.with_context(context);
                }
                let back = error_from_line(&error_line(&error));
                assert_eq!(back.kind(), &kind);
                assert_eq!(back.context(), context.filter(|context| !context.is_empty()), "{kind:?}");
            }
        }
    }

    #[test]
    fn codes_are_told_apart_and_are_one_line() {
        let mut codes: Vec<_> = PLAIN.iter().chain(FOREIGN).map(|(code, _)| *code).collect();
        codes.extend([LIMIT, INVALID, UNSUPPORTED, VERSION, ID_NOT_GREATER, "ERR"]);
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
        let broken = Error::new(ErrorKind::WrongType).with_context("two\r\nlines");
        assert!(!error_line(&broken).contains(&b'\n'));
    }

    #[test]
    fn what_a_server_says_of_itself_has_a_kind() {
        for (line, kind) in [
            ("-NOAUTH Authentication required.", ErrorKind::Denied),
            ("LOADING wait", ErrorKind::Unavailable),
            (
                "ERR unknown command 'WEIR.ADD', with args",
                ErrorKind::Unsupported("the server does not know the command"),
            ),
            ("ERR syntax error", ErrorKind::Invalid("the server refused the command")),
            ("", ErrorKind::Invalid("the server refused the command")),
        ] {
            assert_eq!(error_from_line(line.as_bytes()).kind(), &kind, "{line:?}");
        }
    }
}
