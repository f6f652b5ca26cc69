//! When waiting reads give up, and when they are to be asked again.

use std::collections::BTreeSet;
use std::time::Duration;

use weir_engine::WaiterId;

use super::client::{Blocked, ClientNo};

/// Times of waiting reads, on the clock's monotonic scale.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    deadlines: BTreeSet<(Duration, WaiterId, ClientNo)>,
    retries: BTreeSet<(Duration, WaiterId, ClientNo)>,
    /// When a pause of all clients ends.
    pub(crate) pause_until: Option<Duration>,
    /// When the first of those who wait for a flush gives up.
    pub(crate) flush_until: Option<Duration>,
}

impl Timers {
    pub(crate) fn add(&mut self, blocked: &Blocked, client: ClientNo) {
        if let Some(deadline) = blocked.deadline {
            self.deadlines.insert((deadline, blocked.waiter, client));
        }
        if let Some(retry_at) = blocked.retry_at {
            self.retries.insert((retry_at, blocked.waiter, client));
        }
    }

    pub(crate) fn remove(&mut self, blocked: &Blocked, client: ClientNo) {
        if let Some(deadline) = blocked.deadline {
            self.deadlines.remove(&(deadline, blocked.waiter, client));
        }
        if let Some(retry_at) = blocked.retry_at {
            self.retries.remove(&(retry_at, blocked.waiter, client));
        }
    }

    /// The next client whose deadline has passed; taken out.
    pub(crate) fn take_due(&mut self, now: Duration) -> Option<ClientNo> {
        take_due(&mut self.deadlines, now)
    }

    /// The next client that is to be asked again; taken out.
    pub(crate) fn take_retry(&mut self, now: Duration) -> Option<ClientNo> {
        take_due(&mut self.retries, now)
    }

    /// When to look again.
    pub(crate) fn next(&self) -> Option<Duration> {
        let first = |times: &BTreeSet<(Duration, WaiterId, ClientNo)>| times.first().map(|(at, ..)| *at);
        let times = [first(&self.deadlines), first(&self.retries), self.pause_until, self.flush_until];
        times.into_iter().flatten().min()
    }
}

/// Those of the same time in the order in which they began to wait.
fn take_due(times: &mut BTreeSet<(Duration, WaiterId, ClientNo)>, now: Duration) -> Option<ClientNo> {
    let (at, _, client) = *times.first()?;
    (at <= now).then(|| {
        times.pop_first();
        client
    })
}
