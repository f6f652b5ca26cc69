//! Everything durable as text, in an order that depends on the state alone: so that tests can compare two engines.
//!
//! Left out is what a restart may change without loss (when a consumer was last seen, how many duplicates a stream
//! answered) and what has no meaning outside (log addresses, slots, inner numbers of keys, groups and consumers).
//! Keys that have expired by now are left out, whether they were removed yet or not.
//!
//! Not part of the interface: the text may change with every version.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::ControlFlow;

use weir_core::{EntryId, Error, ErrorKind};
use weir_log::{Log, Lsn};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::engine::{Engine, log_error};
use crate::group::{Group, NO_CONSUMER};
use crate::idempotence::Known;
use crate::record::EntryRecord;
use crate::state::{Key, Value};
use crate::stream::{Span, Stream};
use crate::verify::LogBlocks;

/// Values longer than this are shown by their hash.
const SHOWN_MAX: usize = 32;

/// Takes a key's number and stamp, and what makes its text.
type VisitKey<'a> = dyn FnMut((u64, Lsn), &mut dyn FnMut() -> String) + 'a;

impl Engine {
    /// The durable state as text.
    ///
    /// # Errors
    /// As [`Engine::flush`]; [`ErrorKind::Corrupt`] when an entry cannot be read.
    #[doc(hidden)]
    pub fn dump(&self) -> Result<String, Error> {
        let mut parts = Vec::new();
        self.dump_keys(&mut |_, text| parts.push(text()))?;
        parts.sort();
        Ok(self.dump_namespaces() + &parts.concat())
    }

    /// Visits every key that has not expired with its number and stamp; the text is made when asked for.
    fn dump_keys(&self, visit: &mut VisitKey<'_>) -> Result<(), Error> {
        let level = weir_log::Level::Written;
        self.shared.log.flush_submitted(level).map_err(log_error)?;
        let now = self.turn().now().0;
        let mut damaged = None;
        self.each_key(64, &mut |key, _, _| {
            if key.expires == 0 || key.expires > now {
                visit((key.no, key.stamp), &mut || match dump_key(key, &self.shared.log) {
                    Some(text) => text,
                    None => {
                        damaged = Some(key.name.escape_ascii().to_string());
                        String::new()
                    }
                });
            }
        });
        match damaged {
            None => Ok(()),
            Some(name) => Err(Error::new(ErrorKind::Corrupt).with_context(format!("the entries of {name}"))),
        }
    }

    fn dump_namespaces(&self) -> String {
        let turn = self.turn();
        let mut text = String::new();
        for (no, space) in turn.state.namespaces.iter().enumerate() {
            let (name, next, at) = (space.name.escape_ascii(), space.next_gpos, space.last_at);
            put(&mut text, format_args!("namespace {no} {name} next {next} at {at}\n"));
        }
        put(&mut text, format_args!("directory {:?}\n", turn.state.directory));
        text
    }
}

/// Hashes of dumps. Remembers the keys of one engine, so that each costs only what changed since the one before.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Digests {
    known: HashMap<u64, (Lsn, u128)>,
}

impl Digests {
    /// The hash of what [`Engine::dump`] says now.
    ///
    /// # Errors
    /// As [`Engine::dump`].
    pub fn of(&mut self, engine: &Engine) -> Result<u128, Error> {
        let mut sum = xxh3_128(engine.dump_namespaces().as_bytes());
        engine.dump_keys(&mut |(no, stamp), text| {
            let known = self.known.get(&no).filter(|known| known.0 == stamp);
            let hash = match known {
                Some((_, hash)) => *hash,
                None => xxh3_128(text().as_bytes()),
            };
            self.known.insert(no, (stamp, hash));
            // Keys come in any order.
            sum = sum.wrapping_add(hash);
        })?;
        Ok(sum)
    }
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("a string takes everything");
}

fn shown(bytes: &[u8]) -> String {
    if bytes.len() <= SHOWN_MAX {
        return bytes.escape_ascii().to_string();
    }
    format!("{}…{:016x}", bytes[..8].escape_ascii(), xxh3_64(bytes))
}

/// `None` when an entry cannot be read.
fn dump_key(key: &Key, log: &Log) -> Option<String> {
    let mut text = String::new();
    put(&mut text, format_args!("key {} {} expires {}", key.ns, shown(&key.name), key.expires));
    match &key.value {
        Value::Text(value) => put(&mut text, format_args!(" text {}\n", shown(value))),
        Value::Stream(stream) => {
            dump_counters(stream, &mut text);
            dump_entries(stream, log, &mut text)?;
            dump_idempotence(stream, &mut text);
            dump_keeping(stream, &mut text);
            stream.groups().for_each(|group| dump_group(group, &mut text));
        }
    }
    Some(text)
}

