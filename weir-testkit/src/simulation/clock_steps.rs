//! A wall clock that is set forward or back changes no delay.

use std::time::Duration;

use weir_core::{CreateGroup, Error, GroupOrigin, Policy, Settled};

use super::{Simulated, failed, settle};

const GROUP: &[u8] = b"patient";
/// What passes between two looks.
const TICK: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// Fails an entry again and again under the delays 200 ms, 1 s and 3 s, and sets the wall clock an hour forward or back
/// in the middle of each. It has to come again neither before its time nor a tick after it; the same with a lease and a
/// pause. The stream must not exist.
///
/// # Errors
/// What came too early or too late, in words; or what the broker refused.
pub async fn delays_survive_clock_steps(on: &Simulated, stream: &[u8]) -> Result<(), String> {
    let refused = |error: Error| error.to_string();
    let delays = [200, 1_000, 3_000].map(Duration::from_millis);
    let policy = Policy { lease: Duration::from_secs(7), ..Policy::delayed(delays.to_vec()) };
    let options = CreateGroup { origin: GroupOrigin::Beginning, policy };
    on.broker.create_group(stream, GROUP, options).await.map_err(refused)?;
    on.broker.append(stream, &[(b"type", b"placed")], Default::default()).await.map_err(refused)?;
    let mut in_hand = on.read((stream, GROUP, b"ann"), 1).await.map_err(refused)?;
    for (nth, delay) in delays.into_iter().enumerate() {
        let one: Vec<_> = in_hand.iter().map(|delivery| settle(delivery, failed())).collect();
        let settled = on.broker.settle(stream, GROUP, &one).await.map_err(refused)?;
        if settled != [Settled::Done] {
            return Err(format!("failure {nth} did {settled:?}"));
        }
        in_hand = comes_after(on, stream, delay, nth % 2 == 0)
            .await
            .map_err(|wrong| format!("delay {delay:?}: {wrong}"))?;
    }
    in_hand = comes_after(on, stream, Duration::from_secs(7), true)
        .await
        .map_err(|wrong| format!("lease: {wrong}"))?;
    on.broker.pause(stream, GROUP, Some(Duration::from_secs(9))).await.map_err(refused)?;
    comes_after(on, stream, Duration::from_secs(9), false)
        .await
        .map_err(|wrong| format!("pause: {wrong}"))?;
    drop(in_hand);
    Ok(())
}

/// Awaits the entry, setting the clock halfway.
async fn comes_after(
    on: &Simulated,
    stream: &[u8],
    delay: Duration,
    forward: bool,
) -> Result<Vec<weir_core::Delivery>, String> {
    let look = || async { on.read((stream, GROUP, b"ann"), 1).await.map_err(|error| error.to_string()) };
    on.advance(delay / 2);
    if forward {
        on.clock.step_forward(HOUR);
    } else {
        on.clock.step_back(HOUR);
    }
    on.advance(delay / 2 - TICK);
    if !look().await?.is_empty() {
        return Err("it came too early".into());
    }
    on.advance(TICK);
    let given = look().await?;
    if given.is_empty() { Err("it did not come in time".into()) } else { Ok(given) }
}
