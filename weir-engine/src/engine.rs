//! The engine as programs hold it: opened once, used from any number of threads.
//!
//! A program takes a [`Turn`], which is the core's lock, asks for what it wants, lets go of it, and then waits until
//! the log has reached the mark its policy demands. Results must not leave before; [`Engine::flush`] and
//! [`Engine::commit`] are where that wait happens, for all that was asked so far, by whoever comes first.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{ControlFlow, Deref, DerefMut};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, Weak};
use std::task::Waker;
use std::time::Duration;

use weir_core::{Clock, Error, ErrorKind, SystemClock};
use weir_log::{
    Disk, DiskLock, Elapsed, Level, Log, LogError, LogOptions, LogStats, Lsn, MemoryDisk, ReadError,
    RealDisk, Room, VisitBody,
};

use crate::ahead::{Ahead, read_error};
use crate::api::{EntryRef, Halt};
use crate::background::Background;
use crate::core::Core;
use crate::flusher::Flusher;
use crate::mailbox::Mailbox;
use crate::options::{Fsync, Limits, Options};
use crate::pool::Pool;
use crate::record::{EntryRecord, Fields};
use crate::recovery;
use crate::state::REMOVED_MAX;

/// The lock file of a data folder.
const LOCK: &str = "LOCK";
/// Under `everysec`: writers flush themselves once so much, or for so long, is not on disk yet.
const UNFLUSHED_BYTES_MAX: u64 = 256 << 20;
/// How often waiting reads are served in a row that have more to look at; the next turn goes on.
const LATE_ROUNDS_MAX: usize = 64;
const UNFLUSHED_TIME_MAX: Duration = Duration::from_secs(2);

/// A place in the log and how safe everything before it has to be, by the policy in force when it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    head: Lsn,
    level: Level,
}

impl Mark {
    /// Whether it takes a flush of the disk to reach it, not only a write to the system.
    #[must_use]
    pub fn is_durable(self) -> bool {
        self.level == Level::Durable
    }
}

/// An embedded broker. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    /// None for the engine's own use: what it does for itself must not keep it alive.
    _owner: Option<Arc<Owner>>,
}

/// Ends the engine's threads and frees its folder when the last clone is dropped, before that returns.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.stop_threads();
        // Nothing of this engine may be written once somebody else has the folder.
        self.0.log.shut();
        drop(self.0.lock.lock().expect("no panic under this lock").take());
    }
}

pub(crate) struct Shared {
    pub(crate) core: Mutex<Core>,
    pub(crate) log: Arc<Log>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
    fsync: AtomicU8,
    /// [`Clock::elapsed`] when the background work last flushed, in microseconds.
    flushed_at: AtomicU64,
    doorbell: OnceLock<Box<dyn Fn() + Send + Sync>>,
    pub(crate) closing: AtomicBool,
    pub(crate) wake: (Mutex<()>, Condvar),
    pub(crate) background: Mutex<Background>,
    /// Since the engine was opened.
    pub(crate) snapshots: AtomicU64,
    pub(crate) snapshots_failed: AtomicU64,
    /// When the last snapshot was finished, in milliseconds since the Unix epoch; 0 = there was none.
    pub(crate) snapshot_at: AtomicU64,
    pub(crate) snapshot_wanted: AtomicBool,
    /// Whether the last snapshot could not be written.
    pub(crate) snapshot_failed: AtomicBool,
    flusher: Arc<Flusher>,
    pool: Arc<Pool>,
    /// Tasks that wait for entries only until some time.
    alarms: Mutex<Alarms>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    lock: Mutex<Option<Box<dyn DiskLock>>>,
}

/// Tasks that wait for entries only until some time.
#[derive(Debug, Default)]
struct Alarms {
    set: u64,
    mailboxes: BTreeMap<AlarmId, Weak<Mailbox>>,
}

