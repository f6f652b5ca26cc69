//! Retention and its guard: what goes from the old end of a stream, and what required groups still need.
//!
//! Limits are looked at with every append, whoever appends, and from time to time besides. A trim of any kind stops at
//! the first entry that a required group has not acknowledged. Only retention goes beyond that, and only when it was
//! told how much may be held: then the oldest entries go, each is listed in the stream of lost entries for every
//! required group that had not acknowledged it, and its row leaves that group's pending list. Where that list cannot be
//! written, nothing is lost.
//!
//! Everything one look changes is one transaction of the log.

use std::ops::ControlFlow;

use weir_core::{EntryId, ErrorKind, Retention, TrimTo, Trimmed, alerts_of, lost_of, slot_name};

use crate::ahead::Missing;
use crate::api::{Cold, EntryRef, Halt, KeyRef, NamespaceNo, NewId, References, Trim, TrimBound};
use crate::block::Located;
use crate::core::{Core, Found};
use crate::entries::{NewEntry, RemovalPlan, next_id, plan_trim};
use crate::group::Group;
use crate::record::{Fields, GroupRef, Record};
use crate::retention::{Keeping, Measure};
use crate::stream::{Span, Stream, plain_len};

/// Entries that are lost in one transaction, at most; more go at the next look.
const LOST_AT_ONCE: u64 = 1_000;
/// Entries that are measured in one turn.
const MEASURED_AT_ONCE: u64 = 2_048;
/// What an entry in a side stream takes in the log, about.
const SIDE_ENTRY_BYTES: u64 = 256;
/// How much of what may be held is used, in percent, when an alert is told.
const ALERTS: [u64; 4] = [0, 50, 80, 100];

/// What the limits of a stream come to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Verdict {
    /// So many of the oldest entries go.
    go: u64,
    /// So many of those, the last ones, go although a required group has not acknowledged what is before or among them.
    lost: u64,
    /// Entries beyond the limits that are kept.
    held: u64,
}

/// An entry that is lost to a group.
struct Loss {
    id: EntryId,
    group: u32,
    was_pending: bool,
}

impl Group {
    /// Whether retention and trims wait for it.
    pub(crate) fn is_required(&self) -> bool {
        self.policy().is_some_and(|policy| policy.required)
    }

    /// Whether it sees only some entries.
    pub(crate) fn is_filtered(&self) -> bool {
        self.policy().is_some_and(|policy| policy.filter.is_some())
    }
}

impl Stream {
    fn required_groups(&self) -> impl Iterator<Item = &Group> {
        self.groups().filter(|group| group.is_required())
    }

    /// Whether the entries of the stream have to be measured before limits can be in force, and from where on.
    fn unmeasured_from(&self, retention: &Retention) -> Option<u64> {
        let measures = self.keeping.as_ref().and_then(|keeping| keeping.measures.as_ref());
        let upto = measures.map_or(0, |measures| measures.upto);
        (Keeping::needs_measures(retention) && upto < self.next_pos).then_some(upto)
    }

    /// How many of the oldest entries are beyond the limits, if `coming` more with so many bytes are added before.
    fn beyond(&self, retention: &Retention, coming: (u64, u64), now: u64) -> u64 {
        let length = retention.length.map_or(0, |most| (self.len + coming.0).saturating_sub(most));
        let measures = self.keeping.as_ref().and_then(|keeping| keeping.measures.as_ref());
        let measured = measures.map_or(0, |measures| {
            let bytes =
                retention.bytes.map_or(0, |most| measures.beyond_bytes(most.saturating_sub(coming.1)));
            let age = retention.age.map_or(0, |age| {
                let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
                measures.before(now.saturating_sub(age))
            });
            bytes.max(age)
        });
        length.max(measured).min(self.len)
    }
}

/// What a group loses with an entry.
fn loss(group: &Group, entry: &Located) -> Option<Loss> {
    let was_pending = group.pending.get(entry.id).is_some();
    let is_lost = was_pending || (entry.id > group.last_id && group.is_wanted(entry.pos));
    is_lost.then_some(Loss { id: entry.id, group: group.no, was_pending })
}

/// A trim to the newest entries, exactly.
fn exactly(left: u64) -> Trim {
    Trim { bound: TrimBound::MaxLen(left), approximate: false, limit: 0, references: References::Keep }
}

impl Core {
    // ---- what is needed still ----------------------------------------------------------------------------------

