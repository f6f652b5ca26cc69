//! A group: its place, its policy, and what it has pending.

use std::time::Duration;

use anyhow::Result;
use weir_core::{
    Backoff, Clock as _, CreateGroup, EntryId, GroupInfo, GroupOrigin, PendingQuery, PendingRow,
    PendingState, Policy, RestoredRow, Seek, SeekTo, SystemClock, Timestamp,
};

use super::super::text;
use super::Ends;

/// Rows that are read at a time.
const PAGE: u64 = 500;

/// Copies a group; answers how many rows it has pending there.
pub(super) async fn copy(
    ends: &Ends,
    stream: &[u8],
    group: &GroupInfo,
    notes: &mut Vec<String>,
) -> Result<u64> {
    let name = text::shown(&group.name);
    match ends.destination.group_info(stream, &group.name).await? {
        Some(there) if there.last_delivered_id > group.last_delivered_id => {
            notes.push(format!(
                "the group {name} is further there ({}) than here ({}): it was left as it is",
                there.last_delivered_id, group.last_delivered_id
            ));
            return Ok(0);
        }
        Some(_) => {}
        None => create(ends, stream, group, notes).await?,
    }
    let to = SeekTo::After(group.last_delivered_id);
    ends.destination.seek(stream, &group.name, Seek { to, dry_run: false }).await?;
    pending(ends, stream, group, notes).await
}

async fn create(ends: &Ends, stream: &[u8], group: &GroupInfo, notes: &mut Vec<String>) -> Result<()> {
    let policy = group.policy.clone().unwrap_or_else(|| {
        notes.push(format!(
            "the group {} had no policy; there it has one with which nothing becomes a dead letter, see `weir group set`",
            text::shown(&group.name)
        ));
        never_dead()
    });
    // Of a group that was made by XGROUP CREATE nobody knows where it started; programs mostly say: at the start.
    let origin = group.origin.unwrap_or(GroupOrigin::Beginning);
    ends.destination.create_group(stream, &group.name, CreateGroup { origin, policy }).await?;
    if group.paused {
        ends.destination.pause(stream, &group.name, None).await?;
    }
    Ok(())
}

/// What comes nearest to no policy: everything is tried again at once and for ever.
fn never_dead() -> Policy {
    Policy {
        failures_max: u32::MAX,
        deliveries_max: u32::MAX,
        backoff: Backoff::List(vec![Duration::ZERO]),
        ..Policy::recommended()
    }
}

/// The rows, whatever their state. Those whose entries are gone cannot be restored, and nobody would be given them.
async fn pending(ends: &Ends, stream: &[u8], group: &GroupInfo, notes: &mut Vec<String>) -> Result<u64> {
    let (mut start, mut read, mut restored) = (EntryId::MIN, 0, 0);
    loop {
        let query = PendingQuery { consumer: None, idle_min: None, start, end: EntryId::MAX, count: PAGE };
        let rows = ends.source.pending(stream, &group.name, query).await?;
        let Some(last) = rows.last() else { break };
        read += rows.len() as u64;
        let now = SystemClock::new().now();
        let rows: Vec<_> = rows.iter().map(|row| to_restore(row, now)).collect();
        restored += ends.destination.restore_pending(stream, &group.name, &rows).await?;
        match last.id.next() {
            Some(next) => start = next,
            None => break,
        }
    }
    if restored < read {
        notes.push(format!(
            "the group {} had {} pending whose entries are gone",
            text::shown(&group.name),
            text::entries(read - restored)
        ));
    }
    Ok(restored)
}

fn to_restore(row: &PendingRow, now: Timestamp) -> RestoredRow {
    let delay = match row.state {
        PendingState::Delayed { until } => Some(Duration::from_millis(until.millis_since(now))),
        _ => None,
    };
    RestoredRow {
        id: row.id,
        consumer: row.consumer.clone(),
        idle: row.idle,
        deliveries: row.deliveries,
        failures: row.failures,
        delay,
    }
}
