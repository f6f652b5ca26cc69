//! The report as people read it.

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::report::{Ratios, Report, ServerReport, Settings};

/// Headline, servers, table, notes.
pub(super) fn render(report: &Report) -> String {
    let columns: Vec<&Column> = COLUMNS.iter().filter(|column| column.is_for(report.mode)).collect();
    let row = |first: &str, rest: &dyn Fn(&Column) -> String| {
        let rest: Vec<String> = columns.iter().map(|column| rest(column)).collect();
        std::iter::once(first.to_owned()).chain(rest).map(Cell::new).collect::<Vec<_>>()
    };
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(row("", &|column| format!("{}\n{}", column.head, column.unit)));
    for server in &report.servers {
        table.add_row(row(server.label, &|column| (column.figure)(server)));
    }
    for ratios in &report.ratios {
        table.add_row(row(&ratios.label, &|column| (column.ratio)(ratios).map_or(String::new(), times)));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let servers = report.servers.iter().map(|s| format!("{}: {} at {}", s.label, s.name, s.url));
    let notes: String = report.notes.iter().map(|note| format!("\nnote: {note}")).collect();
    format!("{}\n{}\n{table}{notes}", headline(report), servers.collect::<Vec<_>>().join("\n"))
}

fn headline(report: &Report) -> String {
    let Settings { clients, pipeline, value_bytes, consumers, count, groups, .. } = &report.settings;
    let work = match report.mode {
        "consume" | "pending" => format!("{consumers} consumers, pipeline {pipeline}, COUNT {count}"),
        "fan-out" => format!("{clients} writers, pipeline {pipeline}, {groups} groups, COUNT {count}"),
        "range" => format!("{clients} clients, pipeline {pipeline}, COUNT {count}"),
        _ => format!("{clients} clients, pipeline {pipeline}"),
    };
    let rate = report.settings.rate.map_or(String::new(), |rate| format!(", {} per second", grouped(rate)));
    let rounds = if report.settings.rounds > 1 {
        format!("; medians of {} alternating runs", report.settings.rounds)
    } else {
        String::new()
    };
    format!("{}: {work}, values of {value_bytes} bytes{rate}; counted: {}{rounds}", report.mode, report.unit)
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

/// A number as people read it: 1 234 567, or 12.3 below a hundred.
pub(super) fn grouped(value: f64) -> String {
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
    fn numbers_are_grouped() {
        assert_eq!(grouped(1_234_567.4), "1 234 567");
        assert_eq!(grouped(-1_234.0), "-1 234");
        assert_eq!(grouped(123.0), "123");
        assert_eq!(grouped(12.34), "12.3");
    }
}
