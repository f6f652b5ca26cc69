//! `weir publish`: appends entries, from arguments, from standard input or by a template.

use std::io::BufRead as _;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, channel};
use weir_core::{
    AppendOptions, Appended, BatchOptions, Broker, Clock as _, EntryId, Expected, Fields, NewEntry, Producer,
    SystemClock,
};

use super::reach::{self, Folder, Reach};
use super::text::entries;
use super::{json, words};
use crate::exit::usage;
use crate::output::{Tone, print_json, print_line, toned};

/// So many entries are appended together.
const BATCH: usize = 500;
/// So many lines of standard input are read ahead.
const LINES_AHEAD: usize = 2 * BATCH;

/// What `weir publish` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The stream; it is made when it is not there
    stream: String,
    /// Fields: name=value. With --count, {n} becomes the number of the entry and {now} the time in milliseconds
    #[arg(value_name = "NAME=VALUE", value_parser = words::field)]
    fields: Vec<(String, String)>,
    /// Another field, `data`, with this JSON
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// An entry for each line of standard input: a JSON object with its fields
    #[arg(long, conflicts_with_all = ["count", "data", "id"])]
    stdin: bool,
    /// As --stdin, with lines as `weir tail --json` prints them
    #[arg(long, conflicts_with_all = ["stdin", "count", "data", "id"])]
    entries: bool,
    /// So many entries by the same template
    #[arg(long, value_name = "N", conflicts_with = "id")]
    count: Option<u64>,
    /// At most so many entries per second
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// The entry's ID [default: the broker gives one]
    #[arg(long, value_name = "ID", value_parser = words::id)]
    id: Option<EntryId>,
    /// Refuse unless the stream is at this version, or has never had an entry (`none`)
    #[arg(long, value_name = "VERSION", value_parser = expected, conflicts_with_all = ["count", "stdin", "entries"])]
    expect: Option<Expected>,
    /// Who appends: a repeated command of the same producer appends nothing twice
    #[arg(long, value_name = "NAME")]
    producer: Option<String>,
    /// Which append of the producer the first one is; the following ones are counted
    #[arg(long, value_name = "N", requires = "producer", default_value_t = 1)]
    append_id: u64,
    /// Print a JSON object for each entry
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

fn rate(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is no rate; write a number above 0, such as 100 or 0.5");
    text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0).ok_or_else(wrong)
}

fn expected(text: &str) -> Result<Expected, String> {
    match text {
        "none" => Ok(Expected::NoEntries),
        text => text
            .parse()
            .map(Expected::Version)
            .map_err(|_| format!("{text:?} is no version; write a number or none")),
    }
}

#[derive(Debug, Serialize)]
struct Published<'a> {
    stream: &'a str,
    id: String,
    is_duplicate: bool,
}

/// Appends, and says which IDs the entries have.
pub(crate) fn run(args: &Args) -> Result<()> {
    let source = Source::of(args)?;
    reach::run(async {
        let broker = args.reach.open(Folder::Made).await?;
        let mut told = Told::default();
        publish(&*broker, args, source, &mut told).await?;
        told.sum_up(args)
    })
}

/// Where entries come from, one at a time.
enum Source {
    One(Fields),
    Template { next: u64, last: u64, fields: Vec<(String, String)> },
    Lines { lines: Receiver<std::io::Result<String>>, number: u64, as_entries: bool },
}

impl Source {
    fn of(args: &Args) -> Result<Self> {
        if args.stdin || args.entries {
            if !args.fields.is_empty() {
                return Err(usage("fields come from standard input or from arguments, not from both"));
            }
            return Ok(Self::Lines { lines: lines()?, number: 0, as_entries: args.entries });
        }
        let mut fields = args.fields.clone();
        if let Some(data) = &args.data {
            serde_json::from_str::<Value>(data)
                .map_err(|error| usage(format!("--data is no JSON: {error}")))?;
            fields.push(("data".into(), data.clone()));
        }
        if fields.is_empty() {
            return Err(usage("an entry needs a field: name=value, --data JSON, or --stdin"));
        }
        Ok(match args.count {
            Some(last) => Self::Template { next: 1, last, fields },
            None => Self::One(fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect()),
        })
    }

