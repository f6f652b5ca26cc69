//! The engine's background work, by two threads.
//!
//! The first does what must not wait: the flush of each second, space ahead of the writer, alarms. The second does
//! what may take long: snapshots, giving space back, freeing what was removed. Neither ever holds the core's lock
//! longer than a slice. The second also looks at the limits of streams from time to time. [`Background::step`] is both in turn, for engines without threads.
//!
//! While the disk is full, a snapshot is written as soon as something was removed, since it tells what is dead and
//! lets the log before it go. The log leaves room for it, and the pauses in between keep it a small part of the work.

use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use weir_core::{Error, ErrorKind};
use weir_log::{Lsn, Room};

use crate::engine::{Engine, Shared, log_error};
use crate::options::Fsync;
use crate::reclaim::Reclaim;
use crate::snapshot::{self, SnapshotFile};
use crate::state::Key;

/// How long a thread sleeps when there is nothing to do.
const IDLE: Duration = Duration::from_millis(20);
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// Between snapshots that are written because the disk is full, at least; and four times as long as one took.
const RELIEF_PAUSE: Duration = Duration::from_secs(1);
/// After a snapshot that failed; doubled with each one that fails after it, so many times.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
const FAILED_DOUBLINGS: u32 = 6;
/// Streams whose limits are looked at in one step.
const KEPT_AT_ONCE: usize = 256;

/// What the background work remembers from step to step.
#[derive(Debug)]
pub(crate) struct Background {
    /// The newest two, newest first.
    pub(crate) snapshots: Vec<SnapshotFile>,
    /// Where the log was when the last snapshot began.
    snapshot_from: Lsn,
    reclaim: Reclaim,
    /// No snapshot that nobody asked for is written before that.
    not_before: Duration,
    /// Snapshots that failed since the last one that did not.
    failures: u32,
    /// While the disk is full: the removals that the last attempt to make room knew of.
    relieved: Option<u64>,
    /// Keys that were removed, to be freed here.
    removed: Receiver<Box<Key>>,
    /// When the limits of all streams are looked at next, and where the look that is under way goes on.
    keeping_at: Duration,
    keeping_from: Option<u32>,
}

impl Background {
    pub(crate) fn new(
        snapshots: Vec<SnapshotFile>,
        written: Lsn,
        removed: Receiver<Box<Key>>,
        keeping_at: Duration,
    ) -> Self {
        let snapshot_from = snapshots.first().map_or(Lsn(0), |snapshot| snapshot.from).min(written);
        Self {
            snapshots,
            snapshot_from,
            reclaim: Reclaim::default(),
            not_before: Duration::ZERO,
            failures: 0,
            relieved: None,
            removed,
            keeping_at,
            keeping_from: None,
        }
    }

    /// Starts the threads. They end when the engine is closed or its last clone is dropped.
    pub(crate) fn spawn(shared: &Arc<Shared>) -> std::io::Result<Vec<JoinHandle<()>>> {
        let start = |name: &str, step: fn(&Arc<Shared>) -> Result<bool, Error>| {
            let engine = Arc::downgrade(shared);
            std::thread::Builder::new().name(name.into()).spawn(move || run(&engine, step))
        };
        let urgent = start("weir-background", urgent_step)?;
        start("weir-upkeep", Self::upkeep_step).map(|upkeep| vec![urgent, upkeep])
    }

    /// A bounded piece of all the work; `true` when there is more to do now.
    pub(crate) fn step(shared: &Arc<Shared>) -> Result<bool, Error> {
        let busy = urgent_step(shared)?;
        Ok(Self::upkeep_step(shared)? || busy)
    }

    pub(crate) fn snapshot(shared: &Arc<Shared>) -> Result<(), Error> {
        shared.background.lock().expect("no panic under this lock").write_snapshot(shared, &|| false)
    }

