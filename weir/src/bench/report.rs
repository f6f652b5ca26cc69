//! What comes out in the end: figures of every run, medians, ratios, doubts; as JSON or as a table.

use std::io::Write as _;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::modes::{Outcome, Server};
use super::plan::Plan;
use super::table::{self, grouped};

/// How much of the 99th percentile may be the generator's own lateness.
const LATENESS_PART_MAX: f64 = 0.5;
/// How far a server may be from itself before its throughput says nothing.
const CONTROL_OFF_MAX: f64 = 0.1;

/// All runs and what follows from them.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) mode: &'static str,
    pub(super) unit: &'static str,
    pub(super) settings: Settings,
    pub(super) servers: Vec<ServerReport>,
    /// Each other server's medians divided by the first one's.
    pub(super) ratios: Vec<Ratios>,
    /// What to know before believing the figures.
    pub(super) notes: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Settings {
    pub(super) rounds: u32,
    pub(super) clients: usize,
    pub(super) pipeline: u64,
    pub(super) entries: Option<u64>,
    pub(super) seconds: Option<f64>,
    pub(super) value_bytes: usize,
    pub(super) streams: u64,
    pub(super) groups: usize,
    pub(super) count: u64,
    pub(super) consumers: usize,
    pub(super) rate: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct ServerReport {
    pub(super) label: &'static str,
    pub(super) url: String,
    pub(super) name: String,
    /// Whether it is the first server once more.
    pub(super) is_control: bool,
    pub(super) median: Figures,
    /// The least and the greatest throughput of all runs.
    pub(super) per_second_min: f64,
    pub(super) per_second_max: f64,
    pub(super) runs: Vec<Figures>,
}

/// The figures of one run, or the medians of several.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Figures {
    pub(super) operations: f64,
    pub(super) seconds: f64,
    pub(super) per_second: f64,
    /// Entries written per second, where operations are something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) appended_per_second: Option<f64>,
    /// Microseconds of a batch, as are all latencies.
    pub(super) p50_us: f64,
    pub(super) p90_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
    pub(super) max_us: f64,
    /// How late the generator itself was, at the 99th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) late_p99_us: Option<f64>,
    pub(super) server_cpu_us_per_op: Option<f64>,
    pub(super) client_cpu_us_per_op: Option<f64>,
    /// The server's resident anonymous memory after the run, in bytes.
    pub(super) rss_anon: Option<f64>,
    /// Growth of the resident anonymous memory, in bytes per operation.
    pub(super) rss_anon_per_op: Option<f64>,
    /// Growth of what INFO calls used_memory, in bytes per operation.
    pub(super) used_memory_per_op: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Ratios {
    pub(super) label: String,
    pub(super) per_second: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) server_cpu_per_op: Option<f64>,
    pub(super) rss_anon_per_op: Option<f64>,
    pub(super) used_memory_per_op: Option<f64>,
}

