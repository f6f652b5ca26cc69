//! Scripts: long runs of commands of every kind, the same for the same seed, and what each leaves behind.
//!
//! A script is made by running it on an engine in memory, so that its commands hit what is there: entries that are
//! pending, keys that expire. Each step remembers the digest of the state behind it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use weir_core::{
    Clock, Condition, ConditionTest, CreateGroup, DeadLetterFilter, EntryId, Error, ErrorKind, Expected,
    FieldName, Filter, GroupOrigin, GroupSource, PendingFate, Policy, Purge, Redrive, RestoredRow, Retention,
    Seek, SeekTo, Settle, Settlement, Timestamp, Token, TrimTo,
};
use weir_engine::{
    Ahead, Append, AutoClaim, BatchEntry, Claim, Cold, Core, Digests, Engine, ExpireWhen, Fsync,
    GroupReadFrom, GroupStart, Halt, KeyRef, LettersDone, Nack, NackMode, NamespaceNo, NewId, Options,
    PendingQuery, Producer, Range, ReadGroup, ReadLimits, ReadSource, References, SetId, Terms, Trim,
    TrimBound,
};
use weir_log::LogOptions;

/// Random enough for choosing.
#[derive(Debug, Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// A clock that stands still, can be set, and runs something whenever the time is asked for.
pub(crate) struct TestClock {
    millis: AtomicU64,
    /// Added to what is elapsed at every look, in microseconds: short slices for a snapshot.
    per_look: AtomicU64,
    looks: AtomicU64,
    elapsed: AtomicU64,
    pub(crate) on_look: std::sync::Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

impl std::fmt::Debug for TestClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestClock").finish_non_exhaustive()
    }
}

/// When every script begins.
pub(crate) const BEGIN: u64 = 1_700_000_000_000;

/// So much per look, in microseconds, is enough for a slice.
pub(crate) const SLIGHT: u64 = 151;

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            millis: AtomicU64::new(BEGIN),
            per_look: AtomicU64::new(0),
            looks: AtomicU64::new(0),
            elapsed: AtomicU64::new(0),
            on_look: std::sync::Mutex::new(None),
        })
    }

    pub(crate) fn set(&self, millis: u64) {
        let before = self.millis.swap(millis, Ordering::SeqCst);
        self.elapsed.fetch_add(millis.saturating_sub(before) * 1_000, Ordering::SeqCst);
    }

    pub(crate) fn slice(&self, per_look: u64) {
        // A slice begins with a look that adds nothing, whoever looked before.
        self.looks.store(0, Ordering::SeqCst);
        self.per_look.store(per_look, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.millis.load(Ordering::SeqCst))
    }

    fn now_micros(&self) -> u64 {
        let look = self.on_look.lock().unwrap().clone();
        if let Some(look) = look {
            look();
        }
        self.millis.load(Ordering::SeqCst) * 1_000
    }

    fn elapsed(&self) -> Duration {
        let per_look = self.per_look.load(Ordering::SeqCst);
        if per_look == SLIGHT {
            // Less than a millisecond and taken back, so that a script goes by the same time however often it is looked
            // at.
            let more = per_look * (self.looks.fetch_add(1, Ordering::SeqCst) % 6);
            return Duration::from_micros(self.elapsed.load(Ordering::SeqCst) + more);
        }
        Duration::from_micros(self.elapsed.fetch_add(per_look, Ordering::SeqCst) + per_look)
    }
}

/// Small in everything, so that a short run crosses every border.
pub(crate) fn small(fsync: Fsync) -> Options {
    Options {
        fsync,
        background: false,
        log: LogOptions {
            segment_bytes: 64 << 10,
            ring_bytes: 64 << 10,
            watermark_bytes: 4 << 10,
            full_retry: Duration::ZERO,
            join_wait_max: Duration::ZERO,
            ..LogOptions::default()
        },
        block_cache_bytes: 8 << 10,
        snapshot_log_bytes: 192 << 10,
        // So that a state follows from the commands alone.
        retention_every: Duration::MAX,
        ..Options::default()
    }
}

pub(crate) type Bytes = Vec<u8>;

/// A name in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) u32, pub(crate) Bytes);

impl Name {
    fn key(&self) -> KeyRef<'_> {
        KeyRef { ns: NamespaceNo(self.0), name: &self.1 }
    }
}

