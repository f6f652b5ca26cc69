//! Reads that wait for entries, and watched keys.
//!
//! Invariants:
//! * Waiting reads of one group on one stream are served first come, first served. When one gets nothing there is
//!   nothing new for the others either, and nothing to claim for those that want it to be idle as long or longer; so
//!   an append wakes as many as it has entries for. See [`Round`].
//! * Plain reads each get their own copy.
//! * A read that was served or cancelled is nowhere in here any more.
//!
//! Who waits keeps the deadline; this knows no time.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::task::Waker;

use weir_core::{ErrorKind, GroupSource};

use crate::api::{NamespaceNo, Read, ReadGroup, ReadOutcome, ReadSource};
use crate::mailbox::Mailbox;
use crate::policy::millis;

/// A waiting read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaiterId(u64);

/// What is waited for.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    Read(Read),
    Group(ReadGroup),
    Source(ReadSource),
}

/// What a group read waits for.
#[derive(Debug, Clone, Copy)]
struct Wish {
    new: bool,
    /// Rows that are idle for so long, and ready ones.
    claim_idle_min: Option<u64>,
    /// Rows that are idle for as long as the lease of the group, and ready ones.
    leased: bool,
    while_paused: bool,
}

impl Wanted {
    fn ns(&self) -> NamespaceNo {
        match self {
            Self::Read(read) => read.ns,
            Self::Group(read) => read.ns,
            Self::Source(read) => read.ns,
        }
    }

    /// The group and what is wanted of it; none for a plain read.
    fn wish(&self) -> Option<(&[u8], Wish)> {
        match self {
            Self::Read(_) => None,
            Self::Group(read) => {
                let claim_idle_min = read.claim_idle_min;
                Some((&read.group, Wish { new: true, claim_idle_min, leased: false, while_paused: false }))
            }
            Self::Source(read) => {
                let (new, idle_min) = match read.source {
                    GroupSource::New | GroupSource::History { .. } => (true, None),
                    GroupSource::Reclaimed { idle_min } => (false, Some(idle_min)),
                    GroupSource::Available { idle_min } => (true, Some(idle_min)),
                };
                let claim_idle_min = idle_min.flatten().map(millis);
                let (leased, while_paused) = (idle_min == Some(None), read.while_paused);
                Some((&read.group, Wish { new, claim_idle_min, leased, while_paused }))
            }
        }
    }

    fn names(&self) -> Vec<&[u8]> {
        match self {
            Self::Read(read) => read.streams.iter().map(|(name, _)| &**name).collect(),
            Self::Group(read) => read.streams.iter().map(|(name, _)| &**name).collect(),
            Self::Source(read) => vec![&read.stream],
        }
    }
}

#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) wanted: Wanted,
    pub(crate) reply_to: ReplyTo,
}

/// Who gets the answer of a waiting read.
#[derive(Debug, Clone)]
pub(crate) enum ReplyTo {
    /// A door, which calls the read by this number.
    Door(u64),
    /// A thread or a task of this process.
    Own(Arc<Mailbox>),
}

/// What became of a waiting read.
#[derive(Debug)]
pub struct Served {
    /// Which.
    pub waiter: WaiterId,
    /// What its door called it.
    pub token: u64,
    /// Its entries, or why there will be none.
    pub result: Result<ReadOutcome, ErrorKind>,
}

#[derive(Debug, Default)]
struct StreamWaits {
    plain: BTreeSet<WaiterId>,
    groups: BTreeMap<Box<[u8]>, GroupWaits>,
}

/// Who waits for a stream in one group.
#[derive(Debug, Default)]
struct GroupWaits {
    all: BTreeSet<WaiterId>,
    /// Those that take what is new.
    new: BTreeSet<WaiterId>,
    /// Those that would also claim, and how long a row has to be idle for them.
    claiming: BTreeMap<WaiterId, u64>,
    /// The same, least first.
    by_idle_min: BTreeSet<(u64, WaiterId)>,
    /// Those for which it has to be idle for as long as the lease of the group, whatever that is then.
    leased: BTreeSet<WaiterId>,
    /// Those that read while the group is paused.
    probing: BTreeSet<WaiterId>,
}

