//! The streams that the broker keeps beside a user's: dead letters, lost entries, alerts.
//!
//! Their names carry the hash tag of the stream they belong to, so that on a Redis cluster all of them are in one slot:
//! beside `orders` stand `{orders}:dead:billing`, `{orders}:lost` and `{orders}:alerts`. A name that has a hash tag
//! already keeps it: beside `a{b}c` stands `a{b}c:lost`.
//!
//! They are ordinary streams: any client may read them.

use crate::{Error, ErrorKind};

/// What the names of side streams end with, or have before a group's name.
const DEAD: &[u8] = b":dead:";
const LOST: &[u8] = b":lost";
const ALERTS: &[u8] = b":alerts";

/// Where the dead letters of a group go unless its policy names another stream.
///
/// # Errors
/// [`ErrorKind::Invalid`] as [`slot_name`].
pub fn dead_letters_of(stream: &[u8], group: &[u8]) -> Result<Vec<u8>, Error> {
    Ok([&slot_name(stream)?, DEAD, group].concat())
}

/// Where a stream's lost entries are listed.
///
/// # Errors
/// [`ErrorKind::Invalid`] as [`slot_name`].
pub fn lost_of(stream: &[u8]) -> Result<Vec<u8>, Error> {
    Ok([&slot_name(stream)?, LOST].concat())
}

/// Where a stream's alerts stand.
///
/// # Errors
/// [`ErrorKind::Invalid`] as [`slot_name`].
pub fn alerts_of(stream: &[u8]) -> Result<Vec<u8>, Error> {
    Ok([&slot_name(stream)?, ALERTS].concat())
}

/// Whether a name is one that [`dead_letters_of`], [`lost_of`] or [`alerts_of`] gives.
#[must_use]
pub fn is_side_stream(name: &[u8]) -> bool {
    let Some(tag) = hash_tag(name) else { return false };
    let rest = &name[tag.end + 1..];
    let suffixed = |suffix: &[u8]| rest.ends_with(suffix);
    suffixed(LOST) || suffixed(ALERTS) || rest.windows(DEAD.len()).any(|part| part == DEAD)
}

/// The name that puts side keys into the slot of a stream: the name in braces, or the name itself when it has a hash
/// tag.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a name with a `}` and no hash tag: braces around it would change its slot.
pub fn slot_name(stream: &[u8]) -> Result<Vec<u8>, Error> {
    if hash_tag(stream).is_some() {
        return Ok(stream.to_vec());
    }
    if stream.contains(&b'}') || stream.is_empty() {
        return Err(Error::new(ErrorKind::Invalid(
            "a stream with a group policy or retention needs another name",
        ))
        .with_context(format!(
            "{:?} has a closing brace and no hash tag, so that no key can be kept beside it; rename it",
            String::from_utf8_lossy(stream)
        )));
    }
    Ok([b"{", stream, b"}"].concat())
}

/// Where the hash tag of a key is: what stands between the first `{` and the next `}`, if that is anything.
#[must_use]
pub fn hash_tag(key: &[u8]) -> Option<std::ops::Range<usize>> {
    let open = key.iter().position(|byte| *byte == b'{')?;
    let length = key[open + 1..].iter().position(|byte| *byte == b'}')?;
    (length > 0).then_some(open + 1..open + 1 + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn side_streams_share_the_slot() {
        let text = |name: Result<Vec<u8>, Error>| String::from_utf8(name.unwrap()).unwrap();
        assert_eq!(text(dead_letters_of(b"orders", b"billing")), "{orders}:dead:billing");
        assert_eq!(text(lost_of(b"a{b}c")), "a{b}c:lost");
        assert_eq!(text(alerts_of(b"{x}")), "{x}:alerts");
        assert_eq!(text(lost_of(b"a{b")), "{a{b}:lost", "a brace that is never closed tags nothing");
        for side in ["{orders}:dead:billing", "a{b}c:lost", "{x}:alerts"] {
            assert!(is_side_stream(side.as_bytes()), "{side}");
        }
        assert!(!is_side_stream(b"orders") && !is_side_stream(b"orders:lost") && !is_side_stream(b"{x}y"));
        assert!(matches!(slot_name(b"a}b").unwrap_err().kind(), ErrorKind::Invalid(_)));
    }
}
