//! How much of a stream is kept, and what has to be known of its entries for that.
//!
//! The limits stand in a record and go with the stream. Where bytes or age are limited, the size and the append time of
//! every live entry are kept in memory too, eight bytes an entry, since the index has neither: so what is beyond a limit
//! is found without reading what was written. Only for the entries that were there before, they are read once.
//!
//! Invariants:
//! * What is here follows from the records alone, and a snapshot holds all of it.
//! * [`Measures`] cover every live entry below [`Measures::upto`], and no other. Limits are in force only when they
//!   cover the whole stream.
//!
//! What a limit does is decided in `guard`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use weir_core::Retention;

use crate::record::EntryRecord;
use crate::stream::plain_len;
use crate::varint::{Reader, put, put_signed};

/// Entries measured in one chunk.
const CHUNK_MAX: usize = 1_024;
/// Missing positions that a chunk bridges; behind a wider gap another one begins.
const BRIDGED_MAX: u64 = 64;
/// The size of a position without a live entry. No entry is that large.
const GONE: u32 = u32::MAX;

/// What a stream keeps, and what it needs to know for that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Keeping {
    /// The limits; `None` while entries that were there before are being measured.
    pub(crate) retention: Option<Retention>,
    /// How many of the alerts were told since something is held; see `guard`.
    pub(crate) told: u8,
    /// Only where bytes or age are limited, or about to be.
    pub(crate) measures: Option<Measures>,
}

impl Keeping {
    /// Whether limits need the size or the age of entries.
    pub(crate) fn needs_measures(retention: &Retention) -> bool {
        retention.bytes.is_some() || retention.age.is_some()
    }

    /// Takes over what a record says.
    pub(crate) fn set(&mut self, retention: Retention, told: u8) {
        self.retention = Some(retention);
        self.told = told;
        if Self::needs_measures(&retention) {
            self.measures.get_or_insert_default();
        } else {
            self.measures = None;
        }
    }

    /// Notes a new entry, unless some before it were not measured yet.
    pub(crate) fn appended(&mut self, entry: &EntryRecord<'_>) {
        if let Some(measures) = self.measures.as_mut().filter(|measures| measures.upto == entry.pos) {
            measures.push(Measure { pos: entry.pos, bytes: plain_len(&entry.fields), at: entry.at });
        }
    }

    /// Takes over entries that were there before.
    pub(crate) fn measured(&mut self, upto: u64, rows: &[Measure]) {
        let measures = self.measures.get_or_insert_default();
        rows.iter().for_each(|row| measures.push(*row));
        measures.upto = measures.upto.max(upto);
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let chunks =
            self.measures.as_ref().map_or(0, |m| m.chunks.iter().map(|c| 64 + 8 * c.rows.len()).sum());
        size_of::<Self>() + chunks
    }
}

/// A live entry: how large it is and when it was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Measure {
    pub(crate) pos: u64,
    /// Bytes of names and values.
    pub(crate) bytes: u64,
    /// In milliseconds since the Unix epoch.
    pub(crate) at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    bytes: u32,
    /// Milliseconds since the chunk's first entry was appended.
    later: u32,
}

/// Entries with consecutive positions, those that are gone included.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chunk {
    first_pos: u64,
    first_at: u64,
    rows: Vec<Row>,
    live: usize,
    bytes: u64,
    /// Rows at the begin that are gone.
    gone: usize,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.first_pos + self.rows.len() as u64
    }

    fn live_rows(&self) -> impl Iterator<Item = (u64, &Row)> {
        let rows = self.rows.iter().enumerate().skip(self.gone);
        rows.filter(|(_, row)| row.bytes != GONE).map(|(nth, row)| (self.first_pos + nth as u64, row))
    }

    /// Adds a row; `false` when it belongs into another chunk.
    fn push(&mut self, measure: Measure) -> bool {
        let gap = measure.pos - self.end();
        let later = measure.at.checked_sub(self.first_at).and_then(|later| u32::try_from(later).ok());
        let Some(later) =
            later.filter(|_| gap <= BRIDGED_MAX && self.rows.len() as u64 + gap < CHUNK_MAX as u64)
        else {
            return false;
        };
        let missing = Row { bytes: GONE, later };
        self.rows.extend(std::iter::repeat_n(missing, gap as usize));
        self.rows.push(Row { bytes: clamped(measure.bytes), later });
        self.live += 1;
        self.bytes += u64::from(clamped(measure.bytes));
        true
    }

    fn remove(&mut self, pos: u64) {
        let Some(row) = self.rows.get_mut((pos - self.first_pos) as usize).filter(|row| row.bytes != GONE)
        else {
            return;
        };
        self.bytes -= u64::from(row.bytes);
        self.live -= 1;
        row.bytes = GONE;
        while self.rows.get(self.gone).is_some_and(|row| row.bytes == GONE) {
            self.gone += 1;
        }
    }
}

