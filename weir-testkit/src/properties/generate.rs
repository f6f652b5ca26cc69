//! Random operations.

use std::time::Duration;

use weir_core::{
    Backoff, Condition, ConditionTest, Expected, FieldName, Filter, PendingFate, Policy, Retention,
};

use super::op::{
    DeadLetterRef, Fate, FieldList, From, GroupNo, IdRef, Letters, Mark, NewOne, Op, Origin, PolicyRef,
    Restored, Side, Source, StreamNo, TokenRef,
};
use crate::random::Random;

/// Long enough that no run sees its end.
const LONG: Duration = Duration::from_secs(3_600);
/// A time that no run sees.
pub(super) const FAR: u64 = 8_000_000_000_000_000;
/// A hundred years: entries with small IDs look that old to who takes IDs for times.
const AGE: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Makes operations; the same seed makes the same.
pub(super) struct Generator {
    random: Random,
    /// The highest small ID that was asked for, by stream.
    highest: [u64; 3],
}

/// How likely an operation is, and how it is made.
type Choice = (usize, fn(&mut Generator) -> Op);

const CHOICES: [Choice; 37] = [
    (130, Generator::append),
    (60, Generator::batch),
    (40, Generator::read),
    (10, |g| Op::ReadSide { stream: g.stream(), side: g.side() }),
    (10, |g| Op::Head { stream: g.stream() }),
    (10, |g| Op::Info { stream: g.stream() }),
    (8, |g| Op::List { side_streams: g.flip(), page: g.random.between(1, 4) }),
    (2, |g| Op::DeleteStream { stream: g.stream() }),
    (15, |g| Op::DeleteEntries { stream: g.stream(), ids: g.ids() }),
    (10, |g| Op::Trim { stream: g.stream(), to: g.trim_to() }),
    (10, |g| Op::SetRetention { stream: g.stream(), retention: g.retention() }),
    (5, |g| Op::Retention { stream: g.stream() }),
    (8, |g| Op::Lost {
        stream: g.stream(),
        group: g.maybe(Generator::one_of_two),
        page: g.random.between(1, 3),
    }),
    (20, |g| Op::CreateGroup { group: g.group(), origin: g.origin(), policy: g.policy() }),
    (2, |g| Op::DeleteGroup { group: g.group() }),
    (15, |g| Op::SetPolicy { group: g.group(), policy: g.policy() }),
    (5, |g| Op::Groups { stream: g.stream() }),
    (8, |g| Op::GroupInfo { group: g.group() }),
    (25, |g| Op::Seek { group: g.group(), to: g.mark(), dry_run: g.random.chance(200) }),
    (6, |g| Op::Pause { group: g.group(), duration: g.delay() }),
    (16, |g| Op::Resume { group: g.group() }),
    (5, |g| Op::CreateConsumer { group: g.group(), consumer: g.consumer() }),
    (5, |g| Op::Consumers { group: g.group() }),
    (10, Generator::delete_consumer),
    (20, |g| Op::Lag { group: g.group() }),
    (260, Generator::read_group),
    (200, Generator::settle),
    (25, |g| Op::Claim { group: g.group(), consumer: g.consumer(), idle_min: g.idle_min(), ids: g.ids() }),
    (25, Generator::auto_claim),
    (8, |g| Op::Summary { group: g.group() }),
    (15, Generator::pending),
    (15, |g| Op::Restore { group: g.group(), rows: g.restored() }),
    (12, |g| Op::Letters { group: g.group(), filter: g.letters(), page: g.random.between(1, 4) }),
    (35, Generator::redrive),
    (10, Generator::purge),
    (15, |_| Op::Look),
    (3, |_| Op::Restart),
];

/// A sequence that depends on its seed alone, with a look at everything after every so many operations and at the end.
pub(super) fn sequence(seed: u64, length: usize, look_every: usize) -> Vec<Op> {
    let mut generator = Generator { random: Random::new(seed), highest: [0; 3] };
    let mut ops = Vec::with_capacity(length + 8);
    for group in [(0, 0), (0, 1), (1, 0), (2, 0)] {
        let policy = generator.policy();
        let dead_letter = if generator.flip() { DeadLetterRef::Default } else { policy.dead_letter };
        let failures_max = policy.policy.failures_max.max(1);
        let policy = PolicyRef { policy: Policy { failures_max, ..policy.policy }, dead_letter };
        ops.push(Op::CreateGroup { group, origin: Origin::Beginning, policy });
        ops.push(generator.batch());
    }
    while ops.len() < length {
        ops.push(generator.op());
        if ops.len() % look_every.max(1) == 0 {
            ops.push(Op::Look);
        }
    }
    ops.push(Op::Look);
    ops
}

