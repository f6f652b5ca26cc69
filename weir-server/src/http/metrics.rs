//! `/metrics`: one table of what is measured; the page, its documentation and a test come from it.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::facts::Facts;
use super::samples::{GroupSample, Samples};

/// The form of the page.
pub(super) const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, and starts anew with the process. Its name on the page ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// Something that is measured.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name, without `_total`.
    pub name: &'static str,
    /// How it moves.
    pub kind: MetricKind,
    /// What it says, without a full stop.
    pub help: &'static str,
    /// The labels its values have.
    pub labels: &'static [&'static str],
    values: Values,
}

#[derive(Debug, Clone, Copy)]
enum Values {
    One(fn(&Samples) -> f64),
    Version,
    PerDatabase,
    /// A group whose value is unknown has no line.
    PerGroup(fn(&GroupSample) -> Option<f64>),
}

const fn counter(name: &'static str, help: &'static str, value: fn(&Samples) -> f64) -> Metric {
    Metric { name, kind: MetricKind::Counter, help, labels: &[], values: Values::One(value) }
}

const fn gauge(name: &'static str, help: &'static str, value: fn(&Samples) -> f64) -> Metric {
    Metric { name, kind: MetricKind::Gauge, help, labels: &[], values: Values::One(value) }
}

const fn per_group(name: &'static str, help: &'static str, value: fn(&GroupSample) -> Option<f64>) -> Metric {
    let labels = &["db", "stream", "group"];
    Metric { name, kind: MetricKind::Gauge, help, labels, values: Values::PerGroup(value) }
}

/// Everything that is measured, in the order of the page.
pub static METRICS: &[Metric] = &[
    Metric {
        name: "weir_build",
        kind: MetricKind::Gauge,
        help: "always 1; the label tells which weir this is",
        labels: &["version"],
        values: Values::Version,
    },
    gauge("weir_uptime_seconds", "time since the doors were opened", |s| s.uptime),
    counter("weir_commands", "commands of Redis clients executed", |s| s.door.commands as f64),
    counter("weir_command_errors", "commands answered with an error", |s| s.door.errors as f64),
    gauge("weir_clients", "Redis clients that are connected", |s| s.door.clients as f64),
    counter("weir_connections", "connections of Redis clients accepted", |s| s.door.connections as f64),
    counter("weir_connections_rejected", "connections refused because there were too many", |s| {
        s.door.rejected_connections as f64
    }),
    counter("weir_input_bytes", "bytes received from Redis clients", |s| s.door.input_bytes as f64),
    counter("weir_output_bytes", "bytes sent to Redis clients", |s| s.door.output_bytes as f64),
    gauge("weir_waiting_reads", "reads that wait for entries", |s| s.waiting_reads as f64),
    Metric {
        name: "weir_keys",
        kind: MetricKind::Gauge,
        help: "streams and other keys of a database; one that has none has no line",
        labels: &["db"],
        values: Values::PerDatabase,
    },
    gauge("weir_log_bytes", "bytes the log takes on the disk", |s| s.log_bytes as f64),
    gauge("weir_log_segments", "segment files of the log", |s| s.log.segments as f64),
    gauge("weir_log_unflushed_bytes", "bytes handed to the system and not flushed yet", |s| {
        s.written.saturating_sub(s.durable) as f64
    }),
    counter("weir_log_appended_bytes", "bytes of records appended", |s| s.log.bytes_appended as f64),
    counter("weir_log_written_bytes", "bytes written to the log, padding to whole pages included", |s| {
        s.log.bytes_written as f64
    }),
    counter("weir_log_writes", "write calls of the log", |s| s.log.writes as f64),
    counter("weir_log_flushes", "flushes of the log", |s| s.log.flushes as f64),
    gauge("weir_log_flush_usual_seconds", "a usual flush: moving average over about eight", |s| {
        seconds(s.log.flush_usual)
    }),
    gauge("weir_log_flush_longest_seconds", "the longest flush since the start", |s| {
        seconds(s.log.flush_max)
    }),
    counter("weir_log_segments_recycled", "segments made from a dead one", |s| s.log.recycled as f64),
    counter("weir_log_segments_compacted", "segments rewritten without their dead records", |s| {
        s.log.compacted as f64
    }),
    counter("weir_log_punched_bytes", "bytes given back to the disk from within segments", |s| {
        s.log.bytes_punched as f64
    }),
    counter("weir_snapshots", "snapshots written", |s| s.snapshots as f64),
    counter("weir_snapshots_failed", "snapshots that could not be written", |s| s.snapshots_failed as f64),
    gauge("weir_disk_full", "1 while appends are refused for want of space", |s| {
        f64::from(u8::from(s.log.disk_full))
    }),
    gauge("weir_faulted", "1 after a write or a flush failed: nothing is accepted until a new start", |s| {
        f64::from(u8::from(s.faulted))
    }),
    gauge("weir_resident_bytes", "memory of the process", |s| s.resident_bytes as f64),
    per_group("weir_group_lag", "entries a group was not given yet; no line when Redis could not say", |g| {
        g.info.lag.map(|lag| lag as f64)
    }),
    per_group("weir_group_pending", "entries delivered to a group and not acknowledged", |g| {
        Some(g.info.pending as f64)
    }),
    per_group("weir_group_consumers", "consumers of a group", |g| Some(g.info.consumers as f64)),
    gauge(
        "weir_groups_left_out",
        "1 when there are too many groups or streams to give every group its lines",
        |s| f64::from(u8::from(s.groups_left_out)),
    ),
];

/// The page.
pub(super) fn text(facts: &Facts) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Samples::take(facts)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Samples {
    fn encode(&self, mut page: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for metric in METRICS {
            let kind = match metric.kind {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::Gauge => MetricType::Gauge,
            };
            metric.encode(self, page.encode_descriptor(metric.name, metric.help, None, kind)?)?;
        }
        Ok(())
    }
}

impl Metric {
    fn encode(&self, samples: &Samples, mut out: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        match self.values {
            Values::One(value) => self.line(value(samples), out),
            Values::Version => self.line(1.0, out.encode_family(&[("version", samples.version)])?),
            Values::PerDatabase => samples.databases.iter().try_for_each(|(no, keys)| {
                self.line(*keys as f64, out.encode_family(&[("db", no.to_string())])?)
            }),
            Values::PerGroup(value) => samples.groups.iter().try_for_each(|group| {
                let Some(value) = value(group) else { return Ok(()) };
                let labels = [
                    ("db", group.database.to_string()),
                    ("stream", group.stream.clone()),
                    ("group", group.group.clone()),
                ];
                self.line(value, out.encode_family(&labels)?)
            }),
        }
    }

    fn line(&self, value: f64, out: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        match self.kind {
            MetricKind::Counter => ConstCounter::new(value).encode(out),
            MetricKind::Gauge => ConstGauge::new(value).encode(out),
        }
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
