//! What is trimmed, what is held for required groups, what is lost, and the alerts about it.

use weir_core::{
    EntryId, Error, ErrorKind, LostEntry, LostPage, LostQuery, Retention, Timestamp, TrimTo, Trimmed,
    alerts_of, lost_of, slot_name,
};

use super::letters::{number, text_of};
use super::space::{Group, Space, Stream};
use super::time::Now;
use super::{check_names, millis};

/// At which hundredths of the hold budget an alert is raised.
const LEVELS: [u64; 4] = [0, 50, 80, 100];

impl Space {
    /// What every operation begins with: the time is noted; after a minute the ages of all entries are looked at.
    pub(super) fn begin(&mut self, now: Now) {
        self.now = now;
        if now.steady.millis_since(self.ages_seen) >= 60_000 {
            self.ages_seen = now.steady;
            let names: Vec<_> = self.streams.keys().cloned().collect();
            for name in names {
                self.enforce_retention(&name);
            }
        }
    }

    /// The time by which ages are measured.
    pub(super) fn append_time(&self) -> Timestamp {
        self.last_append.max(self.now.wall)
    }

    pub(super) fn trim(&mut self, name: &[u8], to: TrimTo) -> Trimmed {
        let Some(stream) = self.streams.get_mut(name) else { return Trimmed { removed: 0, held: 0 } };
        let beyond = stream.beyond(to);
        let floor = stream.floor();
        let (gone, held): (Vec<_>, Vec<_>) = beyond.into_iter().partition(|id| is_below(*id, floor));
        stream.entries.retain(|id, _| !gone.contains(id));
        Trimmed { removed: gone.len() as u64, held: held.len() as u64 }
    }

    pub(super) fn set_retention(&mut self, name: &[u8], retention: Option<Retention>) -> Result<(), Error> {
        check_names(&[name])?;
        if let Some(retention) = retention {
            slot_name(name)?;
            if retention.age.is_some_and(|age| age.as_millis() == 0) {
                return Err(Error::new(ErrorKind::Invalid("the age must be at least a millisecond")));
            }
        }
        self.streams.entry(name.to_vec()).or_default().retention = retention;
        self.enforce_retention(name);
        Ok(())
    }

    /// Trims a stream to its limits, as far as the guard and its budget say.
    pub(super) fn enforce_retention(&mut self, name: &[u8]) {
        let now = self.append_time();
        let Some(stream) = self.streams.get_mut(name) else { return };
        let Some(retention) = stream.retention else {
            // Without limits nothing is beyond them, and nothing is held.
            stream.alerts = 0;
            return;
        };
        let mut lost = Vec::new();
        let held = loop {
            let beyond = stream.beyond_limits(&retention, now);
            let floor = stream.floor();
            if let Some(free) = beyond.iter().find(|id| is_below(**id, floor)) {
                stream.entries.remove(free);
                continue;
            }
            let held = beyond.len() as u64;
            match beyond.first() {
                Some(oldest) if retention.hold.is_some_and(|hold| held > hold) => {
                    lost.extend(stream.lose(*oldest));
                }
                _ => break held,
            }
        };
        let holder = stream.holder();
        let raised = stream.raise(held, retention.hold);
        self.list_lost(name, lost);
        if let Some(holder) = holder {
            self.alert(name, &holder, &raised, held, retention.hold);
        }
    }

    fn list_lost(&mut self, name: &[u8], lost: Vec<(Vec<u8>, EntryId, bool)>) {
        let Ok(list) = lost_of(name) else { return };
        for (group, id, was_pending) in lost {
            let (id, at) = (text_of(id), number(self.now.steady.0));
            let was: &[u8] = if was_pending { b"pending" } else { b"undelivered" };
            self.add_own(&list, &[(b"group", &group), (b"id", &id), (b"was", was), (b"at", &at)]);
        }
    }

    fn alert(&mut self, name: &[u8], group: &[u8], levels: &[u64], held: u64, hold: Option<u64>) {
        let Ok(alerts) = alerts_of(name) else { return };
        for level in levels {
            let (level, held, at) = (number(*level), number(held), number(self.now.steady.0));
            let hold = hold.map(number);
            let mut fields: Vec<(&[u8], &[u8])> = vec![
                (b"kind", b"retention-held"),
                (b"stream", name),
                (b"group", group),
                (b"level", &level),
                (b"held", &held),
            ];
            fields.extend(hold.as_ref().map(|hold| (&b"hold"[..], &hold[..])));
            fields.push((b"at", &at));
            self.add_own(&alerts, &fields);
        }
    }

