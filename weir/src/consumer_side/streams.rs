//! `weir streams`: which streams there are, and how much is in them.

use anyhow::Result;
use serde::Serialize;
use weir_core::{Broker, Clock as _, Retention, StreamInfo, SystemClock};

use super::reach::{self, Folder, Reach};
use super::{all, json, text};
use crate::output::{Table, Tone, print_json, print_line, print_table, toned};

/// What `weir streams` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A pattern their names have to match
    #[arg(default_value = "*")]
    pattern: String,
    /// List dead letters, lost entries and alerts too, which the broker keeps beside the streams
    #[arg(short, long)]
    all: bool,
    /// Print a JSON object for each stream
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

/// A stream for programs. Times in milliseconds.
#[derive(Debug, Serialize)]
struct StreamJson {
    stream: String,
    length: u64,
    entries_added: u64,
    first_id: Option<String>,
    last_id: String,
    groups: u64,
    retention: Option<RetentionJson>,
}

#[derive(Debug, Serialize)]
pub(super) struct RetentionJson {
    length: Option<u64>,
    bytes: Option<u64>,
    age_ms: Option<u64>,
    hold: Option<u64>,
}

impl RetentionJson {
    pub(super) fn of(retention: &Retention) -> Self {
        let millis = |age: std::time::Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Self {
            length: retention.length,
            bytes: retention.bytes,
            age_ms: retention.age.map(millis),
            hold: retention.hold,
        }
    }
}

/// Prints them, by name.
pub(crate) fn run(args: &Args) -> Result<()> {
    reach::run(async {
        let broker = args.reach.open(Folder::Needed).await?;
        let mut table = Table::new(&["stream", "entries", "ever", "last ID", "age", "groups", "kept"]);
        for name in all::streams(&*broker, &args.pattern, args.all).await? {
            // It may have gone meanwhile.
            let Some(info) = broker.stream_info(&name).await? else { continue };
            let retention = retention(&*broker, &name).await?;
            match args.json {
                true => print_json(&row_json(&name, &info, retention.as_ref()))?,
                false => add_row(&mut table, &name, &info, retention.as_ref()),
            }
        }
        match (args.json, table.is_empty()) {
            (true, _) => Ok(()),
            (false, true) => print_line(&toned(Tone::Faint, "no streams")),
            (false, false) => print_table(&table),
        }
    })
}

/// Names that no retention can be kept for have none.
async fn retention(broker: &dyn Broker, stream: &[u8]) -> Result<Option<Retention>> {
    match broker.retention(stream).await {
        Err(error) if matches!(error.kind(), weir_core::ErrorKind::Invalid(_)) => Ok(None),
        kept => Ok(kept?),
    }
}

fn row_json(name: &[u8], info: &StreamInfo, retention: Option<&Retention>) -> StreamJson {
    StreamJson {
        stream: json::name(name),
        length: info.length,
        entries_added: info.entries_added,
        first_id: info.first_id.map(|id| id.to_string()),
        last_id: info.last_id.to_string(),
        groups: info.groups,
        retention: retention.map(RetentionJson::of),
    }
}

fn add_row(table: &mut Table, name: &[u8], info: &StreamInfo, retention: Option<&Retention>) {
    let age = text::age(info.last_id, SystemClock::new().now());
    table.toned_row(&[
        (Tone::Name, &text::shown(name)),
        (Tone::Plain, &info.length.to_string()),
        (Tone::Faint, &info.entries_added.to_string()),
        (Tone::Plain, &info.last_id.to_string()),
        (Tone::Plain, &age),
        (Tone::Plain, &info.groups.to_string()),
        (Tone::Plain, &retention.map_or("everything".into(), shown_retention)),
    ]);
}

/// `1000 entries, 7d, hold 500`.
pub(super) fn shown_retention(retention: &Retention) -> String {
    let limits = [
        retention.length.map(text::entries),
        retention.bytes.map(|bytes| text::plural(bytes, "byte", "bytes")),
        retention.age.map(text::duration),
        retention.hold.map(|hold| format!("hold {hold}")),
    ];
    limits.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
