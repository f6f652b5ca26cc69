//! Looks whether memory and log agree: what the index points to is there and is what the index says.
//!
//! Goes key by key over copies, so the core's lock is held for a slice at a time. Made for an engine at rest: where
//! somebody trims meanwhile, what is taken back under the walk may be reported as missing.
//!
//! Changes nothing.

use std::ops::ControlFlow;
use std::sync::Arc;

use weir_core::{EntryId, Error};
use weir_log::{Log, Lsn};

use crate::api::Cold;
use crate::block::{Block, Located};
use crate::blocks::read_block;
use crate::engine::Engine;
use crate::idempotence::Idempotence;
use crate::record::EntryRecord;
use crate::state::{Key, Value};
use crate::stream::{BlockSource, Stream};

/// Problems that are put in words; more are only counted.
const PROBLEMS_MAX: usize = 100;
/// Keys copied under the lock at once.
const KEYS_PER_SLICE: u32 = 64;
/// Records read at once.
const RECORDS_AT_ONCE: usize = 1_024;

/// What [`Engine::verify`] looked at and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Keys looked at.
    pub keys: u64,
    /// Live entries whose records were read.
    pub entries: u64,
    /// Index blocks read.
    pub blocks: u64,
    /// Pending rows looked at.
    pub pending: u64,
    /// What does not fit together, in words: the first hundred.
    pub problems: Vec<String>,
    /// How many problems there are in all.
    pub problem_count: u64,
}

impl Verified {
    fn say(&mut self, what: String) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(what);
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problem_count == 0
    }
}

/// Index blocks straight from the log.
pub(crate) struct LogBlocks<'a>(pub(crate) &'a Log);

impl BlockSource for LogBlocks<'_> {
    fn block(&self, lsn: Lsn) -> Result<Arc<Block>, Cold> {
        read_block(self.0, lsn).ok_or_else(|| Cold::block(lsn))
    }

    fn holds(&self, _: Lsn) -> bool {
        false
    }
}

impl Engine {
    /// Checks every key against itself and against the log: that each entry the index points to is there with its
    /// ID, position and stream, that counts and lists agree, that names lead to their keys.
    ///
    /// # Errors
    /// [`weir_core::ErrorKind::Faulted`] when a write or a flush failed before.
    pub fn verify(&self) -> Result<Verified, Error> {
        self.flush()?;
        let mut found = Verified::default();
        let mut expiring = 0_usize;
        self.each_key(KEYS_PER_SLICE, &mut |key, named, due| {
            let name = key.name.escape_ascii().to_string();
            expiring += usize::from(key.expires != 0);
            found.keys += 1;
            if !named {
                found.say(format!("key {name:?} of namespace {} is not found by its name", key.ns));
            }
            if !due {
                found.say(format!("key {name:?}: the table of expiry times disagrees with it"));
            }
            self.verify_key(key, &name, &mut found);
        });
        self.verify_tables(found.keys, expiring, &mut found);
        Ok(found)
    }

    /// Visits a copy of every key, and says whether it was found by its name, and in the table of expiry times.
    pub(crate) fn each_key(&self, per_slice: u32, visit: &mut dyn FnMut(&Key, bool, bool)) {
        let mut slot = 0;
        loop {
            let mut copies = Vec::new();
            {
                let turn = self.turn();
                let end = turn.state.keys.end();
                if slot >= end {
                    return;
                }
                let last = end.min(slot.saturating_add(per_slice));
                for slot in slot..last {
                    let Some(key) = turn.state.keys.get(slot) else { continue };
                    let space = turn.state.namespaces.get(key.ns as usize);
                    let named = turn.state.slot(key.ns, &key.name) == Some(slot);
                    let due = key.expires == 0
                        || space.is_some_and(|space| space.expires.contains(&(key.expires, slot)));
                    copies.push((key.clone(), named, due));
                }
                slot = last;
            }
            copies.iter().for_each(|(key, named, due)| visit(key, *named, *due));
        }
    }

