//! What sits the exam, and the stage on which it plays one case.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use weir_core::{Broker, Clock, EntryId, Error, ErrorKind, ManualClock, Settle, Settlement, SystemClock};

use super::Profile;
use crate::naive::NaiveBroker;

/// A future of a stage.
pub type StageFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A broker that sits the exam.
pub trait Target: Send + Sync {
    /// What reports call it.
    fn name(&self) -> String;

    /// What it declares to be able to do.
    fn profiles(&self) -> Vec<Profile>;

    /// The stage of one case: an engine of its own, or one that all cases share.
    fn stage(&self) -> StageFuture<'_, Arc<dyn Stage>>;
}

/// Where one case is played: a broker and its time.
pub trait Stage: Send + Sync {
    /// The broker; after a restart it may be another one.
    fn broker(&self) -> Arc<dyn Broker>;

    /// Time since some fixed point, by the clock that the broker goes by.
    fn now(&self) -> Duration;

    /// Lets time pass: steps a virtual clock, sleeps on a real one.
    fn advance(&self, by: Duration) -> StageFuture<'_, ()>;

    /// Kills the engine as `kill -9` or a power cut would, and starts it again on what it had stored. Asked only of
    /// targets that declare [`Profile::Durable`].
    ///
    /// The error says why it does not come back.
    fn restart(&self) -> StageFuture<'_, Result<(), String>> {
        Box::pin(async {
            Err("this target cannot be restarted; it must not declare to be durable".to_owned())
        })
    }
}

/// A target with one broker, whose time is that of the machine.
pub struct RealTime {
    name: String,
    profiles: Vec<Profile>,
    shared: Arc<SharedStage>,
}

impl RealTime {
    /// A target that plays all cases on one broker.
    pub fn new(name: impl Into<String>, profiles: Vec<Profile>, broker: Arc<dyn Broker>) -> Self {
        let shared =
            SharedStage { broker, clock: SystemClock::new(), restarts: Restarts::default(), kill: None };
        Self { name: name.into(), profiles, shared: Arc::new(shared) }
    }

    /// The same, where `kill` kills what is behind the broker and starts it again; the broker finds it by itself. It is
    /// durable then.
    pub fn restartable(
        name: impl Into<String>,
        mut profiles: Vec<Profile>,
        broker: Arc<dyn Broker>,
        kill: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        profiles.push(Profile::Durable);
        let (clock, restarts) = (SystemClock::new(), Restarts::default());
        let shared = SharedStage { broker, clock, restarts, kill: Some(Arc::new(kill)) };
        Self { name: name.into(), profiles, shared: Arc::new(shared) }
    }
}

impl std::fmt::Debug for RealTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RealTime")
            .field("name", &self.name)
            .field("profiles", &self.profiles)
            .finish_non_exhaustive()
    }
}

impl Target for RealTime {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn profiles(&self) -> Vec<Profile> {
        self.profiles.clone()
    }

    fn stage(&self) -> StageFuture<'_, Arc<dyn Stage>> {
        Box::pin(async move {
            self.shared.restarts.enter().await;
            Arc::new(RealTimeStage(self.shared.clone())) as Arc<dyn Stage>
        })
    }
}

/// What all cases share that are played on one broker.
struct SharedStage {
    broker: Arc<dyn Broker>,
    clock: SystemClock,
    restarts: Restarts,
    kill: Option<Arc<dyn Fn() -> Result<(), String> + Send + Sync>>,
}

impl SharedStage {
    /// How often a broker is asked whether it has found its engine again, and how often before it is given up.
    const ASK_EVERY: Duration = Duration::from_millis(20);
    const ASKED_MAX: u32 = 1_500;
    /// Streams that are asked for, so many that each node of a small cluster has some.
    const WAYS: u32 = 32;

    async fn restart(&self) -> Result<(), String> {
        let kill =
            self.kill.clone().ok_or("this target cannot be restarted; it must not declare to be durable")?;
        let killed = tokio::task::spawn_blocking(move || kill()).await;
        killed.map_err(|error| error.to_string())??;
        let mut last = String::new();
        for _ in 0..Self::ASKED_MAX {
            match self.found_again().await {
                Ok(()) => return Ok(()),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Self::ASK_EVERY).await;
        }
        Err(format!("the broker does not find it again: {last}"))
    }