/// A command with all its arguments.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    Append {
        name: Name,
        id: NewId,
        fields: Vec<Bytes>,
        trim: Option<Trim>,
        producer: Option<(Bytes, Bytes)>,
    },
    Trim {
        name: Name,
        trim: Trim,
    },
    Delete {
        name: Name,
        ids: Vec<EntryId>,
        references: References,
    },
    SetId {
        name: Name,
        id: EntryId,
        added: Option<u64>,
        deleted: Option<EntryId>,
    },
    GroupCreate {
        name: Name,
        group: Bytes,
        start: GroupStart,
        make: bool,
    },
    GroupSetId {
        name: Name,
        group: Bytes,
        start: GroupStart,
    },
    GroupDestroy {
        name: Name,
        group: Bytes,
    },
    ConsumerCreate {
        name: Name,
        group: Bytes,
        consumer: Bytes,
    },
    ConsumerDelete {
        name: Name,
        group: Bytes,
        consumer: Bytes,
    },
    Read(ReadGroup),
    Copy {
        name: Name,
        to: Name,
        replace: bool,
    },
    Ack {
        name: Name,
        group: Bytes,
        ids: Vec<EntryId>,
    },
    AckDelete {
        name: Name,
        group: Bytes,
        ids: Vec<EntryId>,
        references: References,
    },
    Nack {
        name: Name,
        group: Bytes,
        ids: Vec<EntryId>,
        mode: NackMode,
        force: bool,
    },
    Claim {
        name: Name,
        group: Bytes,
        consumer: Bytes,
        ids: Vec<EntryId>,
        idle: u64,
        force: bool,
    },
    AutoClaim {
        name: Name,
        group: Bytes,
        consumer: Bytes,
        idle: u64,
        count: u64,
    },
    Rename {
        name: Name,
        to: Bytes,
        replace: bool,
    },
    Move {
        name: Name,
        to: u32,
    },
    Swap {
        a: u32,
        b: u32,
    },
    Flush {
        ns: u32,
    },
    Remove {
        name: Name,
    },
    Expire {
        name: Name,
        at: u64,
    },
    Persist {
        name: Name,
    },
    ExpireDue,
    SetText {
        name: Name,
        value: Bytes,
        keep_ttl: bool,
    },
    Idempotence {
        name: Name,
        duration: Option<u64>,
        ids: Option<u64>,
    },
    Idempotent {
        name: Name,
        producer: Bytes,
        iid: Bytes,
        id: EntryId,
    },
    Batch {
        name: Name,
        entries: Vec<(Vec<Bytes>, Option<Bytes>)>,
        producer: Option<Bytes>,
        expected: Expected,
    },
    TrimTo {
        name: Name,
        to: TrimTo,
    },
    Retain {
        name: Name,
        retention: Option<Retention>,
    },
    Keep {
        name: Name,
    },
    Charter {
        name: Name,
        group: Bytes,
        policy: Box<Policy>,
    },
    EndStream {
        name: Name,
    },
    Give {
        read: ReadSource,
    },
    Settle {
        name: Name,
        group: Bytes,
        settlements: Vec<Settle>,
    },
    TakeOver {
        name: Name,
        claim: weir_core::Claim,
    },
    TakeOverOld {
        name: Name,
        claim: weir_core::AutoClaim,
    },
    Seek {
        name: Name,
        group: Bytes,
        to: SeekTo,
    },
    Pause {
        name: Name,
        group: Bytes,
        duration: Option<Duration>,
    },
    Resume {
        name: Name,
        group: Bytes,
    },
    Redrive {
        name: Name,
        group: Bytes,
    },
    Purge {
        name: Name,
        group: Bytes,
    },
    Restore {
        name: Name,
        group: Bytes,
        rows: Vec<RestoredRow>,
    },
    EndConsumer {
        name: Name,
        group: Bytes,
        consumer: Bytes,
    },
}

/// One step of a script.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Run(Command),
    /// All or nothing.
    Together(Vec<Command>),
    /// The clock moves to this time.
    Time(u64),
    Snapshot,
    Background,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    Yes,
    /// Refused for what it asked.
    Refused,
    /// Refused because of the disk.
    Disk(ErrorKind),
}

fn slices(fields: &[Bytes]) -> Vec<&[u8]> {
    fields.iter().map(Vec::as_slice).collect()
}

