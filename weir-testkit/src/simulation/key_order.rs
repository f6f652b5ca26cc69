//! Per key at most one entry is out at a time, in order, whatever consumers do.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_core::{
    Backoff, CreateGroup, Delivery, EntryId, Error, GroupOrigin, PendingFate, Policy, Settled, Settlement,
    first_value,
};

use super::{Simulated, failed, settle};
use crate::random::Random;

/// What happens.
#[derive(Debug, Clone)]
pub struct OrderOptions {
    /// Decides everything.
    pub seed: u64,
    /// The stream; it must not exist.
    pub stream: Vec<u8>,
    /// Steps: an append, a read, a settlement, a crash, somebody who joins or leaves, time that passes.
    pub steps: usize,
    /// Different keys.
    pub keys: usize,
}

/// What a story in which order was kept consisted of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OrderKept {
    /// Entries appended.
    pub appended: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// Entries that were done.
    pub done: u64,
    /// Dead letters.
    pub dead: u64,
    /// Deliveries lost with a consumer.
    pub crashed: u64,
    /// Settlements that came too late.
    pub stale: u64,
}

const GROUP: &[u8] = b"ordered";
const LEASE: Duration = Duration::from_secs(30);

/// Appends entries with keys and has consumers come, go, crash, fail and succeed at random; in the end all is done.
///
/// # Errors
/// What broke the order, in words; or what a broker refused.
pub async fn keys_stay_in_order(on: &Simulated, options: &OrderOptions) -> Result<OrderKept, String> {
    let mut story = Story {
        on,
        options,
        random: Random::new(options.seed),
        open: BTreeMap::new(),
        hands: BTreeMap::new(),
        stray: Vec::new(),
        kept: OrderKept::default(),
    };
    story.begin().await.map_err(|error| error.to_string())?;
    for step in 0..options.steps {
        story.step().await.map_err(|wrong| format!("seed {} step {step}: {wrong}", options.seed))?;
    }
    story.finish().await.map_err(|wrong| format!("seed {} at the end: {wrong}", options.seed))?;
    Ok(story.kept)
}

/// What went wrong: a rule, or a refusal.
struct Wrong(String);

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

struct Story<'a> {
    on: &'a Simulated,
    options: &'a OrderOptions,
    random: Random,
    /// By key, the entries that are not done, in order.
    open: BTreeMap<Vec<u8>, Vec<EntryId>>,
    /// What each consumer has in its hands.
    hands: BTreeMap<usize, Vec<Delivery>>,
    /// What consumers had that crashed or left: they may yet try to settle it.
    stray: Vec<Delivery>,
    kept: OrderKept,
}

