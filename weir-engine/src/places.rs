//! Where in a stream something is: entries by position and by time.
//!
//! Positions are arithmetic over the index: blocks know their first one, and within a block they have no gaps. Append
//! times stand with the entries only. They never decrease along a stream, so that looking for one halves what is left at
//! each look; where the stream keeps only so much by bytes or age, the times are in memory.

use std::ops::ControlFlow;

use weir_core::EntryId;

use crate::ahead::Missing;
use crate::api::{Cold, EntryRef, Halt, KeyRef, ReadFrom};
use crate::block::Located;
use crate::core::{Core, Found};
use crate::stream::{BlockInfo, BlockSource, Span, Stream};

/// A read of one stream, forwards or backwards.
#[derive(Debug, Clone, Copy)]
pub struct ReadStream {
    /// Where it starts.
    pub from: weir_core::ReadFrom,
    /// The last ID in reading direction that may come; `None` = all.
    pub to: Option<EntryId>,
    /// Newest first.
    pub backward: bool,
    /// At most so many, and never more than [`crate::Limits::reply_entries`].
    pub count: u64,
}

impl Stream {
    /// Blocks from the one that holds a position on, or from the next one, oldest first.
    pub(crate) fn blocks_from_position(&self, pos: u64) -> impl Iterator<Item = BlockInfo> + '_ {
        let heads = self.sealed.as_ref().map(|sealed| &sealed.heads);
        let before = heads.and_then(|heads| heads.iter_back_from(move |head| head.first_pos > pos).next());
        let from = before.map_or(EntryId::MIN, |head| head.first);
        self.blocks_from(from).filter(move |block| block.first_pos + block.count > pos)
    }

    /// The first live entry at a position or behind it.
    pub(crate) fn live_from_position(
        &self,
        source: &impl BlockSource,
        pos: u64,
    ) -> Result<Option<Located>, Cold> {
        let mut found = None;
        for block in self.blocks_from_position(pos) {
            let flow = self.visit_block(&block, source, |entry| {
                if entry.pos < pos {
                    return ControlFlow::Continue(());
                }
                found = Some(entry);
                ControlFlow::Break(())
            })?;
            if flow.is_break() {
                break;
            }
        }
        Ok(found)
    }

    /// Live entries from a position on, at most so many.
    pub(crate) fn live_entries(
        &self,
        source: &impl BlockSource,
        pos: u64,
        most: u64,
    ) -> Result<Vec<Located>, Cold> {
        let Some(first) = self.live_from_position(source, pos)? else { return Ok(Vec::new()) };
        let mut entries = Vec::new();
        self.scan(source, Span { from: first.id, to: EntryId::MAX, most }, |entry| {
            entries.push(entry);
            ControlFlow::Continue(())
        })?;
        Ok(entries)
    }

    /// The first live entry above an ID.
    pub(crate) fn live_above(&self, source: &impl BlockSource, id: EntryId) -> Result<Option<Located>, Cold> {
        let mut found = None;
        if let Some(from) = id.next().filter(|_| self.len > 0) {
            self.scan(source, Span { from, to: EntryId::MAX, most: 1 }, |entry| {
                found = Some(entry);
                ControlFlow::Break(())
            })?;
        }
        Ok(found)
    }

    /// How many live entries have an ID below one, counted up to `most`: whole blocks are counted, one is looked into.
    pub(crate) fn count_below(&self, source: &impl BlockSource, id: EntryId, most: u64) -> Result<u64, Cold> {
        if id <= self.first_id {
            return Ok(0);
        }
        let mut count = 0;
        let mut blocks = self.blocks_from(EntryId::MIN).peekable();
        while let Some(block) = blocks.next().filter(|block| block.first < id && count < most) {
            if blocks.peek().is_some_and(|next| next.first <= id) {
                count += block.live;
                continue;
            }
            let flow = self.visit_block(&block, source, |entry| {
                count += u64::from(entry.id < id);
                ControlFlow::Continue(())
            })?;
            debug_assert!(flow.is_continue(), "the visitor never breaks off");
        }
        Ok(count.min(most))
    }
}

impl Core {
    /// Reads entries of a stream; a missing one has none.
    ///
    /// # Errors
    /// [`weir_core::ErrorKind::WrongType`].
    pub fn read_stream(&mut self, key: KeyRef<'_>, read: &ReadStream) -> Result<Vec<EntryRef>, Halt> {
        let Some(found) = self.find_stream(key)? else { return Ok(Vec::new()) };
        let Some(span) = self.span_of(found, read)? else { return Ok(Vec::new()) };
        Ok(self.entries_alone(found, span, read.backward)?.into_owned())
    }

