//! The engine's background work: the flush of each second, space ahead of the writer, snapshots, reclaiming,
//! freeing what was removed.
//!
//! All of it in small steps, by one thread, which never holds the core's lock longer than a slice.

use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};
use std::time::Duration;

use weir_core::Error;
use weir_log::Lsn;

use crate::engine::{Engine, Shared, log_error};
use crate::options::Fsync;
use crate::reclaim::Reclaim;
use crate::snapshot::{self, SnapshotFile};
use crate::state::Key;

/// How long the thread sleeps when there is nothing to do.
const IDLE: Duration = Duration::from_millis(20);
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// How long a snapshot that could not be written is not tried again.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// While the disk is full, snapshots are written as often as this, since what was deleted is only given back behind
/// them; and more rarely where they take long.
const FULL_EVERY: Duration = Duration::from_secs(2);
/// So many times as long as a snapshot took, the next one waits on a full disk.
const FULL_PAUSE: u32 = 10;

/// What the background work remembers from step to step.
#[derive(Debug)]
pub(crate) struct Background {
    flushed_at: Duration,
    /// The newest two, newest first.
    pub(crate) snapshots: Vec<SnapshotFile>,
    /// Where the log was when the last snapshot began.
    snapshot_from: Lsn,
    /// After a failure: when the next snapshot may be tried.
    retry_at: Duration,
    /// When a full disk is reason enough for another snapshot.
    full_at: Duration,
    reclaim: Reclaim,
    /// Keys that were removed, to be freed here.
    removed: Receiver<Box<Key>>,
}

impl Background {
    pub(crate) fn new(snapshots: Vec<SnapshotFile>, written: Lsn, removed: Receiver<Box<Key>>) -> Self {
        let snapshot_from = snapshots.first().map_or(Lsn(0), |snapshot| snapshot.from).min(written);
        Self {
            flushed_at: Duration::ZERO,
            snapshots,
            snapshot_from,
            retry_at: Duration::ZERO,
            full_at: Duration::ZERO,
            reclaim: Reclaim::default(),
            removed,
        }
    }

    /// Starts the thread. It ends when the engine is closed or its last clone is dropped.
    pub(crate) fn spawn(shared: &Arc<Shared>) -> std::io::Result<std::thread::JoinHandle<()>> {
        let engine = Arc::downgrade(shared);
        std::thread::Builder::new().name("weir-background".into()).spawn(move || run(&engine))
    }

    /// A bounded piece of work; `true` when there is more to do now.
    pub(crate) fn step(shared: &Arc<Shared>) -> Result<bool, Error> {
        shared.log.check().map_err(log_error)?;
        let engine = Engine::of(shared);
        let mut own = shared.background.lock().expect("no panic under this lock");
        let now = shared.clock.elapsed();
        if engine.fsync() == Fsync::EverySecond && now.saturating_sub(own.flushed_at) >= FLUSH_EVERY {
            own.flushed_at = now;
            engine.sync()?;
        }
        shared.log.set_headroom(own.headroom(shared));
        let busy = shared.log.background_step().map_err(log_error)?;
        if shared.snapshot_wanted.load(Ordering::Acquire) || own.snapshot_due(shared, now) {
            let done = own.write_snapshot(shared);
            shared.snapshot_wanted.store(false, Ordering::Release);
            return done.map(|()| true);
        }
        let freed = own.removed.try_recv().is_ok();
        let reclaiming = own.reclaim.step(shared)?;
        Ok(busy || freed || reclaiming)
    }

    pub(crate) fn snapshot(shared: &Arc<Shared>) -> Result<(), Error> {
        shared.background.lock().expect("no panic under this lock").write_snapshot(shared)
    }

    /// Bytes of log since the last snapshot.
    fn behind(&self, shared: &Shared) -> u64 {
        shared.log.written().0.saturating_sub(self.snapshot_from.0)
    }

    /// What the log has to leave free for the next snapshot.
    fn headroom(&self, shared: &Shared) -> u64 {
        snapshot::headroom(shared.log.segment_bytes(), self.snapshots.first(), self.behind(shared))
    }

    /// Whether it is time for a snapshot that nobody asked for.
    fn snapshot_due(&self, shared: &Shared, now: Duration) -> bool {
        let behind = self.behind(shared);
        if behind == 0 || now < self.retry_at {
            return false;
        }
        // Large snapshots are written less often, so that they stay a small part of what is written.
        let least = shared.options.snapshot_log_bytes;
        let last = self.snapshots.first().map_or(0, |snapshot| snapshot.bytes);
        behind >= least.max(4 * last).min(least.max(1 << 30))
            || (now >= self.full_at && shared.log.stats().disk_full)
    }

    fn write_snapshot(&mut self, shared: &Arc<Shared>) -> Result<(), Error> {
        // A closed engine's folder may be somebody else's by now.
        shared.log.check().map_err(log_error)?;
        let begun = shared.clock.elapsed();
        let written = snapshot::write(shared);
        let now = shared.clock.elapsed();
        self.full_at = now + FULL_EVERY.max(now.saturating_sub(begun) * FULL_PAUSE);
        // Reclaiming goes on meanwhile: it may be what makes room.
        self.retry_at = if written.is_ok() { Duration::ZERO } else { now + RETRY_AFTER };
        shared.snapshot_failed.store(written.is_err(), Ordering::Relaxed);
        let (written, guess) = written?;
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
        // With one snapshot only, the whole log is its replacement.
        if let Some(oldest) = self.snapshots.last().filter(|_| self.snapshots.len() == snapshot::KEPT) {
            self.reclaim.consider(shared, guess, oldest.from);
        }
        Ok(())
    }
}

fn run(engine: &Weak<Shared>) {
    loop {
        let Some(shared) = engine.upgrade() else { return };
        if shared.closing.load(Ordering::SeqCst) {
            return;
        }
        // What fails here shows where it matters: a failed flush latches the log, missing space refuses appends,
        // and an old snapshot only makes the next start longer.
        let mut busy = Background::step(&shared).unwrap_or(false);
        busy |= Engine::of(&shared).expire_due();
        let alarm = shared.ring_alarms().unwrap_or(IDLE);
        if !busy {
            let guard = shared.wake.0.lock().expect("no panic under this lock");
            if !shared.closing.load(Ordering::SeqCst) {
                drop(shared.wake.1.wait_timeout(guard, IDLE.min(alarm)));
            }
        }
    }
}
