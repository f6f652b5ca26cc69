//! The modes: what each prepares, what it runs, what it leaves behind.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use hdrhistogram::Histogram;
use weir_core::SystemClock;

use super::append::{Append, Delete, Ids, Ranges, STREAM, Streams};
use super::args::Mode;
use super::board::Board;
use super::drive::{Script, drive};
use super::groups::{After, Consume, FanOut, GROUP, Reader, group_name};
use super::meter::{Measured, Meter};
use super::open_loop::{self, Schedule};
use super::plan::{Contestant, Pace, Plan};
use super::process::Process;
use super::random::Random;
use super::target::Control;

/// Requests a preparing connection sends at once.
const PREPARE_PIPELINE: u64 = 500;
/// Entries a fan-out writer may be ahead of the slowest group.
const FAN_OUT_WINDOW: u64 = 10_000;
/// How long the closed-loop peak is measured before a latency run.
const PEAK_TIME: Duration = Duration::from_secs(2);
/// A server counts as quiet when it uses less CPU than this in [`QUIET_STEP`].
const QUIET_CPU_SECONDS: f64 = 0.015;
const QUIET_STEP: Duration = Duration::from_millis(100);
/// How often it is looked whether a server is quiet before a run begins anyway.
const QUIET_LOOKS_MAX: u32 = 50;

const NO_OPERATIONS: &str = "this mode counts connections, not operations";

/// A server under test.
#[derive(Debug)]
pub(super) struct Server<'a> {
    pub(super) contestant: &'a Contestant,
    /// What it calls itself, `redis 7.0.15, everysec`.
    pub(super) name: String,
    process: Option<Process>,
    control: Control,
    plan: &'a Plan,
    clock: &'a SystemClock,
}

/// One run against one server.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) operations: u64,
    pub(super) measured: Measured,
    /// Nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// What the server itself says about its memory before and after, in bytes.
    pub(super) used_memory: Option<(u64, u64)>,
    /// Entries written per second, where operations are something else.
    pub(super) appended_per_second: Option<f64>,
    /// Latency mode: how late the generator was, in nanoseconds.
    pub(super) lateness: Option<Histogram<u64>>,
}

impl<'a> Server<'a> {
    /// Connects to a contestant and asks who it is.
    pub(super) fn open(contestant: &'a Contestant, plan: &'a Plan, clock: &'a SystemClock) -> Result<Self> {
        let mut control = Control::connect(&contestant.address)?;
        let name = server_name(&mut control);
        let process = server_process(contestant, &mut control)?;
        Ok(Self { contestant, name, process, control, plan, clock })
    }

    /// Writes what the mode reads.
    pub(super) fn prepare(&mut self) -> Result<()> {
        let plan = self.plan;
        if plan.mode != Mode::Fill {
            self.delete()?;
        }
        match plan.mode {
            Mode::Consume | Mode::Pending => self.write(4, Ids::Auto),
            Mode::Range => self.write(1, Ids::Counted),
            Mode::Append | Mode::FanOut | Mode::Latency | Mode::ManyStreams | Mode::Fill => Ok(()),
            Mode::Idle | Mode::Blocked | Mode::Runtime => bail!(NO_OPERATIONS),
        }
    }

    /// Runs the mode once.
    pub(super) fn run(&mut self, round: u32, rate: Option<f64>) -> Result<Outcome> {
        self.reset()?;
        if matches!(self.plan.mode, Mode::ManyStreams | Mode::Pending | Mode::Fill) {
            // An allocator that keeps what earlier runs freed would hide what this one takes. Where speed alone
            // counts it stays warm; and not every server knows the command.
            drop(self.control.call(&["MEMORY", "PURGE"]));
        }
        self.settle();
        let used_before = self.used_memory();
        let title =
            format!("{} {} {round}/{}", self.plan.mode.name(), self.contestant.label, self.plan.rounds);
        let meter = self.meter(self.plan.time, self.expected(), title);
        let mut outcome = match self.plan.mode {
            Mode::Append | Mode::ManyStreams | Mode::Fill => self.append(&meter),
            Mode::Consume => self.consume(After::Acknowledge, &meter),
            Mode::Pending => self.consume(After::Leave, &meter),
            Mode::FanOut => self.fan_out(&meter),
            Mode::Range => self.range(&meter),
            Mode::Latency => self.latency(rate.context("the rate is settled before the first run")?, &meter),
            Mode::Idle | Mode::Blocked | Mode::Runtime => bail!(NO_OPERATIONS),
        }?;
        outcome.used_memory = used_before.zip(self.used_memory());
        Ok(outcome)
    }

