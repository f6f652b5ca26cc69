//! The engine under its lock: state, the log's buffer, and what waits for changes.
//!
//! Every command is a method that first decides, from the state and the time alone, what is to change, and only then
//! writes records and applies them. So a command that fails, or that finds a part of the index cold, has changed
//! nothing and may be asked again.
//!
//! Nothing here waits for the disk, except for what cannot be asked again: a command inside a transaction, and a read
//! that waited. A request that needs more index blocks than are kept for one reads the rest here, too.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

use weir_core::{Clock, ErrorKind, Timestamp};
use weir_log::{Appender, Log, Lsn, Room};

use crate::ahead::{Ahead, Missing};
use crate::api::{Cold, EntryRef, Halt, KeyEvent, KeyRef, NamespaceNo};
use crate::block::Located;
use crate::blocks::Blocks;
use crate::engine::log_error;
use crate::group::Group;
use crate::options::Options;
use crate::record::Record;
use crate::scan::{Scan, ScanOf};
use crate::state::{Key, State, Value};
use crate::stream::{Span, Stream};
use crate::tuning::Lookups;
use crate::waiting::{Waiting, Watches};

/// Databases that exist from the start: namespace 0 is `default`, the others `db1` … `db15`.
pub const DATABASES: u32 = 16;

/// Events kept until somebody takes them; what happens beyond that is not told.
const EVENTS_MAX: usize = 100_000;

/// Entries below this size, and below a small part of a segment, need no look at the space they take themselves.
const SMALL_ENTRY: u64 = 64 << 10;

/// The engine under its lock. Reached through [`crate::Turn`].
#[derive(Debug)]
pub struct Core {
    pub(crate) state: State,
    pub(crate) appender: Appender,
    pub(crate) blocks: Blocks,
    pub(crate) log: Arc<Log>,
    pub(crate) options: Options,
    pub(crate) now: Timestamp,
    pub(crate) now_micros: u64,
    clock: Arc<dyn Clock>,
    /// Steady time less [`Clock::elapsed`], in microseconds.
    steady_from: i128,
    /// See [`Core::steady`]; `None` = nobody has asked in this turn.
    steady: Cell<Option<Timestamp>>,
    pub(crate) waiting: Waiting,
    pub(crate) watches: Watches,
    /// How deep transactions and tied commands are nested.
    transaction: u32,
    /// Whether cold blocks were read on the spot before the transaction.
    on_the_spot_before: bool,
    /// Between [`Core::begin`] and [`Core::end`].
    asked_once: bool,
    /// Nobody may wait for anything any more.
    is_closed: bool,
    pub(crate) expires_actively: bool,
    pub(crate) events_wanted: bool,
    pub(crate) events: Vec<KeyEvent>,
    /// Keys that expiry removed.
    pub(crate) expired_keys: u64,
    /// Numbers for what is told apart within this run of the engine.
    serials: u64,
    pub(crate) counts_lookups: bool,
    pub(crate) lookups: Lookups,
}

/// A key that was looked up: where it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) slot: u32,
}