impl Command {
    /// Carries it out within a turn.
    pub(crate) fn run(&self, core: &mut Core) -> Result<(), Halt> {
        match self {
            Self::Append { name, id, fields, trim, producer } => {
                let producer = producer.as_ref().map(|(id, iid)| Producer { id, iid: Some(iid) });
                let fields = slices(fields);
                let request = Append { id: *id, fields: &fields, create: true, trim: *trim, producer };
                core.append(name.key(), &request).map(drop)
            }
            Self::Trim { name, trim } => core.trim(name.key(), trim).map(drop),
            Self::Delete { name, ids, references } => {
                core.delete_with(name.key(), ids, *references).map(drop)
            }
            Self::SetId { name, id, added, deleted } => {
                core.set_id(name.key(), &SetId { last_id: *id, entries_added: *added, max_deleted: *deleted })
            }
            Self::Rename { name, to, replace } => core.rename(name.key(), to, *replace).map(drop),
            Self::Move { name, to } => core.move_key(name.key(), NamespaceNo(*to)).map(drop),
            Self::Swap { a, b } => core.swap_namespaces(NamespaceNo(*a), NamespaceNo(*b)),
            Self::Flush { ns } => core.flush_namespace(NamespaceNo(*ns)).map(drop),
            Self::Remove { name } => core.remove_key(name.key()).map(drop),
            Self::Expire { name, at } => {
                core.expire_at(name.key(), Timestamp(*at), ExpireWhen::default()).map(drop)
            }
            Self::Persist { name } => core.persist(name.key()).map(drop),
            Self::ExpireDue => {
                core.expire_due();
                Ok(())
            }
            Self::SetText { name, value, keep_ttl } => core.set_text(name.key(), value, *keep_ttl, "set"),
            Self::Idempotence { name, duration, ids } => {
                core.configure_idempotence(name.key(), *duration, *ids)
            }
            Self::Idempotent { name, producer, iid, id } => {
                core.record_idempotent(name.key(), producer, iid, *id)
            }
            Self::Batch { name, entries, producer, expected } => {
                let fields: Vec<Vec<&[u8]>> = entries.iter().map(|(fields, _)| slices(fields)).collect();
                let batch: Vec<BatchEntry<'_>> = entries
                    .iter()
                    .zip(&fields)
                    .map(|((_, id), fields)| BatchEntry { id: NewId::Auto, fields, append_id: id.as_deref() })
                    .collect();
                let terms = Terms { expected: *expected, remembers: producer.is_some() };
                core.append_batch(name.key(), &batch, producer.as_deref(), &terms).map(drop)
            }
            Self::TrimTo { name, to } => core.trim_to(name.key(), *to).map(drop),
            Self::Retain { name, retention } => core.set_retention(name.key(), *retention),
            Self::Keep { name } => core.keep_retention(name.key()),
            Self::EndStream { name } => core.delete_stream(name.key()).map(drop),
            _ => self.run_on_group(core),
        }
    }

    fn run_on_group(&self, core: &mut Core) -> Result<(), Halt> {
        match self {
            Self::GroupCreate { name, group, start, make } => {
                core.group_create(name.key(), group, *start, None, *make)
            }
            Self::GroupSetId { name, group, start } => core.group_set_id(name.key(), group, *start, None),
            Self::GroupDestroy { name, group } => core.group_destroy(name.key(), group).map(drop),
            Self::ConsumerCreate { name, group, consumer } => {
                core.consumer_create(name.key(), group, consumer).map(drop)
            }
            Self::ConsumerDelete { name, group, consumer } => {
                core.consumer_delete(name.key(), group, consumer).map(drop)
            }
            Self::Read(read) => core.read_group(read).map(drop),
            Self::Ack { name, group, ids } => core.ack(name.key(), group, ids).map(drop),
            Self::AckDelete { name, group, ids, references } => {
                core.ack_delete(name.key(), group, ids, *references).map(drop)
            }
            Self::Nack { name, group, ids, mode, force } => {
                let nack = Nack { group, mode: *mode, ids, deliveries: None, force: *force };
                core.nack(name.key(), &nack).map(drop)
            }
            Self::Claim { name, group, consumer, ids, idle, force } => {
                let claim = Claim {
                    group,
                    consumer,
                    idle_min: *idle,
                    ids,
                    time: None,
                    deliveries: None,
                    force: *force,
                    just_ids: false,
                    last_id: None,
                };
                core.claim(name.key(), &claim).map(drop)
            }
            Self::AutoClaim { name, group, consumer, idle, count } => {
                let start = EntryId::MIN;
                let (idle_min, count) = (*idle, *count);
                let claim = AutoClaim { group, consumer, idle_min, start, count, just_ids: false };
                core.auto_claim(name.key(), &claim).map(drop)
            }
            Self::Charter { name, group, policy } => {
                let made = CreateGroup { origin: GroupOrigin::Beginning, policy: (**policy).clone() };
                match core.create_group(name.key(), group, &made) {
                    Err(Halt::Error(error)) if *error.kind() == ErrorKind::GroupExists => {
                        core.set_policy(name.key(), group, policy)
                    }
                    made => made.map(drop),
                }
            }
            Self::Copy { .. } => Ok(()),
            _ => self.run_on_deliveries(core),
        }
    }

