//! Sending sequences and judging the replies.

use std::collections::BTreeMap;
use std::{fmt, io};

use weir_core::{Clock, SystemClock};

use super::command::{Command, Word};
use super::compare::GivenIds;
use super::exceptions::Exception;
use super::generate::{AUTOMATIC_KEY, Surface, generate};
use super::peer::Peer;
use super::shrink::shrink;
use super::vocabulary::ALL_KEYS;
use crate::{Protocol, Value};

/// Commands sent before the replies are awaited.
const PIPELINE: usize = 128;

/// Commands of a sequence that a report prints.
const SHOWN_MAX: usize = 60;

/// Sequences that shrinking tries where that costs little.
pub const SHRINK_TRIES: usize = 2_000;

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// One sequence for each.
    pub seeds: std::ops::Range<u64>,
    /// Commands in each sequence, besides those that look at the state.
    pub commands: usize,
    /// Which commands.
    pub surface: Surface,
    /// Stop after so many seeds with a difference.
    pub differences_max: usize,
    /// Sequences tried to show a difference with fewer commands. [`SHRINK_TRIES`] suits peers that begin anew at once.
    pub shrink_tries: usize,
}

/// What a run found.
#[derive(Debug, Default)]
pub struct Report {
    /// Commands whose replies were compared.
    pub commands: usize,
    /// At most one for each seed, since what follows a difference proves nothing.
    pub differences: Vec<Difference>,
    /// How often each exception was needed.
    pub excused: BTreeMap<&'static str, usize>,
    /// How often each kind of reply was seen, by command: a check on the generator.
    pub outcomes: BTreeMap<String, usize>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Two replies that should be equal and are not.
#[derive(Debug)]
pub struct Difference {
    /// The sequence it was found in.
    pub seed: u64,
    /// The protocol that sequence was run over.
    pub protocol: Protocol,
    /// Where in the sequence.
    pub index: usize,
    /// The command that was answered differently; inside an EXEC, the queued one.
    pub command: Command,
    /// The names of the peers and their replies, evened out.
    pub replies: [(String, Value); 2],
    /// A short sequence that shows the same.
    pub minimised: Vec<Command>,
}

/// Runs the plan's sequences against both peers.
///
/// Odd seeds speak RESP3, even ones RESP2.
///
/// # Errors
/// When a peer cannot be reached or goes away; that includes a server that crashes on a command.
pub fn run(
    left: &mut dyn Peer,
    right: &mut dyn Peer,
    plan: &Plan,
    exceptions: &[Exception],
) -> io::Result<Report> {
    let clock = SystemClock::new();
    let mut report = Report::default();
    for seed in plan.seeds.clone() {
        let commands = generate(seed, plan.commands, plan.surface);
        let protocol = if seed % 2 == 1 { Protocol::Resp3 } else { Protocol::Resp2 };
        let mut trial = Trial::begin(left, right, exceptions, protocol)?;
        let found = trial.first_difference(&commands)?;
        report.commands += found.as_ref().map_or(commands.len(), |found| found.index + 1);
        for name in &trial.excused {
            *report.excused.entry(name).or_default() += 1;
        }
        for (outcome, times) in trial.outcomes {
            *report.outcomes.entry(outcome).or_default() += times;
        }
        let Some(found) = found else { continue };
        let commands = &commands[..=found.index];
        let minimised = shrink(left, right, exceptions, protocol, commands, &found, plan.shrink_tries)?;
        let names = [left.name().to_owned(), right.name().to_owned()];
        report.differences.push(found.into_difference(seed, protocol, names, minimised));
        if report.differences.len() >= plan.differences_max {
            break;
        }
    }
    report.seconds = clock.elapsed().as_secs_f64();
    Ok(report)
}

/// The first place where two peers part.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) index: usize,
    pub(super) command: Command,
    pub(super) left: Value,
    pub(super) right: Value,
}

impl Found {
    fn into_difference(
        self,
        seed: u64,
        protocol: Protocol,
        [left, right]: [String; 2],
        minimised: Vec<Command>,
    ) -> Difference {
        let replies = [(left, self.left), (right, self.right)];
        Difference { seed, protocol, index: self.index, command: self.command, replies, minimised }
    }
}