    /// A bounded piece of what may take long, or a whole snapshot; `true` when there is more to do now.
    fn upkeep_step(shared: &Arc<Shared>) -> Result<bool, Error> {
        shared.log.check().map_err(log_error)?;
        let mut own = shared.background.lock().expect("no panic under this lock");
        shared.log.set_headroom(own.headroom(shared));
        let freed = own.removed.try_recv().is_ok() | own.keep_streams(shared);
        // First, since it may make the room that a snapshot needs.
        let reclaimed = own.reclaim.step(shared);
        if !shared.log.is_full() {
            own.relieved = None;
        }
        if !own.is_snapshot_due(shared) {
            return reclaimed.map(|more| more || freed);
        }
        let done = own.snapshot_of_its_own(shared);
        shared.snapshot_wanted.store(false, Ordering::Release);
        done.and(reclaimed).map(|_| true)
    }

    /// Has some streams keep to their limits, when it is time for that; `true` when there are more.
    fn keep_streams(&mut self, shared: &Arc<Shared>) -> bool {
        let now = shared.clock.elapsed();
        if self.keeping_from.is_none() {
            if now < self.keeping_at {
                return false;
            }
            self.keeping_at = now.saturating_add(shared.options.retention_every);
            self.keeping_from = Some(0);
        }
        let engine = Engine::of(shared);
        let from = self.keeping_from.unwrap_or(0);
        let slots: Vec<u32> = engine.turn().state.keeping.range(from..).take(KEPT_AT_ONCE).copied().collect();
        for slot in &slots {
            if shared.closing.load(Ordering::SeqCst) {
                break;
            }
            // What fails here fails for who appends, too, or is tried again soon.
            drop(engine.ask(|turn| turn.keep_slot(*slot)));
        }
        let is_last = slots.len() < KEPT_AT_ONCE;
        self.keeping_from = slots.last().map(|last| last + 1).filter(|_| !is_last);
        !is_last
    }

    fn is_snapshot_due(&self, shared: &Arc<Shared>) -> bool {
        if shared.snapshot_wanted.load(Ordering::Acquire) {
            return true;
        }
        if shared.clock.elapsed() < self.not_before {
            return false;
        }
        self.behind(shared) >= self.log_bytes_until_due(shared)
            || (shared.log.is_full() && self.may_make_room(shared))
    }

    /// Bytes of log since the last snapshot.
    fn behind(&self, shared: &Shared) -> u64 {
        shared.log.written().0.saturating_sub(self.snapshot_from.0)
    }

    /// What the log has to leave free for the next snapshot.
    fn headroom(&self, shared: &Shared) -> u64 {
        snapshot::headroom(shared.log.segment_bytes(), self.snapshots.first(), self.behind(shared))
    }

    /// Large snapshots are written less often, so that they stay a small part of what is written.
    fn log_bytes_until_due(&self, shared: &Shared) -> u64 {
        let due = shared.options.snapshot_log_bytes;
        due.max(4 * self.newest_bytes()).min(due.max(1 << 30))
    }

    fn newest_bytes(&self) -> u64 {
        self.snapshots.first().map_or(0, |snapshot| snapshot.bytes)
    }

    /// Everything below is in two snapshots, each of which would do without it.
    fn covered(&self) -> Lsn {
        // With one snapshot only, the whole log is its replacement.
        let oldest = self.snapshots.get(snapshot::KEPT - 1);
        oldest.map_or(Lsn(0), |snapshot| snapshot.from)
    }

    /// Whether another snapshot would show more of the log to be dead, or let more of it go.
    fn may_make_room(&self, shared: &Arc<Shared>) -> bool {
        if self.relieved != Some(removals(shared)) {
            return true;
        }
        let moves_on = shared.log.written() > self.snapshot_from || shared.log.room() != Room::None;
        moves_on && self.reclaim.has_dead_behind(shared, self.covered())
    }