impl Generator {
    fn op(&mut self) -> Op {
        let nth = self.random.weighted(CHOICES.iter().map(|(weight, _)| *weight));
        CHOICES[nth].1(self)
    }

    fn flip(&mut self) -> bool {
        self.random.chance(500)
    }

    fn one_of_two(&mut self) -> usize {
        self.random.below(2)
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.random.chance(600) { None } else { Some(make(self)) }
    }

    /// The first is the likeliest, so that what belongs together meets.
    fn stream(&mut self) -> StreamNo {
        [0, 0, 0, 0, 0, 0, 0, 1, 1, 2][self.random.below(10)]
    }

    fn group(&mut self) -> GroupNo {
        (self.stream(), usize::from(self.random.chance(200)))
    }

    fn consumer(&mut self) -> usize {
        [0, 0, 0, 1, 1, 2][self.random.below(6)]
    }

    fn side(&mut self) -> Side {
        [Side::Dead(0), Side::Dead(1), Side::Shared, Side::Lost, Side::Alerts][self.random.below(5)]
    }

    fn delay(&mut self) -> Option<Duration> {
        [None, Some(Duration::ZERO), Some(LONG)][self.random.below(3)]
    }

    fn idle_min(&mut self) -> Duration {
        if self.random.chance(700) { Duration::ZERO } else { LONG }
    }

    fn count(&mut self) -> u64 {
        [0, 1, 1, 2, 2, 3, 3, 5, 5, u64::MAX][self.random.below(10)]
    }

    /// An ID that probably somebody was given or that an entry has.
    fn id(&mut self) -> IdRef {
        match self.random.below(10) {
            0..5 => IdRef::Given(self.random.below(6)),
            5..8 => IdRef::Small(self.random.between(1, 14), self.random.between(0, 1)),
            8 => IdRef::Auto(self.random.below(6)),
            _ => [IdRef::Min, IdRef::Max][self.random.below(2)],
        }
    }

    fn ids(&mut self) -> Vec<IdRef> {
        (0..self.random.between(1, 3)).map(|_| self.id()).collect()
    }

    /// The ID of a new entry: mostly above all others. One stream is given IDs by the brokers, one by the generator; the
    /// third begins with small ones.
    fn new_id(&mut self, stream: StreamNo) -> Option<IdRef> {
        if stream == 1 || (stream == 2 && self.random.chance(200)) {
            return None;
        }
        if self.random.chance(15) {
            // The greatest ID ends a stream, so it is rare.
            let id = self.id();
            return Some(if matches!(id, IdRef::Max) && self.flip() { IdRef::Min } else { id });
        }
        self.highest[stream] += u64::from(self.random.chance(980));
        Some(IdRef::Small(self.highest[stream], self.random.below(2) as u64))
    }

    fn fields(&mut self) -> FieldList {
        if self.random.chance(4) {
            return Vec::new();
        }
        let mut fields = Vec::new();
        if self.random.chance(800) {
            fields.push((
                ["type", "event"][self.random.below(2)],
                ["placed", "paid", "void"][self.random.below(3)],
            ));
        }
        if self.random.chance(800) {
            fields.push(("key", ["x", "y", ""][self.random.below(3)]));
        }
        if fields.is_empty() || self.random.chance(300) {
            fields.push(("data", ["", "some data", "other"][self.random.below(3)]));
        }
        fields
    }

    fn new_one(&mut self, stream: StreamNo, has_producer: bool) -> NewOne {
        let append_id = has_producer.then(|| {
            let nth = if self.random.chance(5) { 8 } else { self.random.below(8) };
            ["1", "2", "3", "4", "5", "6", "7", "8", ""][nth]
        });
        (self.new_id(stream), append_id, self.fields())
    }

