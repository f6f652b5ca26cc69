//! What a benchmark does: the meaning of the options, once and for all modes.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::args::{BenchArgs, Mode};
use super::target::Address;

/// Connections at work when no number is given.
const CLIENTS_DEFAULT: u32 = 50;
/// Seconds a run lasts when neither time nor entries are given.
const SECONDS_DEFAULT: f64 = 3.0;
/// Entries to prepare, or to fill in, when none are given: at least a second's work for a fast server.
const ENTRIES_DEFAULT: u64 = 500_000;
/// Streams of many-streams when none are given.
const MANY_STREAMS: u64 = 1_000_000;
/// Rounds when two servers, or one server and itself, are compared.
const ROUNDS_COMPARING: u32 = 5;

/// A benchmark, understood.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) mode: Mode,
    /// The servers of one round, in order; with `--control` the first stands at the end again.
    pub(super) lineup: Vec<Contestant>,
    pub(super) rounds: u32,
    pub(super) clients: usize,
    /// Connections of the modes that only hold them, where the user said how many.
    pub(super) held: Option<usize>,
    pub(super) pipeline: u64,
    /// Entries to write or to prepare; `None` where only time limits a run.
    pub(super) entries: Option<u64>,
    /// How long a run may last; `None` where only entries limit it.
    pub(super) time: Option<Duration>,
    pub(super) value_bytes: usize,
    pub(super) streams: u64,
    pub(super) groups: usize,
    pub(super) count: u64,
    pub(super) consumers: usize,
    pub(super) pace: Pace,
    pub(super) keep: bool,
    pub(super) json: bool,
}

/// A server's part in the comparison.
#[derive(Debug, Clone)]
pub(super) struct Contestant {
    /// `A`, `B`, and `A again` for the control.
    pub(super) label: &'static str,
    pub(super) address: Address,
    pub(super) pid: Option<u32>,
    /// Whether it is the first server once more.
    pub(super) is_control: bool,
}

/// How many entries per second the latency mode sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pace {
    /// So many.
    PerSecond(f64),
    /// This part of the first server's closed-loop peak.
    PartOfPeak(f64),
}

impl Plan {
    /// The meaning of `args`.
    pub(super) fn new(args: &BenchArgs) -> Result<Self> {
        ensure!(args.urls.len() <= 2, "two servers can be compared, not {}", args.urls.len());
        ensure!(args.pids.len() <= args.urls.len(), "there are more --pid than --url");
        ensure!(args.load > 0.0 && args.load < 1.0, "--load must lie between 0 and 1");
        ensure!(args.rate.is_none_or(|rate| rate >= 1.0), "--rate must be at least 1");
        ensure!(
            args.seconds.is_none_or(|s| (0.05..=86_400.0).contains(&s)),
            "--seconds must be 0.05 to 86400"
        );
        let lineup = lineup(args)?;
        let comparing = lineup.len() > 1;
        let mode = args.mode;
        let holds = matches!(mode, Mode::Idle | Mode::Blocked);
        ensure!(!(holds && comparing), "the mode {} looks at one server at a time", mode.name());
        let at_work = args.clients.filter(|_| !holds);
        ensure!(at_work.is_none_or(|clients| clients <= 10_000), "--clients is at most 10000 in this mode");
        Ok(Self {
            mode,
            rounds: args.rounds.unwrap_or(if comparing { ROUNDS_COMPARING } else { 1 }),
            lineup,
            clients: args.clients.unwrap_or(CLIENTS_DEFAULT) as usize,
            held: args.clients.map(|clients| clients as usize),
            pipeline: u64::from(args.pipeline.unwrap_or(if mode == Mode::Latency { 1 } else { 16 })),
            entries: if is_prepared(mode) { args.entries.or(Some(ENTRIES_DEFAULT)) } else { args.entries },
            time: time(args),
            value_bytes: args.value_bytes as usize,
            streams: args.streams.unwrap_or(if mode == Mode::ManyStreams { MANY_STREAMS } else { 1 }),
            groups: args.groups as usize,
            count: u64::from(args.count.unwrap_or(if mode == Mode::Consume { 10 } else { 100 })),
            consumers: args.consumers as usize,
            pace: args.rate.map_or(Pace::PartOfPeak(args.load), Pace::PerSecond),
            keep: args.keep || mode == Mode::Fill,
            json: args.json,
        })
    }

