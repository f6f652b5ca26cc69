//! When two replies count as equal.
//!
//! Before the comparison, two things are evened out, the right side taking the left side's value:
//! * times and idle times, where the two are within 20 seconds of each other and of the same sign;
//! * entry IDs the peers gave themselves, where both gave them in answer to the same command.
//!
//! Where they stand is known from the command; nowhere else is anything tolerated.

use std::collections::{HashMap, HashSet};

use weir_core::EntryId;

use super::command::Command;
use crate::Value;

/// How far two peers' clocks, and the moments they carry a command out, may be apart.
const TIME_TOLERANCE_MS: i64 = 20_000;
/// IDs from here on count as times, in milliseconds.
const AUTOMATIC_MS_MIN: u64 = 1_500_000_000_000;
const AUTOMATIC_MS_MAX: u64 = 4_000_000_000_000;

/// What the peers made up themselves in the course of a sequence.
#[derive(Debug, Default)]
pub(super) struct GivenIds {
    pub(super) left: HashMap<usize, Vec<u8>>,
    pub(super) right: HashMap<usize, Vec<u8>>,
    pairs: HashSet<(Vec<u8>, Vec<u8>)>,
}

impl GivenIds {
    /// Notes the IDs when the command left them to the peers.
    pub(super) fn note(&mut self, command: &Command, left: &Value, right: &Value) {
        if command.name() != "xadd" || !command.has("*") {
            return;
        }
        let (Value::Bulk(left), Value::Bulk(right)) = (left, right) else { return };
        self.left.insert(command.serial, left.clone());
        self.right.insert(command.serial, right.clone());
        if both_are_now(left, right) {
            self.pairs.insert((left.clone(), right.clone()));
        }
    }

    /// Evens out what may differ.
    pub(super) fn align(&self, command: &Command, left: &mut Value, right: &mut Value) {
        align_radix_nodes(command, left, right);
        self.align_ids(left, right);
        let (mut lefts, mut rights) = (Vec::new(), Vec::new());
        times(command, left, &mut lefts);
        times(command, right, &mut rights);
        if lefts.len() != rights.len() {
            return;
        }
        for ((left, tolerance), (right, _)) in lefts.into_iter().zip(rights) {
            if left.abs_diff(*right) <= tolerance as u64 && (*left < 0) == (*right < 0) {
                *right = *left;
            }
        }
    }

    fn align_ids(&self, left: &Value, right: &mut Value) {
        match (left, right) {
            (Value::Bulk(left), Value::Bulk(right))
                if left != right && self.pairs.contains(&(left.clone(), right.clone())) =>
            {
                right.clone_from(left);
            }
            (Value::Error(left), Value::Error(right)) => self.align_quoted(left, right),
            (Value::Array(left), Value::Array(right)) => {
                left.iter().zip(right).for_each(|(left, right)| self.align_ids(left, right));
            }
            (Value::Map(left), Value::Map(right)) => {
                left.iter().zip(right).for_each(|(left, right)| self.align_ids(&left.1, &mut right.1));
            }
            _ => {}
        }
    }

    /// IDs that an error text quotes from the request.
    fn align_quoted(&self, left: &[u8], right: &mut Vec<u8>) {
        let lefts: Vec<&[u8]> = left.split(|byte| *byte == b'\'').collect();
        let rights: Vec<&[u8]> = right.split(|byte| *byte == b'\'').collect();
        let same = |(left, right): (&&[u8], &&[u8])| {
            left == right || self.pairs.contains(&(left.to_vec(), right.to_vec()))
        };
        if lefts.len() == rights.len() && lefts.iter().zip(&rights).all(same) {
            *right = left.to_vec();
        }
    }
}

fn both_are_now(left: &[u8], right: &[u8]) -> bool {
    let ms = |id: &[u8]| EntryId::parse(id, 0).ok().map(|id| id.ms);
    match (ms(left), ms(right)) {
        (Some(left), Some(right)) => {
            left.min(right) >= AUTOMATIC_MS_MIN
                && left.max(right) <= AUTOMATIC_MS_MAX
                && left.abs_diff(right) <= TIME_TOLERANCE_MS as u64
        }
        _ => false,
    }
}