    /// Puts the ends of streams, as they are now, into a read that begins there.
    pub(crate) fn pin_ends(&mut self, read: &mut crate::api::Read) -> Result<(), Halt> {
        for (name, from) in read.streams.iter_mut().filter(|(_, from)| *from == ReadFrom::End) {
            let last = self.last_id(KeyRef { ns: read.ns, name })?;
            *from = ReadFrom::After(last.unwrap_or(EntryId::MIN));
        }
        Ok(())
    }

    /// What a read looks through; `None` where there is nothing.
    fn span_of(&self, found: Found, read: &ReadStream) -> Result<Option<Span>, Cold> {
        use weir_core::ReadFrom as From;
        let most = read.count.min(self.options.limits.reply_entries as u64);
        if most == 0 || self.stream(found).len == 0 {
            return Ok(None);
        }
        if read.backward {
            let to = match read.from {
                From::Start => None,
                From::End => Some(EntryId::MAX),
                From::Id(id) => Some(id),
                From::After(id) => id.previous(),
                From::Position(pos) => self.id_at_or_before(found, pos)?,
                From::Time(at) => match at.0.checked_add(1) {
                    // Before the first entry that was appended later.
                    Some(later) => match self.first_since(found, later)? {
                        Some(entry) => entry.id.previous(),
                        None => Some(EntryId::MAX),
                    },
                    None => Some(EntryId::MAX),
                },
            };
            return Ok(to.map(|to| Span { from: read.to.unwrap_or(EntryId::MIN), to, most }));
        }
        let from = match read.from {
            From::Start => Some(EntryId::MIN),
            From::End => None,
            From::Id(id) => Some(id),
            From::After(id) => id.next(),
            From::Position(pos) => self.live_from(found, pos)?.map(|entry| entry.id),
            From::Time(at) => self.first_since(found, at.0)?.map(|entry| entry.id),
        };
        Ok(from.map(|from| Span { from, to: read.to.unwrap_or(EntryId::MAX), most }))
    }

    /// The ID right below the first entry of a read by position or time; `None` where there is no such entry.
    pub(crate) fn place_of(&self, found: Found, from: ReadFrom) -> Result<Option<EntryId>, Cold> {
        let entry = match from {
            ReadFrom::Position(pos) => self.live_from(found, pos)?,
            ReadFrom::Time(at) => self.first_since(found, at)?,
            ReadFrom::After(id) => return Ok(Some(id)),
            ReadFrom::Newest | ReadFrom::End => None,
        };
        Ok(entry.map(|entry| entry.id.previous().unwrap_or(EntryId::MIN)))
    }

    fn live_from(&self, found: Found, pos: u64) -> Result<Option<Located>, Cold> {
        self.stream(found).live_from_position(&self.blocks, pos)
    }

    /// The ID of the entry at a position; where it is gone, one below the next that is there.
    fn id_at_or_before(&self, found: Found, pos: u64) -> Result<Option<EntryId>, Cold> {
        Ok(match self.live_from(found, pos)? {
            Some(entry) if entry.pos == pos => Some(entry.id),
            Some(entry) => entry.id.previous(),
            None => Some(EntryId::MAX),
        })
    }

    /// The first live entry that was appended at a time or later.
    pub(crate) fn first_since(&self, found: Found, at: u64) -> Result<Option<Located>, Cold> {
        let stream = self.stream(found);
        let Some(first) = stream.blocks_from(EntryId::MIN).next() else { return Ok(None) };
        let (mut low, mut high, mut best) = (first.first_pos, stream.next_pos, None);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.live_from(found, middle)?.filter(|entry| entry.pos < high) {
                None => high = middle,
                Some(entry) if self.appended_at(&entry)? < at => low = entry.pos + 1,
                Some(entry) => (high, best) = (middle, Some(entry)),
            }
        }
        Ok(best)
    }

    /// When an entry was appended. What is not written yet was appended just now.
    pub(crate) fn appended_at(&self, entry: &Located) -> Result<u64, Cold> {
        match self.measured(entry.lsn) {
            Some(Some(measured)) => Ok(measured.at),
            Some(None) if entry.lsn >= self.log.written() => Ok(self.now.0),
            Some(None) => Ok(0),
            None => Err(Missing { sizes: vec![entry.lsn], ..Missing::default() }.into()),
        }
    }
}
