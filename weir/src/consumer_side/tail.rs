//! `weir tail`: prints entries of a stream, or of all streams that a pattern matches, and those that are appended.
//!
//! It reads as anybody may, takes nothing from a group and changes nothing.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::JoinSet;
use weir_core::{Broker, Clock as _, Condition, Entry, EntryId, Filter, ReadFrom, ReadOptions, SystemClock};

use super::all::{is_pattern, named, streams};
use super::json::EntryJson;
use super::reach::{self, Folder, Reach};
use super::{text, words};
use crate::output::{Tone, print_json, print_line, toned};

/// Entries that are read at a time.
const PAGE: u64 = 500;
/// Entries that wait to be printed.
const AHEAD: usize = 1_000;
/// So often a pattern is asked for new streams.
const DISCOVERY: Duration = Duration::from_millis(500);
/// So long a read waits before it is asked again.
const WAIT: Duration = Duration::from_secs(5);

/// What `weir tail` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The stream, or a pattern for several: orders, 'orders-*'
    stream: String,
    /// Go on with what is appended from now on; new streams of a pattern are picked up
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many, or with --from the first so many [default: 10, with --from all]
    #[arg(short = 'n', long = "lines", value_name = "N")]
    count: Option<u64>,
    /// Where to start: start, end, an ID, after:ID, a time, or how long ago (10m)
    #[arg(long, value_name = "PLACE")]
    from: Option<String>,
    /// Only entries with this field: name=value, name^=prefix, name|=one,other; @type and @tenant stand for all their
    /// names. Several have to hold together
    #[arg(long = "where", value_name = "CONDITION", value_parser = words::condition)]
    conditions: Vec<Condition>,
    /// Print values to their end
    #[arg(long)]
    full: bool,
    /// Print a JSON object for each entry
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

/// Prints entries until there are no more, or nobody wants them any more.
pub(crate) fn run(args: &Args) -> Result<()> {
    let from = match &args.from {
        Some(text) => Some(words::read_from(text, SystemClock::new().now()).map_err(crate::exit::usage)?),
        None => None,
    };
    reach::run(async {
        let broker = args.reach.open(Folder::Needed).await?;
        let show = Show { filter: words::filter(&args.conditions), args, many: is_pattern(&args.stream) };
        let streams = match named(&*broker, &args.stream).await {
            // It may come to be while this waits.
            Err(_) if args.follow => vec![args.stream.clone().into_bytes()],
            found => found?,
        };
        let left = args.count.unwrap_or(if from.is_some() { u64::MAX } else { 10 });
        let (ends, printed) = match from {
            Some(from) => print_from(&*broker, &show, &streams, from, left).await?,
            None => (print_last(&*broker, &show, &streams, left).await?, 0),
        };
        if !args.follow {
            return Ok(());
        }
        let left = from.and(args.count).map(|count| count.saturating_sub(printed));
        follow(broker, &show, ends, left).await
    })
}

/// What is printed, and how.
struct Show<'a> {
    args: &'a Args,
    filter: Option<Filter>,
    many: bool,
}

impl Show<'_> {
    fn wants(&self, entry: &Entry) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches_fields(&entry.fields))
    }

    fn print(&self, stream: &[u8], entry: &Entry) -> Result<()> {
        if self.args.json {
            return print_json(&EntryJson::of(stream, entry));
        }
        let mut line = toned(Tone::Faint, &entry.id.to_string());
        if self.many {
            line.push_str(&format!("  {}", toned(Tone::Name, &text::shown(stream))));
        }
        line.push(' ');
        for (name, value) in &entry.fields {
            let value = if self.args.full { text::shown(value) } else { text::cut(value) };
            line.push_str(&format!(" {}{value}", toned(Tone::Faint, &format!("{}=", text::shown(name)))));
        }
        print_line(&line)
    }
}

/// Where a stream has been read to.
type End = (Vec<u8>, EntryId);

async fn page(broker: &dyn Broker, stream: &[u8], from: ReadFrom, backward: bool) -> Result<Vec<Entry>> {
    let options = ReadOptions { from, to: None, backward, count: PAGE, wait: None };
    Ok(broker.read(stream, options).await?)
}

async fn last_id(broker: &dyn Broker, stream: &[u8]) -> Result<EntryId> {
    Ok(broker.head(stream).await?.map_or(EntryId::MIN, |head| head.last_id))
}