    fn run_on_deliveries(&self, core: &mut Core) -> Result<(), Halt> {
        match self {
            Self::Give { read } => core.read_group_from(read).map(drop),
            Self::Settle { name, group, settlements } => {
                core.settle(name.key(), group, settlements).map(drop)
            }
            Self::TakeOver { name, claim } => core.take_over(name.key(), claim).map(drop),
            Self::TakeOverOld { name, claim } => core.take_over_old(name.key(), claim).map(drop),
            Self::Seek { name, group, to } => {
                core.seek(name.key(), group, &Seek { to: *to, dry_run: false }).map(drop)
            }
            Self::Pause { name, group, duration } => core.pause_group(name.key(), group, *duration),
            Self::Resume { name, group } => core.resume_group(name.key(), group),
            Self::Redrive { name, group } => {
                let redrive = Redrive { filter: DeadLetterFilter::default(), count: 3, dry_run: false };
                core.redrive(name.key(), group, &redrive, &mut LettersDone::default()).map(drop)
            }
            Self::Purge { name, group } => {
                let purge = Purge { filter: DeadLetterFilter::default(), count: 1, dry_run: false };
                core.purge_dead_letters(name.key(), group, &purge, &mut LettersDone::default()).map(drop)
            }
            Self::Restore { name, group, rows } => core.restore_pending(name.key(), group, rows).map(drop),
            Self::EndConsumer { name, group, consumer } => {
                core.remove_consumer(name.key(), group, consumer, PendingFate::HandBack).map(drop)
            }
            other => unreachable!("{other:?} is not about deliveries"),
        }
    }
}

/// Sorts an answer.
fn judge(answer: Result<(), Error>) -> Done {
    match answer {
        Ok(()) => Done::Yes,
        Err(error) => match error.kind() {
            kind @ (ErrorKind::DiskFull | ErrorKind::Faulted | ErrorKind::Io | ErrorKind::Corrupt) => {
                Done::Disk(kind.clone())
            }
            _ => Done::Refused,
        },
    }
}

/// Runs a command on an engine, warming what is cold.
pub(crate) fn run(engine: &Engine, command: &Command) -> Done {
    if let Command::Copy { name, to, replace } = command {
        return copy(engine, name, to, *replace);
    }
    // Who asks for what is new is given what is at hand, which depends on what is cached and written. A script has to go
    // the same way on every engine.
    let at_hand = matches!(command, Command::Give { .. } | Command::Read(_));
    if at_hand && let Err(error) = engine.flush() {
        return judge(Err(error));
    }
    let mut asked = 0;
    judge(engine.ask(|turn| {
        asked += 1;
        assert!(asked < 10_000, "{command:?} is cold for ever");
        if at_hand {
            turn.read_on_the_spot(true);
        }
        command.run(turn)
    }))
}

/// Copies a key: its image is completed outside the lock.
fn copy(engine: &Engine, name: &Name, to: &Name, replace: bool) -> Done {
    match engine.ask(|turn| turn.image(name.key())) {
        Ok(None) => Done::Refused,
        Ok(Some(image)) => {
            let copy = engine.complete(&image).expect("the entries can be read");
            judge(engine.ask(|turn| turn.put_copy(to.key(), &copy, None, replace, "copy_to").map(drop)))
        }
        Err(error) => judge(Err(error)),
    }
}

/// Runs commands together; says for each what became of it.
pub(crate) fn run_together(engine: &Engine, commands: &[Command]) -> Vec<Done> {
    // Nothing can wait inside, so there has to be room for all of it before.
    let bytes = |command: &Command| match command {
        Command::Append { fields, .. } => fields.iter().map(Vec::len).sum::<usize>() as u64,
        _ => 0,
    };
    let room = Cold::Room(4 * commands.iter().map(bytes).sum::<u64>());
    if let Err(error) = engine.warm(room, &mut Ahead::default()) {
        return vec![Done::Disk(error.kind().clone()); commands.len()];
    }
    let mut turn = engine.turn();
    turn.begin();
    let done = commands
        .iter()
        .map(|command| match command.run(&mut turn) {
            Ok(()) => Done::Yes,
            Err(Halt::Error(error)) => judge(Err(error)),
            Err(Halt::Cold(_)) => Done::Disk(ErrorKind::DiskFull),
        })
        .collect();
    turn.end();
    done
}

/// A script and what it leaves behind at each step.
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    /// The state's digest behind so many steps: one more than there are steps.
    pub(crate) digests: Vec<u128>,
    /// The time then.
    pub(crate) times: Vec<u64>,
}

