//! Giving space back: dead segments are recycled, mostly dead ones rewritten, holes punched into the rest.
//!
//! Invariants:
//! * Only sealed segments below every kept snapshot are touched, so recovery never misses what was taken.
//! * Before a record goes, whatever made it dead is on disk.
//! * A record counts as live as long as the state points to it; what is dead once is dead for ever.
//! * Between the verdict and the deed lies [`GRACE`], so that whoever was just told where an entry is can still
//!   fetch it.
//!
//! On a full disk nothing is rewritten, since that takes room first: holes do it then.
//!
//! Which segments are worth reading is guessed from memory alone: how many entries were written into each, and how
//! many the index still points to. The guess decides what is read, never what is taken.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::Duration;

use weir_core::Error;
use weir_log::{Compaction, Level, LogError, Lsn, SegmentState};

use crate::block::Block;
use crate::engine::{Engine, Shared, log_error};
use crate::record::{EntryRecord, Record};
use crate::state::State;
use crate::stream::Stream;
use crate::varint::Reader;

/// How long a record stays readable after it was found dead.
const GRACE: Duration = Duration::from_secs(10);
/// A segment is read when at most this share of its entries seems alive, in percent.
const READ_BELOW: u64 = 70;
/// A segment is rewritten when at most this share of its bytes is alive, in percent.
const REWRITE_BELOW: u64 = 40;
/// Read again only after its share of living entries has fallen by so much, in percent.
const READ_AGAIN_AFTER: u64 = 10;
/// A run of dead records is worth a hole from this size on.
const HOLE_MIN: u64 = 64 << 10;
/// Records looked up under the lock at once.
const LOOKUPS: usize = 512;
/// Bytes read in one step.
const STEP_BYTES: u64 = 4 << 20;
/// Addresses in verdicts that age, at most; beyond that nothing more is read.
const HELD_MAX: usize = 8_000_000;
/// Keys copied under the lock at once.
const KEYS_PER_SLICE: u32 = 4_096;

/// How many entries were written into each segment, and how many of them are still pointed to, by segment number.
pub(crate) type Guess = BTreeMap<u64, (u64, u64)>;

/// The state of reclaiming, from step to step.
///
/// Segments are read one after the other; while the verdicts over them age, the next ones are read.
#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    /// Segments worth reading, lowest last.
    queue: Vec<u64>,
    /// The percentage alive when a segment was last read.
    read_at: BTreeMap<u64, u64>,
    guess: Guess,
    /// Slots by key number, as they were when the first segment of the queue was read. Keys made later have nothing in
    /// segments that were queued before.
    slots: Option<Arc<HashMap<u64, u32>>>,
    reading: Option<Reading>,
    /// Oldest first.
    verdicts: VecDeque<Verdict>,
    rewriting: Option<Rewriting>,
}

/// A segment that is being read.
#[derive(Debug)]
struct Reading {
    segment: u64,
    next: Lsn,
    end: Lsn,
    slots: Arc<HashMap<u64, u32>>,
    found: Found,
}

/// What was found in a segment so far.
#[derive(Debug, Default)]
struct Found {
    live: Vec<Lsn>,
    live_bytes: u64,
    dead_bytes: u64,
    dead: Vec<Range<Lsn>>,
    /// Where the dead run began that is going on.
    dead_from: Option<Lsn>,
}

/// What is to become of a segment, and from when on.
#[derive(Debug)]
struct Verdict {
    segment: u64,
    after: Duration,
    /// The end of the log when the verdict fell: what made records dead lies below.
    head: Lsn,
    deed: Deed,
}

#[derive(Debug)]
enum Deed {
    Recycle,
    /// Keeps the records that live; when there is no room for that, punches holes instead.
    Rewrite {
        live: Vec<Lsn>,
        holes: Vec<Range<Lsn>>,
    },
    Punch {
        holes: Vec<Range<Lsn>>,
    },
}

/// A segment that is being rewritten.
#[derive(Debug)]
struct Rewriting {
    segment: u64,
    live: Vec<Lsn>,
    holes: Vec<Range<Lsn>>,
    compaction: Compaction,
}

