//! The power is cut at every operation of a long run: what is found is the state behind some command, with everything
//! that was promised, and commands that belong together are found together.
//!
//! The run goes on undisturbed; after each operation of its disk, images of what a cut would leave are opened beside
//! it. Commands also run inside a snapshot, between its slices.
//!
//! By default a sample of the operations is looked at; `WEIR_FULL=1` takes every one, and `WEIR_PART=2/6` the second of
//! six parts of them, for running it in pieces. `WEIR_SEED` makes other runs.
//!
//! That the enumeration finds anything is shown by planted faults: a flush that does nothing.

use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use weir_engine::{Digests, Engine, Fsync};
use weir_log::MemoryDisk;
use weir_log::faulty::{FaultyDisk, Keep};

use crate::script::{Chance, Script, Step, TestClock, run, run_together, small};
use crate::watched::{Skip, Watched};

/// Steps of a run.
const STEPS: usize = 5_000;
/// By default every so many operations are looked at, beginning at a different one in each run.
const EVERY: u64 = 11;
/// Of the images looked at, one in so many is also cut while it recovers.
const AGAIN_EVERY: u64 = 40;

pub(crate) fn full() -> bool {
    std::env::var_os("WEIR_FULL").is_some_and(|value| value != "0")
}

/// A run of a script on a disk that may lose its power at any time.
struct Life {
    script: Script,
    fsync: Fsync,
    clock: Arc<TestClock>,
    disk: FaultyDisk,
    /// Steps begun; written, as far as that was promised; durable, as far as that was promised.
    begun: AtomicUsize,
    written: AtomicUsize,
    durable: AtomicUsize,
    /// Commands run inside a snapshot now.
    inside: AtomicBool,
    chance: Mutex<Chance>,
    looked_at: AtomicU64,
    cut_again: AtomicU64,
    part: Part,
    /// A flush that does nothing, and whether that was noticed.
    planted: Option<Arc<Skip>>,
    noticed: AtomicBool,
}

/// Which operations are looked at: one in so many, beginning with this one.
#[derive(Debug, Clone, Copy)]
struct Part {
    every: u64,
    first: u64,
}

impl Part {
    fn of_environment() -> Self {
        if !full() {
            return Self { every: EVERY, first: 0 };
        }
        let Ok(text) = std::env::var("WEIR_PART") else { return Self { every: 1, first: 0 } };
        let (nth, of) = text.split_once('/').expect("a part as 2/6");
        let (nth, every): (u64, u64) = (nth.parse().expect("a number"), of.parse().expect("a number"));
        assert!((1..=every).contains(&nth), "WEIR_PART={text}");
        Self { every, first: nth - 1 }
    }
}

impl Life {
    fn new(seed: u64, steps: usize, fsync: Fsync, part: Part, planted: Option<Skip>) -> Arc<Self> {
        Arc::new(Self {
            script: Script::new(seed, steps),
            fsync,
            clock: TestClock::new(),
            disk: FaultyDisk::new(),
            begun: AtomicUsize::new(0),
            written: AtomicUsize::new(0),
            durable: AtomicUsize::new(0),
            inside: AtomicBool::new(false),
            chance: Mutex::new(Chance(seed ^ 0xc0de)),
            looked_at: AtomicU64::new(0),
            cut_again: AtomicU64::new(0),
            part,
            planted: planted.map(Arc::new),
            noticed: AtomicBool::new(false),
        })
    }

    fn run(self: &Arc<Self>) -> Engine {
        let life = Arc::downgrade(self);
        let tell = Arc::new(move || {
            if let Some(life) = life.upgrade() {
                life.look();
            }
        });
        let disk = Arc::new(Watched { disk: self.disk.clone(), tell, skip: self.planted.clone() });
        let engine = Engine::open(disk, self.clock.clone(), small(self.fsync)).unwrap();
        while self.begun.load(Ordering::SeqCst) < self.script.steps.len() {
            self.step(&engine);
        }
        *self.clock.on_look.lock().unwrap() = None;
        engine.sync().unwrap();
        self.durable.store(self.script.steps.len(), Ordering::SeqCst);
        assert_eq!(engine.verify().unwrap().problems, Vec::<String>::new());
        assert_eq!(Digests::default().of(&engine).unwrap(), *self.script.digests.last().unwrap());
        engine
    }