/// When an alarm rings, and which of those that ring then it is.
pub(crate) type AlarmId = (Duration, u64);

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("disk", &self.shared.disk).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the engine in a data folder, making it if there is none, and recovers what is in it.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`] when another process has it open, [`ErrorKind::Corrupt`] when what is on disk contradicts
    /// itself, [`ErrorKind::Invalid`] when the options do not fit the log's segments, [`ErrorKind::Io`].
    pub fn open(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, options: Options) -> Result<Self, Error> {
        disk.create_dir("").map_err(|error| io_error("making the data folder", error))?;
        let lock = take_lock(&*disk)?;
        let time = clock.clone();
        let log = LogOptions { elapsed: Elapsed::new(move || time.elapsed()), ..options.log };
        let options = Options { log, ..options };
        let recovered = recovery::recover(&disk, &options)?;
        options.check(recovered.appender.max_record())?;
        let log = recovered.log;
        let (removed, list) = std::sync::mpsc::sync_channel(REMOVED_MAX);
        let mut state = recovered.state;
        state.removed = Some(removed);
        let background = Background::new(
            recovered.snapshots,
            log.written(),
            list,
            clock.elapsed().saturating_add(options.retention_every),
        );
        let flusher = Flusher::new(log.clone());
        let core = Core::new(state, log.clone(), recovered.appender, options.clone(), clock.clone());
        let shared = Arc::new(Shared {
            core: Mutex::new(core),
            log,
            disk,
            fsync: AtomicU8::new(0),
            flushed_at: AtomicU64::new(micros(clock.elapsed())),
            clock,
            options,
            doorbell: OnceLock::new(),
            closing: AtomicBool::new(false),
            wake: (Mutex::new(()), Condvar::new()),
            background: Mutex::new(background),
            snapshots: AtomicU64::new(0),
            snapshots_failed: AtomicU64::new(0),
            snapshot_at: AtomicU64::new(0),
            snapshot_wanted: AtomicBool::new(false),
            snapshot_failed: AtomicBool::new(false),
            flusher,
            pool: Arc::default(),
            alarms: Mutex::default(),
            threads: Mutex::default(),
            lock: Mutex::new(Some(lock)),
        });
        let engine = Self { _owner: Some(Arc::new(Owner(shared.clone()))), shared };
        engine.set_fsync(engine.shared.options.fsync);
        engine.turn().make_databases();
        engine.flush()?;
        if engine.shared.options.background {
            let threads = Background::spawn(&engine.shared);
            let threads = threads.map_err(|error| io_error("starting a thread", error))?;
            *engine.shared.threads.lock().expect("no panic under this lock") = threads;
        }
        Ok(engine)
    }

    /// As [`Engine::open`], in a folder of the file system and by the system's clock.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_folder(folder: impl Into<PathBuf>, options: Options) -> Result<Self, Error> {
        Self::open(Arc::new(RealDisk::new(folder)), Arc::new(SystemClock::new()), options)
    }

    /// An engine on a disk in memory, for tests and development: the same engine, gone with the process.
    #[must_use]
    pub fn memory() -> Self {
        Self::memory_with(Arc::new(SystemClock::new()), Options::default())
    }

    /// As [`Engine::memory`], with a clock and options of one's own; but nothing is ever flushed, whatever they say, and
    /// segments are 16 MiB at most.
    #[must_use]
    pub fn memory_with(clock: Arc<dyn Clock>, options: Options) -> Self {
        let log =
            LogOptions { segment_bytes: options.log.segment_bytes.min(16 << 20), ..options.log.clone() };
        let options = Options { log, fsync: Fsync::No, ..options };
        Self::open(Arc::new(MemoryDisk::new()), clock, options).expect("a fresh disk in memory has no faults")
    }

    /// Takes the core's lock; whoever holds it, everybody else waits.
    ///
    /// Within a turn ask only the turn: another turn, and every method of [`crate::Namespace`], waits for this one to
    /// end and so for ever. Who panics within a turn may leave a command half done; the engine then serves nobody any
    /// more, every later call panics, and the folder has to be opened again, in another process.
    ///
    /// # Panics
    /// When somebody panicked within a turn.
    pub fn turn(&self) -> Turn<'_> {
        if self.shared.log.room() != Room::Ample {
            self.make_room();
        }
        self.take_turn(None)
    }

    /// As [`Engine::turn`], but what has to wait for the disk, before it and after it, is left to other threads.
    pub(crate) fn short_turn(&self) -> Turn<'_> {
        self.take_turn(Some(self))
    }

    fn take_turn<'a>(&'a self, in_poll: Option<&'a Self>) -> Turn<'a> {
        let now_micros = self.shared.clock.now_micros();
        let mut core = self.shared.core.lock().expect("no panic under this lock");
        core.begin_turn(now_micros);
        Turn { core: Some(core), shared: &self.shared, in_poll }
    }

    /// Asks a question under the lock, and again after the disk has done what it needs. The answer must not leave
    /// before [`Engine::flush`] or [`Engine::commit`].
    ///
    /// # Errors
    /// What the question is refused with, and as [`Engine::warm`].
    pub fn ask<T>(&self, mut question: impl FnMut(&mut Turn<'_>) -> Result<T, Halt>) -> Result<T, Error> {
        let mut ahead = Ahead::default();
        loop {
            let mut turn = self.turn();
            turn.lend(ahead);
            let answer = question(&mut turn);
            ahead = turn.take_back();
            drop(turn);
            match answer {
                Ok(answer) => return Ok(answer),
                Err(Halt::Error(error)) => return Err(error),
                Err(Halt::Cold(cold)) => self.warm(cold, &mut ahead)?,
            }
        }
    }

    /// Fetches the fields of entries, in the order asked for; entries that are gone are left out, also those that went
    /// after they were found: what is dead stays readable for some ten seconds only.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the disk fails, [`ErrorKind::Corrupt`] when a record is damaged.
    pub fn fetch(
        &self,
        entries: &[EntryRef],
        visit: &mut dyn FnMut(usize, EntryFields<'_>),
    ) -> Result<(), Error> {
        let mut visit = |nth: usize, fields: EntryFields<'_>| {
            visit(nth, fields);
            ControlFlow::Continue(())
        };
        let all = self.fetch_while(entries, true, &mut visit)?;
        debug_assert!(all, "only reads that refuse to wait find something cold");
        Ok(())
    }

    /// As [`Engine::fetch`], until `visit` breaks off. Unless it `may_wait`, it answers `false` instead of waiting for
    /// the disk; entries before the one that is not in memory were visited.
    ///
    /// # Errors
    /// As [`Engine::fetch`].
    pub fn fetch_while(
        &self,
        entries: &[EntryRef],
        may_wait: bool,
        visit: &mut dyn FnMut(usize, EntryFields<'_>) -> ControlFlow<()>,
    ) -> Result<bool, Error> {
        self.fetch_from(entries, visit, if may_wait { Log::read_many } else { Log::read_many_cached })
    }

    fn fetch_from(
        &self,
        entries: &[EntryRef],
        visit: &mut dyn FnMut(usize, EntryFields<'_>) -> ControlFlow<()>,
        read: fn(&Log, &[Lsn], &mut VisitBody<'_>) -> Result<(), ReadError>,
    ) -> Result<bool, Error> {
        let (places, lsns): (Vec<usize>, Vec<Lsn>) =
            entries.iter().enumerate().filter(|(_, e)| !e.is_gone()).map(|(n, e)| (n, e.lsn)).unzip();
        let (mut done, mut damaged, mut is_over) = (0, None, false);
        while done < lsns.len() && damaged.is_none() && !is_over {
            let from = done;
            let read = read(&self.shared.log, &lsns[from..], &mut |nth, body| {
                let nth = from + nth;
                match EntryRecord::decode(body) {
                    Some(record) if record.id == entries[places[nth]].id => {
                        let fields = EntryFields { fields: record.fields, at: record.at, record };
                        let flow = visit(places[nth], fields);
                        (done, is_over) = (nth + 1, flow.is_break());
                        flow
                    }
                    _ => {
                        damaged = Some(lsns[nth]);
                        ControlFlow::Break(())
                    }
                }
            });
            match read {
                Ok(()) => {}
                Err(ReadError::Cold) => return Ok(false),
                // Its space was taken back since it was found.
                Err(ReadError::Gone(_)) => done += 1,
                Err(error) => return Err(read_error(error)),
            }
        }
        match damaged {
            None => Ok(true),
            Some(lsn) => {
                let what = format!("no such entry at log address {lsn}");
                Err(Error::new(ErrorKind::Corrupt).with_context(what))
            }
        }
    }

    // ---- durability --------------------------------------------------------------------------------------------

    /// Waits until everything asked so far has reached what the policy demands; results may leave afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::Faulted`]: a write or a flush failed, none of those results may leave.
    pub fn flush(&self) -> Result<(), Error> {
        self.reach(self.mark())
    }

    /// What has to be reached before results of everything asked so far may leave.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { head: self.shared.log.submitted(), level: self.level() }
    }

    /// As [`Engine::mark`], for results that wait for the disk whatever the policy.
    #[must_use]
    pub fn mark_durable(&self) -> Mark {
        Mark { head: self.shared.log.submitted(), level: Level::Durable }
    }

    /// Waits until a mark is reached.
    ///
    /// # Errors
    /// As [`Engine::flush`].
    pub fn reach(&self, mark: Mark) -> Result<(), Error> {
        self.shared.log.commit(mark.head, mark.level).map_err(log_error)
    }

    /// Whether a mark is reached, without waiting. When it cannot be any more, that is an answer, too:
    /// [`Engine::reach`] says why.
    #[must_use]
    pub fn is_settled(&self, mark: Mark) -> bool {
        self.shared.log.reached(mark.level) >= mark.head || self.shared.log.check().is_err()
    }

    /// Bytes that were appended and wait in memory to be written.
    #[must_use]
    pub fn unwritten_bytes(&self) -> u64 {
        let log = &self.shared.log;
        log.submitted().0.saturating_sub(log.written().0)
    }

    /// Has a mark reached by a thread of its own, and `waker` woken when [`Engine::is_settled`] says that it is.
    pub fn reach_soon(&self, mark: Mark, waker: &Waker) {
        self.shared.flusher.want(mark.head, mark.level, waker);
    }

    /// As [`Engine::flush`], for what was asked up to `head`, see [`Core::head`].
    ///
    /// # Errors
    /// [`ErrorKind::Faulted`].
    pub fn commit(&self, head: Lsn) -> Result<(), Error> {
        let level = self.level();
        self.shared.log.commit(head, level).map_err(log_error)
    }

    /// Waits until everything asked so far is on disk, whatever the policy.
    ///
    /// # Errors
    /// [`ErrorKind::Faulted`].
    pub fn sync(&self) -> Result<(), Error> {
        self.shared.log.flush_submitted(Level::Durable).map(drop).map_err(log_error)
    }

    /// What is prepared at once when space is short, in bytes.
    pub(crate) fn small_room(&self) -> u64 {
        self.shared.small_room()
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.shared.log.segment_bytes()
    }

    pub(crate) fn flusher(&self) -> &Arc<Flusher> {
        &self.shared.flusher
    }

    /// Threads that wait for the disk.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.shared.pool
    }

    /// Has waiting reads served that lack room in the log.
    fn serve_late_aside(&self) {
        let shared = self.shared.clone();
        let served = self.shared.pool.run_unawaited(move || {
            if shared.serve_late() {
                shared.ring();
            }
        });
        // A closed engine has answered all waiting reads. Where there is no thread to be had, the next turn serves them.
        drop(served);
    }

    /// Has a mailbox nudged when [`Clock::elapsed`] reaches `until`, by the background thread, unless it is
    /// [silenced](Engine::silence) before.
    pub(crate) fn alarm(&self, until: Duration, mailbox: &Arc<Mailbox>) -> AlarmId {
        let mut alarms = self.shared.alarms.lock().expect("no panic under this lock");
        alarms.set += 1;
        let id = (until, alarms.set);
        alarms.mailboxes.insert(id, Arc::downgrade(mailbox));
        id
    }

    pub(crate) fn silence(&self, alarm: AlarmId) {
        self.shared.alarms.lock().expect("no panic under this lock").mailboxes.remove(&alarm);
    }

    #[cfg(test)]
    pub(crate) fn alarms_set(&self) -> usize {
        self.shared.alarms.lock().expect("no panic under this lock").mailboxes.len()
    }

    pub(crate) fn level(&self) -> Level {
        match self.fsync() {
            Fsync::Always => Level::Durable,
            Fsync::No => Level::Written,
            Fsync::EverySecond => {
                let log = &self.shared.log;
                let unflushed = log.written().0.saturating_sub(log.durable().0);
                let late = unflushed > UNFLUSHED_BYTES_MAX || log.unflushed_for() > UNFLUSHED_TIME_MAX;
                if late { Level::Durable } else { Level::Written }
            }
        }
    }

    /// When results may leave.
    #[must_use]
    pub fn fsync(&self) -> Fsync {
        match self.shared.fsync.load(Ordering::Relaxed) {
            0 => Fsync::EverySecond,
            1 => Fsync::Always,
            _ => Fsync::No,
        }
    }

    /// Changes when results may leave.
    pub fn set_fsync(&self, fsync: Fsync) {
        let code = match fsync {
            Fsync::EverySecond => 0,
            Fsync::Always => 1,
            Fsync::No => 2,
        };
        self.shared.fsync.store(code, Ordering::Relaxed);
    }

    // ---- the rest ----------------------------------------------------------------------------------------------

    /// Prepares space in the log where it is short. A full disk is no error here: appends will be refused.
    pub fn make_room(&self) {
        // A failure beside the log's data shows as missing room; the log's own failures latch.
        drop(self.shared.log.ensure_room(self.small_room()));
    }

    /// Rings when a waiting read was served by another thread's doing: take a turn and [`Core::take_served`].
    /// Set once; later ones are ignored.
    pub fn on_served(&self, ring: Box<dyn Fn() + Send + Sync>) {
        drop(self.shared.doorbell.set(ring));
    }

    /// What the log has done and holds.
    #[must_use]
    pub fn log_stats(&self) -> LogStats {
        self.shared.log.stats()
    }

    /// How many snapshots were written since the engine was opened.
    #[must_use]
    pub fn snapshots_written(&self) -> u64 {
        self.shared.snapshots.load(Ordering::Relaxed)
    }

    /// Whether the last attempt to write a snapshot failed. It is repeated; until then the next start takes longer.
    #[must_use]
    pub fn snapshot_failed(&self) -> bool {
        self.shared.snapshot_failed.load(Ordering::Relaxed)
    }

    /// How many snapshots could not be written since the engine was opened.
    #[must_use]
    pub fn snapshots_failed(&self) -> u64 {
        self.shared.snapshots_failed.load(Ordering::Relaxed)
    }

    /// Bytes the log takes on the disk.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.shared.log.segments().iter().map(|segment| segment.bytes_on_disk).sum()
    }

    /// Written and durable ends of the log.
    #[must_use]
    pub fn watermarks(&self) -> (Lsn, Lsn) {
        (self.shared.log.written(), self.shared.log.durable())
    }

    /// Whether a write or a flush failed, so that nothing is accepted until the folder is opened again.
    #[must_use]
    pub fn is_faulted(&self) -> bool {
        self.shared.log.is_faulted()
    }

    /// What is bounded.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.shared.options.limits
    }

    /// The clock the engine goes by.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    /// Writes what others should know of this process into the lock file: addresses, one per line.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn announce(&self, text: &str) -> Result<(), Error> {
        let lock = self.shared.lock.lock().expect("no panic under this lock");
        match &*lock {
            Some(lock) => {
                let text = format!("pid {}\n{text}", std::process::id());
                lock.rewrite(&text).map_err(|error| io_error("writing the lock file", error))
            }
            None => Err(ErrorKind::Closed.into()),
        }
    }

    /// Does a bounded piece of background work: preparing segments, the flush of each second, alarms, the removal of
    /// keys that have expired, snapshots, reclaiming. Answers whether there is more to do now. Only for engines without
    /// threads of their own.
    ///
    /// # Errors
    /// [`ErrorKind::Faulted`], [`ErrorKind::Io`].
    pub fn background_step(&self) -> Result<bool, Error> {
        Background::step(&self.shared)
    }

    /// Writes a snapshot now, so that the next start need not replay the log before it.
    ///
    /// # Errors
    /// [`ErrorKind::Faulted`], [`ErrorKind::Io`].
    pub fn snapshot(&self) -> Result<(), Error> {
        Background::snapshot(&self.shared)
    }

    /// Ends the engine: a last snapshot where the disk has room for it, everything flushed, the folder free for others.
    /// Whoever waits for entries is answered [`ErrorKind::Closed`], and so is every call of a
    /// [`Namespace`](crate::Namespace) from then on, every change and every new wait asked in a [`Turn`]. Questions asked
    /// in a turn are answered from memory still.
    ///
    /// # Errors
    /// [`ErrorKind::Faulted`], [`ErrorKind::Io`]; the folder is free all the same.
    pub fn close(&self) -> Result<(), Error> {
        self.shared.stop_threads();
        let lock = self.shared.lock.lock().expect("no panic under this lock").take();
        if lock.is_none() {
            return Ok(());
        }
        self.turn().close();
        let result = self.sync().and_then(|()| match self.snapshot() {
            // The log has everything; the next start only takes longer.
            Err(error) if *error.kind() == ErrorKind::DiskFull => Ok(()),
            done => done.and_then(|()| self.sync()),
        });
        // Before anybody else may have the folder.
        self.shared.log.shut();
        drop(lock);
        result
    }

    /// Removes a bounded number of keys whose time has come; `true` when there are more.
    pub(crate) fn expire_due(&self) -> bool {
        let mut turn = self.short_turn();
        turn.ask_due_waiters();
        turn.expire_due()
    }

    /// For the engine's own use: keeps nothing alive beyond its folder's lock.
    pub(crate) fn of(shared: &Arc<Shared>) -> Self {
        Self { shared: shared.clone(), _owner: None }
    }
}