impl Reclaim {
    /// Takes a new guess over and queues what is worth reading: sealed segments that end at or below `below`, and that
    /// nothing is being done with.
    pub(crate) fn consider(&mut self, shared: &Shared, guess: Guess, below: Lsn) {
        self.queue = shared
            .log
            .segments()
            .iter()
            .filter(|segment| segment.state == SegmentState::Sealed && segment.end <= below)
            .filter(|segment| {
                let share = share(&guess, segment.no);
                let before = self.read_at.get(&segment.no).copied().unwrap_or(100);
                share <= READ_BELOW && share + READ_AGAIN_AFTER.min(before) <= before
            })
            .map(|segment| segment.no)
            .filter(|no| !self.is_in_hand(*no))
            .collect();
        self.queue.reverse();
        self.guess = guess;
        self.slots = None;
    }

    /// Whether sealed segments that seem worth reading end behind `below`.
    pub(crate) fn has_dead_behind(&self, shared: &Shared, below: Lsn) -> bool {
        let segments = shared.log.segments();
        let mut behind =
            segments.iter().filter(|info| info.state == SegmentState::Sealed && info.end > below);
        behind.any(|info| share(&self.guess, info.no) <= READ_BELOW)
    }

    fn is_in_hand(&self, segment: u64) -> bool {
        self.reading.as_ref().is_some_and(|reading| reading.segment == segment)
            || self.rewriting.as_ref().is_some_and(|rewriting| rewriting.segment == segment)
            || self.verdicts.iter().any(|verdict| verdict.segment == segment)
    }

    /// A bounded piece of work; `true` when there is more to do now.
    pub(crate) fn step(&mut self, shared: &Arc<Shared>) -> Result<bool, Error> {
        if let Some(rewriting) = self.rewriting.take() {
            return self.rewrite(shared, rewriting);
        }
        if let Some(verdict) = self.ripe_verdict(shared.clock.elapsed()) {
            return self.carry_out(shared, verdict);
        }
        match self.reading.take() {
            Some(reading) => self.read(shared, reading),
            None => Ok(self.begin(shared)),
        }
    }

    /// A verdict that has aged enough; first one that gives a whole segment back.
    fn ripe_verdict(&mut self, now: Duration) -> Option<Verdict> {
        let ripe = self.verdicts.iter().take_while(|verdict| verdict.after <= now).count();
        let whole = self.verdicts.iter().take(ripe).position(|verdict| matches!(verdict.deed, Deed::Recycle));
        if ripe == 0 { None } else { self.verdicts.remove(whole.unwrap_or(0)) }
    }

    /// Begins to read the next segment, if there is one and its verdict can be kept.
    fn begin(&mut self, shared: &Arc<Shared>) -> bool {
        if self.records_held() >= HELD_MAX {
            return false;
        }
        let Some(segment) = self.queue.pop() else {
            self.slots = None;
            return false;
        };
        let segments = shared.log.segments();
        let Some(info) = segments.iter().find(|info| info.no == segment) else { return true };
        self.read_at.insert(segment, share(&self.guess, segment));
        let slots = self.slots.get_or_insert_with(|| Arc::new(slots_by_key(shared)));
        self.reading = Some(Reading {
            segment,
            next: info.first,
            end: info.end,
            slots: Arc::clone(slots),
            found: Found::default(),
        });
        true
    }

    fn records_held(&self) -> usize {
        let held = |verdict: &Verdict| match &verdict.deed {
            Deed::Recycle => 0,
            Deed::Rewrite { live, holes } => live.len() + 2 * holes.len(),
            Deed::Punch { holes } => 2 * holes.len(),
        };
        self.verdicts.iter().map(held).sum()
    }