    /// Runs the next step and waits for what the policy promises, mostly.
    fn step(self: &Arc<Self>, engine: &Engine) {
        let nth = self.begun.fetch_add(1, Ordering::SeqCst);
        match &self.script.steps[nth] {
            Step::Run(command) => drop(run(engine, command)),
            Step::Together(commands) => drop(run_together(engine, commands)),
            Step::Time(now) => self.clock.set(*now),
            // Within a snapshot there is nobody who could begin another one.
            _ if self.inside.load(Ordering::SeqCst) => {}
            Step::Snapshot => self.snapshot(engine),
            Step::Background => while engine.background_step().unwrap() {},
        }
        let begun = self.begun.load(Ordering::SeqCst);
        let lazy = self.chance.lock().unwrap().one_in(3);
        if lazy {
            return;
        }
        engine.flush().unwrap();
        self.written.fetch_max(begun, Ordering::SeqCst);
        let (written, durable) = engine.watermarks();
        if self.fsync == Fsync::Always || durable == written {
            self.durable.fetch_max(begun, Ordering::SeqCst);
        }
    }

    /// A snapshot that takes a few keys at a time, with commands in between.
    fn snapshot(self: &Arc<Self>, engine: &Engine) {
        let (life, other) = (Arc::downgrade(self), engine.clone());
        let busy = AtomicBool::new(false);
        let between = move || {
            let Some(life) = life.upgrade() else { return };
            if busy.swap(true, Ordering::SeqCst) {
                return;
            }
            let count = life.chance.lock().unwrap().below(9);
            for _ in 0..count {
                if life.begun.load(Ordering::SeqCst) < life.script.steps.len() {
                    life.step(&other);
                }
            }
            busy.store(false, Ordering::SeqCst);
        };
        self.inside.store(true, Ordering::SeqCst);
        self.clock.slice(crate::script::SLIGHT);
        *self.clock.on_look.lock().unwrap() = Some(Arc::new(between));
        let result = engine.snapshot();
        *self.clock.on_look.lock().unwrap() = None;
        self.clock.slice(0);
        self.inside.store(false, Ordering::SeqCst);
        result.unwrap();
    }

    /// Looks at what a power cut would leave now.
    fn look(&self) {
        let operation = self.disk.operations();
        if operation % self.part.every != self.part.first || self.noticed.load(Ordering::SeqCst) {
            return;
        }
        match catch_unwind(AssertUnwindSafe(|| self.look_behind(operation))) {
            Err(_) if self.planted.is_some() => self.noticed.store(true, Ordering::SeqCst),
            Err(panic) => resume_unwind(panic),
            Ok(()) => {}
        }
    }

    fn look_behind(&self, operation: u64) {
        let seed = operation << 8;
        let random = (0..if full() { 4 } else { 2 }).map(|n| Keep::Random(seed + n));
        for keep in [Keep::Nothing, Keep::Everything].into_iter().chain(random) {
            let image = self.disk.after_crash(keep);
            let nth = self.looked_at.fetch_add(1, Ordering::SeqCst);
            let promised = if keep == Keep::Everything { &self.written } else { &self.durable };
            let range = promised.load(Ordering::SeqCst)..=self.begun.load(Ordering::SeqCst);
            let trace = self.disk.trace();
            let last = trace[trace.len().saturating_sub(12)..].join("\n");
            let case = Case(format!("cut behind operation {operation}, {keep:?}, steps {range:?}\n{last}"));
            // Opening changes the image, so the second cut comes first.
            if nth.is_multiple_of(AGAIN_EVERY) {
                self.cut_recovery(&image, &range, seed ^ nth);
            }
            check_image(&self.script, &image, &range, self.fsync);
            drop(case);
        }
    }

    /// Cuts the power again, at one operation of the recovery or of what comes right behind it.
    fn cut_recovery(&self, image: &MemoryDisk, range: &RangeInclusive<usize>, seed: u64) {
        let count = {
            let disk = FaultyDisk::over(image);
            drop(open(&self.script, Arc::new(disk.clone()), range, self.fsync));
            disk.operations()
        };
        let mut chance = Chance(seed);
        for _ in 0..if full() { 8 } else { 3 } {
            let disk = FaultyDisk::over(image);
            let cut = chance.below(count);
            disk.cut_at(cut);
            drop(try_open(&self.script, Arc::new(disk.clone()), range, self.fsync));
            let keep = *chance.pick(&[Keep::Nothing, Keep::Everything, Keep::Random(seed)]);
            let case = format!("cut again at operation {cut} of the recovery, {keep:?}");
            let case = Case(format!("{case}\n{}", disk.trace().join("\n")));
            check_image(&self.script, &disk.after_crash(keep), range, self.fsync);
            self.cut_again.fetch_add(1, Ordering::SeqCst);
            drop(case);
        }
    }
}