    /// Whether all ways to the engine are open again: a broker may have several connections, and to several nodes. One
    /// that broke is told by the first request on it, of which nobody knows then whether it was carried out.
    async fn found_again(&self) -> Result<(), Error> {
        let ack = [Settle { id: EntryId::MIN, token: None, settlement: Settlement::Ack }];
        for way in 0..Self::WAYS {
            let name = format!("is it back {way}");
            self.broker.head(name.as_bytes()).await?;
            match self.broker.settle(name.as_bytes(), b"nobody", &ack).await {
                Err(error) if *error.kind() == ErrorKind::Unavailable => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// One case on the shared broker.
struct RealTimeStage(Arc<SharedStage>);

impl Drop for RealTimeStage {
    fn drop(&mut self) {
        self.0.restarts.leave();
    }
}

impl Stage for RealTimeStage {
    fn broker(&self) -> Arc<dyn Broker> {
        self.0.broker.clone()
    }

    fn now(&self) -> Duration {
        self.0.clock.elapsed()
    }

    fn advance(&self, by: Duration) -> StageFuture<'_, ()> {
        Box::pin(tokio::time::sleep(by))
    }

    fn restart(&self) -> StageFuture<'_, Result<(), String>> {
        Box::pin(self.0.restarts.restart(self.0.restart()))
    }
}

/// A target that opens a broker of its own for each case, on a clock that only the case moves.
pub struct Virtual<F> {
    name: String,
    profiles: Vec<Profile>,
    open: F,
}

/// A broker on a virtual clock.
pub struct OnClock {
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// Called after each step of the clock: tells the broker to look at it.
    pub stepped: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for OnClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnClock").finish_non_exhaustive()
    }
}

/// The naive model, on a virtual clock.
#[must_use]
pub fn model() -> impl Target {
    Virtual::new("model", vec![Profile::Streams, Profile::Positions], |clock| {
        let broker = NaiveBroker::with_manual_clock(clock);
        OnClock { broker: Arc::new(broker.clone()), stepped: Box::new(move || broker.tick()) }
    })
}

impl<F> Virtual<F>
where
    F: Fn(Arc<ManualClock>) -> OnClock + Send + Sync,
{
    /// A target that opens its brokers with `open`.
    pub fn new(name: impl Into<String>, profiles: Vec<Profile>, open: F) -> Self {
        Self { name: name.into(), profiles, open }
    }
}

impl<F> std::fmt::Debug for Virtual<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Virtual")
            .field("name", &self.name)
            .field("profiles", &self.profiles)
            .finish_non_exhaustive()
    }
}

impl<F> Target for Virtual<F>
where
    F: Fn(Arc<ManualClock>) -> OnClock + Send + Sync,
{
    fn name(&self) -> String {
        self.name.clone()
    }

    fn profiles(&self) -> Vec<Profile> {
        self.profiles.clone()
    }

    fn stage(&self) -> StageFuture<'_, Arc<dyn Stage>> {
        let clock = Arc::new(ManualClock::at(SystemClock::new().now()));
        let stage = VirtualStage { opened: (self.open)(clock.clone()), clock };
        Box::pin(async move { Arc::new(stage) as Arc<dyn Stage> })
    }
}

struct VirtualStage {
    opened: OnClock,
    clock: Arc<ManualClock>,
}

impl VirtualStage {
    /// How long whoever waits for a step of the clock is given to notice it.
    const SETTLE: Duration = Duration::from_millis(1);
}

impl Stage for VirtualStage {
    fn broker(&self) -> Arc<dyn Broker> {
        self.opened.broker.clone()
    }

    fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    fn advance(&self, by: Duration) -> StageFuture<'_, ()> {
        Box::pin(async move {
            self.clock.advance(by);
            (self.opened.stepped)();
            tokio::time::sleep(Self::SETTLE).await;
        })
    }
}

/// Restarts of a server that several cases share: it happens when every case that is being played asks for one.
#[derive(Debug, Default)]
pub struct Restarts {
    state: Mutex<RestartState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct RestartState {
    /// Cases that are being played.
    present: usize,
    /// Those of them that ask for a restart.
    asking: usize,
    /// Whether one is under way.
    is_under_way: bool,
    /// How many there were, and how the last one ended.
    ended: u64,
    outcome: Option<String>,
}

impl Restarts {
    /// A case begins; it waits for a restart that is under way.
    pub async fn enter(&self) {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state();
                if !state.is_under_way {
                    state.present += 1;
                    return;
                }
            }
            changed.await;
        }
    }

    /// A case ends.
    pub fn leave(&self) {
        self.state().present -= 1;
        self.changed.notify_waiters();
    }

    /// Asks for a restart and waits for it; one of those that ask carries it out with `restart`.
    ///
    /// # Errors
    /// What `restart` answered.
    pub async fn restart(&self, restart: impl Future<Output = Result<(), String>>) -> Result<(), String> {
        let asked_at = {
            let mut state = self.state();
            state.asking += 1;
            state.ended
        };
        self.changed.notify_waiters();
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state();
                if state.ended != asked_at {
                    return state.outcome.clone().map_or(Ok(()), Err);
                }
                if state.asking == state.present && !state.is_under_way {
                    state.is_under_way = true;
                    break;
                }
            }
            changed.await;
        }
        let outcome = restart.await;
        {
            let mut state = self.state();
            state.outcome = outcome.clone().err();
            (state.asking, state.is_under_way) = (0, false);
            state.ended += 1;
        }
        self.changed.notify_waiters();
        outcome
    }

    fn state(&self) -> MutexGuard<'_, RestartState> {
        self.state.lock().expect("nothing panics under this lock")
    }
}