    fn read(&mut self, shared: &Arc<Shared>, mut reading: Reading) -> Result<bool, Error> {
        let until = Lsn(reading.next.0 + STEP_BYTES).min(reading.end);
        let mut batch: Vec<(Lsn, u64, Pointer)> = Vec::new();
        let mut done = false;
        let next = shared.log.scan(reading.next, &mut |lsn, body| {
            if lsn >= reading.end {
                done = true;
                return ControlFlow::Break(());
            }
            batch.push((lsn, body.len() as u64, Pointer::of(body)));
            if lsn >= until { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        reading.next = match next {
            Ok(next) => next,
            // What cannot be read is not taken; `weir check` will find it.
            Err(_) => return Ok(true),
        };
        for part in batch.chunks(LOOKUPS) {
            let turn = Engine::of(shared);
            let turn = turn.turn();
            for (lsn, bytes, pointer) in part {
                reading.found.add(*lsn, *bytes, pointer.is_live(&turn.state, &reading.slots, *lsn));
            }
        }
        if done || reading.next >= reading.end || batch.is_empty() {
            reading.found.close(reading.end);
            if let Some(deed) = reading.found.deed() {
                let after = shared.clock.elapsed() + GRACE;
                let head = Engine::of(shared).turn().head();
                self.verdicts.push_back(Verdict { segment: reading.segment, after, head, deed });
            }
        } else {
            self.reading = Some(reading);
        }
        Ok(true)
    }

    fn carry_out(&mut self, shared: &Arc<Shared>, verdict: Verdict) -> Result<bool, Error> {
        let Verdict { segment, deed, head, .. } = verdict;
        // A power cut must not bring entries back whose records are gone.
        shared.log.commit(head, Level::Durable).map_err(log_error)?;
        match deed {
            Deed::Recycle => {
                self.read_at.remove(&segment);
                Engine::of(shared).turn().state.written.counts.remove(&segment);
                shared.log.recycle(segment).map_err(log_error)?;
            }
            Deed::Rewrite { holes, .. } if shared.log.is_full() => punch(shared, segment, &holes)?,
            Deed::Rewrite { live, holes } => match shared.log.compaction(segment) {
                Ok(compaction) => self.rewriting = Some(Rewriting { segment, live, holes, compaction }),
                Err(error) => punch_instead(shared, segment, &holes, error)?,
            },
            Deed::Punch { holes } => punch(shared, segment, &holes)?,
        }
        Ok(true)
    }

    fn rewrite(&mut self, shared: &Arc<Shared>, mut rewriting: Rewriting) -> Result<bool, Error> {
        let live = &rewriting.live;
        let keep = &mut |lsn: Lsn, _: &[u8]| live.binary_search(&lsn).is_ok();
        match rewriting.compaction.step(keep) {
            Ok(Some(_)) => {}
            Ok(None) => self.rewriting = Some(rewriting),
            Err(error) => {
                let Rewriting { segment, holes, compaction, .. } = rewriting;
                // What it has written so far goes first.
                drop(compaction);
                punch_instead(shared, segment, &holes, error)?;
            }
        }
        Ok(true)
    }
}

/// Gives back what can be without room for a new file, if it was that which was missing.
fn punch_instead(shared: &Shared, segment: u64, holes: &[Range<Lsn>], error: LogError) -> Result<(), Error> {
    if error.is_full() { punch(shared, segment, holes) } else { Err(log_error(error)) }
}

/// Segments that were rewritten take no holes.
fn punch(shared: &Shared, segment: u64, holes: &[Range<Lsn>]) -> Result<(), Error> {
    let plain = shared.log.segments().iter().any(|info| info.no == segment && info.generation == 0);
    if plain && !holes.is_empty() {
        shared.log.punch(segment, holes).map_err(log_error)?;
    }
    Ok(())
}

impl Found {
    fn add(&mut self, lsn: Lsn, bytes: u64, live: bool) {
        if live {
            self.live.push(lsn);
            self.live_bytes += bytes;
            if let Some(from) = self.dead_from.take() {
                self.dead.push(from..lsn);
            }
        } else {
            self.dead_bytes += bytes;
            self.dead_from.get_or_insert(lsn);
        }
    }

    fn close(&mut self, end: Lsn) {
        if let Some(from) = self.dead_from.take() {
            self.dead.push(from..end);
        }
    }

    /// What to do with the segment; `None` when it is best left alone.
    fn deed(self) -> Option<Deed> {
        let Self { live, live_bytes, dead_bytes, dead, .. } = self;
        if live.is_empty() {
            return Some(Deed::Recycle);
        }
        let large = |range: &Range<Lsn>| range.end.0 - range.start.0 >= HOLE_MIN;
        let holes: Vec<_> = dead.into_iter().filter(large).collect();
        if live_bytes * 100 <= (live_bytes + dead_bytes) * REWRITE_BELOW {
            return Some(Deed::Rewrite { live, holes });
        }
        if holes.is_empty() { None } else { Some(Deed::Punch { holes }) }
    }
}

/// What may still point to a record.
#[derive(Debug)]
enum Pointer {
    Entry { key: u64, pos: u64 },
    Block { key: u64, first: weir_core::EntryId },
    Nothing,
}

impl Pointer {
    fn of(body: &[u8]) -> Self {
        if let Some(entry) = EntryRecord::decode(body) {
            return Self::Entry { key: entry.key, pos: entry.pos };
        }
        match Record::block_key(body) {
            Some((key, rest)) => match Block::decode(&mut Reader::new(rest)) {
                Some(block) => Self::Block { key, first: block.first_id() },
                None => Self::Nothing,
            },
            None => Self::Nothing,
        }
    }

    fn is_live(&self, state: &State, slots: &HashMap<u64, u32>, lsn: Lsn) -> bool {
        let stream = |no: &u64| -> Option<&Stream> {
            let key = state.keys.get(*slots.get(no)?)?;
            if key.no == *no { key.stream() } else { None }
        };
        match self {
            Self::Entry { key, pos } => stream(key).is_some_and(|stream| stream.is_live(*pos)),
            Self::Block { key, first } => stream(key).is_some_and(|stream| stream.has_block(*first, lsn)),
            Self::Nothing => false,
        }
    }
}

impl Stream {
    /// Whether the entry at a position is there.
    pub(crate) fn is_live(&self, pos: u64) -> bool {
        let sealed = self.sealed.as_ref();
        let tail = &self.tail.block;
        let (first, count) = if self.tail.live > 0 && pos >= tail.first_pos() {
            (tail.first_pos(), tail.count() as u64)
        } else {
            let head = sealed.and_then(|s| s.heads.iter_back_from(|head| head.first_pos > pos).next());
            let Some(head) = head else { return false };
            (head.first_pos, u64::from(head.count))
        };
        let gone = sealed.and_then(|s| s.deleted.get(&first)).copied().unwrap_or(0);
        pos - first < count && gone & (1 << (pos - first)) == 0
    }

    /// Whether the block that begins with an entry has its home at `lsn`.
    pub(crate) fn has_block(&self, first: weir_core::EntryId, lsn: Lsn) -> bool {
        let head = self.sealed.as_ref().and_then(|sealed| sealed.heads.get(first));
        head.is_some_and(|head| head.lsn == lsn)
    }

    /// Counts the entries the index points to, by the segment their block is in. An entry of a slow stream may be
    /// counted with a later segment than its own.
    pub(crate) fn count_by_segment(&self, segment_bytes: u64, guess: &mut Guess) {
        for head in self.sealed.iter().flat_map(|sealed| sealed.heads.iter()) {
            guess.entry(head.lsn.0 / segment_bytes).or_default().1 += u64::from(head.live);
        }
        for entry in self.tail.block.iter() {
            guess.entry(entry.lsn.0 / segment_bytes).or_default().1 += 1;
        }
    }
}

/// The percentage of a segment's entries that seems alive.
fn share(guess: &Guess, segment: u64) -> u64 {
    match guess.get(&segment) {
        Some((written, live)) if *written > 0 => (live * 100 / written).min(100),
        _ => 0,
    }
}

fn slots_by_key(shared: &Arc<Shared>) -> HashMap<u64, u32> {
    let engine = Engine::of(shared);
    let mut slots = HashMap::new();
    let mut slot = 0;
    loop {
        let turn = engine.turn();
        let end = turn.state.keys.end();
        let last = end.min(slot + KEYS_PER_SLICE);
        while slot < last {
            slots.extend(turn.state.keys.get(slot).map(|key| (key.no, slot)));
            slot += 1;
        }
        if slot >= end {
            return slots;
        }
    }
}