impl Shared {
    /// What is prepared at once when space is short, in bytes.
    fn small_room(&self) -> u64 {
        (self.log.segment_bytes() / 4).min(1 << 20)
    }

    /// Makes room in the log, without the lock, and serves the waiting reads that lacked it or have more to look at.
    /// Answers whether there is something for the doors.
    #[cold]
    fn serve_late(&self) -> bool {
        let mut ring = false;
        for _ in 0..LATE_ROUNDS_MAX {
            // Where the disk is full, who waits is told so.
            drop(self.log.ensure_room(self.small_room()));
            // Who looks at the fields of what is new can do so once it is written.
            drop(self.log.flush_submitted(Level::Written));
            let mut core = self.core.lock().expect("no panic under this lock");
            core.serve_waiters();
            core.appender.submit();
            let wakers = std::mem::take(&mut core.waiting.wakers);
            ring |= !core.waiting.served.is_empty();
            let is_done = !core.waiting.has_ready();
            drop(core);
            wakers.into_iter().for_each(Waker::wake);
            if is_done {
                break;
            }
        }
        ring
    }

    /// Nudges whose time is up; answers how long the next one has.
    pub(crate) fn ring_alarms(&self) -> Option<Duration> {
        let now = self.clock.elapsed();
        let mut alarms = self.alarms.lock().expect("no panic under this lock");
        let later = alarms.mailboxes.split_off(&(now + Duration::from_nanos(1), 0));
        let due = std::mem::replace(&mut alarms.mailboxes, later);
        let next = alarms.mailboxes.first_key_value().map(|((until, _), _)| until.saturating_sub(now));
        drop(alarms);
        due.into_values().filter_map(|mailbox| mailbox.upgrade()).for_each(|mailbox| mailbox.nudge());
        next
    }