impl Core {
    pub(crate) fn new(
        state: State,
        log: Arc<Log>,
        appender: Appender,
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            state,
            appender,
            blocks: Blocks::new(log.clone(), options.block_cache_bytes),
            log,
            options,
            now: Timestamp(0),
            now_micros: 0,
            steady_from: i128::from(clock.now_micros()) - micros(&*clock),
            clock,
            steady: Cell::new(None),
            waiting: Waiting::default(),
            watches: Watches::default(),
            transaction: 0,
            on_the_spot_before: false,
            asked_once: false,
            is_closed: false,
            expires_actively: true,
            events_wanted: false,
            events: Vec::new(),
            expired_keys: 0,
            serials: 0,
            counts_lookups: false,
            lookups: Lookups::default(),
        }
    }

    /// The time this turn goes by.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The time by which delays, leases, pauses and the rows of pending lists go: the wall clock when the engine was
    /// opened, and what has passed since. No step of the wall clock moves it.
    #[must_use]
    pub fn steady(&self) -> Timestamp {
        if let Some(steady) = self.steady.get() {
            return steady;
        }
        let millis = (self.steady_from + micros(&*self.clock)) / 1_000;
        let steady = Timestamp(u64::try_from(millis).unwrap_or(0));
        self.steady.set(Some(steady));
        steady
    }

    /// A new turn begins.
    pub(crate) fn begin_turn(&mut self, now_micros: u64) {
        self.now_micros = now_micros;
        self.now = Timestamp(now_micros / 1_000);
        self.steady.set(None);
    }

    /// As [`Core::now`], in microseconds since the Unix epoch.
    #[must_use]
    pub fn now_micros(&self) -> u64 {
        self.now_micros
    }

    /// A number that was not given before in this run of the engine.
    pub(crate) fn next_serial(&mut self) -> u64 {
        self.serials += 1;
        self.serials
    }

    // ---- transactions ------------------------------------------------------------------------------------------

    /// What is changed from here to [`Core::end`] appears together after a crash, or not at all. May be nested. Ends
    /// with the turn at the latest.
    pub fn begin(&mut self) {
        if self.transaction == 0 {
            // So that what came before it can be read in it.
            self.appender.submit();
            self.appender.begin();
            self.on_the_spot_before = self.blocks.read_on_the_spot(true);
            self.asked_once = true;
        }
        self.transaction += 1;
    }

    /// Hands over what was appended so far, to be written by whoever writes next, as the end of the turn does. Within a
    /// transaction it does nothing.
    pub fn submit(&mut self) {
        if self.transaction == 0 {
            self.appender.submit();
        }
    }

    /// Ends what [`Core::begin`] began. Where nothing was begun it does nothing.
    pub fn end(&mut self) {
        match self.transaction {
            0 => return,
            1 => {
                self.appender.end();
                self.blocks.read_on_the_spot(self.on_the_spot_before);
                self.asked_once = false;
            }
            _ => {}
        }
        self.transaction -= 1;
    }

    /// Ends what was begun and not ended, as the turn does.
    pub(crate) fn end_all(&mut self) {
        while self.transaction > 0 {
            self.end();
        }
        self.blocks.read_on_the_spot(false);
    }

    /// Lends what was read ahead for the request that is asked next. Give it back with [`Core::take_back`].
    #[inline]
    pub fn lend(&mut self, ahead: Ahead) {
        self.blocks.lend(ahead);
    }

    /// Ends [`Core::lend`].
    #[inline]
    pub fn take_back(&mut self) -> Ahead {
        self.blocks.lend(Ahead::default())
    }

    /// Whether what is cold is read at once, under the lock, until the turn ends: for a request that cannot be
    /// asked again.
    pub fn read_on_the_spot(&mut self, yes: bool) {
        self.blocks.read_on_the_spot(yes);
    }

    /// As [`Core::entries_of`], for a request that asks nothing else: what lies in many blocks is left to a [`Scan`]. Its
    /// answer is that of the turn that left it.
    pub(crate) fn entries_alone(
        &self,
        found: Found,
        span: Span,
        reverse: bool,
    ) -> Result<Cow<'_, [EntryRef]>, Cold> {
        let of = ScanOf { key: self.key(found).no, span, reverse };
        if let Some(refs) = self.blocks.ahead().scanned(&of) {
            return Ok(Cow::Borrowed(refs));
        }
        let stream = self.stream(found);
        if !self.blocks.reads_on_the_spot() && stream.is_wide(&span, reverse) {
            return Err(Missing { scans: vec![Scan::of(stream, of)], ..Missing::default() }.into());
        }
        self.entries_of(found, span, reverse).map(Cow::Owned)
    }

    /// Entries of a stream as it is now.
    pub(crate) fn entries_of(&self, found: Found, span: Span, reverse: bool) -> Result<Vec<EntryRef>, Cold> {
        let stream = self.stream(found);
        let most = usize::try_from(span.most).unwrap_or(usize::MAX);
        let mut refs = Vec::with_capacity(most.min(128));
        let mut visit = |entry: Located| {
            refs.push(EntryRef::from(entry));
            ControlFlow::Continue(())
        };
        if reverse {
            stream.scan_back(&self.blocks, span, &mut visit)?;
        } else {
            stream.scan(&self.blocks, span, &mut visit)?;
        }
        Ok(refs)
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.transaction > 0
    }

    /// Whether a transaction of the caller is open, in which nobody can ask again.
    pub(crate) fn is_asked_once(&self) -> bool {
        self.asked_once
    }

    /// Ties the records of one command together. Unlike [`Core::begin`] it leaves cold blocks cold.
    pub(crate) fn tie(&mut self) {
        if self.transaction == 0 {
            self.appender.begin();
        }
        self.transaction += 1;
    }

    pub(crate) fn untie(&mut self) {
        self.transaction -= 1;
        if self.transaction == 0 {
            self.appender.end();
        }
    }

    // ---- writing -----------------------------------------------------------------------------------------------

    /// Logs and applies a record; returns the slot of a key that came to be.
    #[inline]
    pub(crate) fn commit(&mut self, slot: Option<u32>, record: &Record<'_>) -> Option<u32> {
        let lsn = log_record(&self.state, &mut self.appender, slot, record);
        self.state.apply(slot, lsn, record)
    }

    /// Logs and applies a record about a key.
    #[inline]
    pub(crate) fn commit_to(&mut self, found: Found, record: &Record<'_>) {
        let lsn = log_record(&self.state, &mut self.appender, Some(found.slot), record);
        self.state.apply(Some(found.slot), lsn, record);
    }

    /// Writes the tail block of a stream into the log.
    pub(crate) fn seal_tail(&mut self, found: Found) {
        let Self { state, appender, blocks, .. } = self;
        let Some(key) = state.keys.get(found.slot) else { return };
        let Some(stream) = key.stream() else { return };
        let block = Arc::new(stream.tail.block.clone());
        let record = Record::Block { key: key.no, block: Cow::Borrowed(&block) };
        let lsn = log_record(state, appender, Some(found.slot), &record);
        state.apply(Some(found.slot), lsn, &record);
        // Until it is written it can be read from nowhere else.
        blocks.insert(lsn, block);
    }

    /// Whether anything may be written; what only gives space back may use the reserve.
    pub(crate) fn check_writable(&self, grows: bool) -> Result<(), Halt> {
        if let Err(error) = self.log.check() {
            return Err(log_error(error).into());
        }
        match self.log.room() {
            Room::Ample => Ok(()),
            Room::ReserveOnly if !grows => Ok(()),
            short => self.refuse_or_wait(short, 0),
        }
    }

    /// As [`Core::check_writable`], for an entry of so many bytes.
    #[inline]
    pub(crate) fn check_room(&self, bytes: u64) -> Result<(), Halt> {
        if bytes < SMALL_ENTRY.min(self.log.segment_bytes() / 64) {
            return self.check_writable(true);
        }
        self.check_writable(true)?;
        match self.log.room_for(2 * bytes) {
            Room::Ample => Ok(()),
            short => self.refuse_or_wait(short, 2 * bytes),
        }
    }

    /// Space that is not there: the disk is full, or preparing it lags behind.
    #[cold]
    fn refuse_or_wait(&self, room: Room, bytes: u64) -> Result<(), Halt> {
        if self.log.stats().disk_full {
            return Err(ErrorKind::DiskFull.into());
        }
        // A command that cannot be asked again goes on: the file grows under it, which is slower and just as safe.
        if self.in_transaction() && room != Room::None {
            return Ok(());
        }
        Err(Cold::Room(bytes).into())
    }

    /// The end of everything written so far.
    #[must_use]
    pub fn head(&self) -> Lsn {
        self.appender.head()
    }

    /// From now on nobody may ask any more, and whoever waits is told so.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        self.refuse_waiters(&ErrorKind::Closed);
    }

    pub(crate) fn check_open(&self) -> Result<(), Halt> {
        if self.is_closed { Err(ErrorKind::Closed.into()) } else { Ok(()) }
    }

    // ---- looking up --------------------------------------------------------------------------------------------

    pub(crate) fn inner(&self, ns: NamespaceNo) -> Result<u32, Halt> {
        self.state.inner(ns.0).ok_or_else(|| ErrorKind::Invalid("no such namespace").into())
    }

    /// Finds a key that has not expired; one that has is removed on the way.
    #[inline]
    pub(crate) fn find(&mut self, key: KeyRef<'_>) -> Result<Option<Found>, Halt> {
        let found = self.look_up(key)?;
        if self.counts_lookups {
            match found {
                Some(_) => self.lookups.hits += 1,
                None => self.lookups.misses += 1,
            }
        }
        Ok(found)
    }

    #[inline]
    fn look_up(&mut self, key: KeyRef<'_>) -> Result<Option<Found>, Halt> {
        let inner = self.inner(key.ns)?;
        let Some(slot) = self.state.slot(inner, key.name) else { return Ok(None) };
        let expires = self.state.keys.get(slot).map_or(0, |key| key.expires);
        if expires != 0 && expires <= self.now.0 {
            // Where nothing can be written it stays, hidden, until its name is wanted or there is room again.
            if self.check_writable(false).is_ok() {
                self.expire(key, Found { slot });
            }
            return Ok(None);
        }
        Ok(Some(Found { slot }))
    }

    fn expire(&mut self, key: KeyRef<'_>, found: Found) {
        self.delete_found(key, found);
        self.expired_keys += 1;
        self.event(key, "expired");
    }

    /// Removes an expired key that still holds a name which is about to be given away.
    pub(crate) fn vacate(&mut self, key: KeyRef<'_>) {
        let slot = self.state.inner(key.ns.0).and_then(|inner| self.state.slot(inner, key.name));
        if let Some(slot) = slot {
            self.expire(key, Found { slot });
        }
    }

    pub(crate) fn delete_found(&mut self, key: KeyRef<'_>, found: Found) {
        let no = self.key(found).no;
        self.commit_to(found, &Record::KeyDelete { key: no });
        self.watches.touch(key.ns, key.name);
        self.waiting.signal(key.ns, key.name);
    }

    /// Whether keys whose time has come are removed although nobody asks for them. They are gone for every question in
    /// any case. Default `true`; tests of expiry switch it off.
    pub fn expire_actively(&mut self, yes: bool) {
        self.expires_actively = yes;
    }

    /// Removes keys whose time has come, a bounded number at once; `true` when there are more. The engine's thread does
    /// this all the time; a door that tells of expired keys does it once a turn.
    pub fn expire_due(&mut self) -> bool {
        const AT_ONCE: usize = 64;
        if !self.expires_actively {
            return false;
        }
        let mut due = Vec::new();
        for (ns, inner) in self.state.directory.iter().enumerate() {
            let Some(space) = self.state.namespaces.get(*inner as usize) else { continue };
            if space.expires.is_empty() {
                continue;
            }
            let ripe = space.expires.range(..=(self.now.0, u32::MAX)).take(AT_ONCE - due.len());
            due.extend(ripe.filter_map(|(_, slot)| {
                Some((NamespaceNo(ns as u32), *slot, self.state.keys.get(*slot)?.name.clone()))
            }));
        }
        if due.is_empty() || self.check_writable(false).is_err() {
            return false;
        }
        let is_full = due.len() == AT_ONCE;
        for (ns, slot, name) in due {
            self.expire(KeyRef { ns, name: &name }, Found { slot });
        }
        is_full
    }

    #[inline]
    pub(crate) fn key(&self, found: Found) -> &Key {
        self.state.keys.get(found.slot).expect("found in this turn")
    }

    /// The stream under a key; an error when the key holds something else.
    #[inline]
    pub(crate) fn find_stream(&mut self, key: KeyRef<'_>) -> Result<Option<Found>, Halt> {
        let Some(found) = self.find(key)? else { return Ok(None) };
        match self.key(found).value {
            Value::Stream(_) => Ok(Some(found)),
            Value::Text(_) => Err(ErrorKind::WrongType.into()),
        }
    }

    #[inline]
    pub(crate) fn stream(&self, found: Found) -> &Stream {
        self.key(found).stream().expect("found as a stream in this turn")
    }

    pub(crate) fn stream_mut(&mut self, found: Found) -> &mut Stream {
        let key = self.state.keys.get_mut(found.slot).expect("found in this turn");
        key.stream_mut().expect("found as a stream in this turn")
    }

    pub(crate) fn check_name(&self, name: &[u8]) -> Result<(), Halt> {
        if name.len() > self.options.limits.name_bytes {
            return Err(ErrorKind::LimitReached("bytes of a name (name_bytes)").into());
        }
        Ok(())
    }

    /// Whether there may be one more key.
    pub(crate) fn check_new_key(&self) -> Result<(), Halt> {
        if self.state.keys.len() >= self.options.limits.keys {
            return Err(ErrorKind::LimitReached("keys").into());
        }
        Ok(())
    }

    /// Whether a group may have so many more entries pending.
    pub(crate) fn check_pending(&self, group: &Group, more: usize) -> Result<(), Halt> {
        if more > 0 && group.pending.len().saturating_add(more) > self.options.limits.pending {
            return Err(ErrorKind::LimitReached("pending entries of a group (pending)").into());
        }
        Ok(())
    }

    /// Whether a group has a consumer, or may have it.
    pub(crate) fn check_consumer(&self, group: &Group, name: &[u8]) -> Result<(), Halt> {
        if group.consumer_no(name).is_some() {
            return Ok(());
        }
        if group.consumer_count() >= self.options.limits.consumers {
            return Err(ErrorKind::LimitReached("consumers of a group (consumers)").into());
        }
        self.check_name(name)
    }

    // ---- telling others ----------------------------------------------------------------------------------------

    pub(crate) fn event(&mut self, key: KeyRef<'_>, event: &'static str) {
        if self.events_wanted && self.events.len() < EVENTS_MAX {
            self.events.push(KeyEvent { ns: key.ns, key: key.name.into(), event });
        }
    }

    /// A key's entries changed: watchers see it.
    #[inline]
    pub(crate) fn touched(&mut self, key: KeyRef<'_>) {
        if !self.watches.is_empty() {
            self.watches.touch(key.ns, key.name);
        }
    }

    /// Something waiting reads should look at happened to a key.
    #[inline]
    pub(crate) fn signal(&mut self, key: KeyRef<'_>) {
        if !self.waiting.is_empty() {
            self.waiting.signal(key.ns, key.name);
        }
    }

    /// Whether events are recorded for [`Core::take_events`].
    pub fn record_events(&mut self, yes: bool) {
        self.events_wanted = yes;
    }

    /// The events since this was last asked.
    pub fn take_events(&mut self) -> Vec<KeyEvent> {
        std::mem::take(&mut self.events)
    }
}

/// [`Clock::elapsed`] in microseconds.
fn micros(clock: &dyn Clock) -> i128 {
    i128::try_from(clock.elapsed().as_micros()).unwrap_or(i128::MAX)
}

/// Logs a record. What recovery would not understand or would refuse is a defect of whoever wrote it: the folder could
/// not be opened again. Debug builds, and with them every test, look at each record.
#[inline]
fn log_record(state: &State, appender: &mut Appender, slot: Option<u32>, record: &Record<'_>) -> Lsn {
    debug_assert!(state.admits(slot, appender.head(), record), "recovery would refuse {record:?}");
    appender.append(|out| {
        let from = out.len();
        record.encode(out);
        debug_assert!(Record::decode(&out[from..]).is_some(), "recovery would not understand {record:?}");
    })
}
