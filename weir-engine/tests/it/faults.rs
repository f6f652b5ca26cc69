//! A disk that fails or fills up at every operation of a run: refusals are clear, nothing is damaged, nothing that
//! was acknowledged is lost, and the engine goes on when the disk is mended.
//!
//! Beside the engine on the failing disk runs one in memory that carries out what the first one took.
//!
//! By default a sample of the operations fails; `WEIR_FULL=1` takes every one.

use std::sync::Arc;

use weir_core::{Clock, EntryId, ErrorKind};
use weir_engine::{Append, Digests, Engine, Fsync, Halt, NewId, Options, References, Trim, TrimBound};
use weir_log::faulty::{Failure, FaultyDisk, Keep};

use crate::power_cuts::{Case, full};
use crate::script::{BEGIN, Command, Done, Script, Step, TestClock, run, run_together, small};
use crate::streams::key;

/// Steps of a run.
const STEPS: usize = 600;
/// By default one in so many operations fails.
const EVERY: u64 = 13;
/// A disk stays full for so many steps.
const FULL_STEPS: usize = 150;

struct Pair<'a> {
    script: &'a Script,
    fsync: Fsync,
    disk: FaultyDisk,
    clock: Arc<TestClock>,
    engine: Engine,
    /// Does what the engine took.
    shadow: Engine,
    shadow_clock: Arc<TestClock>,
    digests: Digests,
    /// The shadow's state behind so many steps, and the time then.
    states: Vec<(u128, u64)>,
    /// Steps whose answers have left: they survive the end of the process. Those that survive a power cut.
    written: usize,
    durable: usize,
    refused: Vec<ErrorKind>,
    /// Steps in which something was refused.
    refusals: usize,
}

/// Why a run ended early.
struct Faulted;

impl<'a> Pair<'a> {
    fn open(script: &'a Script, disk: FaultyDisk, fsync: Fsync) -> Option<Self> {
        let (clock, shadow_clock) = (TestClock::new(), TestClock::new());
        let engine = Engine::open(Arc::new(disk.clone()), clock.clone(), small(fsync));
        let shadow = Engine::memory_with(shadow_clock.clone(), small(Fsync::No));
        let engine = match engine {
            Ok(engine) => engine,
            Err(error) => {
                assert!(is_of_the_disk(error.kind()), "{error}");
                return None;
            }
        };
        let mut digests = Digests::default();
        let first = (digests.of(&shadow).unwrap(), script.times[0]);
        Some(Self {
            script,
            fsync,
            disk,
            clock,
            engine,
            shadow,
            shadow_clock,
            digests,
            states: vec![first],
            written: 0,
            durable: 0,
            refused: Vec::new(),
            refusals: 0,
        })
    }