/// The last entries of all streams together, by ID.
async fn print_last(
    broker: &dyn Broker,
    show: &Show<'_>,
    streams: &[Vec<u8>],
    count: u64,
) -> Result<Vec<End>> {
    let (mut ends, mut found) = (Vec::new(), Vec::new());
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    for stream in streams {
        let end = last_id(broker, stream).await?;
        ends.push((stream.clone(), end));
        let (mut from, mut of_this) = (ReadFrom::Id(end), 0);
        while of_this < most {
            let entries = page(broker, stream, from, true).await?;
            let Some(oldest) = entries.last() else { break };
            from = ReadFrom::After(oldest.id);
            let wanted = entries.into_iter().filter(|entry| show.wants(entry)).take(most - of_this);
            let before = found.len();
            found.extend(wanted.map(|entry| (stream, entry)));
            of_this += found.len() - before;
        }
    }
    found.sort_by_key(|(_, entry)| entry.id);
    for (stream, entry) in &found[found.len().saturating_sub(most)..] {
        show.print(stream, entry)?;
    }
    Ok(ends)
}

/// The entries from a place on, all streams merged by ID; with how many were printed.
async fn print_from(
    broker: &dyn Broker,
    show: &Show<'_>,
    streams: &[Vec<u8>],
    from: ReadFrom,
    count: u64,
) -> Result<(Vec<End>, u64)> {
    let mut cursors = Vec::new();
    for stream in streams {
        let end = last_id(broker, stream).await?;
        let from = if from == ReadFrom::End { ReadFrom::After(end) } else { from };
        cursors.push(Cursor { stream, from, buffer: VecDeque::new(), end, is_done: false });
    }
    let mut printed = 0;
    while printed < count {
        for cursor in &mut cursors {
            cursor.fill(broker, show).await?;
        }
        let first = cursors.iter_mut().filter(|cursor| !cursor.buffer.is_empty());
        let Some(cursor) = first.min_by_key(|cursor| cursor.buffer[0].id) else { break };
        let entry = cursor.buffer.pop_front().expect("it has a first");
        show.print(cursor.stream, &entry)?;
        printed += 1;
    }
    Ok((cursors.into_iter().map(|cursor| (cursor.stream.to_vec(), cursor.end)).collect(), printed))
}

/// One of several streams that are merged.
struct Cursor<'a> {
    stream: &'a [u8],
    from: ReadFrom,
    buffer: VecDeque<Entry>,
    /// The last ID when this began: what comes later is for those who follow.
    end: EntryId,
    is_done: bool,
}

impl Cursor<'_> {
    async fn fill(&mut self, broker: &dyn Broker, show: &Show<'_>) -> Result<()> {
        while self.buffer.is_empty() && !self.is_done {
            let entries = page(broker, self.stream, self.from, false).await?;
            match entries.last() {
                Some(last) if last.id < self.end => self.from = ReadFrom::After(last.id),
                _ => self.is_done = true,
            }
            let wanted = entries.into_iter().filter(|entry| entry.id <= self.end && show.wants(entry));
            self.buffer.extend(wanted);
        }
        Ok(())
    }
}

/// Prints what is appended behind the ends, as it comes.
async fn follow(
    broker: Arc<dyn Broker>,
    show: &Show<'_>,
    ends: Vec<End>,
    mut left: Option<u64>,
) -> Result<()> {
    let (sender, mut entries) = mpsc::channel(AHEAD);
    let mut readers = JoinSet::new();
    let mut known = BTreeSet::new();
    for (stream, end) in ends {
        known.insert(stream.clone());
        readers.spawn(read_on(broker.clone(), stream, end, sender.clone()));
    }
    let mut discovery = tokio::time::interval(DISCOVERY);
    while left != Some(0) {
        tokio::select! {
            Some((stream, entry)) = entries.recv() => {
                if show.wants(&entry) {
                    show.print(&stream, &entry)?;
                    left = left.map(|left| left - 1);
                }
            }
            Some(ended) = readers.join_next() => ended??,
            _ = discovery.tick(), if show.many => {
                for stream in streams(&*broker, &show.args.stream, false).await? {
                    if known.insert(stream.clone()) {
                        readers.spawn(read_on(broker.clone(), stream, EntryId::MIN, sender.clone()));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Sends on what comes behind an ID, until nobody wants it.
async fn read_on(
    broker: Arc<dyn Broker>,
    stream: Vec<u8>,
    mut end: EntryId,
    sender: Sender<(Vec<u8>, Entry)>,
) -> Result<()> {
    loop {
        let options = ReadOptions {
            from: ReadFrom::After(end),
            to: None,
            backward: false,
            count: PAGE,
            wait: Some(WAIT),
        };
        for entry in broker.read(&stream, options).await? {
            end = entry.id;
            if sender.send((stream.clone(), entry)).await.is_err() {
                return Ok(());
            }
        }
    }
}