impl Report {
    /// A report without runs.
    pub(super) fn new(plan: &Plan, servers: &[Server<'_>], rate: Option<f64>) -> Self {
        let server = |server: &Server<'_>| ServerReport {
            label: server.contestant.label,
            url: server.contestant.address.to_string(),
            name: server.name.clone(),
            is_control: server.contestant.is_control,
            median: Figures::default(),
            per_second_min: 0.0,
            per_second_max: 0.0,
            runs: Vec::new(),
        };
        Self {
            mode: plan.mode.name(),
            unit: plan.mode.unit(),
            settings: Settings {
                rounds: plan.rounds,
                clients: plan.clients,
                pipeline: plan.pipeline,
                entries: plan.entries,
                seconds: plan.time.map(|time| time.as_secs_f64()),
                value_bytes: plan.value_bytes,
                streams: plan.streams,
                groups: plan.groups,
                count: plan.count,
                consumers: plan.consumers,
                rate,
            },
            servers: servers.iter().map(server).collect(),
            ratios: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a run of server number `index`.
    pub(super) fn add(&mut self, index: usize, outcome: &Outcome) {
        self.servers[index].runs.push(Figures::of(outcome));
    }

    /// Computes medians, ratios and notes; call it after the last run.
    pub(super) fn conclude(&mut self) {
        for server in &mut self.servers {
            server.median = Figures::median(&server.runs);
            let speeds = || server.runs.iter().map(|run| run.per_second);
            server.per_second_min = speeds().fold(f64::INFINITY, f64::min);
            server.per_second_max = speeds().fold(0.0, f64::max);
        }
        if let Some((first, others)) = self.servers.split_first() {
            let ratios =
                |other: &ServerReport| Ratios::of(format!("{} / {}", other.label, first.label), other, first);
            self.ratios = others.iter().map(ratios).collect();
        }
        self.notes = self.servers.iter().filter_map(ServerReport::lateness_note).collect();
        let compared = self.servers.iter().skip(1).zip(&self.ratios);
        let controls = compared.filter(|(server, _)| server.is_control);
        self.notes.extend(controls.filter_map(|(_, ratios)| ratios.control_note()));
    }

    /// Prints it to standard output.
    pub(super) fn print(&self, json: bool) -> Result<()> {
        let text = if json { serde_json::to_string(self)? } else { table::render(self) };
        writeln!(std::io::stdout().lock(), "{text}")?;
        Ok(())
    }
}

impl Figures {
    fn of(outcome: &Outcome) -> Self {
        let operations = outcome.operations as f64;
        let seconds = outcome.measured.elapsed.as_secs_f64();
        let per_op = |total: f64| if operations > 0.0 { total / operations } else { 0.0 };
        let growth = |(before, after): (u64, u64)| per_op(after as f64 - before as f64);
        Self {
            operations,
            seconds,
            per_second: if seconds > 0.0 { operations / seconds } else { 0.0 },
            appended_per_second: outcome.appended_per_second,
            p50_us: micros(&outcome.latency, 0.5),
            p90_us: micros(&outcome.latency, 0.9),
            p99_us: micros(&outcome.latency, 0.99),
            p999_us: micros(&outcome.latency, 0.999),
            max_us: micros(&outcome.latency, 1.0),
            late_p99_us: outcome.lateness.as_ref().map(|lateness| micros(lateness, 0.99)),
            server_cpu_us_per_op: outcome.measured.server_cpu.map(|cpu| per_op(cpu * 1e6)),
            client_cpu_us_per_op: outcome.measured.client_cpu.map(|cpu| per_op(cpu * 1e6)),
            rss_anon: outcome.measured.memory.map(|(_, after)| after as f64),
            rss_anon_per_op: outcome.measured.memory.map(growth),
            used_memory_per_op: outcome.used_memory.map(growth),
        }
    }

    fn median(runs: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(runs.iter().map(figure).collect());
        let maybe = |figure: fn(&Self) -> Option<f64>| {
            let known: Vec<f64> = runs.iter().filter_map(figure).collect();
            if known.is_empty() { None } else { Some(median(known)) }
        };
        Self {
            operations: of(|run| run.operations),
            seconds: of(|run| run.seconds),
            per_second: of(|run| run.per_second),
            appended_per_second: maybe(|run| run.appended_per_second),
            p50_us: of(|run| run.p50_us),
            p90_us: of(|run| run.p90_us),
            p99_us: of(|run| run.p99_us),
            p999_us: of(|run| run.p999_us),
            max_us: of(|run| run.max_us),
            late_p99_us: maybe(|run| run.late_p99_us),
            server_cpu_us_per_op: maybe(|run| run.server_cpu_us_per_op),
            client_cpu_us_per_op: maybe(|run| run.client_cpu_us_per_op),
            rss_anon: maybe(|run| run.rss_anon),
            rss_anon_per_op: maybe(|run| run.rss_anon_per_op),
            used_memory_per_op: maybe(|run| run.used_memory_per_op),
        }
    }
}

impl ServerReport {
    /// A word of doubt about latencies that are the generator's own.
    fn lateness_note(&self) -> Option<String> {
        let late = self.median.late_p99_us?;
        (late > self.median.p99_us * LATENESS_PART_MAX).then(|| {
            let late = grouped(late);
            format!(
                "{}: requests left up to {late} µs late (p99); this machine is too busy for such latencies",
                self.label
            )
        })
    }
}

impl Ratios {
    /// A word of doubt about throughput, when a server differs from itself.
    fn control_note(&self) -> Option<String> {
        let off = (self.per_second - 1.0).abs();
        (off > CONTROL_OFF_MAX).then(|| {
            let percent = off * 100.0;
            format!(
                "one server differs from itself by {percent:.0} % in speed; believe the CPU per operation"
            )
        })
    }

    fn of(label: String, other: &ServerReport, first: &ServerReport) -> Self {
        let (other, first) = (&other.median, &first.median);
        let maybe = |other: Option<f64>, first: Option<f64>| Some(ratio(other?, first?));
        Self {
            label,
            per_second: ratio(other.per_second, first.per_second),
            p50: ratio(other.p50_us, first.p50_us),
            p99: ratio(other.p99_us, first.p99_us),
            p999: ratio(other.p999_us, first.p999_us),
            server_cpu_per_op: maybe(other.server_cpu_us_per_op, first.server_cpu_us_per_op),
            rss_anon_per_op: maybe(other.rss_anon_per_op, first.rss_anon_per_op),
            used_memory_per_op: maybe(other.used_memory_per_op, first.used_memory_per_op),
        }
    }
}

fn micros(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1_000.0
}

fn ratio(other: f64, first: f64) -> f64 {
    if first == 0.0 { 0.0 } else { other / first }
}

/// The middle value, or the mean of the two in the middle; 0 of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[half],
        _ => f64::midpoint(values[half - 1], values[half]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubts_are_spoken() {
        let server = |late, p99| ServerReport {
            label: "A",
            url: String::new(),
            name: String::new(),
            is_control: false,
            median: Figures { late_p99_us: late, p99_us: p99, ..Figures::default() },
            per_second_min: 0.0,
            per_second_max: 0.0,
            runs: Vec::new(),
        };
        assert_eq!(server(None, 1.0).lateness_note(), None);
        assert_eq!(server(Some(10.0), 100.0).lateness_note(), None);
        assert!(server(Some(90.0), 100.0).lateness_note().is_some_and(|note| note.contains("90.0 µs late")));
        let ratios = |speed: f64| {
            let mut other = server(None, 1.0);
            other.median.per_second = speed;
            let mut first = server(None, 1.0);
            first.median.per_second = 1.0;
            Ratios::of("A again / A".to_owned(), &other, &first)
        };
        assert_eq!(ratios(1.05).control_note(), None);
        assert!(ratios(0.8).control_note().is_some_and(|note| note.contains("20 %")));
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert_eq!(median(vec![]), 0.0);
    }
}