    /// Runs the steps up to `end`.
    fn run_to(&mut self, end: usize) -> Result<(), Faulted> {
        while self.states.len() <= end {
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Faulted> {
        let (nth, refused) = (self.states.len() - 1, self.refused.len());
        match &self.script.steps[nth] {
            Step::Run(command) => self.run(command),
            Step::Together(commands) => self.run_together(commands),
            Step::Time(now) => {
                self.clock.set(*now);
                self.shadow_clock.set(*now);
            }
            Step::Snapshot => {
                let result = self.engine.snapshot();
                self.refusal(result.err());
            }
            Step::Background => loop {
                match self.engine.background_step() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => break self.refusal(Some(error)),
                }
            },
        }
        self.refusals += usize::from(self.refused.len() > refused);
        self.states.push((self.digests.of(&self.shadow).unwrap(), self.script.times[nth + 1]));
        match self.engine.flush() {
            Ok(()) => {
                let (written, durable) = self.engine.watermarks();
                let all = written == durable;
                assert!(self.fsync != Fsync::Always || !self.engine.is_faulted() || all);
                self.written = nth + 1;
                if self.fsync == Fsync::Always || all {
                    self.durable = nth + 1;
                }
                Ok(())
            }
            Err(error) => {
                assert_eq!(*error.kind(), ErrorKind::Faulted, "{error}");
                Err(Faulted)
            }
        }
    }

    fn refusal(&mut self, error: Option<weir_core::Error>) {
        if let Some(error) = error {
            assert!(is_of_the_disk(error.kind()), "{error}");
            self.refused.push(error.kind().clone());
        }
    }

    fn run(&mut self, command: &Command) {
        match run(&self.engine, command) {
            Done::Disk(kind) => {
                assert!(is_of_the_disk(&kind), "{kind:?} to {command:?}");
                self.refused.push(kind);
            }
            done => assert_eq!(run(&self.shadow, command), done, "{command:?}"),
        }
    }

    fn run_together(&mut self, commands: &[Command]) {
        let done = run_together(&self.engine, commands);
        let taken: Vec<Command> = commands
            .iter()
            .zip(&done)
            .filter(|(_, done)| !matches!(done, Done::Disk(_)))
            .map(|(command, _)| command.clone())
            .collect();
        self.refused.extend(done.iter().filter_map(|done| match done {
            Done::Disk(kind) => Some(kind.clone()),
            _ => None,
        }));
        run_together(&self.shadow, &taken);
    }

    /// The engine is as sound as before, and knows what its shadow knows.
    fn check_living(&mut self) {
        let verified = self.engine.verify().unwrap();
        assert_eq!(verified.problems, Vec::<String>::new());
        if Digests::default().of(&self.engine).unwrap() != self.digests.of(&self.shadow).unwrap() {
            let (left, right) = (self.engine.dump().unwrap(), self.shadow.dump().unwrap());
            panic!("engine and shadow differ:\n{}", crate::power_cuts::lines_apart(&left, &right));
        }
    }

    /// A faulted engine takes nothing more and says so.
    fn check_faulted(&self) {
        let fields: [&[u8]; 2] = [b"f", b"v"];
        let request = Append { id: NewId::Auto, fields: &fields, create: true, trim: None, producer: None };
        match self.engine.turn().append(key("one more"), &request) {
            Err(Halt::Error(error)) => assert_eq!(*error.kind(), ErrorKind::Faulted),
            other => panic!("{other:?}"),
        }
        assert_eq!(*self.engine.snapshot().unwrap_err().kind(), ErrorKind::Faulted);
        assert_eq!(*self.engine.background_step().unwrap_err().kind(), ErrorKind::Faulted);
    }

    /// What is found when the folder is opened again, on a disk that works.
    fn check_image(&self, keep: Keep) {
        let promised = if keep == Keep::Everything { self.written } else { self.durable };
        let (image, clock) = (self.disk.after_crash(keep), TestClock::new());
        let engine = Engine::open(Arc::new(image), clock.clone(), small(self.fsync))
            .unwrap_or_else(|error| panic!("the folder does not open: {error}"));
        assert_eq!(engine.verify().unwrap().problems, Vec::<String>::new());
        let mut digests = Digests::default();
        let found = self.states[promised..].iter().any(|(state, time)| {
            clock.set(*time);
            digests.of(&engine).unwrap() == *state
        });
        let begun = self.states.len() - 1;
        assert!(found, "the state is none of steps {promised}..={begun}");
        crate::streams::add(&engine, "one more", u64::MAX / 2, "goes on");
        engine.sync().unwrap();
    }
}

fn is_of_the_disk(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::DiskFull | ErrorKind::Faulted | ErrorKind::Io)
}

/// How many operations an undisturbed run takes.
fn operations(script: &Script, fsync: Fsync) -> u64 {
    let mut pair = Pair::open(script, FaultyDisk::new(), fsync).unwrap();
    assert!(pair.run_to(STEPS).is_ok());
    assert!(pair.refused.is_empty(), "{:?}", pair.refused);
    pair.check_living();
    pair.disk.operations()
}

