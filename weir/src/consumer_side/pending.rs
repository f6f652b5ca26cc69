//! `weir pending`: what a group was given and has not settled, row by row.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use weir_core::{
    Clock as _, EntryId, PendingQuery, PendingRow, PendingState, PendingSummary, SystemClock, Timestamp,
};

use super::reach::{self, Folder, Reach};
use super::{all, json, text, words};
use crate::output::{Table, Tone, print_json, print_line, print_table, toned};

/// What `weir pending` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The stream
    stream: String,
    /// The group
    group: String,
    /// Only what this consumer holds
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// Only what is held, and was given out so long ago
    #[arg(long, value_name = "TIME", value_parser = words::duration)]
    idle: Option<Duration>,
    /// From this ID on
    #[arg(long, value_name = "ID", value_parser = words::id)]
    from: Option<EntryId>,
    /// At most so many rows
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 20)]
    count: u64,
    /// Print a JSON object for each row
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

/// A row for programs. Times in milliseconds.
#[derive(Debug, Serialize)]
struct RowJson {
    id: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    consumer: Option<String>,
    idle_ms: u64,
    deliveries: u64,
    failures: u64,
    last_class: Option<String>,
    last_reason: Option<String>,
    last_at: Option<u64>,
}

/// Prints a summary and the rows.
pub(crate) fn run(args: &Args) -> Result<()> {
    reach::run(async {
        let broker = args.reach.open(Folder::Needed).await?;
        all::group(&*broker, &args.stream, &args.group).await?;
        let (stream, group) = (args.stream.as_bytes(), args.group.as_bytes());
        let query = PendingQuery {
            consumer: args.consumer.clone().map(String::into_bytes),
            idle_min: args.idle,
            start: args.from.unwrap_or(EntryId::MIN),
            end: EntryId::MAX,
            count: args.count,
        };
        let rows = broker.pending(stream, group, query).await?;
        if args.json {
            return rows.iter().try_for_each(|row| print_json(&row_json(row)));
        }
        print_line(&summary(&broker.pending_summary(stream, group).await?))?;
        match rows.is_empty() {
            true => Ok(()),
            false => print_table(&table(&rows, SystemClock::new().now())),
        }
    })
}

fn summary(summary: &PendingSummary) -> String {
    let Some((first, last)) = summary.bounds else { return toned(Tone::Good, "nothing is pending") };
    let held: Vec<_> =
        summary.consumers.iter().map(|(name, count)| format!("{} {count}", text::shown(name))).collect();
    let held =
        if held.is_empty() { "nobody holds any".into() } else { format!("held by {}", held.join(", ")) };
    format!("{} pending, {first} … {last}; {held}", text::entries(summary.count))
}

fn state(row: &PendingRow) -> &'static str {
    match row.state {
        PendingState::InFlight => "held",
        PendingState::Ready => "ready",
        PendingState::Delayed { .. } => "delayed",
        PendingState::Waiting => "waiting",
    }
}

fn row_json(row: &PendingRow) -> RowJson {
    let failure = row.last_failure.as_ref();
    RowJson {
        id: row.id.to_string(),
        state: state(row),
        until: match row.state {
            PendingState::Delayed { until } => Some(until.0),
            _ => None,
        },
        consumer: row.consumer.as_deref().map(json::name),
        idle_ms: u64::try_from(row.idle.as_millis()).unwrap_or(u64::MAX),
        deliveries: row.deliveries,
        failures: row.failures,
        last_class: failure.map(|failure| json::name(&failure.class)),
        last_reason: failure.map(|failure| json::name(&failure.reason)),
        last_at: failure.map(|failure| failure.at.0),
    }
}

fn table(rows: &[PendingRow], now: Timestamp) -> Table {
    let mut table =
        Table::new(&["ID", "state", "consumer", "held for", "deliveries", "failures", "last failure"]);
    for row in rows {
        let (tone, state) = match row.state {
            PendingState::Delayed { until } => {
                let wait = Duration::from_millis(until.millis_since(now));
                (Tone::Warn, format!("delayed, {} left", text::duration(wait)))
            }
            _ => (Tone::Plain, state(row).to_owned()),
        };
        let held = row.consumer.as_ref().map(|_| row.idle);
        let failure = row.last_failure.as_ref().map_or(String::new(), |failure| {
            format!("{}: {}", text::shown(&failure.class), text::cut(&failure.reason))
        });
        table.toned_row(&[
            (Tone::Plain, &row.id.to_string()),
            (tone, &state),
            (Tone::Name, &row.consumer.as_deref().map_or("–".into(), text::shown)),
            (Tone::Plain, &text::maybe(held)),
            (Tone::Plain, &row.deliveries.to_string()),
            (if row.failures > 0 { Tone::Warn } else { Tone::Plain }, &row.failures.to_string()),
            (Tone::Plain, &failure),
        ]);
    }
    table
}
