//! How the server is, in words and numbers.

use serde::Serialize;
use weir_engine::Fsync;

use super::facts::Facts;

/// In one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// Everything works.
    Ok,
    /// Appends are refused; reading, acknowledging, deleting and trimming work.
    DiskFull,
    /// Nothing is accepted until the server is started again.
    Faulted,
    /// The server takes its leave.
    Stopping,
}

/// What `/health` answers.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    status: Status,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
    faulted: bool,
    disk_full: bool,
    fsync: &'static str,
    uptime_seconds: f64,
    log_bytes: u64,
    log_segments: u64,
    /// Bytes handed to the system that are not known to be on disk yet.
    unflushed_bytes: u64,
    clients: u64,
}

impl Health {
    /// Whether clients should come here.
    pub(super) fn is_serving(&self) -> bool {
        matches!(self.status, Status::Ok | Status::DiskFull)
    }
}

fn status(facts: &Facts) -> Status {
    if facts.engine.is_faulted() {
        Status::Faulted
    } else if facts.is_stopping() {
        Status::Stopping
    } else if facts.engine.log_stats().disk_full {
        Status::DiskFull
    } else {
        Status::Ok
    }
}

fn remedy(status: Status) -> Option<&'static str> {
    match status {
        Status::Ok => None,
        Status::DiskFull => {
            Some("free space on the disk of the data folder, or trim streams; it ends by itself")
        }
        Status::Faulted => Some(
            "a write or a flush failed: look at the disk and the system's log, then start the server again",
        ),
        Status::Stopping => Some("go to another server, or wait for this one to come back"),
    }
}

/// Why clients should not come here now. A full disk is no reason: consumers can still work their backlog off, and
/// that is what helps.
pub(super) fn not_ready(facts: &Facts) -> Option<&'static str> {
    match status(facts) {
        Status::Ok | Status::DiskFull => None,
        Status::Faulted => Some("faulted: a write or a flush failed, start the server again"),
        Status::Stopping => Some("stopping"),
    }
}

pub(super) fn health(facts: &Facts) -> Health {
    let status = status(facts);
    let stats = facts.engine.log_stats();
    let (written, durable) = facts.engine.watermarks();
    Health {
        status,
        remedy: remedy(status),
        faulted: facts.engine.is_faulted(),
        disk_full: stats.disk_full,
        fsync: match facts.engine.fsync() {
            Fsync::Always => "always",
            Fsync::EverySecond => "everysec",
            Fsync::No => "no",
        },
        uptime_seconds: facts.uptime().as_secs_f64(),
        log_bytes: facts.engine.log_bytes(),
        log_segments: stats.segments,
        unflushed_bytes: written.0.saturating_sub(durable.0),
        clients: facts.door.counts().clients,
    }
}
