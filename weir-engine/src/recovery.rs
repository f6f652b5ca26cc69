//! Opening a data folder: the newest snapshot that can be read, and the log after it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use weir_core::{Error, ErrorKind};
use weir_log::{Appender, Disk, Log, LogOptions, Lsn, OpenError, Preparation};

use crate::engine::io_error;
use crate::options::{Fsync, Options};
use crate::record::Record;
use crate::snapshot::{self, SnapshotFile};
use crate::state::State;

/// Where the first record of every log stands: behind the header of its first segment.
const FIRST_RECORD: Lsn = Lsn(4096);

/// What was found in a folder.
pub(crate) struct Recovered {
    pub(crate) state: State,
    pub(crate) log: Arc<Log>,
    pub(crate) appender: Appender,
    pub(crate) snapshots: Vec<SnapshotFile>,
}

/// Recovers the state, or starts an empty one.
pub(crate) fn recover(disk: &Arc<dyn Disk>, options: &Options) -> Result<Recovered, Error> {
    let mut snapshots = snapshot::list(&**disk)?;
    let (mut state, from) = load_newest(&**disk, &mut snapshots)?;
    state.written.segment_bytes = options.log.segment_bytes;
    // The log was flushed up to there before the snapshot got its name.
    let durable = Lsn(state.snapshot_end.0 + 1);
    let headroom_bytes = snapshot::headroom(options.log.segment_bytes, snapshots.first(), 0);
    let log_options = LogOptions { durable, headroom_bytes, ..log_options(options) };
    let mut whole = from.is_some();
    let replay = &mut |lsn: Lsn, body: &[u8]| {
        if !std::mem::replace(&mut whole, true) && lsn != FIRST_RECORD {
            return Err("no snapshot can be read and the log before it was given back; restore a backup");
        }
        let record = Record::decode(body).ok_or("it is no record of this version")?;
        if state.replay(lsn, &record) { Ok(()) } else { Err("it contradicts the state before it") }
    };
    let opened = Log::open(disk.clone(), log_options, random(), from, replay).map_err(open_error)?;
    state.written.settle();
    if !state.end_recovery() {
        return Err(Error::new(ErrorKind::Corrupt).with_context("two keys have one name after recovery"));
    }
    Ok(Recovered { state, log: opened.log, appender: opened.appender, snapshots })
}

fn log_options(options: &Options) -> LogOptions {
    let preparation = match options.fsync {
        Fsync::Always => Preparation::Zeroes,
        Fsync::EverySecond | Fsync::No => Preparation::Allocation,
    };
    LogOptions { preparation, ..options.log.clone() }
}

/// The newest snapshot that can be read. Those that cannot are taken off the list and stay in the folder.
fn load_newest(disk: &dyn Disk, snapshots: &mut Vec<SnapshotFile>) -> Result<(State, Option<Lsn>), Error> {
    while let Some(newest) = snapshots.first() {
        let mut state = State::default();
        state.begin_recovery();
        match snapshot::load(disk, newest, &mut state) {
            Ok(()) => return Ok((state, Some(newest.from))),
            Err(error) if *error.kind() == ErrorKind::Io => return Err(error),
            Err(_) => drop(snapshots.remove(0)),
        }
    }
    let mut state = State::default();
    state.begin_recovery();
    Ok((state, None))
}

/// Random numbers of the system, by way of the seeds the standard library draws.
fn random() -> Box<dyn FnMut() -> u64 + Send> {
    let mut count = 0_u64;
    Box::new(move || {
        count += 1;
        RandomState::new().hash_one(count)
    })
}

fn open_error(error: OpenError<&'static str>) -> Error {
    match error {
        OpenError::Disk { what, source } => io_error(&what, source),
        OpenError::Options(_) => {
            Error::new(ErrorKind::Invalid("a setting of the log")).with_context(error.to_string())
        }
        OpenError::Replay { lsn, error } => {
            Error::new(ErrorKind::Corrupt).with_context(format!("the record at log address {lsn}: {error}"))
        }
        _ => Error::new(ErrorKind::Corrupt).with_context(error.to_string()).with_source(error),
    }
}
