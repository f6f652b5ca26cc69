//! What is printed in the end: a table or one JSON object.

use std::io::Write as _;

use anyhow::Result;
use comfy_table::{Cell, CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::modes::{Outcome, Server};
use super::plan::Plan;

/// All runs and what follows from them.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    mode: &'static str,
    unit: &'static str,
    settings: Settings,
    servers: Vec<ServerReport>,
    /// Each other server's medians divided by the first one's.
    ratios: Vec<Ratios>,
}

#[derive(Debug, Serialize)]
struct Settings {
    rounds: u32,
    clients: usize,
    pipeline: u64,
    entries: Option<u64>,
    seconds: Option<f64>,
    value_bytes: usize,
    streams: u64,
    groups: usize,
    count: u64,
    consumers: usize,
    rate: Option<f64>,
}

#[derive(Debug, Serialize)]
struct ServerReport {
    label: &'static str,
    url: String,
    name: String,
    median: Figures,
    /// The least and the greatest throughput of all runs.
    per_second_min: f64,
    per_second_max: f64,
    runs: Vec<Figures>,
}

/// The figures of one run, or the medians of several.
#[derive(Debug, Clone, Default, Serialize)]
struct Figures {
    operations: f64,
    seconds: f64,
    per_second: f64,
    /// Entries written per second, where operations are something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    appended_per_second: Option<f64>,
    /// Microseconds of a batch, as are all latencies.
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    /// How late the generator itself was, at the 99th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    late_p99_us: Option<f64>,
    server_cpu_us_per_op: Option<f64>,
    client_cpu_us_per_op: Option<f64>,
    /// The server's resident anonymous memory after the run, in bytes.
    rss_anon: Option<f64>,
    /// Growth of the resident anonymous memory, in bytes per operation.
    rss_anon_per_op: Option<f64>,
    /// Growth of what INFO calls used_memory, in bytes per operation.
    used_memory_per_op: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Ratios {
    label: String,
    per_second: f64,
    p50: f64,
    p99: f64,
    p999: f64,
    server_cpu_per_op: Option<f64>,
    rss_anon_per_op: Option<f64>,
    used_memory_per_op: Option<f64>,
}

impl Report {
    /// A report without runs.
    pub(super) fn new(plan: &Plan, servers: &[Server<'_>], rate: Option<f64>) -> Self {
        let server = |server: &Server<'_>| ServerReport {
            label: server.contestant.label,
            url: server.contestant.address.to_string(),
            name: server.name.clone(),
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
        }
    }

    /// Adds a run of server number `index`.
    pub(super) fn add(&mut self, index: usize, outcome: &Outcome) {
        self.servers[index].runs.push(Figures::of(outcome));
    }

    /// Computes medians and ratios; call it after the last run.
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
    }

    /// Prints it to standard output.
    pub(super) fn print(&self, json: bool) -> Result<()> {
        let text = if json { serde_json::to_string(self)? } else { self.table() };
        writeln!(std::io::stdout().lock(), "{text}")?;
        Ok(())
    }