impl Script {
    /// How often each kind of step and command is in it.
    pub(crate) fn kinds(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        let mut count = |what: String| *kinds.entry(what).or_default() += 1;
        let name = |thing: &dyn std::fmt::Debug| {
            let text = format!("{thing:?}");
            text.chars().take_while(|c| c.is_alphanumeric()).collect::<String>()
        };
        for step in &self.steps {
            match step {
                Step::Run(command) => count(name(command)),
                Step::Together(commands) => {
                    count("Together".into());
                    commands.iter().for_each(|command| count(name(command)));
                }
                other => count(name(other)),
            }
        }
        kinds
    }

    /// Makes a script of so many steps.
    pub(crate) fn new(seed: u64, count: usize) -> Self {
        let clock = TestClock::new();
        let engine = Engine::memory_with(clock.clone(), small(Fsync::No));
        let mut writer = Writer { chance: Chance(seed), engine, now: BEGIN, gone: Vec::new() };
        let mut digests = Digests::default();
        let mut script = Self { steps: Vec::new(), digests: Vec::new(), times: Vec::new() };
        script.digests.push(digests.of(&writer.engine).unwrap());
        script.times.push(writer.now);
        for nth in 0..count {
            let step = writer.step(nth);
            match &step {
                Step::Run(command) => drop(run(&writer.engine, command)),
                Step::Together(commands) => drop(run_together(&writer.engine, commands)),
                Step::Time(now) => {
                    writer.now = *now;
                    clock.set(*now);
                }
                Step::Snapshot | Step::Background => {}
            }
            script.steps.push(step);
            script.digests.push(digests.of(&writer.engine).unwrap());
            script.times.push(writer.now);
        }
        script
    }
}

/// Thinks up commands that fit the state.
struct Writer {
    chance: Chance,
    engine: Engine,
    now: u64,
    /// IDs that were deleted, some of them.
    gone: Vec<EntryId>,
}

const HOT: [&str; 4] = ["orders", "payments-1", "payments-2", "stock"];
const GROUPS: [&[u8]; 3] = [b"billing", b"mail", b"search"];
const CONSUMERS: [&[u8]; 4] = [b"ann", b"bob", b"cem", b"dora"];

impl Writer {
    fn step(&mut self, nth: usize) -> Step {
        // So many keys that a snapshot takes them in several slices.
        if nth < 48 {
            return Step::Run(self.append_to(Name(nth as u32 % 3, format!("quiet-{nth}").into_bytes())));
        }
        match self.chance.below(1_000) {
            0..8 => Step::Snapshot,
            8..60 => Step::Background,
            60..120 => Step::Time(self.later()),
            120..180 => {
                let count = 2 + self.chance.below(5);
                let mut commands: Vec<_> = (0..count).map(|_| self.command()).collect();
                // Entries added in a transaction cannot be copied in it.
                commands.retain(|command| !matches!(command, Command::Copy { .. }));
                Step::Together(commands)
            }
            _ => Step::Run(self.command()),
        }
    }

    fn later(&mut self) -> u64 {
        let by = [1, 1, 7, 100, 1_500, 12_000];
        self.now + self.chance.pick(&by)
    }

    fn name(&mut self) -> Name {
        if self.chance.one_in(6) {
            let no = self.chance.below(60);
            return Name(self.chance.below(4) as u32, format!("quiet-{no}").into_bytes());
        }
        let hot = *self.chance.pick(&HOT);
        let ns = if self.chance.one_in(5) { 1 } else { 0 };
        Name(ns, hot.into())
    }

    fn group(&mut self) -> Bytes {
        self.chance.pick(&GROUPS).to_vec()
    }

    fn consumer(&mut self) -> Bytes {
        self.chance.pick(&CONSUMERS).to_vec()
    }

    fn bytes(&mut self, len: u64) -> Bytes {
        let seed = self.chance.next();
        (0..len).map(|n| (seed.rotate_left(n as u32 % 64) as u8).wrapping_add(n as u8)).collect()
    }

    fn fields(&mut self) -> Vec<Bytes> {
        let len = match self.chance.below(200) {
            0 => 20_000 + self.chance.below(30_000),
            1..5 => 2_000 + self.chance.below(6_000),
            5..30 => 200 + self.chance.below(400),
            _ => self.chance.below(40),
        };
        let mut fields = vec![b"type".to_vec(), self.bytes(len)];
        if self.chance.one_in(3) {
            fields.extend([self.bytes(5), self.bytes(9)]);
        }
        fields
    }

    fn append_to(&mut self, name: Name) -> Command {
        let id = match self.chance.below(10) {
            0 => NewId::Exact(EntryId::new(self.now + self.chance.below(3), self.chance.below(4))),
            1 => NewId::AutoSeq(self.now),
            _ => NewId::Auto,
        };
        let trim = if self.chance.one_in(8) { Some(self.trim()) } else { None };
        let producer = if self.chance.one_in(6) {
            let iid = self.chance.below(40).to_string().into_bytes();
            Some((self.consumer(), iid))
        } else {
            None
        };
        Command::Append { name, id, fields: self.fields(), trim, producer }
    }

