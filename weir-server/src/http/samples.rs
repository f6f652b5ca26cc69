//! What the metrics are made of: everything is looked up once per request for them, in short turns.

use weir_engine::{DATABASES, Engine, GroupInfo, Halt, KeyKind, KeyRef, LogStats, NamespaceNo};

use super::facts::Facts;
use crate::DoorCounts;

/// Groups that get figures of their own; the others only count in `weir_groups_left_out`.
pub const GROUPS_MAX: usize = 1_000;
/// Keys that are looked at for groups, over all databases.
pub const KEYS_MAX: u32 = 20_000;
/// Keys looked at in one turn of the engine.
const KEYS_PER_TURN: u32 = 64;

/// What one request for the metrics found.
#[derive(Debug)]
pub(super) struct Samples {
    pub(super) version: &'static str,
    pub(super) uptime: f64,
    pub(super) door: DoorCounts,
    pub(super) log: LogStats,
    pub(super) log_bytes: u64,
    pub(super) written: u64,
    pub(super) durable: u64,
    pub(super) faulted: bool,
    pub(super) snapshots: u64,
    pub(super) snapshots_failed: u64,
    pub(super) waiting_reads: u64,
    /// Keys of each database that has any.
    pub(super) databases: Vec<(u32, u64)>,
    pub(super) groups: Vec<GroupSample>,
    /// Whether there may be groups without figures.
    pub(super) groups_left_out: bool,
    pub(super) resident_bytes: u64,
}

/// A group and where it is.
#[derive(Debug)]
pub(super) struct GroupSample {
    pub(super) database: u32,
    pub(super) stream: String,
    pub(super) group: String,
    pub(super) info: GroupInfo,
}

impl Samples {
    pub(super) fn take(facts: &Facts) -> Self {
        let engine = &facts.engine;
        let (written, durable) = engine.watermarks();
        let (waiting_reads, databases) = {
            let turn = engine.turn();
            let counts = (0..DATABASES).filter_map(|no| Some((no, turn.key_count(NamespaceNo(no)).ok()?)));
            (turn.waiting_counts().0 as u64, counts.filter(|(_, keys)| *keys > 0).collect::<Vec<_>>())
        };
        let (groups, groups_left_out) = groups(engine, &databases);
        Self {
            version: facts.version,
            uptime: facts.uptime().as_secs_f64(),
            door: facts.door.counts(),
            log: engine.log_stats(),
            log_bytes: engine.log_bytes(),
            written: written.0,
            durable: durable.0,
            faulted: engine.is_faulted(),
            snapshots: engine.snapshots_written(),
            snapshots_failed: engine.snapshots_failed(),
            waiting_reads,
            databases,
            groups,
            groups_left_out,
            resident_bytes: resident_bytes(),
        }
    }
}

/// The groups of the first streams, and whether there may be more.
fn groups(engine: &Engine, databases: &[(u32, u64)]) -> (Vec<GroupSample>, bool) {
    let (mut groups, mut looked_at) = (Vec::new(), 0);
    for (database, _) in databases {
        let mut cursor = 0;
        loop {
            if looked_at >= KEYS_MAX {
                return (groups, true);
            }
            looked_at += KEYS_PER_TURN;
            // A database that cannot be asked is one that was taken away just now.
            cursor = groups_of_slice(engine, *database, cursor, &mut groups).unwrap_or(0);
            if groups.len() > GROUPS_MAX {
                groups.truncate(GROUPS_MAX);
                return (groups, true);
            }
            if cursor == 0 {
                break;
            }
        }
    }
    (groups, false)
}

fn groups_of_slice(
    engine: &Engine,
    database: u32,
    cursor: u64,
    into: &mut Vec<GroupSample>,
) -> Result<u64, Halt> {
    let ns = NamespaceNo(database);
    let mut turn = engine.turn();
    let mut names: Vec<Box<[u8]>> = Vec::new();
    let next = turn.scan(ns, cursor, KEYS_PER_TURN, &mut |name, kind| {
        if kind == KeyKind::Stream {
            names.push(name.into());
        }
    })?;
    for name in names {
        // A stream that is gone has no groups.
        for info in turn.groups_info(KeyRef { ns, name: &name }).unwrap_or_default() {
            into.push(GroupSample {
                database,
                stream: String::from_utf8_lossy(&name).into_owned(),
                group: String::from_utf8_lossy(&info.name).into_owned(),
                info,
            });
        }
    }
    Ok(next)
}

/// Memory of this process; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}