impl GroupWaits {
    fn insert(&mut self, id: WaiterId, wish: Wish) {
        self.all.insert(id);
        if wish.new {
            self.new.insert(id);
        }
        if wish.leased {
            self.leased.insert(id);
        }
        if wish.while_paused {
            self.probing.insert(id);
        }
        if let Some(idle_min) = wish.claim_idle_min {
            self.claiming.insert(id, idle_min);
            self.by_idle_min.insert((idle_min, id));
        }
    }

    fn remove(&mut self, id: WaiterId) {
        self.all.remove(&id);
        self.new.remove(&id);
        self.leased.remove(&id);
        self.probing.remove(&id);
        if let Some(idle_min) = self.claiming.remove(&id) {
            self.by_idle_min.remove(&(idle_min, id));
        }
    }

    /// Who is to be asked next in a round.
    fn next(&self, round: &Round) -> Option<WaiterId> {
        let later = (round.asked.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        if round.paused {
            return self.probing.range(later).next().copied();
        }
        let new = if round.nothing_new { None } else { self.new.range(later).next().copied() };
        let may_get = |idle_min: u64| round.nothing_idle.is_none_or(|known| idle_min < known);
        let claims = self.by_idle_min.first().is_some_and(|(least, _)| may_get(*least));
        let old = || self.claiming.range(later).find(|(_, idle_min)| may_get(**idle_min)).map(|(id, _)| *id);
        let old = if claims { old() } else { None };
        let leased = if round.nothing_leased { None } else { self.leased.range(later).next().copied() };
        new.into_iter().chain(old).chain(leased).min()
    }
}

/// One round through the waiting reads of a group: who was asked last, and what is known not to be there.
#[derive(Debug, Default)]
pub(crate) struct Round {
    asked: Option<WaiterId>,
    nothing_new: bool,
    /// No row is idle that long.
    nothing_idle: Option<u64>,
    nothing_leased: bool,
    /// The group is paused, so that only those are asked that read all the same.
    paused: bool,
}

impl Round {
    pub(crate) fn new(paused: bool) -> Self {
        Self { paused, ..Self::default() }
    }
}

/// All waiting reads.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    next: u64,
    waits: HashMap<WaiterId, Wait>,
    streams: HashMap<NamespaceNo, HashMap<Box<[u8]>, StreamWaits>>,
    ready: VecDeque<(NamespaceNo, Box<[u8]>)>,
    /// Those that could not be answered in this round though there may be something.
    later: Vec<WaiterId>,
    /// When a read may find something though nothing changes, in milliseconds of steady time.
    timers: BTreeSet<(u64, WaiterId)>,
    timer_of: HashMap<WaiterId, u64>,
    is_ready: HashSet<(NamespaceNo, Box<[u8]>)>,
    pub(crate) served: Vec<Served>,
    /// Tasks whose mailboxes have an answer. Whoever holds the engine's lock wakes them after letting go of it.
    pub(crate) wakers: Vec<Waker>,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.waits.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    /// Streams somebody waits for.
    pub(crate) fn stream_count(&self) -> usize {
        self.streams.values().map(HashMap::len).sum()
    }

    pub(crate) fn get(&self, id: WaiterId) -> Option<&Wait> {
        self.waits.get(&id)
    }

    /// All waiting reads, in the order they came.
    pub(crate) fn all(&self) -> BTreeSet<WaiterId> {
        self.waits.keys().copied().collect()
    }

    pub(crate) fn add(&mut self, wanted: Wanted, reply_to: ReplyTo) -> WaiterId {
        self.next += 1;
        let id = WaiterId(self.next);
        let streams = self.streams.entry(wanted.ns()).or_default();
        for name in wanted.names() {
            let waits = match streams.get_mut(name) {
                Some(waits) => waits,
                None => streams.entry(name.into()).or_default(),
            };
            match wanted.wish() {
                None => {
                    waits.plain.insert(id);
                }
                Some((group, wish)) => waits.groups.entry(group.into()).or_default().insert(id, wish),
            }
        }
        self.waits.insert(id, Wait { wanted, reply_to });
        id
    }

