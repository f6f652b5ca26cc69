//! What a request finds cold, and what was read ahead for it.
//!
//! A request that misses a part of the index does not stop at the first block: it names all it will need, as far as
//! it knows, up to [`LOOK_MAX`] at a look. What is read then belongs to this request alone until it was carried out.
//! So the block cache may forget it at once, and each look gets further than the one before.
//!
//! A request that wants nothing but entries of one stream, and those in more than [`WIDE_BLOCKS`], is not looked up
//! under the lock at all: it leaves a [`Scan`] behind, whose answer it finds here when it is asked again.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use weir_core::{Error, ErrorKind};
use weir_log::{Level, Log, Lsn, ReadError};

use crate::api::{Cold, EntryRef};
use crate::block::Block;
use crate::blocks::OVERHEAD;
use crate::engine::{Engine, log_error};
use crate::filter::{Judging, Verdicts};
use crate::record::{EntryRecord, Record};
use crate::scan::{Scan, ScanOf};
use crate::stream::plain_len;

/// Blocks, or sizes of entries, that one look asks for.
const LOOK_MAX: usize = 4_096;
/// Blocks up to this number go into the cache for others, too; wide requests would only sweep it.
const CACHED_MAX: usize = 64;
/// Blocks held for one request. One that needs still more reads the rest under the lock.
const HELD_MAX: usize = 65_536;
/// Bytes of entries that are held for one request; beyond that it reads under the lock, too.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Entries of a stream are looked up under the lock as long as they lie in no more blocks than these.
pub(crate) const WIDE_BLOCKS: usize = 64;

/// What a request found missing: opaque, for [`Engine::warm`].
#[derive(Debug, Default)]
pub struct Missing {
    pub(crate) blocks: Vec<Lsn>,
    pub(crate) scans: Vec<Scan>,
    /// Entries whose size or append time is wanted.
    pub(crate) sizes: Vec<Lsn>,
    /// Entries that filters have to judge.
    pub(crate) judging: Vec<Judging>,
    /// Entries whose names and values are wanted.
    pub(crate) bodies: Vec<Lsn>,
}

impl Missing {
    fn names_something(&self) -> bool {
        !(self.blocks.is_empty()
            && self.scans.is_empty()
            && self.sizes.is_empty()
            && self.judging.is_empty()
            && self.bodies.is_empty())
    }

    /// Whether that is enough for one look.
    pub(crate) fn is_full(&self) -> bool {
        let scanned: usize = self.scans.iter().map(Scan::blocks).sum();
        let judged: usize = self.judging.iter().map(|judging| judging.extent().0).sum();
        self.blocks.len() + scanned + self.sizes.len() + judged + self.bodies.len() >= LOOK_MAX
    }
}

impl From<Missing> for Cold {
    fn from(missing: Missing) -> Self {
        Self::Index(Box::new(missing))
    }
}

impl Cold {
    /// One block.
    pub(crate) fn block(lsn: Lsn) -> Self {
        Missing { blocks: vec![lsn], ..Missing::default() }.into()
    }

    /// Takes over what another part of the request misses; `false` when that is enough for one look.
    pub(crate) fn join(&mut self, other: Self) -> bool {
        let (Self::Index(own), Self::Index(other)) = (self, other) else { return false };
        let repeated = own.blocks.last().is_some() && own.blocks.last() == other.blocks.first();
        own.blocks.extend(other.blocks.into_iter().skip(usize::from(repeated)));
        own.scans.extend(other.scans);
        own.sizes.extend(other.sizes);
        own.judging.extend(other.judging);
        own.bodies.extend(other.bodies);
        !own.is_full()
    }
}

/// What several parts of one request find cold, put together.
#[derive(Debug, Default)]
pub(crate) struct Colds(Option<Cold>);

impl Colds {
    /// Notes what one part finds cold; `false` when that is enough for one look.
    pub(crate) fn note(&mut self, cold: Cold) -> bool {
        match &mut self.0 {
            Some(all) => all.join(cold),
            none => {
                *none = Some(cold);
                true
            }
        }
    }

    /// Whether nothing was cold.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Blocks that were noted.
    pub(crate) fn blocks(&self) -> usize {
        if let Some(Cold::Index(missing)) = &self.0 { missing.blocks.len() } else { 0 }
    }

