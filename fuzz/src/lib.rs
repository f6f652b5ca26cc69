//! What the fuzz targets do with their bytes. Every function panics when an invariant is broken; to refuse is fine.
//!
//! `weir/tests/it/corpora.rs` includes this file and gives each function its committed corpus, in every test run.

mod folder;
mod session;

use std::sync::{Arc, OnceLock};

use weir_engine::fuzz::{self, Folder};
use weir_log::MemoryDisk;
use weir_resp::{Reply, ReplyLimits, decode_reply};

/// A target: what it is called, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All targets. Each has a file in `fuzz_targets/` and a folder in `corpus/`.
pub const TARGETS: &[Target] = &[
    ("requests", requests),
    ("replies", replies),
    ("commands", commands),
    ("log", log),
    ("folders", folders),
    ("records", records),
    ("snapshots", snapshots),
    ("payloads", payloads),
];

/// The RESP decoder of the server.
pub fn requests(data: &[u8]) {
    weir_resp::fuzz::requests(data);
}

/// The RESP decoder of clients.
pub fn replies(data: &[u8]) {
    weir_resp::fuzz::replies(data);
}

/// A client that has hung up is sent what its socket takes, and no more, as Redis does; this much it always takes.
const ANSWER_FITS: usize = 64 << 10;

/// Every command, through a server on an engine in memory: what comes back is RESP, and the engine stays sound.
pub fn commands(data: &[u8]) {
    let engine = session::engine(Arc::new(MemoryDisk::new()));
    let answer = session::serve(&engine, data);
    let mut rest = &answer[..];
    while !rest.is_empty() {
        match decode_reply(rest, &ReplyLimits::DEFAULT) {
            Ok(Reply::Complete { consumed, .. }) => rest = &rest[consumed..],
            Ok(Reply::Incomplete) if answer.len() >= ANSWER_FITS => break,
            other => panic!("the server answered {other:?}: {}", rest.escape_ascii()),
        }
    }
    let verified = engine.verify().expect("memory has no faults");
    assert!(verified.is_clean(), "{:#?}", verified.problems);
}

/// The log on a damaged folder: whatever is found was written, and after a repair it opens.
pub fn log(data: &[u8]) {
    folder::log(data);
}

/// The engine on a damaged folder.
pub fn folders(data: &[u8]) {
    fuzz::open_damaged(&sample().folder, data);
}

/// Changed records with good checksums, replayed.
pub fn records(data: &[u8]) {
    fuzz::replay_edited(&sample().records, data);
}

/// A changed snapshot with good checksums, loaded, and records replayed behind it.
pub fn snapshots(data: &[u8]) {
    fuzz::load_edited(&sample().snapshot, &sample().later, data);
}

/// A changed payload of `DUMP` with a good checksum, restored, used and opened again. The first byte says which.
pub fn payloads(data: &[u8]) {
    let payloads = &sample().payloads;
    let (which, edits) = data.split_first().map_or((0, data), |(which, edits)| (usize::from(*which), edits));
    fuzz::restore_edited(&payloads[which % payloads.len()], edits);
}

/// What an engine left behind that has done a bit of everything.
struct Sample {
    folder: Folder,
    records: Vec<(u64, Vec<u8>)>,
    snapshot: Vec<u8>,
    /// Records behind the snapshot.
    later: Vec<(u64, Vec<u8>)>,
    /// What DUMP answers for each of its keys.
    payloads: Vec<Vec<u8>>,
}

fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let folder = session::folder();
        let records = fuzz::records_of(&folder);
        let (path, snapshot) =
            folder.iter().find(|(path, _)| path.ends_with(".snap")).expect("one was written");
        let from = path.trim_start_matches("snap/").trim_end_matches(".snap");
        let from = u64::from_str_radix(from, 16).expect("its name says where it begins");
        let later: Vec<_> = records.iter().filter(|(lsn, _)| *lsn >= from).cloned().collect();
        assert!(!later.is_empty() && later.len() < records.len());
        let payloads = fuzz::payloads_of(&folder);
        assert!(payloads.len() > 2);
        Sample { snapshot: snapshot.clone(), later, records, payloads, folder }
    })
}