    fn producer(&mut self) -> Option<&'static str> {
        self.random.chance(150).then(|| ["p", "q", ""][self.random.below(40) / 19])
    }

    fn expected(&mut self) -> Expected {
        match self.random.below(40) {
            0 => Expected::NoEntries,
            1 => Expected::Version(self.random.between(0, 12)),
            _ => Expected::Any,
        }
    }

    fn append(&mut self) -> Op {
        let (stream, producer) = (self.stream(), self.producer());
        let entry = self.new_one(stream, producer.is_some());
        Op::Append { stream, entry, producer, expected: self.expected() }
    }

    fn batch(&mut self) -> Op {
        let (stream, producer) = (self.stream(), self.producer());
        let has_ids = producer.is_some() != self.random.chance(20);
        let entries = (0..self.random.between(0, 5)).map(|_| self.new_one(stream, has_ids)).collect();
        Op::Batch { stream, entries, producer, expected: self.expected() }
    }

    fn read(&mut self) -> Op {
        let from = match self.random.below(6) {
            0 => From::Start,
            1 => From::End,
            2 => From::Id(self.id()),
            3 => From::After(self.id()),
            4 => From::Position(self.random.between(0, 15)),
            _ => From::Time([0, FAR][self.random.below(2)]),
        };
        Op::Read {
            stream: self.stream(),
            from,
            to: self.maybe(Self::id),
            backward: self.flip(),
            count: self.count(),
            wait: self.random.chance(100),
        }
    }

    fn trim_to(&mut self) -> Mark {
        match self.random.below(10) {
            0..5 => Mark::Count(self.random.between(2, 8)),
            5..7 => Mark::Bytes(self.random.between(40, 200)),
            _ => self.mark(),
        }
    }

    fn mark(&mut self) -> Mark {
        match self.random.below(8) {
            0 => Mark::Start,
            1 => Mark::End,
            2 => Mark::Time([0, FAR][self.random.below(2)]),
            3 | 4 => Mark::Count(self.random.between(0, 8)),
            5 => Mark::Bytes(self.random.between(0, 120)),
            _ => Mark::Id(self.id()),
        }
    }

    fn retention(&mut self) -> Option<Retention> {
        if self.random.chance(350) {
            return None;
        }
        Some(Retention {
            length: self.maybe(|g| [0, 2, 4, 6, 8, 10][g.random.below(6)]),
            bytes: self.maybe(|g| g.random.between(40, 400)),
            age: self.maybe(|g| [AGE, AGE, Duration::ZERO][g.random.below(3)]),
            hold: self.maybe(|g| [0, 1, 2, 5][g.random.below(4)]),
        })
    }

    fn origin(&mut self) -> Origin {
        match self.random.below(8) {
            0..5 => Origin::Beginning,
            5 | 6 => Origin::End,
            _ => Origin::After(self.id()),
        }
    }

    fn policy(&mut self) -> PolicyRef {
        let waits = [Duration::ZERO, LONG][self.random.below(2)];
        let condition = |field, test| Filter { conditions: vec![Condition { field, test }] };
        let filter = match self.random.below(5) {
            0 if self.flip() => Some(condition(FieldName::Type, ConditionTest::Prefix(b"p".to_vec()))),
            1 => Some(condition(FieldName::Exact(b"key".to_vec()), ConditionTest::Equals(b"x".to_vec()))),
            _ => None,
        };
        let policy = Policy {
            failures_max: [1, 2, 3, 10][self.random.below(4)],
            deliveries_max: [1, 2, 3, 100][self.random.below(4)],
            backoff: Backoff::List(vec![waits]),
            lease: LONG,
            dead_letter: None,
            key: self.flip().then(|| [&b"key"[..], b"data"][self.random.below(4) / 3].to_vec()),
            filter,
            required: self.random.chance(500),
            retry_for_max: self.maybe(|_| LONG),
            reset_on_class: self.random.chance(300),
        };
        let policy = if self.random.chance(20) { Policy { failures_max: 0, ..policy } } else { policy };
        let dead_letter = match self.random.below(40) {
            0..8 => DeadLetterRef::Shared,
            8 => DeadLetterRef::Itself,
            9 => DeadLetterRef::Lost,
            10 => DeadLetterRef::Others,
            _ => DeadLetterRef::Default,
        };
        PolicyRef { policy, dead_letter }
    }

    fn delete_consumer(&mut self) -> Op {
        let fate = [PendingFate::HandBack, PendingFate::Drop][self.random.below(2)];
        Op::DeleteConsumer { group: self.group(), consumer: self.consumer(), fate }
    }

    fn read_group(&mut self) -> Op {
        let idle_min = [None, Some(Duration::ZERO), Some(LONG)][self.random.below(3)];
        let source = match self.random.below(8) {
            0..4 => Source::New,
            4 => Source::Reclaimed(idle_min),
            5 | 6 => Source::Available(idle_min),
            _ => Source::History([IdRef::Min, self.id()][self.random.below(2)]),
        };
        let (group, consumer) = (self.group(), self.consumer());
        Op::ReadGroup { group, consumer, source, count: self.count(), while_paused: self.random.chance(100) }
    }

    fn class(&mut self) -> &'static str {
        [
            "timeout",
            "down",
            "a class that is much too long to be kept whole, so that it has to be cut at its end",
        ][self.random.below(10).min(2)]
    }

    fn fate(&mut self) -> Fate {
        match self.random.below(10) {
            0 | 1 => Fate::Ack,
            2..6 => {
                let delay = if self.random.chance(10) { Some(Policy::DELAY_MAX * 2) } else { self.delay() };
                Fate::Nak(delay, self.class(), ["no answer", ""][self.random.below(2)])
            }
            6 | 7 => Fate::Release(self.delay()),
            8 => Fate::Term(self.class(), "never"),
            _ => Fate::Extend,
        }
    }

    fn settle(&mut self) -> Op {
        let each = (0..self.random.between(1, 4)).map(|_| {
            let token = if self.random.chance(700) { TokenRef::OfDelivery } else { TokenRef::None };
            let id = if self.random.chance(850) { IdRef::Given(self.random.below(4)) } else { self.id() };
            (id, token, self.fate())
        });
        let each = each.collect();
        Op::Settle { group: self.group(), each }
    }

    fn auto_claim(&mut self) -> Op {
        let start = [IdRef::Min, self.id()][self.random.below(2)];
        let (group, consumer) = (self.group(), self.consumer());
        Op::AutoClaim { group, consumer, idle_min: self.idle_min(), start, count: self.count() }
    }

    fn pending(&mut self) -> Op {
        let (group, consumer) = (self.group(), self.maybe(Self::consumer));
        let (start, end) =
            ([IdRef::Min, self.id()][self.random.below(2)], [IdRef::Max, self.id()][self.random.below(2)]);
        Op::Pending { group, consumer, idle_min: self.maybe(Self::idle_min), start, end, count: self.count() }
    }

    fn restored(&mut self) -> Vec<Restored> {
        let row = |g: &mut Self| {
            let consumer = g.flip().then(|| g.consumer());
            let delay = if consumer.is_some() { None } else { g.delay() };
            Restored {
                id: g.id(),
                consumer,
                deliveries: g.random.between(0, 3),
                failures: g.random.between(0, 2),
                delay,
            }
        };
        (0..self.random.between(1, 3)).map(|_| row(self)).collect()
    }

    fn letters(&mut self) -> Letters {
        if self.flip() {
            return Letters::default();
        }
        Letters {
            ids: if self.random.chance(300) { self.ids() } else { Vec::new() },
            class: self.maybe(|g| ["timeout", "down", "max-deliveries"][g.random.below(3)]),
            reason: self.maybe(|g| ["answer", ""][g.random.below(2)]),
            kind: self.maybe(|g| ["placed", "paid"][g.random.below(2)]),
            redrives_max: self.maybe(|g| u32::from(g.flip())),
        }
    }

    fn redrive(&mut self) -> Op {
        let (group, filter) = (self.group(), self.letters());
        Op::Redrive { group, filter, count: self.count(), dry_run: self.random.chance(250) }
    }

    fn purge(&mut self) -> Op {
        let (group, filter) = (self.group(), self.letters());
        Op::Purge { group, filter, count: self.count(), dry_run: self.random.chance(250) }
    }
}