    /// Entries to prepare, in the modes that do.
    pub(super) fn prepared(&self) -> u64 {
        self.entries.unwrap_or(ENTRIES_DEFAULT)
    }
}

fn lineup(args: &BenchArgs) -> Result<Vec<Contestant>> {
    let mut lineup = Vec::new();
    for (index, url) in args.urls.iter().enumerate() {
        let (label, pid) = (["A", "B"][index], args.pids.get(index).copied());
        lineup.push(Contestant { label, address: Address::parse(url)?, pid, is_control: false });
    }
    if args.control {
        lineup.push(Contestant { label: "A again", is_control: true, ..lineup[0].clone() });
    }
    Ok(lineup)
}

/// Whether the number of entries describes what is there before the run.
fn is_prepared(mode: Mode) -> bool {
    matches!(mode, Mode::Consume | Mode::Range | Mode::Pending | Mode::Fill)
}

fn time(args: &BenchArgs) -> Option<Duration> {
    let seconds = match args.mode {
        // These end when everything is read or written.
        Mode::Consume | Mode::Pending | Mode::Fill | Mode::Idle | Mode::Blocked | Mode::Runtime => {
            args.seconds
        }
        Mode::Range | Mode::Latency => Some(args.seconds.unwrap_or(SECONDS_DEFAULT)),
        Mode::Append | Mode::ManyStreams | Mode::FanOut if args.entries.is_some() => args.seconds,
        Mode::Append | Mode::ManyStreams | Mode::FanOut => Some(args.seconds.unwrap_or(SECONDS_DEFAULT)),
    };
    seconds.map(Duration::from_secs_f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: BenchArgs,
    }

    fn plan(words: &[&str]) -> Result<Plan> {
        let line = Line::try_parse_from([&["bench"], words].concat())?;
        Plan::new(&line.args)
    }

    #[test]
    fn one_server_runs_once_and_two_run_five_times() {
        assert_eq!(plan(&[]).unwrap().rounds, 1);
        let two = plan(&["--url", "redis://a:1", "--url", "b:2", "--control", "--pid", "7"]).unwrap();
        assert_eq!(two.rounds, 5);
        let lineup: Vec<_> = two.lineup.iter().map(|c| (c.label, c.pid)).collect();
        assert_eq!(lineup, [("A", Some(7)), ("B", None), ("A again", Some(7))]);
    }

    #[test]
    fn time_limits_a_run_unless_entries_do() {
        assert_eq!(plan(&[]).unwrap().time, Some(Duration::from_secs(3)));
        assert_eq!(plan(&["-n", "5"]).unwrap().time, None);
        assert_eq!(plan(&["-n", "5", "--seconds", "2"]).unwrap().time, Some(Duration::from_secs(2)));
        let consume = plan(&["-m", "consume"]).unwrap();
        assert_eq!((consume.time, consume.entries), (None, Some(500_000)));
    }

    #[test]
    fn nonsense_is_refused() {
        for words in [
            &["--url", "a:1", "--url", "b:1", "--url", "c:1"][..],
            &["--load", "1.5"],
            &["--rate", "0"],
            &["--seconds", "0"],
            &["--seconds", "NaN"],
            &["--clients", "0"],
            &["--clients", "10001"],
            &["-m", "idle", "--control"],
            &["--pid", "1", "--pid", "2"],
            &["--url", "http://a"],
        ] {
            assert!(plan(words).is_err(), "{words:?}");
        }
    }
}
