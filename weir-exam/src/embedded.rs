//! The embedded engine as a target: an engine of its own for each case, on a clock that the case moves and a disk whose
//! power the case may cut.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use weir_core::{Broker, Clock, Error, ManualClock, SystemClock};
use weir_engine::{Engine, Fsync, Options};
use weir_log::LogOptions;
use weir_log::faulty::{FaultyDisk, Keep};
use weir_testkit::conformance::{Profile, Stage, StageFuture, Target};

/// Large enough for the longest record of a case, small enough to be copied at every power cut.
const SEGMENT_BYTES: u64 = 2 << 20;
/// How long readers that a step of the clock wakes are given to come back.
const SETTLE: Duration = Duration::from_millis(1);

/// The embedded engine, in virtual time.
#[derive(Debug)]
pub struct Embedded;

impl Target for Embedded {
    fn name(&self) -> String {
        "embedded".to_owned()
    }

    fn profiles(&self) -> Vec<Profile> {
        Profile::ALL.to_vec()
    }

    fn stage(&self) -> StageFuture<'_, Arc<dyn Stage>> {
        Box::pin(async {
            let clock = Arc::new(ManualClock::at(SystemClock::new().now()));
            let machine = Machine::start(FaultyDisk::new(), clock, Duration::ZERO);
            let machine = machine.expect("an engine opens on an empty disk");
            Arc::new(EmbeddedStage { machine: Mutex::new(machine) }) as Arc<dyn Stage>
        })
    }
}

/// An engine, and what it runs on.
#[derive(Debug)]
struct Machine {
    disk: FaultyDisk,
    clock: Arc<ManualClock>,
    /// What the clocks before this one had counted when the power was cut.
    before: Duration,
    engine: Engine,
    broker: Arc<weir_engine::Namespace>,
}

impl Machine {
    fn start(disk: FaultyDisk, clock: Arc<ManualClock>, before: Duration) -> Result<Self, Error> {
        let log = LogOptions { segment_bytes: SEGMENT_BYTES, ..LogOptions::default() };
        let options = Options { fsync: Fsync::Always, background: false, log, ..Options::default() };
        let engine = Engine::open(Arc::new(disk.clone()), clock.clone(), options)?;
        let broker = Arc::new(engine.namespace("default")?);
        Ok(Self { disk, clock, before, engine, broker })
    }

    /// The power is cut and comes back: what was not flushed is gone, the wall clock has gone on.
    fn restarted(&self) -> Result<Self, Error> {
        let disk = FaultyDisk::over(&self.disk.after_crash(Keep::Nothing));
        let clock = Arc::new(ManualClock::at(self.clock.now()));
        Self::start(disk, clock, self.before + self.clock.elapsed())
    }
}

struct EmbeddedStage {
    machine: Mutex<Machine>,
}

impl EmbeddedStage {
    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().expect("nothing panics under this lock")
    }
}

impl Stage for EmbeddedStage {
    fn broker(&self) -> Arc<dyn Broker> {
        self.machine().broker.clone()
    }

    fn now(&self) -> Duration {
        let machine = self.machine();
        machine.before + machine.clock.elapsed()
    }

    fn advance(&self, by: Duration) -> StageFuture<'_, ()> {
        let engine = {
            let machine = self.machine();
            machine.clock.advance(by);
            machine.engine.clone()
        };
        Box::pin(async move {
            // A failed step of the background is told by the next call of the case.
            while engine.background_step().unwrap_or(false) {}
            tokio::time::sleep(SETTLE).await;
        })
    }

    fn restart(&self) -> StageFuture<'_, Result<(), String>> {
        let restarted = self.machine().restarted().map_err(|error| error.to_string());
        Box::pin(async move {
            *self.machine() = restarted?;
            Ok(())
        })
    }
}
