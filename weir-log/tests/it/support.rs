//! What the tests share.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;

use weir_log::{Disk, Log, LogOptions, Lsn, OpenError, Opened};

/// Segments of 64 KiB, so that short runs cross them.
pub(crate) fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 64 << 10,
        ring_bytes: 64 << 10,
        watermark_bytes: 1 << 10,
        ..LogOptions::default()
    }
}

/// A source of "random" numbers that never repeats and differs between seeds.
pub(crate) fn salts(seed: u64) -> Box<dyn FnMut() -> u64 + Send> {
    let mut state = seed;
    Box::new(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^ (x >> 29)
    })
}

/// A record as it was found.
pub(crate) type Record = (Lsn, Vec<u8>);

/// Opens and collects what is replayed.
pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    options: LogOptions,
    seed: u64,
    from: Option<Lsn>,
) -> Result<(Opened, Vec<Record>), OpenError<Infallible>> {
    let mut records = Vec::new();
    let opened = Log::open(Arc::clone(disk), options, salts(seed), from, &mut |lsn, body| {
        records.push((lsn, body.to_vec()));
        Ok(())
    })?;
    Ok((opened, records))
}

/// Everything a scan from `from` shows.
pub(crate) fn scan(log: &Log, from: Lsn) -> Vec<Record> {
    let mut records = Vec::new();
    log.scan(from, &mut |lsn, body| {
        records.push((lsn, body.to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    records
}

/// The bodies at `lsns`.
pub(crate) fn read(log: &Log, lsns: &[Lsn]) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    log.read_many(lsns, &mut |index, body| {
        assert_eq!(index, bodies.len());
        bodies.push(body.to_vec());
        ControlFlow::Continue(())
    })
    .unwrap();
    bodies
}

/// A body of `len` bytes that depends on `n` in every byte.
pub(crate) fn body(n: u64, len: usize) -> Vec<u8> {
    let mut next = salts(n);
    std::iter::repeat_with(|| next().to_le_bytes()).flatten().take(len).collect()
}
