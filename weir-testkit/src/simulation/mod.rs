//! Stories in simulated time: order by key under everything that consumers do, the throughput of other keys while one
//! fails, delays across steps of the wall clock.
//!
//! A story sees a broker through its traits and moves its clock; an hour takes no time. Each answers what went wrong, in
//! words, or figures.

mod clock_steps;
mod key_order;
mod throughput;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use weir_core::{Broker, Delivery, Error, GroupSource, ManualClock, ReadGroup, Settle, Settlement};

pub use clock_steps::delays_survive_clock_steps;
pub use key_order::{OrderKept, OrderOptions, keys_stay_in_order};
pub use throughput::{Throughput, ThroughputOptions, throughput_beside_a_failing_key};

/// A broker whose time is in the story's hands.
#[derive(Clone)]
pub struct Simulated {
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// Its clock.
    pub clock: Arc<ManualClock>,
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulated").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl Simulated {
    /// What is ready, idle for a lease, or new.
    async fn read(&self, who: (&[u8], &[u8], &[u8]), count: u64) -> Result<Vec<Delivery>, Error> {
        let (stream, group, consumer) = who;
        let options = ReadGroup {
            group: group.to_vec(),
            consumer: consumer.to_vec(),
            source: GroupSource::Available { idle_min: None },
            count,
            wait: None,
            while_paused: false,
        };
        self.broker.read_group(stream, options).await
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

/// A settlement by token.
fn settle(delivery: &Delivery, settlement: Settlement) -> Settle {
    Settle { id: delivery.entry.id, token: Some(delivery.token), settlement }
}

/// A failure whose delay the policy decides.
fn failed() -> Settlement {
    Settlement::Nak { delay: None, class: b"down".to_vec(), reason: b"no answer".to_vec() }
}
