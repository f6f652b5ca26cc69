//! `weir seek`: moves a group; shows first what that would do.

use anyhow::Result;
use serde::Serialize;
use weir_core::{Broker, Clock as _, Entry, EntryId, ReadFrom, ReadOptions, Seek, Sought, SystemClock};

use super::ask::confirm;
use super::reach::{self, Folder, Reach};
use super::{all, text, words};
use crate::exit::usage;
use crate::output::{Tone, print_json, print_line, tell, toned};

/// So far the entries between the old and the new place are counted.
const COUNTED_MAX: u64 = 10_000;

/// What `weir seek` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The stream
    stream: String,
    /// The group
    group: String,
    /// Where to: start, end, an ID (that entry comes next), after:ID, +N (leave N entries out), a time, or how long ago
    /// (10m)
    to: String,
    /// Only show what would happen
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Serialize)]
struct SeekJson {
    from: String,
    to: String,
    next_id: Option<String>,
    again: u64,
    left_out: u64,
    counted_to_the_end: bool,
    dropped: u64,
    done: bool,
}

/// Shows, asks, moves.
pub(crate) fn run(args: &Args) -> Result<()> {
    let to = words::seek_to(&args.to, SystemClock::new().now()).map_err(usage)?;
    reach::run(async {
        let broker = args.reach.open(Folder::Needed).await?;
        all::group(&*broker, &args.stream, &args.group).await?;
        let (stream, group) = (args.stream.as_bytes(), args.group.as_bytes());
        let sought = broker.seek(stream, group, Seek { to, dry_run: true }).await?;
        let preview = Preview::of(&*broker, stream, sought).await?;
        if !args.json {
            preview.print()?;
        }
        if args.dry_run {
            return preview.print_json(args, false);
        }
        confirm("Move the group?", args.yes)?;
        let done = broker.seek(stream, group, Seek { to, dry_run: false }).await?;
        match args.json {
            true => Preview { sought: done, ..preview }.print_json(args, true),
            false => {
                tell(&toned(Tone::Good, &format!("moved to {}", done.to)));
                Ok(())
            }
        }
    })
}

/// What a seek would do, for people.
struct Preview {
    sought: Sought,
    next: Option<Entry>,
    /// Entries between the two places, as far as they were counted.
    between: u64,
    counted: bool,
}

impl Preview {
    async fn of(broker: &dyn Broker, stream: &[u8], sought: Sought) -> Result<Self> {
        let (low, high) = (sought.from.min(sought.to), sought.from.max(sought.to));
        let (mut between, mut after) = (0, low);
        while between < COUNTED_MAX && after < high {
            let options = ReadOptions {
                from: ReadFrom::After(after),
                to: Some(high),
                backward: false,
                count: 500,
                wait: None,
            };
            let page = broker.read(stream, options).await?;
            between += page.len() as u64;
            match page.last() {
                Some(last) => after = last.id,
                None => after = high,
            }
        }
        let from = ReadFrom::After(sought.to);
        let options = ReadOptions { from, to: None, backward: false, count: 1, wait: None };
        let next = broker.read(stream, options).await?.pop();
        Ok(Self { sought, next, between, counted: after >= high })
    }

    fn goes_back(&self) -> bool {
        self.sought.to < self.sought.from
    }

    fn print(&self) -> Result<()> {
        let Sought { from, to, dropped } = self.sought;
        let more = if self.counted { "" } else { "more than " };
        let between = format!("{more}{}", text::entries(self.between));
        print_line(&format!("last delivered  {} → {}", shown(from), toned(Tone::Name, &shown(to))))?;
        match self.goes_back() {
            true => print_line(&format!("comes again     {}", toned(Tone::Warn, &between)))?,
            false => print_line(&format!("is left out     {}", toned(Tone::Warn, &between)))?,
        }
        if dropped > 0 {
            print_line(&format!("off the pending list, since they come again: {}", text::entries(dropped)))?;
        }
        match &self.next {
            Some(entry) => {
                let fields = entry.fields.iter().take(4);
                let fields: Vec<_> = fields
                    .map(|(name, value)| format!("{}={}", text::shown(name), text::cut(value)))
                    .collect();
                print_line(&format!("comes next      {}  {}", entry.id, fields.join(" ")))
            }
            None => print_line("comes next      what is appended from now on"),
        }
    }

    fn print_json(&self, args: &Args, done: bool) -> Result<()> {
        if !args.json {
            return Ok(());
        }
        let back = self.goes_back();
        print_json(&SeekJson {
            from: self.sought.from.to_string(),
            to: self.sought.to.to_string(),
            next_id: self.next.as_ref().map(|entry| entry.id.to_string()),
            again: if back { self.between } else { 0 },
            left_out: if back { 0 } else { self.between },
            counted_to_the_end: self.counted,
            dropped: self.sought.dropped,
            done,
        })
    }
}

fn shown(id: EntryId) -> String {
    if id == EntryId::MIN { "the start".into() } else { id.to_string() }
}