fn dump_counters(stream: &Stream, text: &mut String) {
    let Stream { last_id, first_id, max_deleted, entries_added, next_pos, len, node, .. } = stream;
    put(text, format_args!(" stream last {last_id} first {first_id} deleted {max_deleted}"));
    put(text, format_args!(" added {entries_added} next {next_pos} length {len} node {node:?}\n"));
    let closed = stream.sealed.as_ref().map_or(&[][..], |sealed| &sealed.closed);
    closed.iter().for_each(|node| put(text, format_args!(" closed {node:?}\n")));
    let tail = stream.tail.live > 0 && stream.tail.node_start;
    put(text, format_args!(" tail {} starts {tail}\n", stream.tail.live));
    for head in stream.sealed.iter().flat_map(|sealed| sealed.heads.iter()) {
        let (first, at, start) = (head.first, head.first_pos, head.node_start);
        put(text, format_args!(" block {first} at {at} {}/{} starts {start}\n", head.live, head.count));
    }
}

fn dump_entries(stream: &Stream, log: &Log, text: &mut String) -> Option<()> {
    let mut entries = Vec::new();
    let scanned = stream.scan(&LogBlocks(log), Span::ALL, |entry| {
        entries.push(entry);
        ControlFlow::Continue(())
    });
    scanned.ok()?;
    let lsns: Vec<Lsn> = entries.iter().map(|entry| entry.lsn).collect();
    let mut seen = 0;
    let read = log.read_many(&lsns, &mut |nth, body| {
        seen += 1;
        let Some(record) = EntryRecord::decode(body) else { return ControlFlow::Break(()) };
        let EntryRecord { id, pos, gpos, at, node_start, .. } = record;
        let place = entries[nth].pos;
        put(text, format_args!(" entry {id} {pos}={place} global {gpos} at {at} starts {node_start}"));
        record.fields.for_each(|field| put(text, format_args!(" {}", shown(field))));
        if let Some((producer, iid)) = record.idempotent {
            put(text, format_args!(" by {} {}", shown(producer), shown(iid)));
        }
        text.push('\n');
        ControlFlow::Continue(())
    });
    (read.is_ok() && seen == entries.len()).then_some(())
}

fn dump_idempotence(stream: &Stream, text: &mut String) {
    let limits = stream.idempotence_limits;
    put(text, format_args!(" idempotence {} s {} ids", limits.duration_s, limits.ids_max));
    let Some(idempotence) = &stream.idempotence else { return text.push('\n') };
    put(text, format_args!(" added {}\n", idempotence.added));
    for (producer, iid, known) in idempotence.iter() {
        let Known { id, since } = known;
        put(text, format_args!(" producer {} {} is {id} since {since}\n", shown(producer), shown(iid)));
    }
}

fn dump_keeping(stream: &Stream, text: &mut String) {
    let Some(keeping) = &stream.keeping else { return };
    put(text, format_args!(" keeps {:?} told {}", keeping.retention, keeping.told));
    let measures = keeping.measures.as_ref();
    put(text, format_args!(" measured up to {:?}\n", measures.map(|measures| measures.upto)));
    for row in measures.iter().flat_map(|measures| measures.iter()) {
        put(text, format_args!("  {} has {} bytes since {}\n", row.pos, row.bytes, row.at));
    }
}

fn dump_group(group: &Group, text: &mut String) {
    let (name, last, read) = (shown(&group.name), group.last_id, group.entries_read);
    put(text, format_args!(" group {name} last {last} read {read:?}\n"));
    if let Some(charter) = &group.charter {
        put(text, format_args!("  {charter:?}\n"));
    }
    for (_, consumer) in group.consumers() {
        put(text, format_args!("  consumer {} holds {}\n", shown(&consumer.name), consumer.pending.len()));
    }
    for row in group.pending.from(EntryId::MIN) {
        let extra = group.pending.extra(row.id);
        let owner = if row.consumer == NO_CONSUMER {
            "nobody".into()
        } else {
            shown(group.consumer_name(row.consumer))
        };
        put(text, format_args!("  row {} {owner} {} × {}", row.id, row.time, row.deliveries));
        put(text, format_args!(" {} {} {}", extra.failures, extra.not_before, extra.epoch_shift));
        put(text, format_args!(" {} {:x} {}", extra.redrives, extra.key, extra.generation));
        put(text, format_args!("{}\n", if extra.waiting { " waits" } else { "" }));
        if let Some(failed) = group.pending.failed(row.id) {
            put(text, format_args!("   {failed:?}\n"));
        }
    }
    for row in group.pending.unheld() {
        put(text, format_args!("  handed back {}\n", row.id));
    }
}