fn one_failure(failure: Failure, fsync: Fsync) {
    let script = Script::new(13, STEPS);
    let count = operations(&script, fsync);
    let (mut survived, mut faulted) = (0, 0);
    for operation in (0..count).step_by(if full() { 1 } else { EVERY as usize }) {
        let disk = FaultyDisk::new();
        disk.fail_at(operation, failure);
        let case = Case(format!("{failure:?} at operation {operation}"));
        let Some(mut pair) = Pair::open(&script, disk.clone(), fsync) else {
            // Mended, the folder opens.
            let mut pair = Pair::open(&script, disk, fsync).expect("the disk works again");
            assert!(pair.run_to(30).is_ok());
            pair.check_living();
            continue;
        };
        let ran = pair.run_to(STEPS);
        // A fault that nobody waited for shows at the next change only.
        if ran.is_err() || pair.engine.is_faulted() {
            faulted += 1;
            pair.check_faulted();
        } else {
            survived += 1;
            assert!(pair.refusals < 3, "one failure is not felt for long: {:?}", pair.refused);
            pair.check_living();
        }
        for keep in [Keep::Everything, Keep::Nothing, Keep::Random(operation)] {
            let case = Case(format!("then {keep:?}"));
            pair.check_image(keep);
            drop(case);
        }
        drop(case);
    }
    eprintln!(
        "{failure:?}, {fsync:?}: {count} operations, the engine survived {survived} and stopped at {faulted}"
    );
    assert!(survived > 2 && faulted > 5);
}

#[test]
fn an_io_error_at_every_operation() {
    one_failure(Failure::Io, Fsync::Always);
}

#[test]
fn an_io_error_at_every_operation_with_a_flush_every_second() {
    one_failure(Failure::Io, Fsync::EverySecond);
}

#[test]
fn no_space_at_every_operation() {
    one_failure(Failure::Full, Fsync::Always);
}

#[test]
fn no_space_at_every_operation_with_a_flush_every_second() {
    one_failure(Failure::Full, Fsync::EverySecond);
}

#[test]
fn a_disk_that_is_full_from_any_step_on() {
    full_from_any_step_on(Fsync::Always);
}

#[test]
fn a_disk_that_is_full_from_any_step_on_with_a_flush_every_second() {
    full_from_any_step_on(Fsync::EverySecond);
}

fn full_from_any_step_on(fsync: Fsync) {
    let script = Script::new(6, STEPS);
    let (mut refused, mut taken_while_full) = (0, 0);
    for from in (0..STEPS - FULL_STEPS - 100).step_by(if full() { 1 } else { 24 }) {
        let case = Case(format!("full from step {from} on"));
        let disk = FaultyDisk::new();
        // A limit, so that space is prepared ahead.
        disk.set_quota(Some(1 << 30));
        let mut pair = Pair::open(&script, disk.clone(), fsync).unwrap();
        assert!(pair.run_to(from).is_ok());
        disk.set_quota(Some(disk.used()));
        assert!(pair.run_to(from + FULL_STEPS).is_ok(), "a full disk stops nothing but what grows");
        refused += pair.refused.len();
        taken_while_full += FULL_STEPS - pair.refused.len().min(FULL_STEPS);
        assert!(pair.refused.iter().all(|kind| matches!(kind, ErrorKind::DiskFull)), "{:?}", pair.refused);
        pair.check_living();
        pair.check_image(Keep::Nothing);
        // Mended without a restart.
        disk.set_quota(None);
        pair.refused.clear();
        assert!(pair.run_to(STEPS).is_ok());
        assert!(pair.refused.is_empty(), "there is room again: {:?}", pair.refused);
        pair.check_living();
        pair.check_image(Keep::Random(from as u64));
        drop(case);
    }
    eprintln!("full, {fsync:?}: {refused} refusals, {taken_while_full} steps taken");
    assert!(refused > 50 && taken_while_full > 50);
}