    fn trim(&mut self) -> Trim {
        let bound = if self.chance.one_in(3) {
            TrimBound::MinId(EntryId::new(self.now.saturating_sub(self.chance.below(40_000)), 0))
        } else {
            TrimBound::MaxLen(self.chance.below(400))
        };
        let references = self.references();
        let approximate = self.chance.one_in(2);
        Trim { bound, approximate, limit: if approximate { self.chance.below(300) } else { 0 }, references }
    }

    fn references(&mut self) -> References {
        *self.chance.pick(&[References::Keep, References::Keep, References::Delete, References::Acked])
    }

    /// Some entries of a stream, in no particular order, and some that are not there.
    fn entries(&mut self, name: &Name, most: u64) -> Vec<EntryId> {
        let range = Range {
            start: EntryId::MIN,
            end: EntryId::MAX,
            count: Some(400),
            reverse: self.chance.one_in(2),
        };
        let found = self.engine.ask(|turn| turn.range(name.key(), &range));
        let found = found.ok().flatten().unwrap_or_default();
        let mut ids = Vec::new();
        for _ in 0..=self.chance.below(most) {
            if found.is_empty() || self.chance.one_in(12) {
                ids.push(self.gone.last().copied().unwrap_or(EntryId::new(5, 5)));
            } else {
                ids.push(self.chance.pick(&found).id);
            }
        }
        ids
    }

    /// Some pending entries of a group.
    fn pending(&mut self, name: &Name, group: &[u8], most: u64) -> Vec<EntryId> {
        let count = 200;
        let (start, end) = (EntryId::MIN, EntryId::MAX);
        let query = PendingQuery { group, idle_min: 0, start, end, count, consumer: None };
        let rows = self.engine.turn().pending_rows(name.key(), &query).unwrap_or_default();
        if rows.is_empty() {
            return self.entries(name, most);
        }
        (0..=self.chance.below(most)).map(|_| self.chance.pick(&rows).id).collect()
    }

    fn command(&mut self) -> Command {
        let name = self.name();
        match self.chance.below(100) {
            0..40 => self.append_to(name),
            40..44 => Command::Trim { name, trim: self.trim() },
            44..49 => {
                let ids = self.entries(&name, 6);
                self.gone.extend(ids.first());
                Command::Delete { name, ids, references: self.references() }
            }
            49..50 => {
                let id = EntryId::new(self.now + self.chance.below(2), self.chance.below(9));
                let added = self.chance.one_in(2).then(|| 500 + self.chance.below(100));
                let deleted = self.chance.one_in(4).then(|| EntryId::new(self.now - 1, 1));
                Command::SetId { name, id, added, deleted }
            }
            50..85 => self.group_command(name),
            85..92 => self.limit_command(name),
            _ => self.key_command(name),
        }
    }

    /// What the traits have beyond Redis: batches, versions, limits, required and filtered groups.
    fn limit_command(&mut self, name: Name) -> Command {
        match self.chance.below(12) {
            0..4 => self.batch(name),
            4 => Command::TrimTo { name, to: self.trim_to() },
            5..7 => Command::Retain { retention: self.retention(), name },
            7..9 => Command::Keep { name },
            9..11 => Command::Charter { name, group: self.group(), policy: Box::new(self.policy()) },
            _ => {
                Command::EndStream { name: Name(0, format!("quiet-{}", self.chance.below(60)).into_bytes()) }
            }
        }
    }

    fn batch(&mut self, name: Name) -> Command {
        let producer = self.chance.one_in(2).then(|| self.consumer());
        let count = 1 + self.chance.below(6);
        let mut entries = Vec::new();
        for _ in 0..count {
            let id = producer.is_some().then(|| self.chance.below(60).to_string().into_bytes());
            entries.push((self.fields(), id));
        }
        let expected = match self.chance.below(6) {
            0 => Expected::NoEntries,
            1 => Expected::Version(self.chance.below(300)),
            _ => Expected::Any,
        };
        Command::Batch { name, entries, producer, expected }
    }

    fn trim_to(&mut self) -> TrimTo {
        match self.chance.below(4) {
            0 => TrimTo::Length(self.chance.below(300)),
            1 => TrimTo::Bytes(self.chance.below(40_000)),
            2 => TrimTo::Time(Timestamp(self.now - self.chance.below(30_000))),
            _ => TrimTo::MinId(EntryId::new(self.now - self.chance.below(30_000), 0)),
        }
    }