    /// Everything that was noted, if there was anything.
    pub(crate) fn end(self) -> Result<(), Cold> {
        self.0.map_or(Ok(()), Err)
    }
}

/// Goes on past what is cold, so that one look finds all that is.
pub(crate) fn gather<T>(each: impl Iterator<Item = Result<T, Cold>>) -> Result<Vec<T>, Cold> {
    let (mut found, mut colds) = (Vec::new(), Colds::default());
    for item in each {
        match item {
            Ok(item) if colds.is_empty() => found.push(item),
            Ok(_) => {}
            Err(cold) => {
                if !colds.note(cold) {
                    break;
                }
            }
        }
    }
    colds.end().map(|()| found)
}

/// What an entry's record says beside its fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    /// Bytes of names and values.
    pub(crate) bytes: u64,
    /// When it was appended, in milliseconds since the Unix epoch.
    pub(crate) at: u64,
}

impl Measured {
    pub(crate) fn of(record: &EntryRecord<'_>) -> Self {
        Self { bytes: plain_len(&record.fields), at: record.at }
    }
}

/// What was read for one request. Empty at first; costs nothing then.
#[derive(Debug, Default)]
pub struct Ahead(Option<Box<Held>>);

#[derive(Debug, Default)]
struct Held {
    blocks: HashMap<Lsn, Arc<Block>, foldhash::fast::FixedState>,
    scanned: Vec<(ScanOf, Vec<EntryRef>)>,
    sizes: HashMap<Lsn, Measured, foldhash::fast::FixedState>,
    verdicts: Verdicts,
    /// Records of entries; empty = its space was taken back.
    bodies: HashMap<Lsn, Box<[u8]>, foldhash::fast::FixedState>,
    body_bytes: usize,
    /// Blocks that were taken back between the turn that named them and the look. No later turn names them again.
    gone: HashSet<Lsn, foldhash::fast::FixedState>,
    /// Whether what was appended when the request was first asked is written.
    is_written: bool,
    /// Heap bytes of all this, about, as of the last look.
    bytes: usize,
}

impl Ahead {
    pub(crate) fn block(&self, lsn: Lsn) -> Option<&Arc<Block>> {
        self.0.as_ref()?.blocks.get(&lsn)
    }

    /// The answer of a wide read, cut to what is wanted now.
    pub(crate) fn scanned(&self, of: &ScanOf) -> Option<&[EntryRef]> {
        let (_, refs) = self.0.as_ref()?.scanned.iter().find(|(done, _)| done.answers(of))?;
        let most = usize::try_from(of.span.most).unwrap_or(usize::MAX);
        Some(&refs[..refs.len().min(most)])
    }

    /// Size and append time of an entry.
    pub(crate) fn measured(&self, lsn: Lsn) -> Option<Measured> {
        self.0.as_ref()?.sizes.get(&lsn).copied()
    }

    /// What a filter says of an entry.
    pub(crate) fn verdict(&self, serial: u64, lsn: Lsn) -> Option<bool> {
        self.0.as_ref()?.verdicts.get(&(serial, lsn)).copied()
    }

    /// An entry's record; empty when its space was taken back.
    pub(crate) fn body(&self, lsn: Lsn) -> Option<&[u8]> {
        self.0.as_ref()?.bodies.get(&lsn).map(|body| &**body)
    }

    pub(crate) fn blocks(&self) -> usize {
        self.0.as_ref().map_or(0, |held| held.blocks.len())
    }

    pub(crate) fn sizes(&self) -> usize {
        self.0.as_ref().map_or(0, |held| held.sizes.len())
    }

    pub(crate) fn is_written(&self) -> bool {
        self.0.as_ref().is_some_and(|held| held.is_written)
    }

    /// Whether so much is held that the rest is read on the spot.
    pub(crate) fn is_full(&self) -> bool {
        self.0.as_ref().is_some_and(|held| {
            held.blocks.len() + held.bodies.len() >= HELD_MAX || held.body_bytes >= BODY_BYTES_MAX
        })
    }

    /// Heap bytes held for the request, about.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |held| size_of::<Held>() + held.bytes)
    }

    fn held(&mut self) -> &mut Held {
        self.0.get_or_insert_default()
    }
}