fn clamped(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX).min(GONE - 1)
}

/// Sizes and append times of the live entries of a stream, by position. A clone shares them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Measures {
    chunks: VecDeque<Arc<Chunk>>,
    /// Everything below this position was looked at.
    pub(crate) upto: u64,
}

impl Measures {
    /// Notes an entry behind all others.
    pub(crate) fn push(&mut self, measure: Measure) {
        if self.chunks.back().is_some_and(|last| measure.pos < last.end()) {
            return;
        }
        let fits = self.chunks.back_mut().is_some_and(|last| Arc::make_mut(last).push(measure));
        if !fits {
            let bytes = clamped(measure.bytes);
            self.chunks.push_back(Arc::new(Chunk {
                first_pos: measure.pos,
                first_at: measure.at,
                rows: vec![Row { bytes, later: 0 }],
                live: 1,
                bytes: u64::from(bytes),
                gone: 0,
            }));
        }
        self.upto = self.upto.max(measure.pos + 1);
    }

    /// Forgets the entries of a run of positions.
    pub(crate) fn remove_run(&mut self, first: u64, count: u64) {
        for pos in first..first.saturating_add(count).min(self.upto) {
            let nth = self.chunks.partition_point(|chunk| chunk.end() <= pos);
            let Some(chunk) = self.chunks.get_mut(nth).filter(|chunk| chunk.first_pos <= pos) else {
                continue;
            };
            let chunk = Arc::make_mut(chunk);
            chunk.remove(pos);
            if chunk.live == 0 {
                self.chunks.remove(nth);
            }
        }
    }

    /// Forgets everything below a position.
    pub(crate) fn drop_below(&mut self, pos: u64) {
        while self.chunks.front().is_some_and(|first| first.end() <= pos) {
            self.chunks.pop_front();
        }
        if let Some(first) = self.chunks.front().map(|chunk| chunk.first_pos).filter(|first| *first < pos) {
            self.remove_run(first, pos - first);
        }
    }

    /// Live entries, and their bytes.
    pub(crate) fn totals(&self) -> (u64, u64) {
        self.chunks.iter().fold((0, 0), |(live, bytes), c| (live + c.live as u64, bytes + c.bytes))
    }

    /// How many of the oldest entries have to go so that the others have at most so many bytes.
    pub(crate) fn beyond_bytes(&self, most: u64) -> u64 {
        let (_, total) = self.totals();
        let (mut excess, mut count) = (total.saturating_sub(most), 0);
        for chunk in &self.chunks {
            if excess == 0 {
                break;
            }
            if chunk.bytes < excess {
                excess -= chunk.bytes;
                count += chunk.live as u64;
                continue;
            }
            for (_, row) in chunk.live_rows() {
                if excess == 0 {
                    break;
                }
                excess = excess.saturating_sub(u64::from(row.bytes));
                count += 1;
            }
        }
        count
    }

    /// How many of the oldest entries were appended before a time.
    pub(crate) fn before(&self, at: u64) -> u64 {
        let mut count = 0;
        for chunk in &self.chunks {
            let is_old = |row: &Row| chunk.first_at + u64::from(row.later) < at;
            if chunk.rows.last().is_some_and(is_old) {
                count += chunk.live as u64;
                continue;
            }
            let old = chunk.live_rows().take_while(|(_, row)| is_old(row)).count();
            return count + old as u64;
        }
        count
    }

    /// All of them, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Measure> + '_ {
        self.chunks.iter().flat_map(|chunk| {
            chunk.live_rows().map(|(pos, row)| Measure {
                pos,
                bytes: u64::from(row.bytes),
                at: chunk.first_at + u64::from(row.later),
            })
        })
    }
}