impl Story<'_> {
    async fn begin(&mut self) -> Result<(), Error> {
        let policy = Policy {
            failures_max: 4,
            deliveries_max: 1_000_000,
            backoff: Backoff::List(vec![Duration::ZERO, Duration::from_secs(5)]),
            lease: LEASE,
            key: Some(b"key".to_vec()),
            ..Policy::recommended()
        };
        let options = CreateGroup { origin: GroupOrigin::Beginning, policy };
        self.on.broker.create_group(&self.options.stream, GROUP, options).await?;
        Ok(())
    }

    async fn step(&mut self) -> Result<(), Wrong> {
        match self.random.below(100) {
            0..30 => self.append().await,
            30..60 => self.read().await,
            60..88 => self.settle_one().await,
            88..90 => self.settle_late().await,
            90..92 => {
                self.crash();
                Ok(())
            }
            92..94 => self.leave().await,
            _ => {
                self.on.advance(Duration::from_millis(self.random.between(1, 12_000)));
                Ok(())
            }
        }
    }

    async fn append(&mut self) -> Result<(), Wrong> {
        let key = format!("k{}", self.random.below(self.options.keys)).into_bytes();
        let fields = [(&b"key"[..], &key[..])];
        let appended = self.on.broker.append(&self.options.stream, &fields, Default::default()).await?;
        self.open.entry(key).or_default().push(appended.id);
        self.kept.appended += 1;
        Ok(())
    }

    async fn read(&mut self) -> Result<(), Wrong> {
        let consumer = self.random.below(4);
        let count = self.random.between(1, 5);
        self.read_as(consumer, count).await.map(drop)
    }

    async fn read_as(&mut self, consumer: usize, count: u64) -> Result<usize, Wrong> {
        let name = format!("consumer-{consumer}").into_bytes();
        let given = self.on.read((&self.options.stream, GROUP, &name), count).await?;
        for delivery in &given {
            self.check(delivery)?;
        }
        let count = given.len();
        self.kept.deliveries += count as u64;
        self.hands.entry(consumer).or_default().extend(given);
        Ok(count)
    }

    /// An entry may be given out only when it is the first of its key that is not done.
    fn check(&mut self, delivery: &Delivery) -> Result<(), Wrong> {
        let id = delivery.entry.id;
        let key = first_value(&delivery.entry.fields, b"key").unwrap_or_default();
        let first = self.open.get(key).and_then(|open| open.first());
        if first != Some(&id) {
            let key = String::from_utf8_lossy(key);
            return Err(Wrong(format!("{id} of key {key} was given out while {first:?} was first")));
        }
        // Who had it before has it no longer: its lease was over.
        for hands in self.hands.values_mut() {
            let (stray, kept) = std::mem::take(hands).into_iter().partition(|held| held.entry.id == id);
            let stray: Vec<_> = stray;
            self.stray.extend(stray);
            *hands = kept;
        }
        Ok(())
    }

    async fn settle_one(&mut self) -> Result<(), Wrong> {
        let consumer = self.random.below(4);
        let Some(hands) = self.hands.get_mut(&consumer).filter(|hands| !hands.is_empty()) else {
            return Ok(());
        };
        let delivery = hands.remove(self.random.below(hands.len()));
        let settlement = match self.random.below(10) {
            0..6 => Settlement::Ack,
            6..8 => failed(),
            8 => Settlement::Release { delay: None },
            _ => Settlement::Extend,
        };
        self.settle(consumer, delivery, settlement).await
    }

    /// Settles; what was extended stays in hand. While nobody else was given it, its token is good, however late it is.
    async fn settle(&mut self, by: usize, delivery: Delivery, settlement: Settlement) -> Result<(), Wrong> {
        let one = [settle(&delivery, settlement.clone())];
        let settled = self.on.broker.settle(&self.options.stream, GROUP, &one).await?;
        match (settled.first(), &settlement) {
            (Some(Settled::Done), Settlement::Ack) => {
                self.kept.done += 1;
                self.close(&delivery);
            }
            (Some(Settled::DeadLettered), Settlement::Nak { .. }) => {
                self.kept.dead += 1;
                self.close(&delivery);
            }
            (Some(Settled::Done), Settlement::Extend) => self.hands.entry(by).or_default().push(delivery),
            (Some(Settled::Done), _) => {}
            (other, _) => {
                let id = delivery.entry.id;
                return Err(Wrong(format!(
                    "{settlement:?} of {id}, which nobody else was given, did {other:?}"
                )));
            }
        }
        Ok(())
    }

    fn close(&mut self, delivery: &Delivery) {
        let key = first_value(&delivery.entry.fields, b"key").unwrap_or_default();
        if let Some(open) = self.open.get_mut(key) {
            open.retain(|id| *id != delivery.entry.id);
        }
    }

    /// Somebody wakes up and settles what somebody else was given meanwhile, or what was handed back.
    async fn settle_late(&mut self) -> Result<(), Wrong> {
        let Some(delivery) = self.stray.pop() else { return Ok(()) };
        let one = [settle(&delivery, Settlement::Ack)];
        let settled = self.on.broker.settle(&self.options.stream, GROUP, &one).await?;
        match settled.first() {
            Some(Settled::Done) => {
                // Its consumer crashed and nobody was given it since: this is as good as in time.
                self.kept.done += 1;
                self.close(&delivery);
            }
            Some(Settled::Stale | Settled::NotPending) => self.kept.stale += 1,
            other => return Err(Wrong(format!("a late acknowledgement did {other:?}"))),
        }
        Ok(())
    }

    /// A consumer forgets what it has; its lease has to run out.
    fn crash(&mut self) {
        let lost = self.hands.remove(&self.random.below(4)).unwrap_or_default();
        self.kept.crashed += lost.len() as u64;
        self.stray.extend(lost);
    }

    /// A consumer leaves and hands back what it has.
    async fn leave(&mut self) -> Result<(), Wrong> {
        let consumer = self.random.below(4);
        let name = format!("consumer-{consumer}").into_bytes();
        let fate = PendingFate::HandBack;
        self.on.broker.delete_consumer(&self.options.stream, GROUP, &name, fate).await?;
        self.stray.extend(self.hands.remove(&consumer).unwrap_or_default());
        Ok(())
    }

    /// From now on everything succeeds: in the end nothing is open.
    async fn finish(&mut self) -> Result<(), Wrong> {
        let mut idle = 0;
        while self.open.values().any(|open| !open.is_empty()) {
            for consumer in 0..4 {
                for delivery in self.hands.remove(&consumer).unwrap_or_default() {
                    self.settle(consumer, delivery, Settlement::Ack).await?;
                }
            }
            let given = self.read_as(0, 100).await?;
            idle = if given == 0 { idle + 1 } else { 0 };
            if idle > 10 {
                let open: Vec<_> = self.open.values().flatten().collect();
                return Err(Wrong(format!("nobody is given {open:?} any more")));
            }
            self.on.advance(LEASE / 2);
        }
        let lag = self.on.broker.lag(&self.options.stream, GROUP).await?;
        if lag.total() > 0 || lag.dead != self.kept.dead {
            return Err(Wrong(format!("all is done, but lag says {lag:?}; {} are dead", self.kept.dead)));
        }
        Ok(())
    }
}
