//! Names of streams by page, and what there is to know of a stream at once.
//!
//! Names are not kept in order. A page is found by looking at every key once and keeping the lowest names that fit; that
//! is done a slice at a time, so that nobody waits for it.

use std::collections::BTreeSet;

use weir_core::{Head, ListStreams, StreamInfo, StreamPage, glob, is_side_stream};

use crate::api::{Halt, KeyKind, KeyRef, NamespaceNo};
use crate::core::Core;

/// Slots of keys that are looked at in one turn.
const SLOTS_AT_ONCE: u32 = 2_048;

/// A page of names that is being looked for.
#[derive(Debug, Clone)]
pub struct Listing {
    ns: NamespaceNo,
    wanted: ListStreams,
    cursor: u64,
    lowest: BTreeSet<Vec<u8>>,
}

impl Listing {
    /// Begins to look.
    #[must_use]
    pub fn new(ns: NamespaceNo, wanted: ListStreams) -> Self {
        Self { ns, wanted, cursor: 0, lowest: BTreeSet::new() }
    }

    /// Looks at some more keys; the page when it has seen all.
    ///
    /// # Errors
    /// [`weir_core::ErrorKind::Invalid`] for an unknown namespace.
    pub fn step(&mut self, core: &Core) -> Result<Option<StreamPage>, Halt> {
        let Self { ns, wanted, cursor, lowest } = self;
        let most = usize::try_from(wanted.count.max(1)).unwrap_or(usize::MAX);
        let after = wanted.after.as_deref();
        *cursor = core.scan(*ns, *cursor, SLOTS_AT_ONCE, &mut |name, kind| {
            let is_late = lowest.len() > most && lowest.last().is_some_and(|last| name > last.as_slice());
            if kind != KeyKind::Stream || is_late || after.is_some_and(|after| name <= after) {
                return;
            }
            if glob::matches(&wanted.pattern, name) && (wanted.with_side_streams || !is_side_stream(name)) {
                lowest.insert(name.to_vec());
                if lowest.len() > most.saturating_add(1) {
                    lowest.pop_last();
                }
            }
        })?;
        if *cursor != 0 {
            return Ok(None);
        }
        let mut names: Vec<Vec<u8>> = std::mem::take(lowest).into_iter().collect();
        let is_all = names.len() <= most;
        names.truncate(most);
        let next = if is_all { None } else { names.last().cloned() };
        Ok(Some(StreamPage { names, next }))
    }
}

impl Core {
    /// The end of a stream; `None` when there is none.
    ///
    /// # Errors
    /// [`weir_core::ErrorKind::WrongType`].
    pub fn head_of(&mut self, key: KeyRef<'_>) -> Result<Option<Head>, Halt> {
        Ok(self.find_stream(key)?.map(|found| {
            let stream = self.stream(found);
            Head { last_id: stream.last_id, version: stream.next_pos.checked_sub(1) }
        }))
    }

    /// Counters of a stream; `None` when there is none. Unlike [`Core::stream_info`] it looks at nothing else.
    ///
    /// # Errors
    /// [`weir_core::ErrorKind::WrongType`].
    pub fn counts_of(&mut self, key: KeyRef<'_>) -> Result<Option<StreamInfo>, Halt> {
        Ok(self.find_stream(key)?.map(|found| {
            let stream = self.stream(found);
            StreamInfo {
                length: stream.len,
                last_id: stream.last_id,
                entries_added: stream.entries_added,
                first_id: (stream.len > 0).then_some(stream.first_id),
                groups: stream.groups.as_ref().map_or(0, |groups| groups.len() as u64),
            }
        }))
    }

    /// How many slots of keys a look at all of them visits.
    pub(crate) fn slots(&self) -> u32 {
        self.state.keys.end()
    }
}
