//! Which undelivered entries the filter of a group lets through, kept as they come so that nobody has to recount them.
//!
//! One bit for each undelivered entry, by position, where the filter lets something through: about a third of a byte an
//! entry. A new entry is judged when it is appended, since its fields are at hand then. What was there before (after a
//! start, a seek, or another filter) is judged once, when somebody asks, a slice at a time and outside the lock where it
//! has to be read from disk.
//!
//! Nothing of this is durable: it follows from the entries, the filter and the group's place, and is found again.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use weir_core::{EntryId, Filter};
use weir_log::{Log, Lsn, ReadError};

use crate::ahead::Missing;
use crate::api::{Cold, Halt};
use crate::block::Located;
use crate::core::{Core, Found};
use crate::group::Group;
use crate::lag::Rate;
use crate::record::{EntryRecord, Fields, GroupRef};

/// Entries judged in one turn.
const JUDGED_AT_ONCE: u64 = 2_048;

/// What is known of a group's undelivered entries.
#[derive(Debug, Clone)]
pub(crate) struct Matching {
    filter: Arc<Filter>,
    /// Tells it from others, so that no verdict is mistaken for another's.
    serial: u64,
    /// The group's last-delivered ID that `from` belongs to.
    after: EntryId,
    /// Nothing below this position is undelivered.
    from: u64,
    /// Everything below this position was judged.
    upto: u64,
    /// By position / 128, a bit for each entry that is let through.
    masks: BTreeMap<u64, u128>,
    count: u64,
    /// Entries that were let through, lately.
    pub(crate) arrivals: Rate,
}

impl Matching {
    fn new(filter: Arc<Filter>, serial: u64, (after, from): (EntryId, u64)) -> Self {
        let (masks, count, arrivals) = (BTreeMap::new(), 0, Rate::default());
        Self { filter, serial, after, from, upto: from, masks, count, arrivals }
    }

    /// Notes what became of the next entry.
    fn judged(&mut self, pos: u64, passes: bool) {
        self.upto = self.upto.max(pos + 1);
        if passes {
            let mask = self.masks.entry(pos / 128).or_default();
            self.count += u64::from(*mask & (1 << (pos % 128)) == 0);
            *mask |= 1 << (pos % 128);
        }
    }

    /// Forgets entries that are gone.
    pub(crate) fn remove_run(&mut self, first: u64, count: u64) {
        let (mut pos, end) = (first, first.saturating_add(count));
        while pos < end {
            let word = pos / 128;
            let last = end.min((word + 1).saturating_mul(128));
            let bits = crate::stream::run_mask(pos % 128, last - pos);
            self.take(word, bits);
            pos = last;
        }
    }

    /// Forgets everything below a position.
    pub(crate) fn drop_below(&mut self, pos: u64) {
        let kept = self.masks.split_off(&(pos / 128));
        let dropped = std::mem::replace(&mut self.masks, kept);
        self.count -= dropped.values().map(|mask| u64::from(mask.count_ones())).sum::<u64>();
        if !pos.is_multiple_of(128) {
            self.take(pos / 128, crate::stream::run_mask(0, pos % 128));
        }
        self.from = self.from.max(pos);
        self.upto = self.upto.max(pos);
    }

    fn take(&mut self, word: u64, bits: u128) {
        let Some(mask) = self.masks.get_mut(&word) else { return };
        self.count -= u64::from((*mask & bits).count_ones());
        *mask &= !bits;
        if *mask == 0 {
            self.masks.remove(&word);
        }
    }

    /// The positions that are let through, from one on.
    fn positions(&self, from: u64) -> impl Iterator<Item = u64> + '_ {
        let bits = |word: u64, mask: u128| {
            (0..128).filter(move |n| mask & (1 << n) != 0).map(move |n| word * 128 + n)
        };
        self.masks
            .range(from / 128..)
            .flat_map(move |(word, mask)| bits(*word, *mask))
            .skip_while(move |pos| *pos < from)
    }
}

/// Entries whose fields a filter has to see, for [`crate::Engine::warm`].
#[derive(Debug)]
pub(crate) struct Judging {
    filter: Arc<Filter>,
    serial: u64,
    lsns: Vec<Lsn>,
}