    /// Whether the background work last flushed `every` ago or longer; then it counts as flushed now.
    pub(crate) fn is_flush_due(&self, every: Duration) -> bool {
        let now = micros(self.clock.elapsed());
        let due = now.saturating_sub(self.flushed_at.load(Ordering::Relaxed)) >= micros(every);
        if due {
            self.flushed_at.store(now, Ordering::Relaxed);
        }
        due
    }

    /// Ends the background threads and waits for them.
    fn stop_threads(&self) {
        self.stop();
        let threads = std::mem::take(&mut *self.threads.lock().expect("no panic under this lock"));
        let own = std::thread::current().id();
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != own) {
            // A thread that panicked has nothing left to wait for.
            drop(thread.join());
        }
    }

    fn ring(&self) {
        if let Some(doorbell) = self.doorbell.get() {
            doorbell();
        }
    }

    fn stop(&self) {
        self.flusher.close();
        self.pool.close();
        self.closing.store(true, Ordering::SeqCst);
        drop(self.wake.0.lock().expect("no panic under this lock"));
        self.wake.1.notify_all();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The core's lock, held.
pub struct Turn<'a> {
    core: Option<MutexGuard<'a, Core>>,
    shared: &'a Shared,
    /// Its engine, when the turn must not wait for the disk at its end either.
    in_poll: Option<&'a Engine>,
}