    /// The next entries, at most so many; none at the end.
    async fn next(&mut self, most: usize) -> Result<Vec<Fields>> {
        match self {
            Self::One(fields) => {
                let fields = std::mem::take(fields);
                Ok(if fields.is_empty() { Vec::new() } else { vec![fields] })
            }
            Self::Template { next, last, fields } => {
                let end = last.saturating_add(1).min(next.saturating_add(most as u64));
                let now = SystemClock::new().now().0.to_string();
                let entry = |n: u64| {
                    let filled = |text: &String| text.replace("{n}", &n.to_string()).replace("{now}", &now);
                    fields.iter().map(|(name, value)| (filled(name).into(), filled(value).into())).collect()
                };
                let made = (*next..end).map(entry).collect();
                *next = end;
                Ok(made)
            }
            Self::Lines { lines, number, as_entries } => {
                let mut entries = Vec::new();
                // Waits for one line, and takes what is there then: nobody waits until a batch is full.
                while entries.len() < most {
                    let line = match entries.is_empty() {
                        true => lines.recv().await,
                        false => lines.try_recv().ok(),
                    };
                    let Some(line) = line else { break };
                    let line = line.context("standard input cannot be read")?;
                    *number += 1;
                    if !line.trim().is_empty() {
                        entries.push(fields_of(&line, *as_entries).map_err(|error| {
                            usage(format!("line {number} of standard input is no entry: {error:#}"))
                        })?);
                    }
                }
                Ok(entries)
            }
        }
    }
}

/// The lines of standard input, read by a thread of their own: nothing else waits for them.
fn lines() -> Result<Receiver<std::io::Result<String>>> {
    let (sender, receiver) = channel(LINES_AHEAD);
    let read = move || {
        for line in std::io::stdin().lock().lines() {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    };
    std::thread::Builder::new().name("weir-stdin".into()).spawn(read).context("no threads can be started")?;
    Ok(receiver)
}

fn fields_of(line: &str, as_entries: bool) -> Result<Fields> {
    let value: Value = serde_json::from_str(line)?;
    let object = value.as_object().context("it is no JSON object")?;
    let fields = if as_entries { json::fields_of_entry(object)? } else { json::fields(object)? };
    if fields.is_empty() { anyhow::bail!("it has no fields") } else { Ok(fields) }
}

async fn publish(broker: &dyn Broker, args: &Args, mut source: Source, told: &mut Told) -> Result<()> {
    let stream = args.stream.as_bytes();
    if let Source::One(fields) = source {
        let producer = args
            .producer
            .as_ref()
            .map(|name| Producer { name: name.clone().into(), append_id: args.append_id.to_string().into() });
        let options = AppendOptions { id: args.id, producer, expected: args.expect.unwrap_or_default() };
        let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        return told.add(args, broker.append(stream, &fields, options).await?);
    }
    // With a rate, a tenth of a second at a time.
    let most = args.rate.map_or(BATCH, |rate| (rate / 10.0).clamp(1.0, BATCH as f64) as usize);
    let pause = args.rate.map(|rate| Duration::from_secs_f64(most as f64 / rate));
    let mut ticks = pause.map(tokio::time::interval);
    let mut number = args.append_id;
    loop {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let batch = source.next(most).await?;
        if batch.is_empty() {
            return Ok(());
        }
        for appended in append(broker, args, &batch, number).await? {
            told.add(args, appended)?;
        }
        number += batch.len() as u64;
    }
}

async fn append(broker: &dyn Broker, args: &Args, batch: &[Fields], number: u64) -> Result<Vec<Appended>> {
    let fields: Vec<Vec<(&[u8], &[u8])>> =
        batch.iter().map(|fields| fields.iter().map(|(name, value)| (&**name, &**value)).collect()).collect();
    let ids: Vec<_> = (number..).take(batch.len()).map(|number| number.to_string()).collect();
    let is_named = args.producer.is_some();
    let entries: Vec<_> = fields
        .iter()
        .zip(&ids)
        .map(|(fields, id)| NewEntry { fields, id: None, append_id: is_named.then_some(id.as_bytes()) })
        .collect();
    let producer = args.producer.clone().map(String::into_bytes);
    let options = BatchOptions { producer, expected: Expected::Any };
    Ok(broker.append_batch(args.stream.as_bytes(), &entries, options).await?)
}

/// What was appended so far.
#[derive(Debug, Default)]
struct Told {
    count: u64,
    duplicates: u64,
    first: Option<EntryId>,
    last: Option<EntryId>,
}

impl Told {
    fn add(&mut self, args: &Args, appended: Appended) -> Result<()> {
        self.count += 1;
        self.duplicates += u64::from(appended.is_duplicate);
        self.first = self.first.or(Some(appended.id));
        self.last = Some(appended.id);
        match args.json {
            true => print_json(&Published {
                stream: &args.stream,
                id: appended.id.to_string(),
                is_duplicate: appended.is_duplicate,
            }),
            false => Ok(()),
        }
    }

    fn sum_up(&self, args: &Args) -> Result<()> {
        let again = match self.duplicates {
            0 => String::new(),
            all if all == self.count => " (there already)".into(),
            some => format!(" ({some} of them there already)"),
        };
        match (args.json, self.first, self.last) {
            (true, ..) => Ok(()),
            (false, Some(first), Some(last)) if first != last => print_line(&format!(
                "{} in {}: {first} … {last}{again}",
                entries(self.count),
                toned(Tone::Name, &args.stream)
            )),
            (false, Some(first), _) => print_line(&format!("{first}{again}")),
            (false, None, _) => print_line("nothing to publish"),
        }
    }
}