    pub(crate) fn remove(&mut self, id: WaiterId) -> Option<Wait> {
        if self.timer_of.contains_key(&id) {
            // Those behind it were not asked, and may not know of the time that it knew of.
            self.signal_for(id);
        }
        let wait = self.waits.remove(&id)?;
        self.set_timer(id, None);
        let ns = wait.wanted.ns();
        let streams = self.streams.get_mut(&ns)?;
        for name in wait.wanted.names() {
            let Some(waits) = streams.get_mut(name) else { continue };
            match wait.wanted.wish() {
                None => {
                    waits.plain.remove(&id);
                }
                Some((group, _)) => {
                    if let Some(queue) = waits.groups.get_mut(group) {
                        queue.remove(id);
                        if queue.all.is_empty() {
                            waits.groups.remove(group);
                        }
                    }
                }
            }
            if waits.plain.is_empty() && waits.groups.is_empty() {
                streams.remove(name);
            }
        }
        if streams.is_empty() {
            self.streams.remove(&ns);
        }
        Some(wait)
    }

    /// Notes that something happened to a stream that waiting reads should look at.
    pub(crate) fn signal(&mut self, ns: NamespaceNo, name: &[u8]) {
        let waited = self.streams.get(&ns).is_some_and(|streams| streams.contains_key(name));
        if waited && self.is_ready.insert((ns, name.into())) {
            self.ready.push_back((ns, name.into()));
        }
    }

    /// Has a waiting read asked again at a time though nothing has changed; `None` = not.
    pub(crate) fn set_timer(&mut self, id: WaiterId, at: Option<u64>) {
        let before = match at {
            Some(at) => self.timer_of.insert(id, at),
            None if self.timer_of.is_empty() => return,
            None => self.timer_of.remove(&id),
        };
        if let Some(before) = before {
            self.timers.remove(&(before, id));
        }
        self.timers.extend(at.map(|at| (at, id)));
    }

    /// Has the waiting reads of a group asked again at a time, since one of them is; those asked earlier are all the
    /// same.
    pub(crate) fn ask_group_at(&mut self, ns: NamespaceNo, name: &[u8], group: &[u8], at: u64) {
        let waits = self.streams.get(&ns).and_then(|streams| streams.get(name));
        let first = waits.and_then(|waits| waits.groups.get(group)?.all.first().copied());
        if let Some(id) = first
            && self.timer_of.get(&id).is_none_or(|known| at < *known)
        {
            self.set_timer(id, Some(at));
        }
    }

    /// When the next waiting read is to be asked again.
    pub(crate) fn next_timer(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Notes the streams of waiting reads whose time has come.
    pub(crate) fn signal_due(&mut self, now: u64) {
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            self.timer_of.remove(&id);
            self.signal_for(id);
        }
    }

    /// Has a waiting read asked again after this round.
    pub(crate) fn ask_later(&mut self, id: WaiterId) {
        self.later.push(id);
    }

    pub(crate) fn end_round(&mut self) {
        for id in std::mem::take(&mut self.later) {
            self.signal_for(id);
        }
    }

    fn signal_for(&mut self, id: WaiterId) {
        let Some(wanted) = self.waits.get(&id).map(|wait| &wait.wanted) else { return };
        let names: Vec<Box<[u8]>> = wanted.names().into_iter().map(Box::from).collect();
        let ns = wanted.ns();
        names.iter().for_each(|name| self.signal(ns, name));
    }