impl fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").finish_non_exhaustive()
    }
}

impl Deref for Turn<'_> {
    type Target = Core;
    fn deref(&self) -> &Core {
        self.core.as_ref().expect("held until the turn is dropped")
    }
}

impl DerefMut for Turn<'_> {
    fn deref_mut(&mut self) -> &mut Core {
        self.core.as_mut().expect("held until the turn is dropped")
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(mut core) = self.core.take() else { return };
        if std::thread::panicking() {
            return;
        }
        core.end_all();
        core.serve_waiters();
        core.appender.submit();
        let mut ring = !core.waiting.served.is_empty();
        let lacks_room = core.waiting.has_ready();
        let wakers = std::mem::take(&mut core.waiting.wakers);
        drop(core);
        // One that is woken may be dropped at once, and what it waits for takes the lock to say so.
        wakers.into_iter().for_each(Waker::wake);
        if lacks_room {
            match self.in_poll {
                None => ring |= self.shared.serve_late(),
                Some(engine) => engine.serve_late_aside(),
            }
        }
        if ring {
            self.shared.ring();
        }
    }
}

/// The fields of an entry: names and values in turn.
#[derive(Debug, Clone, Copy)]
pub struct EntryFields<'a> {
    fields: Fields<'a>,
    at: u64,
    record: EntryRecord<'a>,
}

