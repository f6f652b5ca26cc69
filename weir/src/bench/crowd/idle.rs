//! Idle connections: how much memory each costs, and whether the server still answers the others.

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use serde::Serialize;
use weir_core::{Clock as _, SystemClock};

use super::members::{self, Member};
use super::table;
use crate::bench::modes::{server_name, server_process};
use crate::bench::plan::Plan;
use crate::bench::process::Process;
use crate::bench::table::grouped;
use crate::bench::target::Control;

/// What the cost is extrapolated to.
const EXTRAPOLATED: u64 = 50_000;
/// The part of what is allowed that is used when nothing is said, in fifths.
const FIFTHS: u64 = 4;
/// A connection takes more than this, unless it gets what an earlier one left.
const BYTES_MIN: f64 = 64.0;
/// PINGs that are timed while all connections are there.
const PINGS: usize = 1_000;

#[derive(Debug, Serialize)]
pub(super) struct Idle {
    mode: &'static str,
    server: String,
    url: String,
    /// Files the server's process may open.
    server_files_max: Option<u64>,
    /// Clients the server admits.
    server_clients_max: Option<u64>,
    /// Before the first connection, with half of them, with all.
    steps: Vec<Step>,
    /// Between half and all.
    bytes_per_connection: Option<f64>,
    /// What [`EXTRAPOLATED`] connections would take, everything else of the process included.
    extrapolated_connections: u64,
    extrapolated_bytes: Option<f64>,
    /// Microseconds of a PING on another connection, with all of them there.
    ping_p50_us: f64,
    ping_p99_us: f64,
    ping_max_us: f64,
    /// Connections that answered a PING at the end.
    alive: usize,
    /// What to know before believing the figures.
    notes: Vec<&'static str>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Step {
    connections: u64,
    /// Resident anonymous memory of the server, in bytes.
    rss_anon: Option<u64>,
}

/// Connects, waits, measures.
pub(super) fn run(plan: &Plan, clock: &SystemClock) -> Result<Idle> {
    let contestant = &plan.lineup[0];
    let mut control = Control::connect(&contestant.address)?;
    let process = server_process(contestant, &mut control)?;
    let server_files_max = process.and_then(Process::files_max);
    let server_clients_max = control.config("maxclients").and_then(|text| text.parse().ok());
    let all = how_many(plan, server_files_max, server_clients_max)?;
    members::ensure_room(all)?;

    let before = control.clients("connected_clients").unwrap_or(1);
    let step = |connections: usize| Step {
        connections: connections as u64,
        rss_anon: process.and_then(|process| process.usage().anonymous_bytes),
    };
    let (mut steps, mut crowd) = (vec![step(0)], Vec::<Member>::new());
    for count in [all / 2, all] {
        crowd.extend(members::connect(&contestant.address, crowd.len(), count)?);
        members::await_count(&mut control, clock, "connected_clients", before + count as u64)?;
        steps.push(step(count));
    }
    let pings = pings(&mut control, clock)?;
    let alive = crowd.iter_mut().map(Member::hears_nothing_else).filter(|lives| *lives).count();
    ensure!(alive == all, "{} of {all} connections do not answer any more", all - alive);

    let micros = |quantile| pings.value_at_quantile(quantile) as f64 / 1_000.0;
    let bytes_per_connection = slope(steps[1], steps[2]);
    let beyond = EXTRAPOLATED as f64 - all as f64;
    let extrapolated = |(each, now): (f64, u64)| now as f64 + beyond * each;
    Ok(Idle {
        mode: plan.mode.name(),
        server: server_name(&mut control),
        url: contestant.address.to_string(),
        server_files_max,
        server_clients_max,
        bytes_per_connection,
        extrapolated_connections: EXTRAPOLATED,
        extrapolated_bytes: bytes_per_connection.zip(steps[2].rss_anon).map(extrapolated),
        steps,
        ping_p50_us: micros(0.5),
        ping_p99_us: micros(0.99),
        ping_max_us: micros(1.0),
        alive,
        notes: bytes_per_connection.and_then(doubt).into_iter().collect(),
    })
}

