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
    let in_folder = Log::look(&**disk).map_err(open_error)?;
    if from.is_none() && in_folder.is_some_and(|found| !found.whole) {
        let what = "no snapshot can be read and parts of the log before it were given back; restore a backup";
        return Err(Error::new(ErrorKind::Corrupt).with_context(what));
    }
    // A folder keeps the size it was made with.
    state.written.segment_bytes = in_folder.map_or(options.log.segment_bytes, |found| found.segment_bytes);
    // The log was flushed up to there before the snapshot got its name.
    let durable = Lsn(state.snapshot_end.0 + 1);
    let headroom_bytes = snapshot::headroom(state.written.segment_bytes, snapshots.first(), 0);
    let log_options = LogOptions { durable, headroom_bytes, ..log_options(options) };
    let replay = &mut |lsn: Lsn, body: &[u8]| {
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

/// The newest snapshot that can be read. Those that cannot are taken off the list and stay in the folder. A disk that
/// fails to read one is an error only when there is no other: then what it holds may still be whole.
fn load_newest(disk: &dyn Disk, snapshots: &mut Vec<SnapshotFile>) -> Result<(State, Option<Lsn>), Error> {
    let mut unread = None;
    while let Some(newest) = snapshots.first() {
        let mut state = State::default();
        state.begin_recovery();
        match snapshot::load(disk, newest, &mut state) {
            Ok(()) => return Ok((state, Some(newest.from))),
            Err(error) => {
                snapshots.remove(0);
                unread = unread.or(Some(error).filter(|error| *error.kind() == ErrorKind::Io));
            }
        }
    }
    if let Some(error) = unread {
        return Err(error);
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