    /// Everything below this ID is acknowledged by a group, or none of its entries.
    fn floor_of(&self, found: Found, group: &Group) -> Result<EntryId, Cold> {
        let pending = group.pending.first().unwrap_or(EntryId::MAX);
        if !group.is_filtered() {
            return Ok(pending.min(group.last_id.next().unwrap_or(EntryId::MAX)));
        }
        Ok(self.first_matching(found, group)?.map_or(pending, |entry| pending.min(entry.id)))
    }

    /// Everything below this ID is acknowledged by all required groups; `None` when no group is required.
    fn floor(&self, found: Found) -> Result<Option<EntryId>, Cold> {
        let floors = self.stream(found).required_groups().map(|group| self.floor_of(found, group));
        floors.reduce(|a, b| Ok(a?.min(b?))).transpose()
    }

    /// The required group whose first entry that is not acknowledged is the lowest; of several, the first by name.
    fn holder(&self, found: Found) -> Result<Option<Box<[u8]>>, Cold> {
        let (stream, mut lowest) = (self.stream(found), None);
        for group in stream.required_groups() {
            let next = match group.is_filtered() {
                true => self.first_matching(found, group)?,
                false => stream.live_above(&self.blocks, group.last_id)?,
            };
            let first = group.pending.first().into_iter().chain(next.map(|entry| entry.id)).min();
            let Some(first) = first else { continue };
            if lowest.as_ref().is_none_or(|(known, _)| first < *known) {
                lowest = Some((first, group.name.clone()));
            }
        }
        Ok(lowest.map(|(_, name)| name))
    }

    /// Has the filters of required groups judge as many entries as it takes to know what they need.
    pub(crate) fn judge_required(&mut self, found: Found, enough: u64) -> Result<(), Halt> {
        let key = self.key(found).no;
        let filtered = self.stream(found).required_groups().filter(|group| group.is_filtered());
        let groups: Vec<GroupRef> = filtered.map(|group| GroupRef { key, group: group.no }).collect();
        groups.into_iter().try_for_each(|at| self.judge(found, at, enough).map(drop))
    }

    // ---- explicit trims ----------------------------------------------------------------------------------------

    /// Decides a trim as Redis would, except for what required groups still need.
    pub(crate) fn plan_guarded(&self, found: Found, trim: &Trim) -> Result<RemovalPlan, Cold> {
        let stream = self.stream(found);
        let Some(floor) = self.floor(found)? else { return plan_trim(stream, &self.blocks, trim) };
        let bound = match trim.bound {
            TrimBound::MinId(id) => TrimBound::MinId(id.min(floor)),
            TrimBound::MaxLen(most) => {
                let wanted = stream.len.saturating_sub(most);
                let free = stream.count_below(&self.blocks, floor, wanted)?;
                if free < wanted { TrimBound::MinId(floor) } else { trim.bound }
            }
        };
        plan_trim(stream, &self.blocks, &Trim { bound, ..*trim })
    }