/// What a failing test says: which case it was.
pub(crate) struct Case(pub(crate) String);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the case: {}", self.0);
        }
    }
}

fn try_open(
    script: &Script,
    disk: Arc<dyn weir_log::Disk>,
    range: &RangeInclusive<usize>,
    fsync: Fsync,
) -> Result<(Engine, Arc<TestClock>), weir_core::Error> {
    let clock = TestClock::new();
    // What has passed never goes back, so the search goes forward from here.
    clock.set(script.times[*range.start()]);
    Engine::open(disk, clock.clone(), small(fsync)).map(|engine| (engine, clock))
}

fn open(
    script: &Script,
    disk: Arc<dyn weir_log::Disk>,
    range: &RangeInclusive<usize>,
    fsync: Fsync,
) -> (Engine, Arc<TestClock>) {
    try_open(script, disk, range, fsync).unwrap_or_else(|error| panic!("the folder does not open: {error}"))
}

/// Opens an image: its state is one of those in the range, whole in itself, and the engine goes on from there.
pub(crate) fn check_image(script: &Script, image: &MemoryDisk, range: &RangeInclusive<usize>, fsync: Fsync) {
    let (engine, clock) = open(script, Arc::new(image.clone()), range, fsync);
    let found = which(script, &engine, &clock, range);
    let verified = engine.verify().unwrap();
    assert_eq!(verified.problems, Vec::<String>::new());
    let Some(found) = found else {
        let dump = engine.dump().unwrap();
        let any = which(script, &engine, &clock, &(0..=script.steps.len()));
        panic!("the state is none of steps {range:?}, but {any:?}\n{}", difference(script, range, &dump));
    };
    // The engine goes on: the next steps have the effect they had.
    if found + 3 < script.steps.len() && script.digests[found].is_multiple_of(7) {
        go_on(script, &engine, &clock, found);
    }
}

/// Which step's state this is.
fn which(
    script: &Script,
    engine: &Engine,
    clock: &TestClock,
    range: &RangeInclusive<usize>,
) -> Option<usize> {
    let mut digests = Digests::default();
    let mut known: Option<(u64, u128)> = None;
    range.clone().find(|nth| {
        let time = script.times[*nth];
        let digest = match known {
            Some((at, digest)) if at == time => digest,
            _ => {
                clock.set(time);
                digests.of(engine).unwrap()
            }
        };
        known = Some((time, digest));
        digest == script.digests[*nth]
    })
}

fn go_on(script: &Script, engine: &Engine, clock: &TestClock, found: usize) {
    clock.set(script.times[found]);
    for nth in found..found + 3 {
        match &script.steps[nth] {
            Step::Run(command) => drop(run(engine, command)),
            Step::Together(commands) => drop(run_together(engine, commands)),
            Step::Time(now) => clock.set(*now),
            Step::Snapshot => engine.snapshot().unwrap(),
            Step::Background => while engine.background_step().unwrap() {},
        }
        let digest = Digests::default().of(engine).unwrap();
        if digest != script.digests[nth + 1] {
            let apart = difference(script, &(0..=nth + 1), &engine.dump().unwrap());
            panic!("step {nth} behind step {found} went otherwise\n{apart}");
        }
    }
}

/// The lines in which a dump differs from the state behind the last step of a range.
fn difference(script: &Script, range: &RangeInclusive<usize>, dump: &str) -> String {
    let nth = *range.end();
    let clock = TestClock::new();
    let engine = Engine::memory_with(clock.clone(), small(Fsync::No));
    for step in &script.steps[..nth] {
        match step {
            Step::Run(command) => drop(run(&engine, command)),
            Step::Together(commands) => drop(run_together(&engine, commands)),
            Step::Time(now) => clock.set(*now),
            Step::Snapshot | Step::Background => {}
        }
    }
    let expected = engine.dump().unwrap();
    let mut text = lines_apart(dump, &expected);
    for nth in nth.saturating_sub(6)..nth {
        let step: String = format!("{:?}", script.steps[nth]).chars().take(300).collect();
        text += &format!("step {nth}: {step}\n");
    }
    text
}