    /// The entries per second a latency run sends, by the plan; measures the peak when it must.
    pub(super) fn rate(&mut self) -> Result<f64> {
        match self.plan.pace {
            Pace::PerSecond(rate) => Ok(rate),
            Pace::PartOfPeak(part) => {
                self.settle();
                let meter = self.meter(Some(PEAK_TIME), None, "measuring the peak".to_owned());
                let outcome = self.closed_loop(self.appenders(), None, &meter)?;
                Ok(part * outcome.operations as f64 / outcome.measured.elapsed.as_secs_f64())
            }
        }
    }

    /// Removes everything the modes wrote.
    pub(super) fn delete(&mut self) -> Result<()> {
        let meter = self.meter(None, None, "deleting".to_owned());
        drive(&self.contestant.address, [Delete::new(self.streams(0))], &mut Board::new(None), &meter)?;
        Ok(())
    }

    /// Brings the server back to where a run begins.
    fn reset(&mut self) -> Result<()> {
        match self.plan.mode {
            Mode::Append | Mode::ManyStreams | Mode::Latency => self.delete(),
            Mode::Range | Mode::Fill | Mode::Idle | Mode::Blocked | Mode::Runtime => Ok(()),
            Mode::Consume | Mode::Pending => {
                self.control.call(&["XGROUP", "DESTROY", STREAM, GROUP])?;
                self.control.call(&["XGROUP", "CREATE", STREAM, GROUP, "0"]).map(drop)
            }
            Mode::FanOut => {
                self.delete()?;
                for group in 0..self.plan.groups {
                    self.control.call(&["XGROUP", "CREATE", STREAM, &group_name(group), "$", "MKSTREAM"])?;
                }
                Ok(())
            }
        }
    }

    /// Waits until the server has finished what the last run left to do in the background.
    fn settle(&self) {
        let cpu = || self.process.and_then(|process| process.usage().cpu_seconds);
        let mut before = cpu();
        for _ in 0..QUIET_LOOKS_MAX {
            std::thread::sleep(QUIET_STEP);
            let after = cpu();
            match before.zip(after) {
                Some((before, after)) if after - before > QUIET_CPU_SECONDS => {}
                _ => return,
            }
            before = after;
        }
    }

    /// Fills the one stream with the prepared entries.
    fn write(&mut self, connections: usize, ids: Ids) -> Result<()> {
        let entries = self.plan.prepared();
        let meter = self.meter(None, Some(entries), format!("preparing {}", self.contestant.label));
        let append = || Append::new(PREPARE_PIPELINE, self.plan.value_bytes, Streams::One, ids);
        let mut board = Board::new(Some(entries));
        drive(&self.contestant.address, (0..connections).map(|_| append()), &mut board, &meter)?;
        Ok(())
    }

    fn append(&self, meter: &Meter<'_>) -> Result<Outcome> {
        self.closed_loop(self.appenders(), self.plan.entries, meter)
    }

    fn consume(&self, after: After, meter: &Meter<'_>) -> Result<Outcome> {
        let plan = self.plan;
        let consumer = |n| Consume::new(&format!("consumer-{n}"), plan.pipeline, plan.count, after);
        let outcome = self.closed_loop((0..plan.consumers).map(consumer), None, meter)?;
        let complete = plan.time.is_some() || outcome.operations == plan.prepared();
        ensure!(complete, "{} of {} entries came back", outcome.operations, plan.prepared());
        Ok(outcome)
    }

    fn fan_out(&self, meter: &Meter<'_>) -> Result<Outcome> {
        let plan = self.plan;
        let mut board = Board::new(plan.entries);
        board.delivered = vec![0; plan.groups];
        // Readers come first, so that they wait already when the first entry comes.
        let readers = (0..plan.groups).map(|group| FanOut::Reader(Reader::new(group, plan.count)));
        let writers = self.appenders().map(|append| FanOut::Writer { append, window: FAN_OUT_WINDOW });
        let measured = drive(&self.contestant.address, readers.chain(writers), &mut board, meter)?;
        let appended_per_second = Some(board.appended as f64 / measured.elapsed.as_secs_f64());
        Ok(Outcome { appended_per_second, ..Outcome::new(board.operations, measured, board.latency) })
    }

