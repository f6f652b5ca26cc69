//! `weir lag`: how far behind groups are; with `--watch` again and again.

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde::Serialize;
use weir_core::{Broker, ErrorKind, GroupInfo, Lag};

use super::reach::{self, Folder, Reach};
use super::{all, json, text, words};
use crate::output::{Table, Tone, print_json, print_line, print_table, toned};

/// What `weir lag` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The stream, or a pattern for several
    #[arg(default_value = "*")]
    stream: String,
    /// Only this group
    group: Option<String>,
    /// Again and again, with this pause [default: 2s]
    #[arg(short, long, value_name = "PAUSE", num_args = 0..=1, default_missing_value = "2s", value_parser = words::duration)]
    watch: Option<Duration>,
    /// Exit code 1 when a group has more than so many entries left to do
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// Print a JSON object for each group
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

/// The lag of a group for programs. Times in milliseconds, rates per second.
#[derive(Debug, Serialize)]
pub(super) struct LagJson {
    pub(super) stream: String,
    pub(super) group: String,
    pub(super) total: u64,
    undelivered: u64,
    pending: u64,
    ready: u64,
    delayed: u64,
    dead: u64,
    oldest_undelivered_ms: Option<u64>,
    oldest_pending_ms: Option<u64>,
    arrivals_per_s: f64,
    drained_per_s: f64,
    eta_ms: Option<u64>,
    exact: bool,
    paused: bool,
    consumers: u64,
}

/// A group and how far behind it is.
#[derive(Debug, Clone)]
pub(super) struct Behind {
    pub(super) stream: Vec<u8>,
    pub(super) group: GroupInfo,
    pub(super) lag: Lag,
}

impl Behind {
    pub(super) fn to_json(&self) -> LagJson {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let lag = &self.lag;
        LagJson {
            stream: json::name(&self.stream),
            group: json::name(&self.group.name),
            total: lag.total(),
            undelivered: lag.undelivered,
            pending: lag.pending,
            ready: lag.ready,
            delayed: lag.delayed,
            dead: lag.dead,
            oldest_undelivered_ms: lag.oldest_undelivered.map(millis),
            oldest_pending_ms: lag.oldest_pending.map(millis),
            arrivals_per_s: rounded(lag.arrivals_per_s),
            drained_per_s: rounded(lag.drained_per_s),
            eta_ms: lag.eta.map(millis),
            exact: lag.exact,
            paused: self.group.paused,
            consumers: self.group.consumers,
        }
    }
}

fn rounded(rate: f64) -> f64 {
    (rate * 100.0).round() / 100.0
}

/// The groups of streams with their lag. A group that goes meanwhile is left out.
pub(super) async fn behind(broker: &dyn Broker, stream: &str, group: Option<&str>) -> Result<Vec<Behind>> {
    let streams = all::named(broker, stream).await?;
    let mut found = Vec::new();
    for (stream, group) in all::groups(broker, streams, group).await? {
        match broker.lag(&stream, &group.name).await {
            Ok(lag) => found.push(Behind { stream, group, lag }),
            Err(error) if *error.kind() == ErrorKind::NoSuchGroup => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// Prints it once, or until interrupted.
pub(crate) fn run(args: &Args) -> Result<()> {
    reach::run(async {
        let broker = args.reach.open(Folder::Needed).await?;
        let mut ticks = args.watch.map(|pause| tokio::time::interval(pause.max(Duration::from_millis(50))));
        loop {
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            let groups = behind(&*broker, &args.stream, args.group.as_deref()).await?;
            if let (Some(group), true) = (&args.group, groups.is_empty() && !all::is_pattern(&args.stream)) {
                all::group(&*broker, &args.stream, group).await?;
            }
            print(args, &groups)?;
            if ticks.is_none() {
                return judge(args.max, &groups);
            }
        }
    })
}

fn judge(max: Option<u64>, groups: &[Behind]) -> Result<()> {
    let Some(max) = max else { return Ok(()) };
    let worst = groups.iter().max_by_key(|behind| behind.lag.total());
    match worst.filter(|behind| behind.lag.total() > max) {
        Some(behind) => Err(anyhow!(
            "{} of {} has {} left to do, more than {max}",
            text::shown(&behind.group.name),
            text::shown(&behind.stream),
            text::entries(behind.lag.total())
        )),
        None => Ok(()),
    }
}

fn print(args: &Args, groups: &[Behind]) -> Result<()> {
    if args.watch.is_some() && !args.json && std::io::stdout().is_terminal() {
        // Each look takes the place of the one before.
        print_line("\x1b[2J\x1b[H")?;
    }
    if args.json {
        return groups.iter().try_for_each(|behind| print_json(&behind.to_json()));
    }
    if groups.is_empty() {
        return print_line(&toned(Tone::Faint, "no groups"));
    }
    print_table(&table(groups))
}

/// All groups, a row each.
pub(super) fn table(groups: &[Behind]) -> Table {
    let mut table = Table::new(&[
        "stream",
        "group",
        "undelivered",
        "held",
        "ready",
        "delayed",
        "dead",
        "oldest",
        "in/s",
        "out/s",
        "done in",
    ]);
    for behind in groups {
        let cells = cells(behind);
        let cells: Vec<_> = cells.iter().map(|(tone, text)| (*tone, &**text)).collect();
        table.toned_row(&cells);
    }
    table
}

/// What there is to say of a group, cell by cell.
pub(super) fn cells(behind: &Behind) -> [(Tone, String); 11] {
    let lag = &behind.lag;
    let about = if lag.exact { "" } else { "~" };
    let warn = |bad: bool| if bad { Tone::Warn } else { Tone::Plain };
    let oldest = lag.oldest_undelivered.max(lag.oldest_pending);
    let group = if behind.group.paused { " (paused)" } else { "" };
    let (eta_tone, eta) = match lag.eta {
        Some(Duration::ZERO) => (Tone::Good, "all done".to_owned()),
        Some(eta) => (Tone::Plain, text::duration(eta)),
        None => (Tone::Warn, "never".to_owned()),
    };
    [
        (Tone::Name, text::shown(&behind.stream)),
        (Tone::Name, format!("{}{group}", text::shown(&behind.group.name))),
        (Tone::Plain, format!("{about}{}", lag.undelivered)),
        (Tone::Plain, lag.pending.to_string()),
        (Tone::Plain, lag.ready.to_string()),
        (warn(lag.delayed > 0), lag.delayed.to_string()),
        (if lag.dead > 0 { Tone::Bad } else { Tone::Plain }, lag.dead.to_string()),
        (Tone::Plain, text::maybe(oldest)),
        (Tone::Plain, format!("{:.1}", lag.arrivals_per_s)),
        (Tone::Plain, format!("{:.1}", lag.drained_per_s)),
        (eta_tone, eta),
    ]
}
