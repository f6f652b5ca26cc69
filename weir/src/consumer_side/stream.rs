//! `weir stream`: how much of a stream is kept, what was lost, and its end.

use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;
use serde::Serialize;
use weir_core::{Clock as _, LostQuery, Retention, SystemClock, TrimTo};

use super::ask::confirm;
use super::reach::{self, Folder, Reach};
use super::streams::{RetentionJson, shown_retention};
use super::{all, json, text, words};
use crate::exit::usage;
use crate::output::{Table, Tone, print_json, print_line, print_table, toned};

/// What can be done to a stream.
#[derive(Debug, Subcommand)]
pub(crate) enum StreamCommand {
    /// Say how much is kept from now on, or show it
    Retain(RetainArgs),
    /// Remove the oldest entries, but none that a required group has not acknowledged
    Trim(TrimArgs),
    /// List entries that were trimmed before a required group had acknowledged them
    Lost(LostArgs),
    /// Remove a stream with its groups
    Delete(DeleteArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct RetainArgs {
    /// The stream; it is made when it is not there and something is said
    stream: String,
    /// Keep so many entries
    #[arg(long, value_name = "N")]
    length: Option<u64>,
    /// Keep so many bytes of names and values: 500MiB
    #[arg(long, value_name = "SIZE", value_parser = words::bytes)]
    bytes: Option<u64>,
    /// Keep entries so long: 7d
    #[arg(long, value_name = "TIME", value_parser = words::duration)]
    age: Option<Duration>,
    /// Keep at most so many entries beyond that for required groups; then the oldest go, and are listed as lost
    #[arg(long, value_name = "N")]
    hold: Option<u64>,
    /// Keep everything
    #[arg(long, conflicts_with_all = ["length", "bytes", "age", "hold"])]
    everything: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TrimArgs {
    /// The stream
    stream: String,
    /// Leave the newest so many entries
    #[arg(long, value_name = "N", group = "to")]
    length: Option<u64>,
    /// Leave the entries from this ID on
    #[arg(long, value_name = "ID", group = "to", value_parser = words::id)]
    min_id: Option<weir_core::EntryId>,
    /// Leave the newest entries that have together so many bytes of names and values
    #[arg(long, value_name = "SIZE", group = "to", value_parser = words::bytes)]
    bytes: Option<u64>,
    /// Leave the entries from this time on, or of the last so long (7d)
    #[arg(long, value_name = "TIME", group = "to")]
    since: Option<String>,
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LostArgs {
    /// The stream
    stream: String,
    /// Only of this group
    group: Option<String>,
    /// At most so many
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 100)]
    count: u64,
    /// Print a JSON object for each entry
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// The stream
    stream: String,
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

/// Does it.
pub(crate) fn run(command: &StreamCommand) -> Result<()> {
    reach::run(async {
        match command {
            StreamCommand::Retain(args) => retain(args).await,
            StreamCommand::Trim(args) => trim(args).await,
            StreamCommand::Lost(args) => lost(args).await,
            StreamCommand::Delete(args) => delete(args).await,
        }
    })
}

async fn retain(args: &RetainArgs) -> Result<()> {
    let stream = args.stream.as_bytes();
    let wanted = Retention { length: args.length, bytes: args.bytes, age: args.age, hold: args.hold };
    let says_something = args.everything || wanted != Retention::default();
    let folder = if says_something { Folder::Made } else { Folder::Needed };
    let broker = args.reach.open(folder).await?;
    if says_something {
        if args.hold.is_some() && wanted.length.is_none() && wanted.bytes.is_none() && wanted.age.is_none() {
            return Err(usage("--hold wants a limit: --length, --bytes or --age"));
        }
        broker.set_retention(stream, (!args.everything).then_some(wanted)).await?;
    } else if broker.head(stream).await?.is_none() {
        return Err(all::no_stream(&args.stream));
    }
    let kept = broker.retention(stream).await?;
    if args.json {
        return print_json(&kept.as_ref().map(RetentionJson::of));
    }
    let shown = kept.as_ref().map_or("everything".into(), shown_retention);
    print_line(&format!("{} keeps {shown}", toned(Tone::Name, &args.stream)))
}

async fn trim(args: &TrimArgs) -> Result<()> {
    let to = match (args.length, args.min_id, args.bytes, &args.since) {
        (Some(length), ..) => TrimTo::Length(length),
        (_, Some(id), ..) => TrimTo::MinId(id),
        (_, _, Some(bytes), _) => TrimTo::Bytes(bytes),
        (.., Some(since)) => TrimTo::Time(words::time(since, SystemClock::new().now()).map_err(usage)?),
        _ => return Err(usage("trim to what? Give --length, --min-id, --bytes or --since")),
    };
    let broker = args.reach.open(Folder::Needed).await?;
    let stream = args.stream.as_bytes();
    let info = broker.stream_info(stream).await?.ok_or_else(|| all::no_stream(&args.stream))?;
    if !args.json {
        print_line(&format!("{} has {}", toned(Tone::Name, &args.stream), text::entries(info.length)))?;
    }
    confirm("Remove the oldest?", args.yes)?;
    let trimmed = broker.trim(stream, to).await?;
    if args.json {
        return print_json(&RemovedJson {
            stream: &args.stream,
            removed: trimmed.removed,
            held: trimmed.held,
        });
    }
    print_line(&format!("removed {}", text::entries(trimmed.removed)))?;
    match trimmed.held {
        0 => Ok(()),
        held => print_line(&toned(
            Tone::Warn,
            &format!(
                "kept {} that a required group has not acknowledged; see `weir groups {}`",
                text::entries(held),
                args.stream
            ),
        )),
    }
}

#[derive(Debug, Serialize)]
struct RemovedJson<'a> {
    stream: &'a str,
    /// Entries.
    removed: u64,
    held: u64,
}

#[derive(Debug, Serialize)]
struct LostJson {
    group: String,
    id: String,
    was_pending: bool,
    at: u64,
}

async fn lost(args: &LostArgs) -> Result<()> {
    let broker = args.reach.open(Folder::Needed).await?;
    let stream = args.stream.as_bytes();
    if broker.head(stream).await?.is_none() {
        return Err(all::no_stream(&args.stream));
    }
    let mut table = Table::new(&["ID", "group", "was", "lost at"]);
    let (mut after, mut left) = (None, args.count);
    while left > 0 {
        let group = args.group.clone().map(String::into_bytes);
        let page = broker.lost(stream, LostQuery { group, after, count: left.min(1_000) }).await?;
        for entry in &page.entries {
            let id = entry.id.to_string();
            let was = if entry.was_pending { "pending" } else { "not given out" };
            match args.json {
                true => print_json(&LostJson {
                    group: json::name(&entry.group),
                    id,
                    was_pending: entry.was_pending,
                    at: entry.at.0,
                })?,
                false => table.toned_row(&[
                    (Tone::Plain, &id),
                    (Tone::Name, &text::shown(&entry.group)),
                    (Tone::Plain, was),
                    (Tone::Plain, &text::time(entry.at)),
                ]),
            }
        }
        left -= (page.entries.len() as u64).min(left);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    match (args.json, table.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => print_line(&toned(Tone::Good, "nothing was lost")),
        (false, false) => print_table(&table),
    }
}

async fn delete(args: &DeleteArgs) -> Result<()> {
    let broker = args.reach.open(Folder::Needed).await?;
    let stream = args.stream.as_bytes();
    let info = broker.stream_info(stream).await?.ok_or_else(|| all::no_stream(&args.stream))?;
    if !args.json {
        print_line(&format!(
            "{} has {} and {}; its dead letters stay",
            toned(Tone::Name, &args.stream),
            text::entries(info.length),
            text::plural(info.groups, "group", "groups")
        ))?;
    }
    confirm("Remove the stream?", args.yes)?;
    broker.delete_stream(stream).await?;
    if args.json {
        return print_json(&RemovedJson { stream: &args.stream, removed: info.length, held: 0 });
    }
    print_line(&format!("removed the stream {}", toned(Tone::Name, &args.stream)))
}