    fn retention(&mut self) -> Option<Retention> {
        if self.chance.one_in(6) {
            return None;
        }
        Some(Retention {
            length: self.chance.one_in(2).then(|| 20 + self.chance.below(300)),
            bytes: self.chance.one_in(3).then(|| 2_000 + self.chance.below(60_000)),
            age: self.chance.one_in(3).then(|| Duration::from_millis(1_000 + self.chance.below(60_000))),
            hold: self.chance.one_in(2).then(|| self.chance.below(40)),
        })
    }

    fn policy(&mut self) -> Policy {
        let letter = self.chance.below(256) as u8;
        let prefix = ConditionTest::Prefix(if letter < 128 { vec![letter] } else { Vec::new() });
        let condition = Condition { field: FieldName::Type, test: prefix };
        let filter = self.chance.one_in(3).then(|| Filter { conditions: vec![condition] });
        Policy {
            required: !self.chance.one_in(3),
            filter,
            key: self.chance.one_in(2).then(|| b"type".to_vec()),
            failures_max: 1 + self.chance.below(4) as u32,
            deliveries_max: 2 + self.chance.below(6) as u32,
            lease: Duration::from_millis(500 + self.chance.below(3_000)),
            reset_on_class: self.chance.one_in(3),
            ..Policy::recommended()
        }
    }

    fn group_command(&mut self, name: Name) -> Command {
        let (group, consumer) = (self.group(), self.consumer());
        match self.chance.below(60) {
            36.. => self.delivery_command(name, group, consumer),
            0..4 => {
                let start =
                    if self.chance.one_in(2) { GroupStart::End } else { GroupStart::After(EntryId::MIN) };
                Command::GroupCreate { name, group, start, make: self.chance.one_in(3) }
            }
            4..5 => {
                let id = self.entries(&name, 1)[0];
                let start = if self.chance.one_in(4) { GroupStart::End } else { GroupStart::After(id) };
                Command::GroupSetId { name, group, start }
            }
            5 => Command::GroupDestroy { name, group },
            6 => Command::ConsumerCreate { name, group, consumer },
            7 => Command::ConsumerDelete { name, group, consumer },
            8..20 => self.read(name, group, consumer),
            20..26 => {
                let ids = self.pending(&name, &group, 12);
                Command::Ack { name, group, ids }
            }
            26..28 => {
                let ids = self.pending(&name, &group, 5);
                Command::AckDelete { name, group, ids, references: self.references() }
            }
            28..31 => {
                let ids = self.pending(&name, &group, 4);
                let mode = *self.chance.pick(&[NackMode::Silent, NackMode::Fail, NackMode::Fatal]);
                Command::Nack { name, group, ids, mode, force: self.chance.one_in(3) }
            }
            31..34 => {
                let ids = self.pending(&name, &group, 5);
                let (idle, force) = (self.chance.below(50), self.chance.one_in(3));
                Command::Claim { name, group, consumer, ids, idle, force }
            }
            _ => {
                let (idle, count) = (self.chance.below(200), 1 + self.chance.below(10));
                Command::AutoClaim { name, group, consumer, idle, count }
            }
        }
    }

    fn delivery_command(&mut self, name: Name, group: Bytes, consumer: Bytes) -> Command {
        let idle_min = Duration::from_millis(self.chance.below(2_000));
        match self.chance.below(24) {
            0..9 => {
                let idle_min = self.chance.one_in(2).then_some(idle_min);
                let source = match self.chance.below(5) {
                    0..2 => GroupSource::New,
                    2 => GroupSource::Reclaimed { idle_min },
                    3 => GroupSource::Available { idle_min },
                    _ => GroupSource::History { after: EntryId::MIN },
                };
                let read = ReadSource {
                    ns: NamespaceNo(name.0),
                    stream: name.1.clone().into(),
                    group: group.into(),
                    consumer: consumer.into(),
                    source,
                    count: 1 + self.chance.below(12),
                    while_paused: self.chance.one_in(4),
                };
                Command::Give { read }
            }
            9..16 => {
                let ids = self.pending(&name, &group, 8);
                let settlements = ids.into_iter().map(|id| self.settlement(id)).collect();
                Command::Settle { name, group, settlements }
            }
            16 => {
                let ids = self.pending(&name, &group, 5);
                Command::TakeOver { name, claim: weir_core::Claim { group, consumer, idle_min, ids } }
            }
            17 => {
                let (start, count) = (EntryId::MIN, 1 + self.chance.below(6));
                let claim = weir_core::AutoClaim { group, consumer, idle_min, start, count };
                Command::TakeOverOld { name, claim }
            }
            18 => {
                let id = self.entries(&name, 1)[0];
                let to = *self.chance.pick(&[SeekTo::Start, SeekTo::After(id), SeekTo::Skip(2)]);
                Command::Seek { name, group, to }
            }
            19 => {
                let duration = self.chance.one_in(4).then(|| Duration::from_millis(self.chance.below(3_000)));
                if duration.is_some() {
                    Command::Pause { name, group, duration }
                } else {
                    Command::Resume { name, group }
                }
            }
            20 => Command::Redrive { name, group },
            21 => Command::Purge { name, group },
            22 => {
                let ids = self.entries(&name, 4);
                let rows = ids.into_iter().map(|id| RestoredRow {
                    id,
                    consumer: self.chance.one_in(2).then(|| consumer.clone()),
                    idle: idle_min,
                    deliveries: self.chance.below(4),
                    failures: self.chance.below(3),
                    delay: self.chance.one_in(2).then_some(idle_min),
                });
                Command::Restore { rows: rows.collect(), name, group }
            }
            _ => Command::EndConsumer { name, group, consumer },
        }
    }

