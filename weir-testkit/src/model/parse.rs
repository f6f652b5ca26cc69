//! Reading words: integers, IDs and interval bounds as Redis reads them, and the texts of refusal.

use weir_core::EntryId;

use crate::Value;

/// What a command answers: a value, or a refusal that becomes an error reply.
pub(super) type Outcome = Result<Value, Refusal>;

/// An error reply without its leading `-`: the code, a blank, the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) Vec<u8>);

/// A refusal with the code `ERR`.
pub(super) fn err(text: impl AsRef<[u8]>) -> Refusal {
    Refusal([b"ERR ", text.as_ref()].concat())
}

/// `ERR`, with one word of the request quoted between two texts.
pub(super) fn err_quoting(before: &str, word: &[u8], after: &str) -> Refusal {
    err([before.as_bytes(), word, after.as_bytes()].concat())
}

pub(super) fn syntax_error() -> Refusal {
    err("syntax error")
}

pub(super) fn wrong_type() -> Refusal {
    Refusal(b"WRONGTYPE Operation against a key holding the wrong kind of value".to_vec())
}

pub(super) fn no_such_key() -> Refusal {
    err("no such key")
}

pub(super) fn invalid_id() -> Refusal {
    err("Invalid stream ID specified as stream command argument")
}

pub(super) fn wrong_arity(name: &str) -> Refusal {
    err(format!("wrong number of arguments for '{name}' command"))
}

pub(super) fn subcommand_syntax(container: &str, subcommand: &[u8]) -> Refusal {
    let after = format!("'. Try {container} HELP.");
    err_quoting("unknown subcommand or wrong number of arguments for '", subcommand, &after)
}

/// NOGROUP as the commands say it that work on a pending entries list.
pub(super) fn no_key_or_group(key: &[u8], group: &[u8]) -> Refusal {
    Refusal([b"NOGROUP No such key '", key, b"' or consumer group '", group, b"'"].concat())
}

/// NOGROUP as XGROUP and XINFO say it.
pub(super) fn no_group(key: &[u8], group: &[u8]) -> Refusal {
    Refusal([b"NOGROUP No such consumer group '", group, b"' for key name '", key, b"'"].concat())
}

/// A decimal integer in the one form Redis accepts: no sign but `-`, no leading zeros, no blanks.
pub(crate) fn canonical_integer(text: &[u8]) -> Option<i64> {
    let n: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (n.to_string().as_bytes() == text).then_some(n)
}

pub(super) fn integer(text: &[u8]) -> Result<i64, Refusal> {
    integer_or(text, "value is not an integer or out of range")
}

pub(super) fn integer_or(text: &[u8], refusal: &str) -> Result<i64, Refusal> {
    canonical_integer(text).ok_or_else(|| err(refusal))
}

/// An ID in its strict form; a missing sequence number is 0.
pub(super) fn id(text: &[u8]) -> Result<EntryId, Refusal> {
    EntryId::parse(text, 0).map_err(|_| invalid_id())
}

pub(super) fn ids(texts: &[Vec<u8>]) -> Result<Vec<EntryId>, Refusal> {
    texts.iter().map(|text| id(text)).collect()
}

/// An ID, `-` or `+`.
pub(super) fn id_or_edge(text: &[u8], seq_missing: u64) -> Result<EntryId, Refusal> {
    match text {
        b"-" => Ok(EntryId::MIN),
        b"+" => Ok(EntryId::MAX),
        _ => EntryId::parse(text, seq_missing).map_err(|_| invalid_id()),
    }
}

/// The lower bound of an interval, as the least ID inside it.
pub(super) fn start(text: &[u8]) -> Result<EntryId, Refusal> {
    match exclusive(text) {
        Some(text) => id(text)?.next().ok_or_else(|| err("invalid start ID for the interval")),
        None => id_or_edge(text, 0),
    }
}

/// The upper bound of an interval, as the greatest ID inside it.
pub(super) fn end(text: &[u8]) -> Result<EntryId, Refusal> {
    match exclusive(text) {
        Some(text) => {
            let id = EntryId::parse(text, u64::MAX).map_err(|_| invalid_id())?;
            id.previous().ok_or_else(|| err("invalid end ID for the interval"))
        }
        None => id_or_edge(text, u64::MAX),
    }
}

fn exclusive(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"(").filter(|rest| !rest.is_empty())
}

/// Whether `text` is the keyword `word`, in whatever case.
pub(super) fn is(text: &[u8], word: &str) -> bool {
    text.eq_ignore_ascii_case(word.as_bytes())
}