    /// As [`Waiting::signal`], for every stream of a namespace.
    pub(crate) fn signal_all(&mut self, ns: NamespaceNo) {
        let names: Vec<Box<[u8]>> =
            self.streams.get(&ns).map(|streams| streams.keys().cloned().collect()).unwrap_or_default();
        names.iter().for_each(|name| self.signal(ns, name));
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(crate) fn next_ready(&mut self) -> Option<(NamespaceNo, Box<[u8]>)> {
        let key = self.ready.pop_front()?;
        self.is_ready.remove(&key);
        Some(key)
    }

    /// Plain reads that wait for a stream, in the order they came.
    pub(crate) fn plain(&self, ns: NamespaceNo, name: &[u8]) -> Vec<WaiterId> {
        let waits = self.streams.get(&ns).and_then(|streams| streams.get(name));
        waits.map(|waits| waits.plain.iter().copied().collect()).unwrap_or_default()
    }

    /// The groups in which somebody waits for a stream.
    pub(crate) fn groups(&self, ns: NamespaceNo, name: &[u8]) -> Vec<Box<[u8]>> {
        let waits = self.streams.get(&ns).and_then(|streams| streams.get(name));
        waits.map(|waits| waits.groups.keys().cloned().collect()).unwrap_or_default()
    }

    /// Whose turn it is in a round through a group.
    pub(crate) fn next_in(
        &self,
        ns: NamespaceNo,
        name: &[u8],
        group: &[u8],
        round: &mut Round,
    ) -> Option<WaiterId> {
        round.asked = self.streams.get(&ns)?.get(name)?.groups.get(group)?.next(round);
        round.asked
    }

    /// Notes that the waiting read asked last in a round got nothing.
    pub(crate) fn got_nothing(&self, round: &mut Round) {
        let wait = round.asked.and_then(|id| self.waits.get(&id));
        let Some((_, wish)) = wait.and_then(|wait| wait.wanted.wish()) else { return };
        round.nothing_new |= wish.new;
        round.nothing_leased |= wish.leased;
        if let Some(idle_min) = wish.claim_idle_min {
            round.nothing_idle = Some(round.nothing_idle.map_or(idle_min, |known| known.min(idle_min)));
        }
    }
}

/// A watched key (`WATCH`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WatchId(u64);

/// Keys whose change somebody wants to know of, once.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    next: u64,
    keys: HashMap<NamespaceNo, HashMap<Box<[u8]>, HashSet<WatchId>>>,
    watched: HashMap<WatchId, (NamespaceNo, Box<[u8]>, bool)>,
}

impl Watches {
    pub(crate) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    pub(crate) fn add(&mut self, ns: NamespaceNo, name: &[u8]) -> WatchId {
        self.next += 1;
        let id = WatchId(self.next);
        self.keys.entry(ns).or_default().entry(name.into()).or_default().insert(id);
        self.watched.insert(id, (ns, name.into(), false));
        id
    }

    pub(crate) fn remove(&mut self, id: WatchId) {
        let Some((ns, name, _)) = self.watched.remove(&id) else { return };
        let Some(keys) = self.keys.get_mut(&ns) else { return };
        if let Some(ids) = keys.get_mut(&name) {
            ids.remove(&id);
            if ids.is_empty() {
                keys.remove(&name);
            }
        }
        if keys.is_empty() {
            self.keys.remove(&ns);
        }
    }

    pub(crate) fn is_dirty(&self, id: WatchId) -> bool {
        self.watched.get(&id).is_some_and(|(_, _, dirty)| *dirty)
    }

    /// Which key is watched.
    pub(crate) fn key(&self, id: WatchId) -> Option<(NamespaceNo, &[u8])> {
        self.watched.get(&id).map(|(ns, name, _)| (*ns, &**name))
    }

    pub(crate) fn touch(&mut self, ns: NamespaceNo, name: &[u8]) {
        let Some(ids) = self.keys.get(&ns).and_then(|keys| keys.get(name)) else { return };
        for id in ids {
            if let Some((_, _, dirty)) = self.watched.get_mut(id) {
                *dirty = true;
            }
        }
    }

    /// Names that are watched in a namespace.
    pub(crate) fn names(&self, ns: NamespaceNo) -> Vec<Box<[u8]>> {
        self.keys.get(&ns).map(|keys| keys.keys().cloned().collect()).unwrap_or_default()
    }
}
