//! How far a group is: entries read and lag, computed as Redis computes them, unknowns included.

use weir_core::EntryId;

use crate::group::Group;
use crate::stream::Stream;

/// Whether an entry was deleted by name at or above `from`.
fn tombstone_from(stream: &Stream, from: EntryId) -> bool {
    stream.len > 0 && stream.max_deleted != EntryId::MIN && from <= stream.max_deleted
}

/// How many entries were ever added up to and with `id`; `None` when deletions hide it.
pub(crate) fn estimate(stream: &Stream, id: EntryId) -> Option<u64> {
    if stream.entries_added == 0 {
        return Some(0);
    }
    if stream.len == 0 && id <= stream.last_id {
        return Some(stream.entries_added);
    }
    if id != EntryId::MIN && id < stream.max_deleted {
        return None;
    }
    if id == stream.last_id {
        return Some(stream.entries_added);
    }
    if id > stream.last_id {
        return None;
    }
    let whole = stream.max_deleted == EntryId::MIN || stream.max_deleted < stream.first_id;
    let before = stream.entries_added.checked_sub(stream.len)?;
    match id.cmp(&stream.first_id) {
        std::cmp::Ordering::Less if whole => Some(before),
        std::cmp::Ordering::Equal if whole => Some(before + 1),
        _ => None,
    }
}

/// What `entries_read` becomes when `ids` are delivered, one after the other.
pub(crate) fn entries_read_after(
    stream: &Stream,
    (mut last, mut read): (EntryId, Option<u64>),
    ids: &[EntryId],
) -> Option<u64> {
    for (nth, id) in ids.iter().enumerate() {
        match read {
            Some(known) if last >= stream.first_id && !tombstone_from(stream, last) => {
                // From here on every further delivery counts one: nothing above was deleted.
                return Some(known.saturating_add((ids.len() - nth) as u64));
            }
            _ if stream.entries_added > 0 => read = estimate(stream, *id),
            _ => {}
        }
        last = *id;
    }
    read
}

/// Entries a group was not yet given; `None` when Redis could not say.
///
/// Negative where ENTRIESREAD or XSETID claim that more was read than was ever added.
pub(crate) fn lag(stream: &Stream, group: &Group) -> Option<i64> {
    if stream.entries_added == 0 || stream.len == 0 {
        return Some(0);
    }
    if group.last_id < stream.first_id && stream.max_deleted < stream.first_id {
        return Some(stream.len as i64);
    }
    let read = match group.entries_read {
        Some(read) if !tombstone_from(stream, group.last_id) => Some(read),
        _ => estimate(stream, group.last_id),
    };
    read.map(|read| stream.entries_added.wrapping_sub(read) as i64)
}
