//! Error texts: the one table from what the engine refuses to what a RESP client reads.
//!
//! Clients branch on the first word, so a kind keeps its word for ever.

use std::borrow::Cow;

use weir_core::{Error, ErrorKind};

/// Texts that several commands share.
pub(crate) const SYNTAX: &str = "ERR syntax error";
pub(crate) const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
pub(crate) const NO_SUCH_KEY: &str = "ERR no such key";
pub(crate) const INVALID_ID: &str = "ERR Invalid stream ID specified as stream command argument";
pub(crate) const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
pub(crate) const NO_AUTH: &str = "NOAUTH Authentication required.";
pub(crate) const FLUSH_FAILED: &str =
    "MISCONF a write to disk failed; nothing is accepted until the server is restarted on a working disk";

/// The text for an error of the engine. Commands whose text names keys or groups handle `NoSuchGroup` themselves.
pub(crate) fn text(error: &Error) -> Cow<'static, [u8]> {
    let text: &'static str = match error.kind() {
        ErrorKind::WrongType => WRONG_TYPE,
        ErrorKind::NoSuchStream => NO_SUCH_KEY,
        ErrorKind::NoSuchGroup => "NOGROUP No such key or consumer group",
        ErrorKind::GroupExists => "BUSYGROUP Consumer Group name already exists",
        ErrorKind::IdZero => "ERR The ID specified in XADD must be greater than 0-0",
        ErrorKind::IdNotGreater { .. } => {
            "ERR The ID specified in XADD is equal or smaller than the target stream top item"
        }
        ErrorKind::StreamExhausted => {
            "ERR The stream has exhausted the last possible ID, unable to add more items"
        }
        ErrorKind::EntryTooLarge => "ERR Elements are too large to be stored",
        ErrorKind::Faulted => FLUSH_FAILED,
        ErrorKind::LimitReached(what) => return Cow::Owned(limit_reached(what)),
        ErrorKind::DiskFull | ErrorKind::Corrupt | ErrorKind::Io | ErrorKind::InUse => {
            return Cow::Owned(format!("MISCONF {error}").into_bytes());
        }
        _ => return Cow::Owned(format!("ERR {error}").into_bytes()),
    };
    Cow::Borrowed(text.as_bytes())
}

/// The words about a limit without its name in brackets: that is for programs that have the engine inside.
fn limit_reached(what: &str) -> Vec<u8> {
    let (before, rest) = what.split_once(" (").unwrap_or((what, ""));
    let after = rest.split_once(')').map_or("", |(_, after)| after);
    format!("ERR limit reached: {before}{after}").into_bytes()
}

/// `-NOGROUP No such key 's' or consumer group 'g'`
pub(crate) fn no_key_or_group(key: &[u8], group: &[u8]) -> Vec<u8> {
    [b"NOGROUP No such key '", key, b"' or consumer group '", group, b"'"].concat()
}

/// `-NOGROUP No such consumer group 'g' for key name 's'`
pub(crate) fn no_group_for_key(key: &[u8], group: &[u8]) -> Vec<u8> {
    [b"NOGROUP No such consumer group '", group, b"' for key name '", key, b"'"].concat()
}

/// `-NOGROUP … in XREADGROUP with GROUP option`
pub(crate) fn no_group_to_read(key: &[u8], group: &[u8]) -> Vec<u8> {
    [&no_key_or_group(key, group), &b" in XREADGROUP with GROUP option"[..]].concat()
}

/// `-ERR wrong number of arguments for 'xadd' command`
pub(crate) fn wrong_arity(name: &str) -> Vec<u8> {
    format!("ERR wrong number of arguments for '{name}' command").into_bytes()
}

/// `-ERR unknown subcommand 'FOO'. Try XGROUP HELP.`
pub(crate) fn unknown_subcommand(container: &str, given: &[u8]) -> Vec<u8> {
    let given = &given[..given.len().min(128)];
    let help = container.to_ascii_uppercase();
    [b"ERR unknown subcommand '", given, b"'. Try ", help.as_bytes(), b" HELP."].concat()
}

/// `-ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.`
pub(crate) fn bad_subcommand(container: &str, given: &[u8]) -> Vec<u8> {
    let help = container.to_ascii_uppercase();
    [
        b"ERR unknown subcommand or wrong number of arguments for '",
        &given[..given.len().min(128)],
        b"'. Try ",
        help.as_bytes(),
        b" HELP.",
    ]
    .concat()
}

/// `-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' `
pub(crate) fn unknown_command<'a>(name: &[u8], args: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    const SHOWN_MAX: usize = 128;
    let mut text = [b"ERR unknown command '", &name[..name.len().min(SHOWN_MAX)], b"'"].concat();
    let mut shown = Vec::new();
    for arg in args {
        if shown.len() >= SHOWN_MAX {
            break;
        }
        let room = SHOWN_MAX - shown.len();
        shown.push(b'\'');
        shown.extend_from_slice(&arg[..arg.len().min(room)]);
        shown.extend_from_slice(b"' ");
    }
    if !shown.is_empty() {
        text.extend_from_slice(b", with args beginning with: ");
        text.extend_from_slice(&shown);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_named_in_words_only() {
        for (what, wanted) in [
            ("waiting reads (waiting)", "ERR limit reached: waiting reads"),
            (
                "entries in one answer (reply_entries); use COUNT",
                "ERR limit reached: entries in one answer; use COUNT",
            ),
            ("keys", "ERR limit reached: keys"),
        ] {
            assert_eq!(text(&ErrorKind::LimitReached(what).into()), wanted.as_bytes());
        }
    }
}
