//! While one key fails, the others go on.

use std::time::Duration;

use weir_core::{Backoff, CreateGroup, Delivery, Error, GroupOrigin, Policy, Settlement, first_value};

use super::{Simulated, failed, settle};

/// The load.
#[derive(Debug, Clone)]
pub struct ThroughputOptions {
    /// The stream; it must not exist.
    pub stream: Vec<u8>,
    /// Keys, each with the same number of entries.
    pub keys: usize,
    /// Entries of each key, all there from the beginning.
    pub entries: usize,
    /// Workers; each handles one entry per tick of 10 ms.
    pub workers: usize,
    /// Ticks.
    pub ticks: usize,
    /// Whether the handler fails for the first key, always.
    pub fails: bool,
}

/// What was handled in that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throughput {
    /// Entries of the first key that were handed to a handler, again and again when it fails.
    pub first: u64,
    /// Entries of all other keys that were done.
    pub others: u64,
}

const GROUP: &[u8] = b"lanes";
const TICK: Duration = Duration::from_millis(10);

/// Lets workers work for a while.
///
/// # Errors
/// What a broker refused.
pub async fn throughput_beside_a_failing_key(
    on: &Simulated,
    options: &ThroughputOptions,
) -> Result<Throughput, Error> {
    prepare(on, options).await?;
    let mut handled = Throughput { first: 0, others: 0 };
    for _ in 0..options.ticks {
        let mut in_hand: Vec<Delivery> = Vec::new();
        for worker in 0..options.workers {
            let name = format!("worker-{worker}").into_bytes();
            in_hand.extend(on.read((&options.stream, GROUP, &name), 1).await?);
        }
        on.advance(TICK);
        let mut settlements = Vec::with_capacity(in_hand.len());
        for delivery in &in_hand {
            let is_first = first_value(&delivery.entry.fields, b"key") == Some(b"key-0");
            handled.first += u64::from(is_first);
            handled.others += u64::from(!is_first);
            let settlement = if is_first && options.fails { failed() } else { Settlement::Ack };
            settlements.push(settle(delivery, settlement));
        }
        on.broker.settle(&options.stream, GROUP, &settlements).await?;
    }
    Ok(handled)
}

async fn prepare(on: &Simulated, options: &ThroughputOptions) -> Result<(), Error> {
    let policy = Policy {
        failures_max: u32::MAX,
        deliveries_max: u32::MAX,
        backoff: Backoff::List(vec![Duration::from_millis(100)]),
        key: Some(b"key".to_vec()),
        ..Policy::recommended()
    };
    let group = CreateGroup { origin: GroupOrigin::Beginning, policy };
    on.broker.create_group(&options.stream, GROUP, group).await?;
    for _ in 0..options.entries {
        for key in 0..options.keys {
            let key = format!("key-{key}");
            on.broker.append(&options.stream, &[(b"key", key.as_bytes())], Default::default()).await?;
        }
    }
    Ok(())
}
