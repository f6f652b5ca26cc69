//! What a consumer tells of itself, as data.

use std::time::Duration;

use weir_core::{EntryId, Error, Lag, Timestamp};

use super::Shared;
use crate::metrics::Totals;

/// What a stream's loop is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamState {
    /// It makes sure that there is the group.
    Starting,
    /// It reads and handles.
    Running,
    /// The broker refuses, and is asked again and again.
    Retrying,
    /// This consumer is paused.
    Paused,
    /// The kill switch is open: the group is paused, one entry is tried now and then.
    SwitchedOff,
    /// It hands back what it holds.
    Stopping,
    /// It has ended.
    Stopped,
}

impl StreamState {
    /// As a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Paused => "paused",
            Self::SwitchedOff => "switched-off",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// A stream as its consumer sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamStatus {
    /// Its name.
    pub stream: Vec<u8>,
    /// What its loop is doing.
    pub state: StreamState,
    /// The last error of the broker, if there was one.
    pub last_error: Option<String>,
    /// An entry whose handler did not give back its thread in time, the last one.
    pub last_stuck: Option<EntryId>,
    /// How far behind the group is.
    pub lag: Lag,
    /// The last ID that the group was given.
    pub position: EntryId,
    /// Entries in the stream.
    pub length: u64,
    /// Rows on the group's pending list.
    pub pending: u64,
    /// Which of the group's consumers this one is, by name, counted from 0.
    pub member: u64,
    /// How many consumers the group has.
    pub size: u64,
    /// Whether the group is paused.
    pub is_paused: bool,
}

/// A consumer, its streams and its counters at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerStatus {
    /// Its name.
    pub consumer: Vec<u8>,
    /// Its group.
    pub group: Vec<u8>,
    /// Its streams, by name.
    pub streams: Vec<StreamStatus>,
    /// What it counted.
    pub totals: Totals,
    /// When a handler last came to an end; `None` = never yet.
    pub last_progress: Option<Timestamp>,
    /// Runs of handlers per second, lately (about half a minute).
    pub throughput: f64,
}

impl ConsumerStatus {
    /// What is left to do in all streams together.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.streams.iter().map(|stream| stream.lag.total()).sum()
    }

    /// The state that most needs looking at.
    #[must_use]
    pub fn state(&self) -> StreamState {
        const BY_CONCERN: [StreamState; 6] = [
            StreamState::Retrying,
            StreamState::SwitchedOff,
            StreamState::Paused,
            StreamState::Starting,
            StreamState::Stopping,
            StreamState::Running,
        ];
        let is_there = |state: &StreamState| self.streams.iter().any(|stream| stream.state == *state);
        BY_CONCERN.into_iter().find(is_there).unwrap_or(StreamState::Stopped)
    }
}

/// Asks the broker how a consumer is getting on.
pub(crate) async fn status(shared: &Shared) -> Result<ConsumerStatus, Error> {
    let (now, elapsed) = (shared.time.now(), shared.time.elapsed());
    let ago = shared.metrics.last_progress().map(|at| elapsed.saturating_sub(at));
    let mut streams = Vec::new();
    for (stream, told) in shared.told() {
        let group = &shared.settings.group;
        let Some(info) = shared.broker.group_info(&stream, group).await? else { continue };
        let lag = shared.broker.lag(&stream, group).await?;
        let length = shared.broker.stream_info(&stream).await?.map_or(0, |info| info.length);
        let consumers = shared.broker.consumers(&stream, group).await?;
        let member = consumers.iter().position(|consumer| consumer.name == shared.settings.consumer);
        streams.push(StreamStatus {
            stream,
            state: told.state,
            last_error: told.last_error,
            last_stuck: told.last_stuck,
            lag,
            position: info.last_delivered_id,
            length,
            pending: info.pending,
            member: member.unwrap_or(0) as u64,
            size: consumers.len() as u64,
            is_paused: info.paused,
        });
    }
    Ok(ConsumerStatus {
        consumer: shared.settings.consumer.clone(),
        group: shared.settings.group.clone(),
        streams,
        totals: shared.metrics.totals(),
        last_progress: ago.map(|ago| Timestamp(now.0.saturating_sub(millis(ago)))),
        throughput: shared.metrics.throughput(elapsed),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