// ---- bytes ---------------------------------------------------------------------------------------------------------

/// A number that may be missing: its presence, then itself.
fn put_maybe(out: &mut Vec<u8>, value: Option<u64>) {
    out.push(u8::from(value.is_some()));
    put(out, value.unwrap_or_default());
}

fn read_maybe(r: &mut Reader<'_>) -> Option<Option<u64>> {
    let is_there = r.byte()? != 0;
    let value = r.varint()?;
    Some(is_there.then_some(value))
}

/// Limits as records and snapshots have them.
pub(crate) fn put_retention(out: &mut Vec<u8>, retention: &Retention) {
    let age = retention.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    for limit in [retention.length, retention.bytes, age, retention.hold] {
        put_maybe(out, limit);
    }
}

pub(crate) fn read_retention(r: &mut Reader<'_>) -> Option<Retention> {
    let (length, bytes, age) = (read_maybe(r)?, read_maybe(r)?, read_maybe(r)?);
    Some(Retention { length, bytes, age: age.map(Duration::from_millis), hold: read_maybe(r)? })
}

/// Measures as records and snapshots have them: each as the difference to the one before.
pub(crate) fn put_measures(out: &mut Vec<u8>, rows: &[Measure]) {
    put(out, rows.len() as u64);
    let (mut pos, mut at) = (0_u64, 0_u64);
    for row in rows {
        put(out, row.pos.wrapping_sub(pos));
        put(out, row.bytes);
        put_signed(out, row.at.wrapping_sub(at) as i64);
        (pos, at) = (row.pos, row.at);
    }
}

pub(crate) fn read_measures(r: &mut Reader<'_>) -> Option<Vec<Measure>> {
    let (mut pos, mut at) = (0_u64, 0_u64);
    (0..r.length()?)
        .map(|_| {
            pos = pos.checked_add(r.varint()?)?;
            let bytes = r.varint()?;
            at = at.wrapping_add(r.signed()? as u64);
            Some(Measure { pos, bytes, at })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Measures {
        let mut measures = Measures::default();
        for pos in 0..5_000 {
            measures.push(Measure { pos, bytes: 10, at: 1_000 + pos / 2 });
        }
        measures
    }

    #[test]
    fn counts_what_is_beyond() {
        let mut measures = sample();
        assert_eq!(measures.totals(), (5_000, 50_000));
        assert_eq!(measures.beyond_bytes(49_985), 2);
        assert_eq!(measures.before(1_001), 2);
        assert_eq!(measures.before(u64::MAX), 5_000);
        measures.remove_run(0, 3);
        measures.remove_run(2_000, 1_500);
        assert_eq!(measures.totals(), (3_497, 34_970));
        assert_eq!(measures.before(1_000 + 1_800), 1_997 + 100);
        assert_eq!(measures.beyond_bytes(34_970 - 20_000), 2_000);
        measures.drop_below(4_990);
        assert_eq!(measures.totals(), (10, 100));
        assert_eq!(measures.beyond_bytes(0), 10);
        assert_eq!(measures.beyond_bytes(100), 0);
    }

    #[test]
    fn is_read_as_it_was_written() {
        let mut measures = sample();
        measures.remove_run(7, 900);
        measures.push(Measure { pos: 90_000, bytes: 1, at: u64::from(u32::MAX) * 9 });
        measures.push(Measure { pos: 90_001, bytes: 0, at: 5 });
        let rows: Vec<Measure> = measures.iter().collect();
        let mut bytes = Vec::new();
        put_measures(&mut bytes, &rows);
        assert_eq!(read_measures(&mut Reader::new(&bytes)), Some(rows.clone()));
        let mut again = Keeping::default();
        again.measured(measures.upto, &rows);
        assert_eq!(again.measures.expect("just made").totals(), measures.totals());
        let retention = Retention {
            length: Some(0),
            bytes: None,
            age: Some(Duration::from_millis(7)),
            hold: Some(u64::MAX),
        };
        let mut bytes = Vec::new();
        put_retention(&mut bytes, &retention);
        assert_eq!(read_retention(&mut Reader::new(&bytes)), Some(retention));
    }
}