impl Held {
    fn weigh(&self) -> usize {
        let deltas: usize = self.blocks.values().map(|block| block.heap_bytes()).sum();
        let refs: usize = self.scanned.iter().map(|(_, refs)| refs.capacity()).sum();
        let places = self.sizes.capacity() + self.gone.capacity();
        deltas
            + self.body_bytes
            + self.bodies.capacity() * size_of::<(Lsn, Box<[u8]>)>()
            + self.blocks.len() * OVERHEAD
            + refs * size_of::<EntryRef>()
            + places * size_of::<(Lsn, Measured)>()
    }

    /// Notes that a block is gone, the first time.
    fn note_gone(&mut self, lsn: Lsn) -> Result<(), Error> {
        if self.gone.insert(lsn) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupt)
            .with_context(format!("the index block at log address {lsn} was taken back and is wanted still")))
    }
}

impl Engine {
    /// Does what a request was waiting for, see [`crate::Halt::Cold`]. What is read is put into `ahead`, to be lent to
    /// the turn that asks again; see [`crate::Core::lend`].
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the disk fails, [`ErrorKind::Corrupt`] when a record is not what the index says. What was
    /// taken back since it was found missing is no error: who asks again misses it no more.
    pub fn warm(&self, cold: Cold, ahead: &mut Ahead) -> Result<(), Error> {
        let log = &self.shared.log;
        match cold {
            Cold::Index(missing) => self.read_missing(*missing, ahead),
            Cold::Unwritten => {
                log.flush_submitted(Level::Written).map_err(log_error)?;
                ahead.held().is_written = true;
                Ok(())
            }
            Cold::Room(bytes) => {
                log.ensure_room(bytes.max(self.small_room())).map_err(log_error)?;
                Ok(())
            }
            Cold::Again => Ok(()),
        }
    }

    fn read_missing(&self, mut missing: Missing, ahead: &mut Ahead) -> Result<(), Error> {
        let log = &self.shared.log;
        if !missing.names_something() {
            // Its question would be asked again for ever.
            return Err(Error::new(ErrorKind::Corrupt).with_context("nothing is missing that could be read"));
        }
        missing.blocks.sort_unstable();
        missing.blocks.dedup();
        let others = missing.scans.iter().filter_map(Scan::last);
        let others = others.chain(missing.judging.iter().filter_map(|judging| judging.extent().1));
        let records = missing.blocks.iter().chain(&missing.sizes).chain(&missing.bodies);
        let last = records.copied().chain(others).max();
        if last.is_some_and(|last| last >= log.written()) {
            log.flush_submitted(Level::Written).map_err(log_error)?;
        }
        let held = ahead.held();
        let blocks = read_all(log, &missing.blocks, held)?;
        if blocks.len() <= CACHED_MAX {
            let core = self.shared.core.lock().expect("no panic under this lock");
            blocks.iter().for_each(|(lsn, block)| core.blocks.insert(*lsn, block.clone()));
        }
        held.blocks.extend(blocks);
        for scan in missing.scans {
            match scan.resolve(log)? {
                Looked::Whole(refs) => held.scanned.push((scan.of, refs)),
                Looked::Gone(lsn) => held.note_gone(lsn)?,
            }
        }
        read_sizes(log, &missing.sizes, held)?;
        // Who asked for those before has taken them over.
        held.verdicts.clear();
        for judging in &missing.judging {
            judging.resolve(log, &mut held.verdicts).map_err(read_error)?;
        }
        read_bodies(log, &missing.bodies, held)?;
        held.bytes = held.weigh();
        Ok(())
    }
}

/// What became of a look at several blocks.
pub(crate) enum Looked<T> {
    Whole(T),
    /// The one at this place was taken back meanwhile; those before it were shown.
    Gone(Lsn),
}

/// Reads blocks, except those that are gone.
fn read_all(log: &Log, lsns: &[Lsn], held: &mut Held) -> Result<Vec<(Lsn, Arc<Block>)>, Error> {
    let (mut blocks, mut rest) = (Vec::with_capacity(lsns.len()), lsns);
    while !rest.is_empty() {
        let mut shown = 0;
        let looked = read_blocks(log, rest, &mut |block| {
            blocks.push((rest[shown], Arc::new(block)));
            shown += 1;
            ControlFlow::Continue(())
        })?;
        match looked {
            Looked::Whole(()) => break,
            Looked::Gone(lsn) => held.note_gone(lsn)?,
        }
        rest = &rest[shown + 1..];
    }
    Ok(blocks)
}