/// The smallest entry is refused on a full disk, and deleting goes on.
#[test]
fn a_full_disk_refuses_what_grows_and_takes_what_shrinks() {
    let disk = FaultyDisk::new();
    disk.set_quota(Some(1 << 30));
    let engine = Engine::open(Arc::new(disk.clone()), TestClock::new(), small(Fsync::Always)).unwrap();
    for n in 1..=100 {
        crate::streams::add(&engine, "s", n, "x");
    }
    disk.set_quota(Some(disk.used()));
    let fields: [&[u8]; 2] = [b"f", &[1; 500]];
    let request = Append { id: NewId::Auto, fields: &fields, create: true, trim: None, producer: None };
    let mut appended = 0;
    let error = loop {
        match engine.ask(|turn| turn.append(key("t"), &request)) {
            Ok(_) => appended += 1,
            Err(error) => break error,
        }
        engine.flush().unwrap();
    };
    assert_eq!(*error.kind(), ErrorKind::DiskFull, "after {appended}");
    for n in 1..=100 {
        assert_eq!(engine.turn().delete(key("s"), &[EntryId::new(n, 1)]).unwrap(), 1);
        engine.flush().unwrap();
    }
    assert!(!engine.is_faulted());
    disk.set_quota(None);
    engine.make_room();
    engine.turn().append(key("t"), &request).unwrap();
    engine.flush().unwrap();
}

/// Appends until the disk is full, with background work in between; returns how many were taken.
fn fill(engine: &Engine) -> usize {
    let fields: [&[u8]; 2] = [b"f", &[1; 300]];
    let request = Append { id: NewId::Auto, fields: &fields, create: true, trim: None, producer: None };
    let mut taken = 0;
    loop {
        match engine.ask(|turn| turn.append(key("s"), &request)) {
            Ok(_) => taken += 1,
            Err(error) => {
                assert_eq!(*error.kind(), ErrorKind::DiskFull);
                return taken;
            }
        }
        engine.flush().unwrap();
        if taken % 50 == 0 {
            work(engine);
        }
    }
}

/// Background work until there is none; what the full disk refuses is tried again later.
fn work(engine: &Engine) {
    loop {
        match engine.background_step() {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return assert_eq!(*error.kind(), ErrorKind::DiskFull, "{error}"),
        }
    }
}

fn trim_to(engine: &Engine, len: u64) {
    let trim =
        Trim { bound: TrimBound::MaxLen(len), approximate: false, limit: 0, references: References::Keep };
    engine.ask(|turn| turn.trim(key("s"), &trim)).unwrap();
    engine.flush().unwrap();
}

/// Filled, trimmed, and given some seconds, the disk takes entries again: nothing else is done, and no restart.
fn fill_and_trim(options: Options, rounds: usize) {
    let (disk, clock) = (FaultyDisk::new(), TestClock::new());
    disk.set_quota(Some(2 << 20));
    let engine = Engine::open(Arc::new(disk.clone()), clock.clone(), options.clone()).unwrap();
    let first = fill(&engine);
    assert!(first > 2_500, "only {first} entries fit");
    let mut now = BEGIN;
    for round in 0..rounds {
        trim_to(&engine, 10);
        for _ in 0..30 {
            work(&engine);
            now += 1_000;
            clock.set(now);
        }
        let again = fill(&engine);
        assert!(again > first / 2, "round {round}: {again} entries fit, {first} did at first");
        assert!(!engine.is_faulted());
    }
    assert_eq!(engine.snapshots_failed(), 0);
    assert_eq!(engine.verify().unwrap().problems, Vec::<String>::new());
    let len = engine.turn().len(key("s")).unwrap();
    engine.sync().unwrap();
    drop(engine);
    let engine = Engine::open(Arc::new(disk.after_crash(Keep::Nothing)), clock, options).unwrap();
    assert_eq!(engine.turn().len(key("s")).unwrap(), len);
}