    /// A snapshot that nobody waits for: it gives up when the engine is closed, and is not tried again at once.
    fn snapshot_of_its_own(&mut self, shared: &Arc<Shared>) -> Result<(), Error> {
        let begun = shared.clock.elapsed();
        let full = shared.log.is_full();
        if full {
            self.relieved = Some(removals(shared));
            // A snapshot of a log that stood still would only replace the one before.
            if shared.log.room() != Room::None {
                Engine::of(shared).turn().appender.mark();
            }
        }
        let done = self.write_snapshot(shared, &|| shared.closing.load(Ordering::SeqCst));
        let now = shared.clock.elapsed();
        let pause = match &done {
            Ok(()) if full => RELIEF_PAUSE,
            Ok(()) => Duration::ZERO,
            Err(_) => FAILED_PAUSE * (1 << self.failures.saturating_sub(1).min(FAILED_DOUBLINGS)),
        };
        if !pause.is_zero() {
            self.not_before = now + pause.max(4 * (now - begun));
        }
        if full && done.is_err() && shared.log.check().is_ok() {
            // The snapshots that are there let go of what is dead before them.
            if let Ok(guess) = snapshot::survey(shared, &|| shared.closing.load(Ordering::SeqCst)) {
                self.reclaim.consider(shared, guess, self.covered());
            }
        }
        done
    }

    fn write_snapshot(&mut self, shared: &Arc<Shared>, stop: &dyn Fn() -> bool) -> Result<(), Error> {
        // A closed engine's folder may be somebody else's by now.
        shared.log.check().map_err(log_error)?;
        let (written, guess) = match snapshot::write(shared, stop) {
            Ok(written) => written,
            Err(error) => {
                if *error.kind() != ErrorKind::Closed {
                    self.failures += 1;
                    shared.snapshot_failed.store(true, Ordering::Relaxed);
                    shared.snapshots_failed.fetch_add(1, Ordering::Relaxed);
                }
                return Err(error);
            }
        };
        self.failures = 0;
        shared.snapshot_failed.store(false, Ordering::Relaxed);
        shared.snapshots.fetch_add(1, Ordering::Relaxed);
        shared.snapshot_at.store(shared.clock.now().0, Ordering::Relaxed);
        self.snapshot_from = written.from;
        // Where the log stood still, it took the place of the one before.
        self.snapshots.retain(|snapshot| snapshot.path != written.path);
        self.snapshots.insert(0, written);
        while self.snapshots.len() > snapshot::KEPT {
            let Some(old) = self.snapshots.pop() else { break };
            snapshot::remove(&*shared.disk, &old)?;
        }
        shared.log.set_headroom(self.headroom(shared));
        self.reclaim.consider(shared, guess, self.covered());
        Ok(())
    }
}

fn removals(shared: &Arc<Shared>) -> u64 {
    Engine::of(shared).turn().state.removals
}

/// A bounded piece of what must not wait; `true` when there is more to do now.
fn urgent_step(shared: &Arc<Shared>) -> Result<bool, Error> {
    shared.ring_alarms();
    shared.log.check().map_err(log_error)?;
    let engine = Engine::of(shared);
    if engine.fsync() == Fsync::EverySecond && shared.is_flush_due(FLUSH_EVERY) {
        engine.sync()?;
    }
    let has_expired = engine.expire_due();
    Ok(shared.log.background_step().map_err(log_error)? || has_expired)
}

fn run(engine: &Weak<Shared>, step: fn(&Arc<Shared>) -> Result<bool, Error>) {
    loop {
        let Some(shared) = engine.upgrade() else { return };
        if shared.closing.load(Ordering::SeqCst) {
            return;
        }
        // What fails here shows where it matters: a failed flush latches the log, missing space refuses appends,
        // and an old snapshot only makes the next start longer.
        let busy = step(&shared).unwrap_or(false);
        if !busy {
            let alarm = shared.ring_alarms().unwrap_or(IDLE);
            let guard = shared.wake.0.lock().expect("no panic under this lock");
            if !shared.closing.load(Ordering::SeqCst) {
                drop(shared.wake.1.wait_timeout(guard, IDLE.min(alarm)));
            }
        }
    }
}