    fn range(&self, meter: &Meter<'_>) -> Result<Outcome> {
        let plan = self.plan;
        let client =
            |n: usize| Ranges::new(plan.pipeline, plan.prepared(), plan.count, Random::new(n as u64 + 1));
        self.closed_loop((0..plan.clients).map(client), None, meter)
    }

    fn latency(&self, rate: f64, meter: &Meter<'_>) -> Result<Outcome> {
        let schedule = Schedule {
            clients: self.plan.clients,
            batches_per_second: rate / self.plan.pipeline as f64,
            batch: self.plan.pipeline,
            time: self.plan.time.context("a latency run has a time")?,
        };
        let append = || Append::new(self.plan.pipeline, self.plan.value_bytes, Streams::One, Ids::Auto);
        let run = open_loop::run(&self.contestant.address, append, schedule, meter)?;
        Ok(Outcome {
            lateness: Some(run.lateness),
            ..Outcome::new(run.operations, run.measured, run.latency)
        })
    }

    fn closed_loop<S: Script>(
        &self,
        scripts: impl IntoIterator<Item = S>,
        limit: Option<u64>,
        meter: &Meter<'_>,
    ) -> Result<Outcome> {
        let mut board = Board::new(limit);
        let measured = drive(&self.contestant.address, scripts, &mut board, meter)?;
        Ok(Outcome::new(board.operations, measured, board.latency))
    }

    fn appenders(&self) -> impl Iterator<Item = Append> + use<'a> {
        let plan = self.plan;
        let streams: Vec<_> = (0..plan.clients).map(|client| self.streams(client)).collect();
        streams.into_iter().map(|streams| Append::new(plan.pipeline, plan.value_bytes, streams, Ids::Auto))
    }

    /// The streams connection number `client` writes to.
    fn streams(&self, client: usize) -> Streams {
        match (self.plan.mode, self.plan.streams) {
            (Mode::ManyStreams, streams) => Streams::Random(streams, Random::new(client as u64 + 1)),
            (Mode::Append | Mode::Fill, streams @ 2..) => Streams::InTurn(streams),
            _ => Streams::One,
        }
    }

    /// Operations of a run, where they are known beforehand.
    fn expected(&self) -> Option<u64> {
        match self.plan.mode {
            Mode::Range | Mode::Latency => None,
            Mode::FanOut => self.plan.entries.map(|entries| entries * self.plan.groups as u64),
            _ => self.plan.entries,
        }
    }

    fn meter(&self, time: Option<Duration>, expected: Option<u64>, title: String) -> Meter<'a> {
        Meter::new(self.clock, self.process, time, expected, title)
    }

    fn used_memory(&mut self) -> Option<u64> {
        self.control.info("used_memory")?.parse().ok()
    }
}

impl Outcome {
    fn new(operations: u64, measured: Measured, latency: Histogram<u64>) -> Self {
        Self { operations, measured, latency, used_memory: None, appended_per_second: None, lateness: None }
    }
}

/// The server's process, where it is known and runs on this machine.
pub(super) fn server_process(contestant: &Contestant, control: &mut Control) -> Result<Option<Process>> {
    let mut told = || control.info("process_id").and_then(|id| id.parse().ok());
    let pid = contestant.pid.or_else(|| if contestant.address.is_local() { told() } else { None });
    let process = pid.map(Process::Pid).filter(|process| process.usage().cpu_seconds.is_some());
    ensure!(contestant.pid.is_none() || process.is_some(), "there is no process {}", pid.unwrap_or(0));
    Ok(process)
}

/// What a server calls itself.
pub(super) fn server_name(control: &mut Control) -> String {
    let version = match (control.info("weir_version"), control.info("redis_version")) {
        (Some(weir), _) => format!("weir {weir}"),
        (None, Some(redis)) => format!("redis {redis}"),
        (None, None) => "unknown server".to_owned(),
    };
    match (control.config("appendonly").as_deref(), control.config("appendfsync")) {
        (Some("yes"), Some(policy)) => format!("{version}, {policy}"),
        (Some("no"), _) => format!("{version}, in memory"),
        _ => version,
    }
}