    fn table(&self) -> String {
        let columns: Vec<&Column> = COLUMNS.iter().filter(|column| column.is_for(self.mode)).collect();
        let row = |first: &str, rest: &dyn Fn(&Column) -> String| {
            let rest: Vec<String> = columns.iter().map(|column| rest(column)).collect();
            std::iter::once(first.to_owned()).chain(rest).map(Cell::new).collect::<Vec<_>>()
        };
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(row("", &|column| format!("{}\n{}", column.head, column.unit)));
        for server in &self.servers {
            table.add_row(row(server.label, &|column| (column.figure)(server)));
        }
        for ratios in &self.ratios {
            table.add_row(row(&ratios.label, &|column| (column.ratio)(ratios).map_or(String::new(), times)));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let servers = self.servers.iter().map(|s| format!("{}: {} at {}", s.label, s.name, s.url));
        format!("{}\n{}\n{table}", self.headline(), servers.collect::<Vec<_>>().join("\n"))
    }

    fn headline(&self) -> String {
        let Settings { clients, pipeline, value_bytes, consumers, count, groups, .. } = &self.settings;
        let work = match self.mode {
            "consume" | "pending" => format!("{consumers} consumers, pipeline {pipeline}, COUNT {count}"),
            "fan-out" => format!("{clients} writers, pipeline {pipeline}, {groups} groups, COUNT {count}"),
            "range" => format!("{clients} clients, pipeline {pipeline}, COUNT {count}"),
            _ => format!("{clients} clients, pipeline {pipeline}"),
        };
        let rate = self.settings.rate.map_or(String::new(), |rate| format!(", {} per second", grouped(rate)));
        let rounds = if self.settings.rounds > 1 {
            format!("; medians of {} alternating runs", self.settings.rounds)
        } else {
            String::new()
        };
        format!("{}: {work}, values of {value_bytes} bytes{rate}; counted: {}{rounds}", self.mode, self.unit)
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

impl Ratios {
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

/// One column of the table.
struct Column {
    head: &'static str,
    unit: &'static str,
    /// The modes that show it; empty for all.
    modes: &'static [&'static str],
    figure: fn(&ServerReport) -> String,
    ratio: fn(&Ratios) -> Option<f64>,
}

impl Column {
    fn is_for(&self, mode: &str) -> bool {
        self.modes.is_empty() || self.modes.contains(&mode)
    }
}

/// Modes that leave enough behind for memory per operation to mean something.
const GROWING: &[&str] = &["many-streams", "pending", "fill"];

const COLUMNS: &[Column] = &[
    Column {
        head: "speed",
        unit: "per s",
        modes: &[],
        figure: |s| grouped(s.median.per_second),
        ratio: |r| Some(r.per_second),
    },
    Column {
        head: "min … max",
        unit: "per s",
        modes: &[],
        figure: |s| format!("{} … {}", grouped(s.per_second_min), grouped(s.per_second_max)),
        ratio: |_| None,
    },
    Column {
        head: "written",
        unit: "per s",
        modes: &["fan-out"],
        figure: |s| s.median.appended_per_second.map_or_else(unknown, grouped),
        ratio: |_| None,
    },
    Column {
        head: "p50",
        unit: "µs",
        modes: &[],
        figure: |s| grouped(s.median.p50_us),
        ratio: |r| Some(r.p50),
    },
    Column { head: "p90", unit: "µs", modes: &[], figure: |s| grouped(s.median.p90_us), ratio: |_| None },
    Column {
        head: "p99",
        unit: "µs",
        modes: &[],
        figure: |s| grouped(s.median.p99_us),
        ratio: |r| Some(r.p99),
    },
    Column {
        head: "p99.9",
        unit: "µs",
        modes: &[],
        figure: |s| grouped(s.median.p999_us),
        ratio: |r| Some(r.p999),
    },
    Column { head: "max", unit: "µs", modes: &[], figure: |s| grouped(s.median.max_us), ratio: |_| None },
    Column {
        head: "sent late",
        unit: "p99 µs",
        modes: &["latency"],
        figure: |s| s.median.late_p99_us.map_or_else(unknown, grouped),
        ratio: |_| None,
    },
    Column {
        head: "server CPU",
        unit: "µs/op",
        modes: &[],
        figure: |s| s.median.server_cpu_us_per_op.map_or_else(unknown, |us| format!("{us:.3}")),
        ratio: |r| r.server_cpu_per_op,
    },
    Column {
        head: "client CPU",
        unit: "µs/op",
        modes: &[],
        figure: |s| s.median.client_cpu_us_per_op.map_or_else(unknown, |us| format!("{us:.3}")),
        ratio: |_| None,
    },
    Column {
        head: "RSS anon",
        unit: "B/op",
        modes: GROWING,
        figure: |s| s.median.rss_anon_per_op.map_or_else(unknown, |bytes| format!("{bytes:.1}")),
        ratio: |r| r.rss_anon_per_op,
    },
    Column {
        head: "used memory",
        unit: "B/op",
        modes: GROWING,
        figure: |s| s.median.used_memory_per_op.map_or_else(unknown, |bytes| format!("{bytes:.1}")),
        ratio: |r| r.used_memory_per_op,
    },
];

fn unknown() -> String {
    "–".to_owned()
}

fn times(ratio: f64) -> String {
    format!("{ratio:.2}×")
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

/// A number as people read it: 1 234 567, or 12.3 below a hundred.
fn grouped(value: f64) -> String {
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 && !out.ends_with('-') {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_numbers() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(grouped(1_234_567.4), "1 234 567");
        assert_eq!(grouped(-1_234.0), "-1 234");
        assert_eq!(grouped(123.0), "123");
        assert_eq!(grouped(12.34), "12.3");
    }
}
