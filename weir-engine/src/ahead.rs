//! What a request finds cold, and what was read ahead for it.
//!
//! A request that misses a part of the index does not stop at the first block: it names all it will need, as far as
//! it knows, up to [`LOOK_MAX`] at a look. What is read then belongs to this request alone until it was carried out.
//! So the block cache may forget it at once, and each look gets further than the one before.
//!
//! A request that wants nothing but entries of one stream, and those in more than [`WIDE_BLOCKS`], is not looked up
//! under the lock at all: it leaves a [`Scan`] behind, whose answer it finds here when it is asked again.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use weir_core::{Error, ErrorKind};
use weir_log::{Level, Log, Lsn, ReadError};

use crate::api::{Cold, EntryRef};
use crate::block::Block;
use crate::engine::{Engine, log_error};
use crate::record::{EntryRecord, Record};
use crate::scan::{Scan, ScanOf};
use crate::stream::plain_len;

/// Blocks, or sizes of entries, that one look asks for.
const LOOK_MAX: usize = 4_096;
/// Blocks up to this number go into the cache for others, too; wide requests would only sweep it.
const CACHED_MAX: usize = 64;
/// Blocks held for one request. One that needs still more reads the rest under the lock.
const HELD_MAX: usize = 65_536;
/// Entries of a stream are looked up under the lock as long as they lie in no more blocks than these.
pub(crate) const WIDE_BLOCKS: usize = 64;

/// What a request found missing: opaque, for [`Engine::warm`].
#[derive(Debug, Default)]
pub struct Missing {
    pub(crate) blocks: Vec<Lsn>,
    pub(crate) scans: Vec<Scan>,
    /// Entries whose size is wanted.
    pub(crate) sizes: Vec<Lsn>,
}

impl Missing {
    fn names_something(&self) -> bool {
        !(self.blocks.is_empty() && self.scans.is_empty() && self.sizes.is_empty())
    }

    /// Whether that is enough for one look.
    pub(crate) fn is_full(&self) -> bool {
        let scanned: usize = self.scans.iter().map(Scan::blocks).sum();
        self.blocks.len() + scanned + self.sizes.len() >= LOOK_MAX
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

/// What was read for one request. Empty at first; costs nothing then.
#[derive(Debug, Default)]
pub struct Ahead(Option<Box<Held>>);

#[derive(Debug, Default)]
struct Held {
    blocks: HashMap<Lsn, Arc<Block>, foldhash::fast::FixedState>,
    scanned: Vec<(ScanOf, Vec<EntryRef>)>,
    sizes: HashMap<Lsn, u64, foldhash::fast::FixedState>,
    /// Whether what was appended when the request was first asked is written.
    is_written: bool,
}

impl Ahead {
    pub(crate) fn block(&self, lsn: Lsn) -> Option<&Arc<Block>> {
        self.0.as_ref()?.blocks.get(&lsn)
    }

    /// The answer of a wide read, cut to what is wanted now.
    pub(crate) fn scanned(&self, of: &ScanOf) -> Option<Vec<EntryRef>> {
        let (_, refs) = self.0.as_ref()?.scanned.iter().find(|(done, _)| done.answers(of))?;
        let most = usize::try_from(of.span.most).unwrap_or(usize::MAX);
        Some(refs[..refs.len().min(most)].to_vec())
    }

    pub(crate) fn size(&self, lsn: Lsn) -> Option<u64> {
        self.0.as_ref()?.sizes.get(&lsn).copied()
    }

    pub(crate) fn sizes(&self) -> usize {
        self.0.as_ref().map_or(0, |held| held.sizes.len())
    }

    pub(crate) fn is_written(&self) -> bool {
        self.0.as_ref().is_some_and(|held| held.is_written)
    }

    /// Whether so much is held that the rest is read on the spot.
    pub(crate) fn is_full(&self) -> bool {
        self.0.as_ref().is_some_and(|held| held.blocks.len() >= HELD_MAX)
    }

    fn held(&mut self) -> &mut Held {
        self.0.get_or_insert_default()
    }
}

impl Engine {
    /// Does what a request was waiting for, see [`crate::Halt::Cold`]. What is read is put into `ahead`, to be lent to
    /// the turn that asks again; see [`crate::Core::lend`].
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the disk fails, [`ErrorKind::Corrupt`] when a record is not what the index says.
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
        }
    }

    fn read_missing(&self, mut missing: Missing, ahead: &mut Ahead) -> Result<(), Error> {
        let log = &self.shared.log;
        debug_assert!(missing.names_something(), "who misses nothing is asked again for ever");
        missing.blocks.sort_unstable();
        missing.blocks.dedup();
        let scans = missing.scans.iter().filter_map(Scan::last);
        let last = missing.blocks.iter().chain(&missing.sizes).copied().chain(scans).max();
        if last.is_some_and(|last| last >= log.written()) {
            log.flush_submitted(Level::Written).map_err(log_error)?;
        }
        let mut blocks = Vec::with_capacity(missing.blocks.len());
        read_blocks(log, &missing.blocks, &mut |block| {
            blocks.push(Arc::new(block));
            ControlFlow::Continue(())
        })?;
        if blocks.len() <= CACHED_MAX {
            let core = self.shared.core.lock().expect("no panic under this lock");
            missing
                .blocks
                .iter()
                .zip(&blocks)
                .for_each(|(lsn, block)| core.blocks.insert(*lsn, block.clone()));
        }
        let held = ahead.held();
        held.blocks.extend(missing.blocks.into_iter().zip(blocks));
        for scan in missing.scans {
            let refs = scan.resolve(log)?;
            held.scanned.push((scan.of, refs));
        }
        let measured = log.read_many(&missing.sizes, &mut |nth, body| {
            let size = EntryRecord::decode(body).map_or(0, |record| plain_len(&record.fields));
            held.sizes.insert(missing.sizes[nth], size);
            ControlFlow::Continue(())
        });
        measured.map_err(read_error)
    }
}

/// Shows `visit` the index blocks at these places, in this order.
pub(crate) fn read_blocks(
    log: &Log,
    lsns: &[Lsn],
    visit: &mut dyn FnMut(Block) -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut wrong = None;
    let read = log.read_many(lsns, &mut |nth, body| match Record::decode(body) {
        Some(Record::Block { block, .. }) => visit(block.into_owned()),
        _ => {
            wrong = Some(lsns[nth]);
            ControlFlow::Break(())
        }
    });
    read.map_err(read_error)?;
    match wrong {
        None => Ok(()),
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

    #[test]
    fn a_look_is_bounded() {
        let Err(Cold::Index(missing)) = gather((0..).map(|n| Err::<(), _>(Cold::block(Lsn(n))))) else {
            panic!("everything was cold")
        };
        assert_eq!(missing.blocks.len(), LOOK_MAX);
    }
}
