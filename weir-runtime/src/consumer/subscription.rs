//! One stream of a consumer: the loop that reads, runs handlers and settles.
//!
//! ```text
//!   establish ──► own history, one by one ──► live ⇄ switched off, paused
//!                                              │
//!                                              └──► stop: hand back, flush, deregister
//! ```
//!
//! There is one loop per stream, so nothing is read twice at the same time. With a concurrency of 1 the handler's
//! future is polled right here; with more, each runs as a task of its own. An error of the broker is retried for ever,
//! with growing waits, and told; only what cannot pass (a closed engine, a group that starts elsewhere) ends the loop,
//! and with it the consumer.

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use weir_core::{Delivery, EntryId, Error, ErrorKind, GroupSource, ReadGroup, Settle, Settlement};

use super::caretaker::{Caretaker, Lots};
use super::group::establish;
use super::pace::Pace;
use super::settle::{Settler, deregister, ends, settlement};
use super::shutdown::Urgency;
use super::status::StreamState;
use super::work::{Cut, Hand, Unit, order_key, run};
use super::{Lot, Origin, Scope, Shared};
use crate::layers::once;
use crate::metrics::add;
use crate::rate::{Grant, Limiter};
use crate::time::{Patience, Sleep};
use crate::{Outcome, Stage};

/// How long one read waits for an entry.
const READ_WAIT: Duration = Duration::from_secs(5);
/// How long is waited before reading again when all that was read was deferred.
const DEFER_PAUSE: Duration = Duration::from_millis(100);
/// How long settling at the end may take, and when it is urgent.
const FLUSH_MAX: Duration = Duration::from_secs(5);
const FLUSH_MAX_IMMEDIATE: Duration = Duration::from_secs(1);

type Reading = Pin<Box<dyn Future<Output = Result<Vec<Delivery>, Error>> + Send>>;

/// What a task of a handler gives back.
type Finished<W> = (Arc<Lot>, Range<usize>, <W as crate::Work>::Reply);

pub(crate) struct Subscription<W: Unit, S> {
    pub(super) shared: Arc<Shared>,
    stage: Arc<S>,
    pub(super) scope: Arc<Scope>,
    lots: Arc<Lots>,
    limiter: Option<Limiter>,
    pub(super) urgency: watch::Receiver<Urgency>,
    pub(super) settler: Settler,
    hand: Hand,
    pace: Pace,
    /// Where own history goes on; `None` = it is behind.
    history: Option<EntryId>,
    reading: Option<Reading>,
    /// What was granted for the read that is under way.
    granted: u64,
    rest: Option<Sleep>,
    /// When what is in hand goes back, unless a handler ends before.
    hold: Option<Sleep>,
    patience: Patience,
    running: JoinSet<Finished<W>>,
    /// What the tasks have, to hand it back if they are dropped.
    in_tasks: HashMap<Id, InTask>,
    /// Values of [`super::Builder::order_by`] that run.
    busy: HashSet<Vec<u8>>,
}

/// What a task of a handler has.
struct InTask {
    lot: Arc<Lot>,
    places: Range<usize>,
    key: Option<Vec<u8>>,
}

/// How the live loop came to pause.
enum Turn {
    Stop,
    SwitchedOff,
    Paused,
}

