//! The entries of a stream, in batches, behind what the destination has.

use anyhow::{Result, bail};
use weir_core::{BatchOptions, Broker, Entry, EntryId, NewEntry, ReadFrom, ReadOptions};

use super::super::dlq::progress;
use super::super::text;
use super::Ends;
use crate::exit::refused;

/// Entries that are read at a time.
const PAGE: u64 = 500;
/// A batch is appended when its names and values have so many bytes.
const BATCH_BYTES: usize = 4 << 20;

/// Copies what the destination lacks; answers how many entries that were.
pub(super) async fn copy(ends: &Ends, stream: &[u8], length: u64, hidden: bool) -> Result<u64> {
    let end = ends.destination.head(stream).await?.map_or(EntryId::MIN, |head| head.last_id);
    if end > EntryId::MIN {
        fits(ends, stream, end).await?;
    }
    let bar = progress(length, hidden);
    let (mut after, mut copied) = (end, 0);
    loop {
        let entries = read(&*ends.source, stream, ReadFrom::After(after), PAGE).await?;
        let Some(last) = entries.last() else { break };
        after = last.id;
        for batch in batches(&entries) {
            append(&*ends.destination, stream, batch).await?;
        }
        copied += entries.len() as u64;
        bar.inc(entries.len() as u64);
    }
    bar.finish_and_clear();
    Ok(copied)
}

async fn read(broker: &dyn Broker, stream: &[u8], from: ReadFrom, count: u64) -> Result<Vec<Entry>> {
    let options = ReadOptions { from, to: None, backward: false, count, wait: None };
    Ok(broker.read(stream, options).await?)
}

/// What the destination has must be the beginning of what the source has: its last entry has to be the same in both.
async fn fits(ends: &Ends, stream: &[u8], end: EntryId) -> Result<()> {
    let source_end = ends.source.head(stream).await?.map_or(EntryId::MIN, |head| head.last_id);
    if source_end < end {
        bail!(refused(format!(
            "the destination's {} goes up to {end}, beyond the source's last ID {source_end}: it is no copy of it; \
             remove it there, or leave it out",
            text::shown(stream)
        )));
    }
    let options = ReadOptions { from: ReadFrom::End, to: None, backward: true, count: 1, wait: None };
    let Some(ours) = ends.destination.read(stream, options).await?.pop() else { return Ok(()) };
    let theirs = read(&*ends.source, stream, ReadFrom::Id(ours.id), 1).await?.pop();
    match theirs {
        Some(theirs) if theirs.id == ours.id && theirs.fields != ours.fields => bail!(refused(format!(
            "the entry {} of {} is another one in the destination: it is no copy of the source; remove it there, or \
             leave it out",
            ours.id,
            text::shown(stream)
        ))),
        // The source may have trimmed it since.
        _ => Ok(()),
    }
}

fn batches(entries: &[Entry]) -> Vec<&[Entry]> {
    let (mut found, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (at, entry) in entries.iter().enumerate() {
        bytes += entry.fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if bytes >= BATCH_BYTES {
            found.push(&entries[from..=at]);
            (from, bytes) = (at + 1, 0);
        }
    }
    if from < entries.len() {
        found.push(&entries[from..]);
    }
    found
}

async fn append(broker: &dyn Broker, stream: &[u8], batch: &[Entry]) -> Result<()> {
    let fields: Vec<Vec<(&[u8], &[u8])>> = batch
        .iter()
        .map(|entry| entry.fields.iter().map(|(name, value)| (&**name, &**value)).collect())
        .collect();
    let entries: Vec<_> = batch
        .iter()
        .zip(&fields)
        .map(|(entry, fields)| NewEntry { fields, id: Some(entry.id), append_id: None })
        .collect();
    broker.append_batch(stream, &entries, BatchOptions::default()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use weir_core::Timestamp;

    use super::*;

    #[test]
    fn a_batch_ends_where_it_gets_large() {
        let entry = |n: u64, bytes: usize| Entry {
            id: EntryId::new(n, 0),
            position: None,
            global_position: None,
            appended_at: Timestamp(0),
            fields: vec![(b"a".to_vec(), vec![0; bytes])],
        };
        let entries = [entry(1, 10), entry(2, BATCH_BYTES), entry(3, 10), entry(4, 10)];
        let sizes: Vec<_> = batches(&entries).iter().map(|batch| batch.len()).collect();
        assert_eq!(sizes, [2, 2]);
        assert!(batches(&[]).is_empty());
    }
}