#[test]
fn a_full_disk_ends_by_trimming() {
    for fsync in [Fsync::Always, Fsync::EverySecond] {
        fill_and_trim(small(fsync), 4);
    }
}

#[test]
fn a_full_disk_ends_by_trimming_although_no_snapshot_was_ever_due() {
    for fsync in [Fsync::Always, Fsync::EverySecond] {
        fill_and_trim(Options { snapshot_log_bytes: 1 << 40, ..small(fsync) }, 4);
    }
}

/// A disk that has no room for a snapshot either: what the last two let go of is given back all the same, and the
/// failures are counted and not repeated at every step.
#[test]
fn a_full_disk_ends_by_trimming_although_no_snapshot_can_be_written() {
    let (disk, clock) = (FaultyDisk::new(), TestClock::new());
    disk.set_quota(Some(2 << 20));
    let options = Options { snapshot_log_bytes: 1 << 40, ..small(Fsync::Always) };
    let engine = Engine::open(Arc::new(disk.clone()), clock.clone(), options).unwrap();
    fill(&engine);
    // Two snapshots behind the last entry, and no room for another.
    for ms in [u64::MAX / 4, u64::MAX / 4 + 1] {
        disk.set_quota(Some(3 << 20));
        engine.make_room();
        crate::streams::add(&engine, "other", ms, "x");
        engine.snapshot().unwrap();
    }
    disk.set_quota(Some(2 << 20));
    disk.set_quota(Some(disk.used()));
    trim_to(&engine, 10);
    let mut now = BEGIN;
    for _ in 0..30 {
        work(&engine);
        now += 1_000;
        clock.set(now);
    }
    let failed = engine.snapshots_failed();
    assert!((1..10).contains(&failed), "{failed} snapshots failed");
    assert!(fill(&engine) > 500);
}

/// The engine's own entries filled the disk, and nobody frees any of it: trimming has to. Without room for a snapshot,
/// or without one, nothing would ever be given back.
#[test]
fn trimming_alone_makes_room_on_a_full_disk() {
    let (disk, clock) = (FaultyDisk::new(), TestClock::new());
    disk.set_quota(Some(1 << 20));
    let options = weir_engine::Options { snapshot_log_bytes: 1 << 30, ..small(Fsync::Always) };
    let engine = Engine::open(Arc::new(disk.clone()), clock.clone(), options.clone()).unwrap();
    let fields: [&[u8]; 2] = [b"f", &[1; 500]];
    let request = Append { id: NewId::Auto, fields: &fields, create: true, trim: None, producer: None };
    let append = || match engine.ask(|turn| turn.append(key("t"), &request)) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(*error.kind(), ErrorKind::DiskFull);
            false
        }
    };
    let mut time = clock.now().0;
    let mut a_second_later = || {
        time += 1_000;
        clock.set(time);
        // What fails for want of space is tried again.
        while engine.background_step().unwrap_or(false) {}
    };
    let mut filled = 0;
    while append() {
        engine.flush().unwrap();
        filled += 1;
    }
    assert!(filled > 1_000, "{filled}");
    a_second_later();
    let trim =
        Trim { bound: TrimBound::MaxLen(10), approximate: false, limit: 0, references: References::Keep };
    let trimmed = engine.ask(|turn| turn.trim(key("t"), &trim)).unwrap();
    assert_eq!(trimmed, filled - 10);
    engine.flush().unwrap();
    for _ in 0..200 {
        a_second_later();
    }
    let mut again = 0;
    while append() {
        engine.flush().unwrap();
        again += 1;
    }
    assert!(again > filled / 2, "{again} of {filled}");
    assert_eq!(engine.verify().unwrap().problems, Vec::<String>::new());
    drop(engine);
    let engine = Engine::open(Arc::new(disk), clock, options).unwrap();
    assert_eq!(crate::streams::values(&engine, "t").len() as u64, again + 10);
}