    fn settlement(&mut self, id: EntryId) -> Settle {
        let delay = self.chance.one_in(2).then(|| Duration::from_millis(self.chance.below(5_000)));
        let (class, reason) = (self.chance.pick(&["timeout", "decode"]).as_bytes().to_vec(), self.bytes(20));
        let settlement = match self.chance.below(9) {
            0..2 => Settlement::Ack,
            2..5 => Settlement::Nak { delay, class, reason },
            5..7 => Settlement::Release { delay },
            7 => Settlement::Term { class, reason },
            _ => Settlement::Extend,
        };
        Settle { id, token: self.chance.one_in(9).then_some(Token(7)), settlement }
    }

    fn read(&mut self, name: Name, group: Bytes, consumer: Bytes) -> Command {
        let mut streams = vec![(name.1.into_boxed_slice(), GroupReadFrom::New)];
        if self.chance.one_in(4) {
            let from =
                if self.chance.one_in(2) { GroupReadFrom::History(EntryId::MIN) } else { GroupReadFrom::New };
            streams.push((HOT[self.chance.below(4) as usize].as_bytes().into(), from));
        }
        if self.chance.one_in(5) {
            streams[0].1 = GroupReadFrom::History(EntryId::MIN);
        }
        let count = Some(1 + self.chance.below(12));
        let bytes_total = if self.chance.one_in(6) { Some(200) } else { None };
        let read = ReadGroup {
            ns: NamespaceNo(name.0),
            group: group.into(),
            consumer: consumer.into(),
            streams,
            limits: ReadLimits { count, count_total: None, bytes_total },
            noack: self.chance.one_in(8),
            claim_idle_min: if self.chance.one_in(5) { Some(self.chance.below(100)) } else { None },
        };
        Command::Read(read)
    }

    fn key_command(&mut self, name: Name) -> Command {
        // Streams that go too soon never fill a block.
        let hot = HOT.iter().any(|hot| name.1 == hot.as_bytes());
        let name = if hot && !self.chance.one_in(6) {
            Name(name.0, format!("quiet-{}", self.chance.below(60)).into_bytes())
        } else {
            name
        };
        match self.chance.below(36) {
            32..36 => Command::Copy { to: self.name(), name, replace: self.chance.one_in(2) },
            0..2 => Command::Rename { name, to: self.name().1, replace: self.chance.one_in(2) },
            2..4 => Command::Move { name, to: self.chance.below(4) as u32 },
            4 => Command::Swap { a: self.chance.below(4) as u32, b: self.chance.below(4) as u32 },
            5 => Command::Flush { ns: 1 + self.chance.below(3) as u32 },
            6..8 => Command::Remove { name },
            8..14 => Command::Expire { name, at: self.now + 1 + self.chance.below(3_000) },
            14..17 => Command::Persist { name },
            17..21 => Command::ExpireDue,
            21..26 => {
                let name = Name(name.0, format!("text-{}", self.chance.below(5)).into_bytes());
                let len = self.chance.below(80);
                Command::SetText { name, value: self.bytes(len), keep_ttl: self.chance.one_in(2) }
            }
            26..28 => {
                let duration = self.chance.one_in(2).then(|| 1 + self.chance.below(100));
                Command::Idempotence { name, duration, ids: Some(1 + self.chance.below(30)) }
            }
            28..30 => {
                let (producer, iid) = (self.consumer(), self.chance.below(40).to_string().into_bytes());
                let id = self.entries(&name, 1)[0];
                Command::Idempotent { name, producer, iid, id }
            }
            _ => Command::SetText { name, value: self.bytes(3), keep_ttl: false },
        }
    }
}