    pub(super) fn lost(&self, name: &[u8], query: &LostQuery) -> LostPage {
        let list = lost_of(name).ok().and_then(|list| self.stream(&list));
        let after = query.after.unwrap_or(EntryId::MIN);
        let mut found: Vec<(EntryId, LostEntry)> = Vec::new();
        for (id, stored) in list.iter().flat_map(|list| &list.entries).filter(|(id, _)| **id > after) {
            let Some(lost) = lost_entry(&stored.fields) else { continue };
            if query.group.as_ref().is_none_or(|group| *group == lost.group) {
                found.push((*id, lost));
            }
        }
        let count = usize::try_from(query.count).unwrap_or(usize::MAX);
        let is_all = found.len() <= count;
        found.truncate(count);
        let next = if is_all { None } else { Some(found.last().map_or(after, |(id, _)| *id)) };
        LostPage { entries: found.into_iter().map(|(_, lost)| lost).collect(), next }
    }
}

fn is_below(id: EntryId, floor: Option<EntryId>) -> bool {
    floor.is_none_or(|floor| id < floor)
}

fn lost_entry(fields: &weir_core::Fields) -> Option<LostEntry> {
    let value = |name: &[u8]| weir_core::first_value(fields, name);
    Some(LostEntry {
        group: value(b"group")?.to_vec(),
        id: EntryId::parse(value(b"id")?, 0).ok()?,
        was_pending: value(b"was")? == b"pending",
        at: Timestamp(std::str::from_utf8(value(b"at")?).ok()?.parse().ok()?),
    })
}

impl Stream {
    /// The entries that a trim would remove, oldest first, were there no guard.
    fn beyond(&self, to: TrimTo) -> Vec<EntryId> {
        let length = self.entries.len() as u64;
        let mut bytes: u64 = self.entries.values().map(super::space::Stored::bytes).sum();
        let mut beyond = Vec::new();
        for (nth, (id, stored)) in self.entries.iter().enumerate() {
            let is_beyond = match to {
                TrimTo::Length(most) => length - nth as u64 > most,
                TrimTo::MinId(least) => *id < least,
                TrimTo::Bytes(most) => bytes > most,
                TrimTo::Time(since) => stored.appended_at < since,
            };
            if !is_beyond {
                break;
            }
            bytes -= stored.bytes();
            beyond.push(*id);
        }
        beyond
    }

    fn beyond_limits(&self, retention: &Retention, now: Timestamp) -> Vec<EntryId> {
        let since = |age| TrimTo::Time(Timestamp(now.0.saturating_sub(millis(age))));
        let limits = [
            retention.length.map(TrimTo::Length),
            retention.bytes.map(TrimTo::Bytes),
            retention.age.map(since),
        ];
        let each = limits.into_iter().flatten().map(|limit| self.beyond(limit));
        each.max_by_key(Vec::len).unwrap_or_default()
    }

    /// The first entry that a required group has not acknowledged; no trim passes it.
    fn floor(&self) -> Option<EntryId> {
        let required = self.groups.values().filter(|group| group.policy.required);
        required.filter_map(|group| self.first_open(group)).min()
    }

    /// The required group that holds the lowest entry.
    fn holder(&self) -> Option<Vec<u8>> {
        let required = self.groups.iter().filter(|(_, group)| group.policy.required);
        let opened = required.filter_map(|(name, group)| Some((self.first_open(group)?, name)));
        opened.min().map(|(_, name)| name.clone())
    }

    /// The first entry that a group has not acknowledged.
    fn first_open(&self, group: &Group) -> Option<EntryId> {
        let pending = group.rows.keys().next().copied();
        let undelivered = self.undelivered(group).next();
        pending.into_iter().chain(undelivered).min()
    }

    /// What a group was not given yet and would see.
    pub(super) fn undelivered<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = EntryId> + 'a {
        let ahead = self.entries.iter().filter(|(id, _)| **id > group.last_delivered);
        ahead.filter(|(_, stored)| group.sees(&stored.fields)).map(|(id, _)| *id)
    }

    /// Removes an entry whatever holds it. Answers which required groups lose it and whether they had it pending.
    fn lose(&mut self, id: EntryId) -> Vec<(Vec<u8>, EntryId, bool)> {
        let Some(stored) = self.entries.remove(&id) else { return Vec::new() };
        let mut lost = Vec::new();
        for (name, group) in self.groups.iter_mut().filter(|(_, group)| group.policy.required) {
            if group.take_off(id).is_some() {
                lost.push((name.clone(), id, true));
            } else if id > group.last_delivered && group.sees(&stored.fields) {
                lost.push((name.clone(), id, false));
            }
        }
        lost
    }

    /// Which alerts are due now that so many entries are held.
    fn raise(&mut self, held: u64, hold: Option<u64>) -> Vec<u64> {
        if held == 0 {
            self.alerts = 0;
            return Vec::new();
        }
        let is_reached = |level: &u64| match hold {
            Some(hold) => held.saturating_mul(100) >= hold.saturating_mul(*level),
            None => *level == 0,
        };
        let reached = LEVELS.iter().take_while(|level| is_reached(level)).count();
        let due = LEVELS[self.alerts.min(reached)..reached].to_vec();
        self.alerts = self.alerts.max(reached);
        due
    }
}