/// As many as the user says, or as server and system allow.
fn how_many(plan: &Plan, files: Option<u64>, clients: Option<u64>) -> Result<usize> {
    if let Some(held) = plan.held {
        return Ok(held);
    }
    let served = files.into_iter().chain(clients).min();
    ensure!(served.is_some(), "the server does not say how many clients it serves; say --clients");
    let wanted = usize::try_from(served.unwrap_or(0)).unwrap_or(usize::MAX);
    let allowed = wanted.min(members::room(wanted));
    let part = allowed as u64 * FIFTHS / 5;
    ensure!(part >= 2, "{allowed} connections are allowed, too few to measure");
    Ok(usize::try_from(part)?)
}

fn slope(half: Step, all: Step) -> Option<f64> {
    let (less, more) = half.rss_anon.zip(all.rss_anon)?;
    let connections = all.connections - half.connections;
    (connections > 0).then(|| (more as f64 - less as f64) / connections as f64)
}

/// A word about a cost that cannot be.
fn doubt(bytes_per_connection: f64) -> Option<&'static str> {
    (bytes_per_connection < BYTES_MIN)
        .then_some("the server uses memory of earlier connections again; measure one that was just started")
}

/// Nanoseconds of round trips on the control connection.
fn pings(control: &mut Control, clock: &SystemClock) -> Result<Histogram<u64>> {
    let mut times = Histogram::new(3)?;
    for _ in 0..PINGS {
        let from = clock.elapsed();
        control.call(&["PING"])?;
        times.record(u64::try_from((clock.elapsed() - from).as_nanos())?)?;
    }
    Ok(times)
}

impl Idle {
    /// The report as people read it.
    pub(super) fn render(&self) -> String {
        let bytes = |bytes: Option<f64>| bytes.map_or_else(|| "–".to_owned(), grouped);
        let row = |step: &Step| {
            vec![grouped(step.connections as f64), bytes(step.rss_anon.map(|bytes| bytes as f64))]
        };
        let table = table(&["connections", "server RSS anon\nbytes"], self.steps.iter().map(row));
        let notes: String = self.notes.iter().map(|note| format!("\nnote: {note}")).collect();
        let limit = |limit: Option<u64>| limit.map_or_else(|| "–".to_owned(), |n| grouped(n as f64));
        format!(
            "idle: {} connections to {} at {}\nserver may open {} files and admits {} clients\n{table}\n\
             per connection, between half and all: {} bytes\n\
             extrapolated, not measured: {} connections would take {} bytes in all\n\
             PING on another connection meanwhile: p50 {} µs, p99 {} µs, max {} µs\n\
             alive at the end: {} of {}{notes}",
            grouped(self.alive as f64),
            self.server,
            self.url,
            limit(self.server_files_max),
            limit(self.server_clients_max),
            bytes(self.bytes_per_connection),
            grouped(self.extrapolated_connections as f64),
            bytes(self.extrapolated_bytes),
            grouped(self.ping_p50_us),
            grouped(self.ping_p99_us),
            grouped(self.ping_max_us),
            grouped(self.alive as f64),
            grouped(self.steps[2].connections as f64),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_is_that_of_the_second_half() {
        let step = |connections, rss| Step { connections, rss_anon: rss };
        assert_eq!(slope(step(10, Some(5_000)), step(30, Some(9_000))), Some(200.0));
        assert_eq!(slope(step(10, Some(5_000)), step(30, Some(4_000))), Some(-50.0));
        assert_eq!(slope(step(10, None), step(30, Some(9_000))), None);
        assert_eq!(slope(step(1, Some(1)), step(1, Some(2))), None);
        assert!(doubt(0.0).is_some() && doubt(-50.0).is_some() && doubt(576.0).is_none());
    }
}