/// One sequence against two fresh peers.
pub(super) struct Trial<'a> {
    left: &'a mut dyn Peer,
    right: &'a mut dyn Peer,
    exceptions: &'a [Exception],
    ids: GivenIds,
    /// Whether [`AUTOMATIC_KEY`] has to stay, since commands name its entries.
    keeps_automatic: bool,
    /// What was queued since MULTI.
    queue: Option<Vec<Command>>,
    excused: Vec<&'static str>,
    outcomes: BTreeMap<String, usize>,
}

impl<'a> Trial<'a> {
    pub(super) fn begin(
        left: &'a mut dyn Peer,
        right: &'a mut dyn Peer,
        exceptions: &'a [Exception],
        protocol: Protocol,
    ) -> io::Result<Self> {
        left.reset(protocol)?;
        right.reset(protocol)?;
        let ids = GivenIds::default();
        Ok(Self {
            left,
            right,
            exceptions,
            ids,
            keeps_automatic: false,
            queue: None,
            excused: Vec::new(),
            outcomes: BTreeMap::new(),
        })
    }

    pub(super) fn first_difference(&mut self, commands: &[Command]) -> io::Result<Option<Found>> {
        self.keeps_automatic = commands.iter().any(|command| command.refers_to().next().is_some());
        let mut at = 0;
        while at < commands.len() {
            let batch = &commands[at..at + batch_length(&commands[at..])];
            let words = |given| batch.iter().map(|command| command.resolve(given)).collect::<Vec<_>>();
            let lefts = self.left.run(&words(&self.ids.left)).map_err(|error| blame(self.left, error))?;
            let rights = self.right.run(&words(&self.ids.right)).map_err(|error| blame(self.right, error))?;
            let mut parted: Option<Command> = None;
            for (offset, (command, (left, right))) in
                batch.iter().zip(lefts.into_iter().zip(rights)).enumerate()
            {
                match self.judge(command, left, right) {
                    // What was sent before the divergence was seen proves nothing; only its IDs matter.
                    _ if parted.is_some() => {}
                    Judgement::Equal => {}
                    Judgement::Different(command, left, right) => {
                        return Ok(Some(Found { index: at + offset, command, left, right }));
                    }
                    Judgement::Diverged(at) => parted = Some(at),
                }
            }
            if let Some(command) = parted {
                self.reunite(&command)?;
            }
            at += batch.len();
        }
        Ok(None)
    }

    /// Removes every key from both peers, except that with automatic IDs: no exception touches it.
    ///
    /// An open transaction begins anew, so that a blocking read that follows does not wait.
    fn reunite(&mut self, parted: &Command) -> io::Result<()> {
        let words = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        let mut delete = words(&["FLUSHALL"]);
        if self.keeps_automatic {
            let named = parted.words[1..].iter().filter_map(|word| match word {
                Word::Bytes(bytes) => Some(bytes.clone()),
                Word::IdGivenTo(_) => None,
            });
            delete = words(&["DEL"]);
            delete.extend(words(ALL_KEYS).into_iter().chain(named));
            delete.retain(|key| key != AUTOMATIC_KEY.as_bytes());
        }
        let mut batch = vec![words(&["DISCARD"]), words(&["UNWATCH"]), delete];
        if let Some(queue) = &mut self.queue {
            queue.clear();
            batch.push(words(&["MULTI"]));
        }
        self.left.run(&batch)?;
        self.right.run(&batch)?;
        Ok(())
    }