/// The lines that only one of two dumps has.
pub(crate) fn lines_apart(found: &str, expected: &str) -> String {
    let mut text = String::new();
    for line in found.lines().filter(|line| !expected.lines().any(|other| other == *line)).take(20) {
        text += &format!("found    {line}\n");
    }
    for line in expected.lines().filter(|line| !found.lines().any(|other| other == *line)).take(20) {
        text += &format!("expected {line}\n");
    }
    text
}

/// What a script has to have, besides snapshots, segments and reclaiming.
const KINDS: [&str; 41] = [
    "Append",
    "Trim",
    "Delete",
    "SetId",
    "GroupCreate",
    "GroupSetId",
    "GroupDestroy",
    "ConsumerCreate",
    "ConsumerDelete",
    "Read",
    "Ack",
    "AckDelete",
    "Nack",
    "Claim",
    "AutoClaim",
    "Copy",
    "Rename",
    "Move",
    "Remove",
    "Expire",
    "SetText",
    "Batch",
    "TrimTo",
    "Retain",
    "Keep",
    "Charter",
    "EndStream",
    "Give",
    "Settle",
    "TakeOver",
    "TakeOverOld",
    "Seek",
    "Pause",
    "Resume",
    "Redrive",
    "Purge",
    "Restore",
    "EndConsumer",
    "Together",
    "Time",
    "Background",
];

fn enumerate(seed: u64, fsync: Fsync) {
    let seed =
        seed + 100 * std::env::var("WEIR_SEED").map_or(0, |seed| seed.parse::<u64>().expect("a number"));
    let life = Life::new(seed, STEPS, fsync, Part::of_environment(), None);
    let kinds = life.script.kinds();
    let missing: Vec<_> = KINDS.iter().filter(|kind| !kinds.contains_key(**kind)).collect();
    assert!(missing.is_empty(), "the script has none of {missing:?}");
    let engine = life.run();
    let done = engine.log_stats();
    let segments = done.bytes_appended / small(fsync).log.segment_bytes;
    assert!(done.recycled > 0 && done.compacted > 0, "space was reclaimed: {done:?}");
    assert!(engine.snapshots_written() > 9 && segments > 9, "{segments} segments, {done:?}");
    let (looked, again) = (life.looked_at.load(Ordering::SeqCst), life.cut_again.load(Ordering::SeqCst));
    let operations = life.disk.operations();
    eprintln!(
        "{fsync:?}: {operations} operations of the disk, {looked} images, {again} cuts of a recovery, \
         {} snapshots, {done:?}, steps: {kinds:?}",
        engine.snapshots_written()
    );
    // The lock file is not watched.
    assert!(looked >= 4 * (operations / life.part.every - 2) && again > 0, "every operation was looked at");
}

#[test]
fn power_cuts_with_a_flush_before_every_answer() {
    enumerate(1, Fsync::Always);
}

#[test]
fn power_cuts_with_a_flush_every_second() {
    enumerate(2, Fsync::EverySecond);
}

/// Lets the nth flush of a file or folder do nothing; whether any power cut shows it.
fn is_noticed(skip: Skip) -> bool {
    let life = Life::new(3, 400, Fsync::Always, Part { every: 1, first: 0 }, Some(skip));
    // What is skipped may be missing for good.
    drop(catch_unwind(AssertUnwindSafe(|| life.run())));
    life.noticed.load(Ordering::SeqCst)
}

#[test]
fn a_flush_that_does_nothing_is_found() {
    let skipped = [30, 61, 92, 123, 154, 185];
    let found = skipped.into_iter().filter(|nth| is_noticed(Skip::flush_of_a_segment(*nth))).count();
    // A flush of mere zeroes, or of what nobody was promised, is not missed.
    assert!(found >= skipped.len() / 2, "{found} of {} were found", skipped.len());
}

#[test]
fn a_folder_that_is_not_flushed_is_found() {
    assert!((1..4).any(|nth| is_noticed(Skip::flush_of_the_segments_folder(nth))));
}