    /// Removes the oldest entries, exactly to a limit, but none that a required group has not acknowledged.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    pub fn trim_to(&mut self, key: KeyRef<'_>, to: TrimTo) -> Result<Trimmed, Halt> {
        let Some(found) = self.find_stream(key)? else { return Ok(Trimmed { removed: 0, held: 0 }) };
        self.judge_required(found, 1)?;
        if matches!(to, TrimTo::Time(_)) && !self.blocks.reads_on_the_spot() && !self.is_all_written() {
            // What an entry's time is stands in what was written.
            return Err(Cold::Unwritten.into());
        }
        let wanted = self.beyond_trim(found, to)?;
        let stream = self.stream(found);
        let free = match self.floor(found)? {
            Some(floor) => stream.count_below(&self.blocks, floor, wanted)?,
            None => wanted,
        };
        let removed = if free == 0 { 0 } else { self.trim(key, &exactly(stream.len - free))? };
        Ok(Trimmed { removed, held: wanted - free })
    }

    /// How many of the oldest entries a trim is to remove.
    fn beyond_trim(&self, found: Found, to: TrimTo) -> Result<u64, Halt> {
        let stream = self.stream(found);
        Ok(match to {
            TrimTo::Length(most) => stream.len.saturating_sub(most),
            TrimTo::MinId(id) => stream.count_below(&self.blocks, id, u64::MAX)?,
            TrimTo::Time(at) => match self.first_since(found, at.0)? {
                Some(entry) => stream.count_below(&self.blocks, entry.id, u64::MAX)?,
                None => stream.len,
            },
            TrimTo::Bytes(most) => self.beyond_bytes(found, most)?,
        })
    }

    /// Whether what was appended can be read, or was waited for.
    fn is_all_written(&self) -> bool {
        self.log.written() >= self.appender.head() || self.blocks.ahead().is_written()
    }

    fn beyond_bytes(&self, found: Found, most: u64) -> Result<u64, Halt> {
        let stream = self.stream(found);
        let measures = stream.keeping.as_ref().and_then(|keeping| keeping.measures.as_ref());
        if let Some(measures) = measures.filter(|measures| measures.upto == stream.next_pos) {
            return Ok(measures.beyond_bytes(most));
        }
        if !self.is_all_written() {
            return Err(Cold::Unwritten.into());
        }
        let (mut kept, mut bytes) = (0, 0_u64);
        let (mut unknown, looks) = (Vec::new(), self.blocks.ahead().sizes().clamp(64, 65_536));
        stream.scan_back(&self.blocks, Span::ALL, |entry| {
            match self.measured(entry.lsn) {
                Some(measured) if unknown.is_empty() => {
                    bytes = bytes.saturating_add(measured.map_or(0, |measured| measured.bytes));
                    if bytes > most {
                        return ControlFlow::Break(());
                    }
                    kept += 1;
                }
                Some(_) => {}
                None => unknown.push(entry.lsn),
            }
            if unknown.len() < looks { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if unknown.is_empty() {
            return Ok(stream.len - kept);
        }
        Err(Cold::from(Missing { sizes: unknown, ..Missing::default() }).into())
    }

    // ---- retention ---------------------------------------------------------------------------------------------

    /// How much of a stream is kept; `None` = everything.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    pub fn retention(&mut self, key: KeyRef<'_>) -> Result<Option<Retention>, Halt> {
        let Some(found) = self.find_stream(key)? else { return Ok(None) };
        Ok(self.stream(found).keeping.as_ref().and_then(|keeping| keeping.retention))
    }

    /// Says how much of a stream is kept, from now on and for what is there. A missing stream is made.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`]; [`ErrorKind::Invalid`] for an age of zero, or a name beside which nothing can be kept.
    pub fn set_retention(&mut self, key: KeyRef<'_>, retention: Option<Retention>) -> Result<(), Halt> {
        if retention.is_some_and(|retention| retention.age.is_some_and(|age| age.as_millis() == 0)) {
            return Err(ErrorKind::Invalid("the age of a retention must be at least a millisecond").into());
        }
        slot_name(key.name)?;
        self.check_name(&alerts_of(key.name)?)?;
        let found = self.find_stream(key)?;
        if found.is_none() {
            self.check_new_key()?;
        }
        self.check_writable(true)?;
        let (Some(old), Some(_)) = (found, retention) else {
            return self.store_retention(key, found, retention);
        };
        if self.stream(old).len >= MEASURED_AT_ONCE {
            self.store_retention(key, found, retention)?;
            return self.keep_now(key, old);
        }
        // A short stream is measured, limited and cut in one transaction: what is not written shows before.
        self.judge_required(old, self.stream(old).len)?;
        self.tie();
        let more = self.store_retention(key, found, retention).map(|()| self.keep_to_limits(key, old));
        self.untie();
        if more? { Err(Cold::Again.into()) } else { Ok(()) }
    }

    /// Writes the limits of a stream down, measured as far as they need it.
    fn store_retention(
        &mut self,
        key: KeyRef<'_>,
        found: Option<Found>,
        retention: Option<Retention>,
    ) -> Result<(), Halt> {
        if let (Some(found), Some(retention)) = (found, &retention) {
            self.measure_slice(found, retention)?;
        }
        let stored =
            found.and_then(|found| self.stream(found).keeping.as_ref()).map(|own| (own.retention, own.told));
        if found.is_none()
            || stored.and_then(|stored| stored.0) != retention
            || (stored.is_some() && retention.is_none())
        {
            self.tie();
            let found = found.unwrap_or_else(|| self.make_stream(key));
            let kept = retention.map(|retention| (retention, stored.map_or(0, |stored| stored.1)));
            let record = Record::Retention { key: self.key(found).no, kept };
            self.commit_to(found, &record);
            self.untie();
            self.signal(key);
        }
        Ok(())
    }

    /// Measures entries that are there, a bounded number in a turn, until all are.
    fn measure_slice(&mut self, found: Found, retention: &Retention) -> Result<(), Halt> {
        let stream = self.stream(found);
        let Some(from) = stream.unmeasured_from(retention) else { return Ok(()) };
        let entries = stream.live_entries(&self.blocks, from, MEASURED_AT_ONCE)?;
        if entries.last().is_some_and(|last| last.lsn >= self.log.written()) {
            return Err(Cold::Unwritten.into());
        }
        let (mut rows, mut unknown) = (Vec::with_capacity(entries.len()), Vec::new());
        for entry in &entries {
            match self.measured(entry.lsn) {
                Some(measured) => {
                    let measured = measured.unwrap_or_default();
                    rows.push(Measure { pos: entry.pos, bytes: measured.bytes, at: measured.at });
                }
                None => unknown.push(entry.lsn),
            }
        }
        if !unknown.is_empty() {
            return Err(Cold::from(Missing { sizes: unknown, ..Missing::default() }).into());
        }
        let is_last = (entries.len() as u64) < MEASURED_AT_ONCE;
        let upto = if is_last { stream.next_pos } else { rows.last().map_or(from, |row| row.pos + 1) };
        let record = Record::Measured { key: self.key(found).no, upto, rows };
        self.commit_to(found, &record);
        if is_last { Ok(()) } else { Err(Cold::Again.into()) }
    }

    /// Has a stream keep to its limits, for who can be asked again.
    fn keep_now(&mut self, key: KeyRef<'_>, found: Found) -> Result<(), Halt> {
        self.warm_retention(found, 0, 0)?;
        self.check_writable(false)?;
        self.tie();
        let more = self.keep_to_limits(key, found);
        self.untie();
        if more { Err(Cold::Again.into()) } else { Ok(()) }
    }

    /// Has a stream keep to its limits now, as far as it takes more than an append.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    pub fn keep_retention(&mut self, key: KeyRef<'_>) -> Result<(), Halt> {
        match self.find_stream(key)?.filter(|found| self.stream(*found).keeping.is_some()) {
            Some(found) => self.keep_now(key, found),
            None => Ok(()),
        }
    }

    /// As [`Core::keep_retention`], for the stream in a slot, if there is one.
    pub(crate) fn keep_slot(&mut self, slot: u32) -> Result<(), Halt> {
        let Some(key) = self.state.keys.get(slot) else { return Ok(()) };
        let keeps = key.stream().is_some_and(|stream| stream.keeping.is_some());
        let ns = self.state.directory.iter().position(|inner| *inner == key.ns);
        let (Some(ns), true) = (ns, keeps && (key.expires == 0 || key.expires > self.now.0)) else {
            return Ok(());
        };
        let name = key.name.clone();
        self.keep_now(KeyRef { ns: NamespaceNo(ns as u32), name: &name }, Found { slot })
    }

    /// Looks at everything that keeping to the limits will look at once so many entries with so many bytes were added.
    pub(crate) fn warm_retention(&mut self, found: Found, entries: u64, bytes: u64) -> Result<(), Halt> {
        if self.stream(found).keeping.is_none() {
            return Ok(());
        }
        self.judge_required(found, 1)?;
        let Some(verdict) = self.beyond_limits(found, (entries, bytes))? else { return Ok(()) };
        if verdict.lost > 0 {
            self.judge_required(found, verdict.lost)?;
        }
        self.losses(found, &verdict)?;
        if verdict.held > 0 {
            self.holder(found)?;
        }
        if verdict.go > 0 {
            plan_trim(self.stream(found), &self.blocks, &exactly(self.stream(found).len - verdict.go))?;
        }
        Ok(())
    }

    /// What the limits come to; `None` without any.
    fn beyond_limits(&self, found: Found, coming: (u64, u64)) -> Result<Option<Verdict>, Cold> {
        let stream = self.stream(found);
        let Some(retention) = stream.keeping.as_ref().and_then(|keeping| keeping.retention) else {
            return Ok(None);
        };
        let beyond = stream.beyond(&retention, coming, self.append_time(found));
        let free = match self.floor(found)? {
            Some(floor) => stream.count_below(&self.blocks, floor, beyond)?,
            None => beyond,
        };
        let excess = retention.hold.map_or(0, |hold| (beyond - free).saturating_sub(hold));
        let lost = excess.min(LOST_AT_ONCE);
        Ok(Some(Verdict { go: free + lost, lost, held: beyond - free - lost }))
    }

    /// Removes what is beyond the limits of a stream, as far as its guard lets it; `true` when more is to go. Reads on
    /// the spot what is cold; who can be asked again calls [`Core::warm_retention`] before. Within a transaction.
    pub(crate) fn keep_to_limits(&mut self, key: KeyRef<'_>, found: Found) -> bool {
        if self.stream(found).keeping.is_none() {
            return false;
        }
        let before = self.blocks.read_on_the_spot(true);
        let mut budget = LOST_AT_ONCE;
        // What cannot be read is reported by whoever reads it; the limits are looked at again soon.
        while let Ok(Some(verdict)) = self.beyond_limits(found, (0, 0)) {
            let lost = self.carry_out(key, found, verdict).unwrap_or(0);
            budget = budget.saturating_sub(lost);
            // With what was lost another entry may be the first that is needed.
            if lost == 0 || budget == 0 {
                break;
            }
        }
        self.blocks.read_on_the_spot(before);
        budget == 0
    }

    /// Answers how many entries were lost.
    fn carry_out(&mut self, key: KeyRef<'_>, found: Found, mut verdict: Verdict) -> Result<u64, Halt> {
        let losses = self.losses(found, &verdict)?;
        if !losses.is_empty() && !self.list_losses(key, found, &losses) {
            let Verdict { go, lost, held } = verdict;
            verdict = Verdict { go: go - lost, lost: 0, held: held + lost };
        }
        if verdict.go > 0 {
            let plan =
                plan_trim(self.stream(found), &self.blocks, &exactly(self.stream(found).len - verdict.go))?;
            self.remove(found, plan);
            self.touched(key);
            self.event(key, "xtrim");
        }
        if verdict.lost == 0 {
            self.tell_held(key, found, verdict.held)?;
        }
        Ok(verdict.lost)
    }

    /// Which groups lose which entries.
    fn losses(&self, found: Found, verdict: &Verdict) -> Result<Vec<Loss>, Cold> {
        let stream = self.stream(found);
        let mut losses = Vec::new();
        if verdict.lost == 0 {
            return Ok(losses);
        }
        let floor = self.floor(found)?.unwrap_or_default();
        let span = Span { from: floor, to: EntryId::MAX, most: verdict.lost };
        stream.scan(&self.blocks, span, |entry| {
            losses.extend(stream.required_groups().filter_map(|group| loss(group, &entry)));
            ControlFlow::Continue(())
        })?;
        Ok(losses)
    }

    /// Lists lost entries and takes their rows off the pending lists; `false` where they cannot be listed, and then
    /// nothing was done.
    fn list_losses(&mut self, key: KeyRef<'_>, found: Found, losses: &[Loss]) -> bool {
        let room = self.check_room(losses.len() as u64 * SIDE_ENTRY_BYTES);
        let Some(list) =
            lost_of(key.name).ok().filter(|list| room.is_ok() && self.may_append_aside(key.ns, list))
        else {
            return false;
        };
        let (no, at) = (self.key(found).no, self.now.0.to_string());
        let mut rows: Vec<(u32, Vec<EntryId>)> = Vec::new();
        for loss in losses {
            let reference = GroupRef { key: no, group: loss.group };
            let (name, id) = (self.group(found, reference).name.clone(), loss.id.to_string());
            let was: &[u8] = if loss.was_pending { b"pending" } else { b"undelivered" };
            let fields: [&[u8]; 8] =
                [b"group", &name, b"id", id.as_bytes(), b"was", was, b"at", at.as_bytes()];
            self.append_aside(key.ns, &list, &fields);
            if loss.was_pending {
                match rows.iter_mut().find(|(group, _)| *group == loss.group) {
                    Some((_, ids)) => ids.push(loss.id),
                    None => rows.push((loss.group, vec![loss.id])),
                }
            }
        }
        if !rows.is_empty() {
            // What waited for their keys may be ready.
            self.signal(key);
        }
        for (group, ids) in rows {
            self.acknowledge(found, GroupRef { key: no, group }, ids);
        }
        true
    }

    /// Tells how much is held for required groups, where that is news.
    fn tell_held(&mut self, key: KeyRef<'_>, found: Found, held: u64) -> Result<(), Cold> {
        let stream = self.stream(found);
        let Some((retention, told)) =
            stream.keeping.as_ref().and_then(|own| Some((own.retention?, own.told)))
        else {
            return Ok(());
        };
        let is_used = |percent: &&u64| match retention.hold {
            _ if **percent == 0 => held > 0,
            Some(hold) => held > 0 && u128::from(held) * 100 >= u128::from(hold) * u128::from(**percent),
            None => false,
        };
        let reached = ALERTS.iter().take_while(is_used).count() as u8;
        if told == reached || (held > 0 && reached < told) {
            return Ok(());
        }
        if reached > told {
            let alerts = alerts_of(key.name).ok().filter(|alerts| self.may_append_aside(key.ns, alerts));
            let (Some(group), Some(alerts)) = (self.holder(found)?, alerts) else { return Ok(()) };
            for level in &ALERTS[usize::from(told)..usize::from(reached)] {
                self.append_alert(key, &alerts, &group, (*level, held, retention.hold));
            }
        }
        let record = Record::Retention { key: self.key(found).no, kept: Some((retention, reached)) };
        self.commit_to(found, &record);
        Ok(())
    }

    fn append_alert(&mut self, key: KeyRef<'_>, alerts: &[u8], group: &[u8], said: (u64, u64, Option<u64>)) {
        let [level, held, at] = [said.0, said.1, self.now.0].map(|number| number.to_string());
        let hold = said.2.map(|hold| hold.to_string());
        let mut fields: Vec<&[u8]> = vec![b"kind", b"retention-held", b"stream", key.name, b"group", group];
        fields.extend([b"level".as_slice(), level.as_bytes(), b"held", held.as_bytes()]);
        if let Some(hold) = &hold {
            fields.extend([b"hold".as_slice(), hold.as_bytes()]);
        }
        fields.extend([b"at".as_slice(), at.as_bytes()]);
        self.append_aside(key.ns, alerts, &fields);
    }

    // ---- side streams ------------------------------------------------------------------------------------------

    /// Whether the engine may append to a stream of this name: there is one with IDs left, or it can be made.
    pub(crate) fn may_append_aside(&mut self, ns: NamespaceNo, name: &[u8]) -> bool {
        let key = KeyRef { ns, name };
        let found = self.find_stream(key);
        let last = |found: Option<Found>| found.map(|found| self.stream(found).last_id);
        let has_ids = found.is_ok_and(|found| last(found).is_none_or(|last| last.ms < u64::MAX));
        has_ids && self.check_name(name).is_ok()
    }

    /// Appends to a stream that the engine keeps beside a user's. [`Core::may_append_aside`] comes before.
    pub(crate) fn append_aside(&mut self, ns: NamespaceNo, name: &[u8], fields: &[&[u8]]) {
        let key = KeyRef { ns, name };
        let Ok(found) = self.find_stream(key) else { return };
        let last = found.map(|found| self.stream(found).last_id);
        let Ok(id) = next_id(last, NewId::Auto, self.now.0) else { return };
        let fields = Fields::Slices(fields);
        let new = NewEntry { id, fields, plain: plain_len(&fields), idempotent: None, by_time: false };
        self.write_entry(key, found, new);
        self.touched(key);
        self.signal(key);
        self.event(key, "xadd");
    }

    /// Removes a stream with its groups, its retention and its lost entries; `false` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    pub fn delete_stream(&mut self, key: KeyRef<'_>) -> Result<bool, Halt> {
        let Some(found) = self.find_stream(key)? else { return Ok(false) };
        self.check_writable(false)?;
        let lost = lost_of(key.name).unwrap_or_default();
        let beside = KeyRef { ns: key.ns, name: &lost };
        let list = if lost.is_empty() { None } else { self.find_stream(beside).ok().flatten() };
        self.tie();
        for (key, found) in [Some((key, found)), list.map(|list| (beside, list))].into_iter().flatten() {
            self.delete_found(key, found);
            self.event(key, "del");
        }
        self.untie();
        Ok(true)
    }

    /// Lost entries of a stream from an ID on, to be read by [`crate::lost_entry`]; a missing list has none.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    pub fn lost_list(&mut self, key: KeyRef<'_>, after: EntryId, count: u64) -> Result<Vec<EntryRef>, Halt> {
        self.find_stream(key)?;
        let Ok(lost) = lost_of(key.name) else { return Ok(Vec::new()) };
        let read = crate::places::ReadStream {
            from: weir_core::ReadFrom::After(after),
            to: None,
            backward: false,
            count,
        };
        self.read_stream(KeyRef { ns: key.ns, name: &lost }, &read)
    }
}