impl<'a> EntryFields<'a> {
    /// How many names and values there are together.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an entry has at least one field")]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Visits names and values in turn.
    pub fn for_each(&self, visit: impl FnMut(&'a [u8])) {
        self.fields.for_each(visit);
    }

    /// When the entry was appended, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn appended_at(&self) -> u64 {
        self.at
    }

    /// The entry's position in its stream, from 0.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.record.pos
    }

    /// The entry's global position in its namespace, from 1.
    #[must_use]
    pub fn global_position(&self) -> u64 {
        self.record.gpos
    }
}

fn take_lock(disk: &dyn Disk) -> Result<Box<dyn DiskLock>, Error> {
    disk.lock(LOCK, &format!("pid {}\n", std::process::id())).map_err(|error| {
        if error.kind() == std::io::ErrorKind::WouldBlock {
            Error::new(ErrorKind::InUse).with_context("its LOCK file says by whom")
        } else {
            io_error("taking the lock of the data folder", error)
        }
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn io_error(what: &str, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        _ => ErrorKind::Io,
    };
    Error::new(kind).with_context(format!("{what}: {error}")).with_source(error)
}

pub(crate) fn log_error(error: LogError) -> Error {
    let kind = match error {
        LogError::Faulted { .. } => ErrorKind::Faulted,
        LogError::Shut => ErrorKind::Closed,
        _ if error.is_full() => ErrorKind::DiskFull,
        _ => ErrorKind::Io,
    };
    Error::new(kind).with_context(error.to_string()).with_source(error)
}