impl<W: Unit, S: Stage<W>> Subscription<W, S> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        stage: Arc<S>,
        stream: &[u8],
        limiter: Option<Limiter>,
        urgency: watch::Receiver<Urgency>,
    ) -> Self {
        let settings = &shared.settings;
        let scope = Arc::new(Scope::new(stream, &settings.group, settings.immediate));
        Self {
            settler: Settler::new(Arc::clone(&shared), Arc::clone(&scope)),
            pace: Pace::new(settings.concurrency, settings.prefetch_max),
            stage,
            scope,
            lots: Arc::default(),
            limiter,
            urgency,
            hand: Hand::default(),
            history: Some(EntryId::MIN),
            reading: None,
            granted: 0,
            rest: None,
            hold: None,
            patience: Patience::new(),
            running: JoinSet::new(),
            in_tasks: HashMap::new(),
            busy: HashSet::new(),
            shared,
        }
    }

    /// Consumes until told to stop.
    ///
    /// # Errors
    /// What cannot pass by waiting.
    pub(crate) async fn run(mut self, origin: Origin) -> Result<(), Error> {
        let result = self.consume(origin).await;
        self.scope.stop();
        let ended = self.finish().await;
        self.shared.note_state(&self.scope, StreamState::Stopped);
        result.and(ended)
    }

    async fn consume(&mut self, origin: Origin) -> Result<(), Error> {
        loop {
            self.shared.note_state(&self.scope, StreamState::Starting);
            let Some(lease) = self.establish(origin).await? else { return Ok(()) };
            let caretaker = Caretaker {
                shared: Arc::clone(&self.shared),
                scope: Arc::clone(&self.scope),
                lots: Arc::clone(&self.lots),
                lease,
            };
            let caretaker = Owned(tokio::spawn(caretaker.run()));
            // What a task has spawned last runs on its own thread, and no other takes it. A handler that blocks the
            // thread would keep the caretaker from ever telling that.
            tokio::task::yield_now().await;
            let result = self.live().await;
            drop(caretaker);
            match result {
                Err(error) if *error.kind() == ErrorKind::NoSuchGroup => {
                    // Somebody removed the group, or the stream with it. What is held is worth nothing now.
                    self.abandon().await;
                    if origin.is_found && self.is_gone().await {
                        return Ok(());
                    }
                }
                result => return result,
            }
        }
    }

    /// Whether there is no such stream any more. One that a pattern has found is not made again.
    async fn is_gone(&mut self) -> bool {
        let info = self.shared.broker.stream_info(&self.scope.stream);
        matches!(unless_stopped(&self.urgency, info).await, Some(Ok(None)))
    }

    /// Makes sure that there is the group; its lease. `None` = told to stop before.
    async fn establish(&mut self, origin: Origin) -> Result<Option<Option<Duration>>, Error> {
        loop {
            let shared = Arc::clone(&self.shared);
            let scope = Arc::clone(&self.scope);
            let established = unless_stopped(&self.urgency, establish(&shared, &scope, origin)).await;
            let Some(established) = established else { return Ok(None) };
            match established {
                Ok(lease) => {
                    self.patience.reset();
                    return Ok(Some(lease));
                }
                Err(error) if error.is_retryable() || *error.kind() == ErrorKind::Io => {
                    self.shared.note_error(&self.scope, &error);
                    self.shared.note_state(&self.scope, StreamState::Retrying);
                    let wait = self.shared.time.sleep(self.patience.next());
                    if unless_stopped(&self.urgency, wait).await.is_none() {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        *self.urgency.borrow() > Urgency::None
    }

    async fn live(&mut self) -> Result<(), Error> {
        loop {
            self.shared.note_state(&self.scope, StreamState::Running);
            match self.turn().await? {
                Turn::Stop => return Ok(()),
                Turn::SwitchedOff => self.sit_out().await?,
                Turn::Paused => self.pause().await?,
            }
        }
    }

    /// Reads, runs and settles until something else is to be done.
    async fn turn(&mut self) -> Result<Turn, Error> {
        let pause = Arc::clone(&self.shared);
        loop {
            self.work().await?;
            self.watch_hold();
            // Before what was settled is sent: once the switch is open, failures that were not reported do not count.
            if self.is_stopped() {
                return Ok(Turn::Stop);
            }
            if self.shared.is_switched_off() {
                return Ok(Turn::SwitchedOff);
            }
            if self.shared.pause.is_on() {
                return Ok(Turn::Paused);
            }
            self.settler.start();
            self.want_read().await;
            tokio::select! {
                biased;
                _ = self.urgency.changed() => {}
                () = pause.pause.becomes(true) => {}
                landed = self.settler.landed() => self.settler.count(landed)?,
                Some(joined) = self.running.join_next_with_id() => self.joined(joined),
                read = ready(&mut self.reading) => self.read(read)?,
                () = rested(&mut self.rest) => {}
                () = rested(&mut self.hold) => self.hand_back_in_order().await?,
            }
        }
    }

    /// Sets a limit to how long something waits in hand while all handlers are busy.
    fn watch_hold(&mut self) {
        if self.hand.is_empty() {
            self.hold = None;
        } else if self.hold.is_none() {
            self.hold = Some(self.shared.time.sleep(self.shared.settings.hold_max));
        }
    }

    /// Hands back what is in hand. Where this process keeps an order, nothing is read before it is back: what is read
    /// could be behind it.
    async fn hand_back_in_order(&mut self) -> Result<(), Error> {
        self.hand_back_hand();
        if self.shared.settings.order_by.is_none() {
            return Ok(());
        }
        unless_stopped(&self.urgency, self.settler.flush()).await.unwrap_or(Ok(()))
    }

    /// Runs what is in hand: here one after the other, or as tasks.
    async fn work(&mut self) -> Result<(), Error> {
        if self.hand.is_empty() {
            return Ok(());
        }
        if self.pace.is_careful() {
            // What was handed back for its sake is back before it runs: should it kill this process, nobody else is
            // counted with it.
            match unless_stopped(&self.urgency, self.settler.flush()).await {
                Some(flushed) => flushed?,
                None => return Ok(()),
            }
        }
        if self.shared.settings.concurrency > 1 {
            self.dispatch();
            return Ok(());
        }
        let (began, mut count, mut deferred) = (self.shared.time.elapsed(), 0, 0);
        while let Some(cut) = W::cut(&mut self.hand, |_| true) {
            let (lot, places) = (Arc::clone(&cut.lot), cut.places.clone());
            let len = places.len();
            let Some(reply) = self.run_here(cut).await? else {
                self.hand_back(&lot, places);
                break;
            };
            count += len;
            deferred += self.conclude(&lot, places, reply);
            if self.settler.is_ripe() {
                self.settler.start();
            }
            if self.is_stopped() || self.shared.is_switched_off() || self.shared.pause.is_on() {
                break;
            }
        }
        self.pace.handled(count, self.shared.time.elapsed().saturating_sub(began));
        if count > 0 && deferred == count {
            self.rest = Some(self.shared.time.sleep(DEFER_PAUSE));
        }
        // Handlers that are always ready never wait, and neither does an engine in this process: others have their turn
        // here.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Runs a handler in this task. While it waits, what is done is settled, and what is in hand for too long is handed
    /// back. `None` = it was dropped, since the consumer ends.
    async fn run_here(&mut self, cut: Cut<W>) -> Result<Option<W::Reply>, Error> {
        let (shared, stage) = (Arc::clone(&self.shared), Arc::clone(&self.stage));
        let mut running = pin!(run(&shared, &*stage, cut));
        if let Some(reply) = once(running.as_mut()).await {
            return Ok(Some(reply));
        }
        let mut hold = Some(shared.time.sleep(shared.settings.hold_max));
        loop {
            self.settler.start();
            let urgency = *self.urgency.borrow_and_update();
            if urgency > Urgency::None {
                self.scope.stop();
                self.hand_back_hand();
            }
            if urgency >= Urgency::Now {
                return Ok(None);
            }
            tokio::select! {
                biased;
                reply = &mut running => return Ok(Some(reply)),
                _ = self.urgency.changed() => {}
                landed = self.settler.landed() => self.settler.count(landed)?,
                () = rested(&mut hold) => self.hand_back_hand(),
            }
        }
    }

    /// Begins tasks for what is in hand, as many as may run.
    fn dispatch(&mut self) {
        while self.running.len() < self.shared.settings.concurrency {
            let (shared, busy) = (Arc::clone(&self.shared), &self.busy);
            let is_free =
                |delivery: &Delivery| order_key(&shared, delivery).is_none_or(|key| !busy.contains(key));
            let Some(cut) = W::cut(&mut self.hand, is_free) else { return };
            let key = cut.work.items().next().and_then(|item| {
                let field = self.shared.settings.order_by.as_ref()?;
                item.field(field).map(<[u8]>::to_vec)
            });
            self.busy.extend(key.clone());
            let (lot, places) = (Arc::clone(&cut.lot), cut.places.clone());
            let stage = Arc::clone(&self.stage);
            let given = (Arc::clone(&lot), places.clone());
            let task = self.running.spawn(async move {
                let reply = run(&shared, &*stage, cut).await;
                (given.0, given.1, reply)
            });
            self.in_tasks.insert(task.id(), InTask { lot, places, key });
        }
    }

    /// A task has come to its end, or was dropped.
    pub(super) fn joined(&mut self, joined: Result<(Id, Finished<W>), JoinError>) {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(task) = self.in_tasks.remove(&id) else { return };
        self.hold = None;
        if let Some(key) = &task.key {
            self.busy.remove(key);
        }
        match joined {
            Ok((_, (lot, places, reply))) => {
                let (len, took) = (places.len(), self.shared.time.elapsed().saturating_sub(lot.taken_at));
                let deferred = self.conclude(&lot, places, reply);
                self.pace.handled(lot.len(), took);
                if deferred == len {
                    self.rest = Some(self.shared.time.sleep(DEFER_PAUSE));
                }
            }
            Err(_) => self.hand_back(&task.lot, task.places),
        }
    }

    /// Makes settlements of outcomes; says how many were deferred.
    fn conclude(&mut self, lot: &Lot, places: Range<usize>, reply: W::Reply) -> usize {
        let is_counted = !self.shared.is_switched_off();
        let mut deferred = 0;
        W::each_owned(reply, places.len(), |at, outcome| {
            deferred += usize::from(outcome == Outcome::Defer);
            let place = places.start + at;
            lot.finish(place);
            let (id, token) = lot.delivery(place);
            // Of an entry whose lease is lost the settlement is sent all the same: the broker refuses and counts it.
            let settlement = settlement(&self.shared, outcome, is_counted);
            self.settler.push(Settle { id, token: Some(token), settlement });
        });
        deferred
    }

    /// Hands back what a dropped handler had.
    fn hand_back(&mut self, lot: &Lot, places: Range<usize>) {
        for place in places {
            if lot.finish(place) {
                let (id, token) = lot.delivery(place);
                add(&self.shared.metrics.released, 1);
                self.settler.push(release(id, token));
            }
        }
    }

    /// Hands back what no handler has begun with.
    pub(super) fn hand_back_hand(&mut self) {
        for delivery in self.hand.give_up() {
            self.release(&delivery);
        }
    }

    fn release(&mut self, delivery: &Delivery) {
        add(&self.shared.metrics.released, 1);
        self.settler.push(release(delivery.entry.id, delivery.token));
    }

    /// Begins a read when there is nothing in hand and a handler is free.
    async fn want_read(&mut self) {
        let has_room = self.running.len() < self.shared.settings.concurrency;
        let is_busy = self.reading.is_some() || self.rest.is_some() || !self.hand.is_empty();
        if is_busy || !has_room || self.settler.is_full() {
            return;
        }
        let free = (self.shared.settings.concurrency - self.running.len()) as u64;
        let count = match self.history {
            Some(_) => 1,
            None if self.pace.is_careful() => 1,
            None => W::count(&self.shared, self.pace.count()).max(free.min(self.pace.count())),
        };
        let Some(count) = self.granted(count).await else { return };
        let (source, wait) = match self.history {
            Some(after) => (GroupSource::History { after }, None),
            None => (GroupSource::Available { idle_min: None }, Some(READ_WAIT)),
        };
        self.reading = Some(self.read_of(source, count, wait, false));
    }

    /// How many of these may be read now; `None` = none yet, and it is rested until then.
    async fn granted(&mut self, count: u64) -> Option<u64> {
        let Some(limiter) = self.limiter.clone() else { return Some(count) };
        let time = self.shared.time.clone();
        let wait = match unless_stopped(&self.urgency, limiter.take(&time, count)).await? {
            Ok(Grant::Entries(granted)) => {
                self.granted = granted;
                return Some(granted);
            }
            Ok(Grant::Wait(wait)) => wait,
            Err(error) => {
                self.shared.note_error(&self.scope, &error);
                self.patience.next()
            }
        };
        self.rest = Some(self.shared.time.sleep(wait));
        None
    }

    pub(super) fn read_of(
        &self,
        source: GroupSource,
        count: u64,
        wait: Option<Duration>,
        while_paused: bool,
    ) -> Reading {
        let (broker, scope) = (Arc::clone(&self.shared.broker), Arc::clone(&self.scope));
        let (group, consumer) = (scope.group.clone(), self.shared.settings.consumer.clone());
        let options = ReadGroup { group, consumer, source, count, wait, while_paused };
        Box::pin(async move { broker.read_group(&scope.stream, options).await })
    }

    /// Takes in what was read.
    fn read(&mut self, read: Result<Vec<Delivery>, Error>) -> Result<(), Error> {
        let granted = std::mem::take(&mut self.granted);
        let deliveries = match read {
            Ok(deliveries) => deliveries,
            Err(error) if ends(&error) => return Err(error),
            Err(error) => {
                self.shared.note_error(&self.scope, &error);
                self.shared.note_state(&self.scope, StreamState::Retrying);
                self.rest = Some(self.shared.time.sleep(self.patience.next()));
                return Ok(());
            }
        };
        if let Some(limiter) = self.limiter.as_ref().filter(|_| granted > 0) {
            limiter.give_back(granted.saturating_sub(deliveries.len() as u64));
        }
        self.patience.reset();
        match (&mut self.history, deliveries.last()) {
            (Some(after), Some(last)) => *after = last.entry.id,
            (history, None) => *history = None,
            (None, Some(_)) => {}
        }
        self.take(deliveries);
        Ok(())
    }

    /// Takes deliveries in hand, except those that shall not run beside a suspect one.
    pub(super) fn take(&mut self, mut deliveries: Vec<Delivery>) {
        add(&self.shared.metrics.read, deliveries.len() as u64);
        for delivery in self.pace.admit(&mut deliveries) {
            self.release(&delivery);
        }
        if deliveries.is_empty() {
            return;
        }
        let lot = Lot::new(Arc::clone(&self.scope), self.shared.time.elapsed(), &deliveries);
        let lot = Arc::new(lot);
        self.lots.add(&lot);
        self.hand.fill(deliveries, lot);
    }

    /// Tries one entry while the kill switch is half-open: what it has shown, `None` when there was none to try or it
    /// did not end.
    pub(super) async fn try_one(&mut self, wait: Duration) -> Result<Option<Outcome>, Error> {
        let source = GroupSource::Available { idle_min: None };
        let read = self.read_of(source, 1, Some(wait), true);
        let Some(read) = unless_stopped(&self.urgency, read).await else { return Ok(None) };
        self.take(read?);
        let Some(cut) = W::cut(&mut self.hand, |_| true) else { return Ok(None) };
        let (lot, places) = (Arc::clone(&cut.lot), cut.places.clone());
        let Some(reply) = self.run_here(cut).await? else {
            self.hand_back(&lot, places);
            return Ok(None);
        };
        let mut shown = Outcome::Defer;
        W::each(&reply, 1, |outcome| shown = outcome.clone());
        self.conclude(&lot, places, reply);
        Ok(Some(shown))
    }

    /// Lets the running tasks come to their end; with [`Urgency::Now`] they are dropped.
    pub(super) async fn drain(&mut self, is_stopping: bool) {
        while !self.running.is_empty() {
            let urgency = *self.urgency.borrow_and_update();
            if is_stopping && urgency >= Urgency::Now || !is_stopping && urgency > Urgency::None {
                break;
            }
            tokio::select! {
                biased;
                Some(joined) = self.running.join_next_with_id() => self.joined(joined),
                _ = self.urgency.changed() => {}
            }
        }
        if is_stopping {
            self.running.abort_all();
            while let Some(joined) = self.running.join_next_with_id().await {
                self.joined(joined);
            }
        }
    }

    /// Sits out a pause of this consumer.
    async fn pause(&mut self) -> Result<(), Error> {
        self.shared.note_state(&self.scope, StreamState::Paused);
        self.hand_back_hand();
        self.drain(false).await;
        self.drop_read().await;
        let shared = Arc::clone(&self.shared);
        match unless_stopped(&self.urgency, self.settler.flush()).await {
            Some(flushed) => flushed?,
            None => return Ok(()),
        }
        unless_stopped(&self.urgency, shared.pause.becomes(false)).await;
        Ok(())
    }

    /// Ends the read that is under way. What it was given meanwhile stands in the own history.
    pub(super) async fn drop_read(&mut self) {
        if self.reading.take().is_some() {
            self.history = Some(EntryId::MIN);
        }
        if let Some(limiter) = &self.limiter {
            limiter.give_back(std::mem::take(&mut self.granted));
        }
    }

    /// Forgets everything of a group that is gone.
    async fn abandon(&mut self) {
        self.hand.give_up();
        self.reading = None;
        self.running.abort_all();
        while let Some(joined) = self.running.join_next_with_id().await {
            self.joined(joined);
        }
        self.settler = Settler::new(Arc::clone(&self.shared), Arc::clone(&self.scope));
        self.history = Some(EntryId::MIN);
    }

    /// Hands back what is held, settles what is left, and leaves the group.
    async fn finish(&mut self) -> Result<(), Error> {
        self.shared.note_state(&self.scope, StreamState::Stopping);
        self.reading = None;
        self.hand_back_hand();
        self.settler.start();
        self.drain(true).await;
        self.hand_back_hand();
        let is_immediate = *self.urgency.borrow() == Urgency::Immediate;
        let limit = if is_immediate { FLUSH_MAX_IMMEDIATE } else { FLUSH_MAX };
        let shared = Arc::clone(&self.shared);
        let (scope, settler) = (Arc::clone(&self.scope), &mut self.settler);
        let leave = async {
            settler.flush().await?;
            deregister(&*shared.broker, &scope, &shared.settings.consumer).await
        };
        match shared.time.within(limit, leave).await {
            Some(Err(error)) if !ends(&error) => {
                shared.note_error(&scope, &error);
                Ok(())
            }
            Some(Err(error)) if *error.kind() != ErrorKind::NoSuchGroup => Err(error),
            Some(_) => Ok(()),
            None => {
                tracing::warn!(
                    "not everything could be settled in time; it is given out again when its lease is over"
                );
                Ok(())
            }
        }
    }
}

/// What a future gives; `None` when told to stop before.
pub(super) async fn unless_stopped<T>(
    urgency: &watch::Receiver<Urgency>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut urgency = urgency.clone();
    tokio::select! {
        biased;
        _ = urgency.wait_for(|urgency| *urgency > Urgency::None) => None,
        value = future => Some(value),
    }
}

fn release(id: EntryId, token: weir_core::Token) -> Settle {
    Settle { id, token: Some(token), settlement: Settlement::Release { delay: None } }
}

/// What a future in a slot gives, which is empty then; for ever when it is empty.
async fn ready<T>(slot: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    let value = poll_fn(|cx| slot.as_mut().map_or(Poll::Pending, |future| future.as_mut().poll(cx))).await;
    *slot = None;
    value
}

async fn rested(slot: &mut Option<Sleep>) {
    ready(slot).await;
}

/// A task that ends with its owner.
struct Owned(tokio::task::JoinHandle<()>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}