/// Reads the sizes of entries. One that is gone has none: it is left out when its fields are fetched.
fn read_sizes(log: &Log, lsns: &[Lsn], held: &mut Held) -> Result<(), Error> {
    let mut done = 0;
    while done < lsns.len() {
        let from = done;
        let read = log.read_many(&lsns[from..], &mut |nth, body| {
            let measured = EntryRecord::decode(body).map(|record| Measured::of(&record));
            held.sizes.insert(lsns[from + nth], measured.unwrap_or_default());
            done = from + nth + 1;
            ControlFlow::Continue(())
        });
        match read {
            Ok(()) => break,
            Err(ReadError::Gone(_)) => {
                held.sizes.insert(lsns[done], Measured::default());
                done += 1;
            }
            Err(error) => return Err(read_error(error)),
        }
    }
    Ok(())
}

/// Reads the records of entries, as many as may be held. One that is gone is empty.
fn read_bodies(log: &Log, lsns: &[Lsn], held: &mut Held) -> Result<(), Error> {
    let mut done = 0;
    while done < lsns.len() && held.body_bytes < BODY_BYTES_MAX {
        let from = done;
        let read = log.read_many(&lsns[from..], &mut |nth, body| {
            if held.bodies.insert(lsns[from + nth], body.into()).is_none() {
                held.body_bytes += body.len();
            }
            done = from + nth + 1;
            if held.body_bytes < BODY_BYTES_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        match read {
            Ok(()) => break,
            Err(ReadError::Gone(_)) => {
                held.bodies.insert(lsns[done], Box::default());
                done += 1;
            }
            Err(error) => return Err(read_error(error)),
        }
    }
    Ok(())
}

/// Shows `visit` the index blocks at these places, in this order.
pub(crate) fn read_blocks(
    log: &Log,
    lsns: &[Lsn],
    visit: &mut dyn FnMut(Block) -> ControlFlow<()>,
) -> Result<Looked<()>, Error> {
    let mut wrong = None;
    let read = log.read_many(lsns, &mut |nth, body| match Record::decode(body) {
        Some(Record::Block { block, .. }) => visit(block.into_owned()),
        _ => {
            wrong = Some(lsns[nth]);
            ControlFlow::Break(())
        }
    });
    match read {
        Ok(()) => {}
        Err(ReadError::Gone(lsn)) => return Ok(Looked::Gone(lsn)),
        Err(error) => return Err(read_error(error)),
    }
    match wrong {
        None => Ok(Looked::Whole(())),
        Some(lsn) => {
            Err(Error::new(ErrorKind::Corrupt).with_context(format!("no index block at log address {lsn}")))
        }
    }
}

pub(crate) fn read_error(error: ReadError) -> Error {
    let kind = if matches!(error, ReadError::Disk { .. }) { ErrorKind::Io } else { ErrorKind::Corrupt };
    Error::new(kind).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_finds_all_that_is_cold() {
        let answers = [Ok(1), Err(Cold::block(Lsn(7))), Ok(2), Err(Cold::block(Lsn(9)))];
        let Err(Cold::Index(missing)) = gather(answers.into_iter()) else { panic!("something was cold") };
        assert_eq!(missing.blocks, [Lsn(7), Lsn(9)]);
        assert!(matches!(gather([Ok(1), Ok(2)].into_iter()).as_deref(), Ok([1, 2])));
    }

    /// In release builds it was asked again for ever.
    #[test]
    fn who_misses_nothing_is_refused() {
        let refused = Engine::memory().warm(Missing::default().into(), &mut Ahead::default());
        assert_eq!(*refused.expect_err("it cannot be helped").kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_look_is_bounded() {
        let Err(Cold::Index(missing)) = gather((0..).map(|n| Err::<(), _>(Cold::block(Lsn(n))))) else {
            panic!("everything was cold")
        };
        assert_eq!(missing.blocks.len(), LOOK_MAX);
    }
}