/// The number of radix nodes depends on the bytes of the IDs, so it may differ when they are times.
fn align_radix_nodes(command: &Command, left: &mut Value, right: &mut Value) {
    if command.name() != "xinfo" || command.lower(1) != "stream" {
        return;
    }
    let last_id = field(left, "last-generated-id").cloned();
    let is_time = matches!(&last_id, Some(Value::Bulk(id)) if both_are_now(id, id));
    if is_time
        && let (Some(left), Some(right)) = (field(left, "radix-tree-nodes"), field(right, "radix-tree-nodes"))
    {
        right.clone_from(left);
    }
}

/// Every number of the reply that is a time or tells an age, with its tolerance.
fn times<'a>(command: &Command, reply: &'a mut Value, found: &mut Vec<(&'a mut i64, i64)>) {
    match (command.name().as_str(), command.lower(1).as_str()) {
        ("xpending", _) => rows(reply).for_each(|row| number_at(row, 4, 2, found)),
        ("xreadgroup", _) => {
            for entries in streams(reply) {
                rows(entries).for_each(|entry| number_at(entry, 4, 2, found));
            }
        }
        ("xinfo", "consumers") => {
            for consumer in rows(reply) {
                for (name, value) in fields(consumer) {
                    if matches!(&*name, b"idle" | b"inactive") {
                        number(value, TIME_TOLERANCE_MS, found);
                    }
                }
            }
        }
        ("xinfo", "stream") => {
            if let Some(groups) = field(reply, "groups") {
                rows(groups).for_each(|group| times_of_group(group, found));
            }
        }
        ("ttl" | "expiretime", _) => number(reply, TIME_TOLERANCE_MS / 1000, found),
        ("pttl" | "pexpiretime", _) => number(reply, TIME_TOLERANCE_MS, found),
        _ => {}
    }
}

fn times_of_group<'a>(group: &'a mut Value, found: &mut Vec<(&'a mut i64, i64)>) {
    for (name, value) in fields(group) {
        match &*name {
            b"pending" => rows(value).for_each(|row| number_at(row, 4, 2, found)),
            b"consumers" => rows(value).for_each(|consumer| {
                for (name, value) in fields(consumer) {
                    match &*name {
                        b"seen-time" | b"active-time" => number(value, TIME_TOLERANCE_MS, found),
                        b"pending" => rows(value).for_each(|row| number_at(row, 3, 1, found)),
                        _ => {}
                    }
                }
            }),
            _ => {}
        }
    }
}

fn number<'a>(value: &'a mut Value, tolerance: i64, found: &mut Vec<(&'a mut i64, i64)>) {
    if let Value::Int(n) = value {
        found.push((n, tolerance));
    }
}

/// The number at `at` of a row of `length` elements.
fn number_at<'a>(row: &'a mut Value, length: usize, at: usize, found: &mut Vec<(&'a mut i64, i64)>) {
    if let Value::Array(items) = row
        && items.len() == length
    {
        number(&mut items[at], TIME_TOLERANCE_MS, found);
    }
}

pub(super) fn rows(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    match value {
        Value::Array(items) => items.iter_mut(),
        _ => [].iter_mut(),
    }
}

/// The entries of each stream in a reply of XREADGROUP.
fn streams(reply: &mut Value) -> Vec<&mut Value> {
    match reply {
        Value::Map(pairs) => pairs.iter_mut().map(|(_, entries)| entries).collect(),
        other => rows(other).filter_map(|pair| rows(pair).nth(1)).collect(),
    }
}

/// Names and values of a map, or of what RESP2 makes of a map.
pub(super) fn fields(value: &mut Value) -> Vec<(Vec<u8>, &mut Value)> {
    let name = |value: &Value| match value {
        Value::Bulk(name) => name.clone(),
        _ => Vec::new(),
    };
    match value {
        Value::Map(pairs) => pairs.iter_mut().map(|(key, value)| (name(key), value)).collect(),
        Value::Array(items) => items
            .chunks_exact_mut(2)
            .map(|pair| {
                let key = name(&pair[0]);
                (key, &mut pair[1])
            })
            .collect(),
        _ => Vec::new(),
    }
}

pub(super) fn field<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    fields(value).into_iter().find(|(key, _)| key == name.as_bytes()).map(|(_, value)| value)
}