    fn verify_key(&self, key: &Key, name: &str, found: &mut Verified) {
        let Value::Stream(stream) = &key.value else { return };
        let mut problems = Vec::new();
        stream.check(&mut |what| problems.push(what));
        for group in stream.groups() {
            found.pending += group.pending.len() as u64;
            group.check(&mut |what| problems.push(format!("group {}: {what}", group.name.escape_ascii())));
        }
        if stream.groups.as_ref().is_some_and(|groups| !groups.has_sound_tables()) {
            problems.push("the numbers and names of its groups do not fit together".into());
        }
        if !stream.idempotence.as_deref().is_none_or(Idempotence::is_sound) {
            problems.push("the order and the table of its idempotent IDs do not fit together".into());
        }
        self.verify_entries(key.no, stream, found, &mut problems);
        for what in problems {
            found.say(format!("key {name:?} of namespace {}: {what}", key.ns));
        }
    }

    fn verify_entries(&self, no: u64, stream: &Stream, found: &mut Verified, problems: &mut Vec<String>) {
        let log = &self.shared.log;
        let mut entries = Vec::new();
        let (mut last, mut first) = (EntryId::MIN, None);
        for info in stream.blocks_from(EntryId::MIN) {
            found.blocks += u64::from(info.lsn.is_some());
            let visited = stream.visit_block(&info, &LogBlocks(log), |entry| {
                entries.push(entry);
                ControlFlow::Continue(())
            });
            let sound =
                entries.first().is_none_or(|entry| entry.pos >= info.first_pos && entry.id >= info.first)
                    && entries.last().is_none_or(|entry| entry.pos < info.first_pos + info.count);
            if visited.is_err() || !sound || entries.len() as u64 != info.live {
                problems
                    .push(format!("the index block at position {} is not what it should be", info.first_pos));
            }
            for entry in &entries {
                if entry.id <= last {
                    problems.push(format!("entry {} stands behind {last}", entry.id));
                }
                last = entry.id;
            }
            first = first.or(entries.first().map(|entry| entry.id));
            found.entries += entries.len() as u64;
            for part in entries.chunks(RECORDS_AT_ONCE) {
                verify_records(log, no, part, problems);
            }
            entries.clear();
        }
        if first.unwrap_or(EntryId::MIN) != stream.first_id || last > stream.last_id {
            let first = first.unwrap_or(EntryId::MIN);
            problems.push(format!(
                "its entries go from {first} to {last}, it says from {} and at most {}",
                stream.first_id, stream.last_id
            ));
        }
    }

    fn verify_tables(&self, keys: u64, expiring: usize, found: &mut Verified) {
        let turn = self.turn();
        let state = &turn.state;
        let names: usize = state.namespaces.iter().map(|space| space.names.len()).sum();
        let expires: usize = state.namespaces.iter().map(|space| space.expires.len()).sum();
        let mut directory = state.directory.clone();
        directory.sort_unstable();
        let whole = directory.iter().enumerate().all(|(n, inner)| n as u32 == *inner)
            && directory.len() == state.namespaces.len();
        drop(turn);
        if !whole {
            found.say("the directory of namespaces does not list each of them once".into());
        }
        if names as u64 != keys || expires != expiring {
            found.say(format!("{keys} keys have {names} names; {expiring} expire, {expires} are listed"));
        }
    }
}

/// Checks that each entry's record is there and is that entry's.
fn verify_records(log: &Log, no: u64, entries: &[Located], problems: &mut Vec<String>) {
    let mut rest = entries;
    while !rest.is_empty() {
        let lsns: Vec<Lsn> = rest.iter().map(|entry| entry.lsn).collect();
        let mut seen = 0;
        let read = log.read_many(&lsns, &mut |nth, body| {
            let entry = &rest[nth];
            let record = EntryRecord::decode(body);
            if record.is_none_or(|r| (r.key, r.id, r.pos) != (no, entry.id, entry.pos)) {
                problems.push(format!(
                    "the record at log address {} is not that of entry {}",
                    entry.lsn, entry.id
                ));
            }
            seen = nth + 1;
            ControlFlow::Continue(())
        });
        // One that cannot be read is reported; the walk goes on behind it.
        if let Err(error) = read {
            let entry = rest.get(seen).map_or(EntryId::MIN, |entry| entry.id);
            problems.push(format!("the record of entry {entry} cannot be read: {error}"));
            seen += 1;
        }
        rest = &rest[seen.min(rest.len())..];
    }
}