/// What filters say of entries, by the serial of who asks.
pub(crate) type Verdicts = std::collections::HashMap<(u64, Lsn), bool, foldhash::fast::FixedState>;

impl Judging {
    /// Reads the fields and notes the verdicts. An entry that is gone is not let through.
    pub(crate) fn resolve(&self, log: &Log, verdicts: &mut Verdicts) -> Result<(), ReadError> {
        let mut done = 0;
        while done < self.lsns.len() {
            let from = done;
            let read = log.read_many(&self.lsns[from..], &mut |nth, body| {
                verdicts.insert((self.serial, self.lsns[from + nth]), passes(&self.filter, body));
                done = from + nth + 1;
                ControlFlow::Continue(())
            });
            match read {
                Ok(()) => break,
                Err(ReadError::Gone(_)) => {
                    verdicts.insert((self.serial, self.lsns[done]), false);
                    done += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How many entries it reads, and the last of them.
    pub(crate) fn extent(&self) -> (usize, Option<Lsn>) {
        (self.lsns.len(), self.lsns.iter().max().copied())
    }
}

fn passes(filter: &Filter, body: &[u8]) -> bool {
    EntryRecord::decode(body).is_some_and(|record| sees(filter, &record.fields))
}

/// Whether a filter lets fields through.
pub(crate) fn sees(filter: &Filter, fields: &Fields<'_>) -> bool {
    filter.matches(|name| fields.value(name))
}

impl Group {
    /// Whether it is to see an undelivered entry; one that was not judged it may have to.
    pub(crate) fn is_wanted(&self, pos: u64) -> bool {
        if !self.is_filtered() {
            return true;
        }
        let known = self.matching.as_deref().filter(|known| known.after == self.last_id && pos < known.upto);
        known.is_none_or(|known| {
            known.masks.get(&(pos / 128)).is_some_and(|mask| mask & (1 << (pos % 128)) != 0)
        })
    }

    /// Judges a new entry, if all before it were. One that is not above the group's place it will not be given: a group
    /// may be made beyond the end of its stream.
    fn judge_new(&mut self, id: EntryId, (pos, at): (u64, u64), fields: &Fields<'_>) {
        let is_ahead = id > self.last_id;
        let Some(matching) = self.matching.as_mut().filter(|matching| matching.upto == pos) else { return };
        let passes = is_ahead && sees(&matching.filter, fields);
        matching.judged(pos, passes);
        matching.arrivals.add(at, u64::from(passes));
    }
}

impl Core {
    /// Has the filters of a stream's groups judge an entry that was just added.
    pub(crate) fn judge_new(&mut self, found: Found, id: EntryId, placed: (u64, u64), fields: &Fields<'_>) {
        let Some(groups) = self.stream_mut(found).groups.as_mut().filter(|groups| groups.has_filters())
        else {
            return;
        };
        groups.each_filtering(|group| group.judge_new(id, placed, fields));
    }

    /// Brings what is known of a filtered group's entries to where the group is. Nothing is judged.
    fn anchor(&mut self, found: Found, at: GroupRef) -> Result<(), Cold> {
        let (group, stream) = (self.group(found, at), self.stream(found));
        let Some(filter) = group.policy().and_then(|policy| policy.filter.as_ref()) else { return Ok(()) };
        let known = group.matching.as_deref().filter(|known| *known.filter == *filter);
        if known.is_some_and(|known| known.after == group.last_id) {
            return Ok(());
        }
        let after = group.last_id;
        let from = stream.live_above(&self.blocks, after)?.map_or(stream.next_pos, |entry| entry.pos);
        let reusable = known.is_some_and(|known| known.from <= from);
        let filter = Arc::new(filter.clone());
        let serial = self.next_serial();
        let groups = self.stream_mut(found).groups.as_mut().expect("the group is among them");
        groups.note_filter(at.group);
        let own: &mut Option<Box<Matching>> =
            &mut groups.by_no_mut(at.group).expect("found in this turn").matching;
        match own {
            Some(known) if reusable => {
                known.after = after;
                known.drop_below(from);
            }
            _ => *own = Some(Box::new(Matching::new(filter, serial, (after, from)))),
        }
        Ok(())
    }

    /// Judges undelivered entries of a filtered group until `enough` are known to be let through, or all are judged.
    /// Answers whether all are. What it has judged stays judged, also when it finds something cold.
    pub(crate) fn judge(&mut self, found: Found, at: GroupRef, enough: u64) -> Result<bool, Halt> {
        self.anchor(found, at)?;
        loop {
            let next_pos = self.stream(found).next_pos;
            let Some(known) = self.group(found, at).matching.as_deref() else { return Ok(true) };
            if known.upto >= next_pos {
                return Ok(true);
            }
            if known.count >= enough {
                return Ok(false);
            }
            let (upto, most) = (known.upto, JUDGED_AT_ONCE);
            let entries = self.stream(found).live_entries(&self.blocks, upto, most)?;
            let is_last = (entries.len() as u64) < most;
            let judged = self.judge_slice(found, at, &entries)?;
            if judged < entries.len() {
                // They are not written yet, and nobody can ask again.
                return Ok(false);
            }
            if is_last {
                let known = self.group_mut(found, at).matching.as_mut().expect("known above");
                known.upto = known.upto.max(next_pos);
            } else if !self.blocks.reads_on_the_spot() {
                return Err(Cold::Again.into());
            }
        }
    }

    /// Judges entries in their order; answers how many of them.
    fn judge_slice(&mut self, found: Found, at: GroupRef, entries: &[Located]) -> Result<usize, Cold> {
        let known = self.group(found, at).matching.as_deref().expect("anchored before");
        let (filter, serial) = (known.filter.clone(), known.serial);
        let mut verdicts: Vec<bool> =
            entries.iter().map_while(|entry| self.blocks.ahead().verdict(serial, entry.lsn)).collect();
        let lsns: Vec<Lsn> = entries[verdicts.len()..].iter().map(|entry| entry.lsn).collect();
        let visit = &mut |_: usize, body: &[u8]| {
            verdicts.push(passes(&filter, body));
            ControlFlow::Continue(())
        };
        let on_the_spot = self.blocks.reads_on_the_spot();
        let read = match lsns.is_empty() {
            true => Ok(()),
            false if on_the_spot => self.log.read_many(&lsns, visit),
            false => self.log.read_many_cached(&lsns, visit),
        };
        let done = verdicts.len();
        let after = self.group(found, at).last_id;
        let known = self.group_mut(found, at).matching.as_mut().expect("anchored before");
        for (entry, passes) in entries.iter().zip(verdicts) {
            known.judged(entry.pos, passes && entry.id > after);
        }
        match read {
            Ok(()) => Ok(done),
            Err(ReadError::NotWritten(_)) if on_the_spot => Ok(done),
            Err(ReadError::NotWritten(_)) => Err(Cold::Unwritten),
            Err(_) => {
                let lsns = entries[done..].iter().map(|entry| entry.lsn).collect();
                Err(Missing { judging: vec![Judging { filter, serial, lsns }], ..Missing::default() }.into())
            }
        }
    }

    /// How many undelivered entries the filter of a group lets through; all are judged.
    pub(crate) fn matching_count(&self, found: Found, at: GroupRef) -> Option<u64> {
        self.group(found, at).matching.as_deref().map(|known| known.count)
    }

    /// The first undelivered entry that a filtered group may have to see, as far as it is known.
    pub(crate) fn first_matching(&self, found: Found, group: &Group) -> Result<Option<Located>, Cold> {
        let stream = self.stream(found);
        let known = group.matching.as_deref().filter(|known| known.after == group.last_id);
        let Some(known) = known else { return stream.live_above(&self.blocks, group.last_id) };
        let pos = known.positions(known.from).next().unwrap_or(known.upto);
        stream.live_from_position(&self.blocks, pos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_follows_what_goes() {
        let filter = Arc::new(Filter { conditions: Vec::new() });
        let mut matching = Matching::new(filter, 1, (EntryId::MIN, 100));
        for pos in 100..1_000 {
            matching.judged(pos, pos % 3 == 0);
        }
        assert_eq!(matching.count, 300);
        matching.remove_run(102, 6);
        assert_eq!(matching.count, 298);
        matching.remove_run(127, 300);
        assert_eq!(matching.positions(0).count() as u64, matching.count);
        matching.drop_below(901);
        assert_eq!((matching.count, matching.positions(0).next()), (33, Some(903)));
        matching.drop_below(5_000);
        assert_eq!((matching.count, matching.upto), (0, 5_000));
    }
}
