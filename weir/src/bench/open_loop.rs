//! The open loop: requests are sent when they are due, whether or not earlier ones were answered.
//!
//! Latency counts from the moment a batch was *due*. So a server that stalls pays for every request that would
//! have come meanwhile, which a closed loop would never have sent (coordinated omission).
//!
//! Between two due times the loop asks the kernel again and again instead of sleeping: a sleep is coarser than
//! the times to be kept. It gives its core away whenever there is nothing to do.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};

use super::append::{Append, expect};
use super::board::{Board, nanos, new_histogram};
use super::connection::Connection;
use super::meter::{Measured, Meter};
use super::target::Address;

/// Batches a connection may have on the wire; later ones wait here, and their time counts all the same.
const ON_THE_WIRE_MAX: usize = 1_024;
/// Batches that may be late before the rate is called hopeless.
const LATE_MAX: u64 = 5_000_000;
/// Below this the loop does not sleep until the next batch is due.
const SLEEP_MIN: Duration = Duration::from_millis(2);
/// How long the last replies may take.
const DRAIN_MAX: Duration = Duration::from_secs(60);
/// The beginning of a run that is not counted, as a part of its time.
const WARM_UP: f64 = 0.1;
const EVENTS_MAX: usize = 1024;

/// What to send and how fast.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) clients: usize,
    /// Batches per second, over all connections.
    pub(super) batches_per_second: f64,
    /// Entries in a batch.
    pub(super) batch: u64,
    pub(super) time: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) measured: Measured,
    /// Nanoseconds from when a batch was due to its last reply.
    pub(super) latency: Histogram<u64>,
    /// Nanoseconds from when a batch was due to when it was given to the kernel: the generator's own lateness,
    /// and waiting for a full connection.
    pub(super) lateness: Histogram<u64>,
    pub(super) operations: u64,
}

/// Sends batches of `append` by `schedule`.
pub(super) fn run(
    address: &Address,
    mut append: impl FnMut() -> Append,
    schedule: Schedule,
    meter: &Meter<'_>,
) -> Result<Outcome> {
    let poll = Poll::new()?;
    let mut lanes = Vec::new();
    for index in 0..schedule.clients {
        let connection = Connection::open(address, poll.registry(), Token(index))?;
        let mut request = Vec::new();
        append().build(&mut request, schedule.batch, &mut Board::new(None));
        lanes.push(Lane { connection, request, due: VecDeque::new(), sent: 0, replies: 0 });
    }
    OpenLoop {
        poll,
        lanes,
        schedule,
        latency: new_histogram(),
        lateness: new_histogram(),
        operations: 0,
        late: 0,
    }
    .run(meter)
}

struct Lane {
    connection: Connection,
    /// One batch.
    request: Vec<u8>,
    /// When the unanswered batches were due, oldest first.
    due: VecDeque<Duration>,
    /// How many of them are sent.
    sent: usize,
    /// Replies of the oldest batch that are there.
    replies: u64,
}

struct OpenLoop {
    poll: Poll,
    lanes: Vec<Lane>,
    schedule: Schedule,
    latency: Histogram<u64>,
    lateness: Histogram<u64>,
    operations: u64,
    /// Batches that are due and not answered.
    late: u64,
}

impl OpenLoop {
    fn run(mut self, meter: &Meter<'_>) -> Result<Outcome> {
        let start = meter.start();
        let zero = meter.now();
        let interval = Duration::from_secs_f64(1.0 / self.schedule.batches_per_second);
        let warm = self.schedule.time.mul_f64(WARM_UP);
        let mut events = Events::with_capacity(EVENTS_MAX);
        let (mut scheduled, mut due) = (0_u64, Duration::ZERO);
        loop {
            let now = meter.now().saturating_sub(zero);
            meter.tick(zero + now, self.operations);
            while due <= now && due < self.schedule.time {
                let lane = usize::try_from(scheduled % self.lanes.len() as u64).expect("an index");
                self.lanes[lane].due.push_back(due);
                self.late += 1;
                self.pump(lane, now)?;
                scheduled += 1;
                due = interval.mul_f64(scheduled as f64);
            }
            ensure!(self.late < LATE_MAX, "the server cannot keep up with this rate");
            let over = due >= self.schedule.time;
            if over && self.late == 0 {
                break;
            }
            ensure!(now < self.schedule.time + DRAIN_MAX, "the last replies do not come");
            let pause = if over { SLEEP_MIN } else { due.saturating_sub(now) };
            self.poll_for(&mut events, pause)?;
            for event in &events {
                let Token(lane) = event.token();
                if event.is_writable() {
                    self.lanes[lane].connection.flush()?;
                }
                if event.is_readable() || event.is_error() {
                    self.receive(lane, warm, || meter.now().saturating_sub(zero))?;
                }
                self.pump(lane, meter.now().saturating_sub(zero))?;
            }
        }
        let measured = meter.stop(&start);
        Ok(Outcome { measured, latency: self.latency, lateness: self.lateness, operations: self.operations })
    }

    fn poll_for(&mut self, events: &mut Events, pause: Duration) -> Result<()> {
        // The kernel rounds up to milliseconds, so one is kept in reserve.
        let sleep = if pause < SLEEP_MIN { Duration::ZERO } else { pause - Duration::from_millis(1) };
        match self.poll.poll(events, Some(sleep)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        if events.is_empty() {
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Sends what is due on a lane, as far as the connection takes it.
    fn pump(&mut self, lane: usize, now: Duration) -> Result<()> {
        let lane = &mut self.lanes[lane];
        let unsent = (lane.due.len() - lane.sent).min(ON_THE_WIRE_MAX - lane.sent);
        if unsent == 0 || !lane.connection.is_sent() {
            return Ok(());
        }
        let out = lane.connection.outgoing();
        out.clear();
        for due in lane.due.range(lane.sent..lane.sent + unsent) {
            out.extend_from_slice(&lane.request);
            self.lateness.saturating_record(nanos(now.saturating_sub(*due)));
        }
        lane.sent += unsent;
        lane.connection.send()
    }

    fn receive(&mut self, lane: usize, warm: Duration, now: impl Fn() -> Duration) -> Result<()> {
        let lane = &mut self.lanes[lane];
        lane.connection.receive()?;
        let now = now();
        while let Some(range) = lane.connection.next_reply()? {
            expect(lane.connection.reply(range), b'$')?;
            self.operations += 1;
            lane.replies += 1;
            if lane.replies < self.schedule.batch {
                continue;
            }
            lane.replies = 0;
            ensure!(lane.sent > 0, "a reply to nothing that was asked");
            let due = lane.due.pop_front().expect("what is sent is due");
            lane.sent -= 1;
            self.late -= 1;
            if due >= warm {
                self.latency.saturating_record(nanos(now.saturating_sub(due)));
            }
        }
        Ok(())
    }
}