    fn judge(&mut self, command: &Command, left: Value, right: Value) -> Judgement {
        *self.outcomes.entry(outcome(command, &left)).or_default() += 1;
        let name = command.name();
        let ended = name == "exec" || (name == "discard" && command.words.len() == 1);
        let queued = if ended { self.queue.take() } else { None };
        if let (Some(queued), Value::Array(lefts), Value::Array(rights)) = (&queued, &left, &right)
            && queued.len() == lefts.len()
            && queued.len() == rights.len()
        {
            // All are judged, also after the first difference, so that the IDs given are known.
            let replies = lefts.iter().cloned().zip(rights.iter().cloned());
            let judged: Vec<Judgement> = queued
                .iter()
                .zip(replies)
                .map(|(command, (left, right))| self.judge_one(command, left, right))
                .collect();
            let parted = judged.into_iter().find(|judgement| !matches!(judgement, Judgement::Equal));
            return parted.unwrap_or(Judgement::Equal);
        }
        if name == "multi" && left == Value::ok() && right == left {
            self.queue = Some(Vec::new());
        }
        let is_queued = left == Value::Simple(b"QUEUED".to_vec()) && left == right;
        if let Some(queue) = self.queue.as_mut().filter(|_| is_queued) {
            queue.push(command.clone());
        }
        self.judge_one(command, left, right)
    }

    fn judge_one(&mut self, command: &Command, mut left: Value, mut right: Value) -> Judgement {
        self.ids.note(command, &left, &right);
        if left == right {
            return Judgement::Equal;
        }
        self.ids.align(command, &mut left, &mut right);
        let mut needed = Vec::new();
        for exception in self.exceptions {
            if left != right && (exception.excuse)(command, &mut left, &mut right) {
                needed.push(exception);
                self.ids.align(command, &mut left, &mut right);
            }
        }
        if left != right {
            return Judgement::Different(command.clone(), left, right);
        }
        self.excused.extend(needed.iter().map(|exception| exception.name));
        if needed.iter().any(|exception| exception.diverges) {
            return Judgement::Diverged(command.clone());
        }
        Judgement::Equal
    }
}

enum Judgement {
    Equal,
    /// Excused, but what follows would differ for that reason alone.
    Diverged(Command),
    Different(Command, Value, Value),
}

/// As many commands as can be sent before a reply is needed.
fn batch_length(commands: &[Command]) -> usize {
    let window = &commands[..commands.len().min(PIPELINE)];
    let first = window[0].serial;
    let needs_reply = |command: &Command| command.refers_to().any(|serial| serial >= first);
    window.iter().skip(1).position(needs_reply).map_or(window.len(), |at| at + 1)
}

fn blame(peer: &dyn Peer, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", peer.name()))
}

fn outcome(command: &Command, reply: &Value) -> String {
    let kind = match reply {
        Value::Error(text) => String::from_utf8_lossy(&text[..text.len().min(48)]).into_owned(),
        Value::Array(items) if items.is_empty() => "empty".to_owned(),
        Value::Null | Value::NullArray => "null".to_owned(),
        Value::Int(n) => format!("{}", n.signum()),
        Value::Simple(text) => String::from_utf8_lossy(text).into_owned(),
        _ => "something".to_owned(),
    };
    format!("{} {kind}", command.name())
}

impl Report {
    /// Exceptions of the table that this run never needed.
    #[must_use]
    pub fn unused<'a>(&self, exceptions: &'a [Exception]) -> Vec<&'a str> {
        exceptions
            .iter()
            .map(|exception| exception.name)
            .filter(|name| !self.excused.contains_key(name))
            .collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        writeln!(
            f,
            "{} commands compared in {:.1} s, {} differences",
            self.commands,
            self.seconds,
            self.differences.len()
        )?;
        for (name, times) in &self.excused {
            writeln!(f, "  excused {times} times: {name}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} ({:?}), command {}:", self.seed, self.protocol, self.index)?;
        writeln!(f, "  {}", self.command)?;
        for (name, reply) in &self.replies {
            writeln!(f, "  {name:>20}: {reply}")?;
        }
        let hidden = self.minimised.len().saturating_sub(SHOWN_MAX);
        writeln!(f, "  reproduced by {} commands:", self.minimised.len())?;
        if hidden > 0 {
            writeln!(f, "    (the first {hidden} are left out; run the seed again to see them)")?;
        }
        for command in &self.minimised[hidden..] {
            writeln!(f, "    {command}")?;
        }
        Ok(())
    }
}
