//! `--mode runtime`: what the consumer runtime costs beside a bare loop that reads and acknowledges.
//!
//! One engine, one prepared stream, three contenders in turn, each with a group of its own that starts at the stream's
//! beginning:
//!
//! * `raw`: one connection, `XREADGROUP COUNT n` and `XACK` of what came, with the client library that the Redis engine
//!   uses; on the embedded engine the same two calls of the engine itself.
//! * `handler`: a consumer with all default layers and a handler for each entry that does nothing.
//! * `batch`: the same with a batch handler.
//!
//! What is compared is entries read and settled per second of wall-clock time in one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use comfy_table::{Cell, CellAlignment, Table, presets};
use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands as _, RedisResult};
use serde::Serialize;
use weir_core::{
    BatchOptions, Broker, Clock, CreateGroup, EntryId, GroupOrigin, GroupSource, NewEntry, Policy, ReadGroup,
    Settle, Settlement, SystemClock,
};
use weir_runtime::{Batch, Consumer, Context, Outcome, Shutdown};

use super::args::BenchArgs;
use super::table::grouped;
use crate::output::{print_json, print_line};

const STREAM: &str = "weir-bench:runtime";
const ENTRIES_DEFAULT: u64 = 200_000;
const ROUNDS_DEFAULT: u32 = 5;
const COUNT_DEFAULT: u32 = 100;
/// Entries that the preparation appends together.
const PREPARE_BATCH: usize = 1_000;
/// A client's answers may take so long.
const RESPONSE_MAX: Duration = Duration::from_secs(30);

const CONTENDERS: [&str; 3] = ["raw", "handler", "batch"];

#[derive(Debug, Serialize)]
struct Report {
    mode: &'static str,
    url: String,
    entries: u64,
    count: u32,
    value_bytes: u32,
    contenders: Vec<Contender>,
}

#[derive(Debug, Serialize)]
struct Contender {
    name: &'static str,
    /// Entries per second: the median, and every run.
    per_second: f64,
    runs: Vec<f64>,
    /// Median by the median of the bare loop.
    of_raw: f64,
}

/// Runs the comparison and prints it.
pub(super) fn run(args: &BenchArgs) -> Result<()> {
    ensure!(args.urls.len() == 1, "the mode runtime looks at one engine at a time");
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(compare(args))
}

async fn compare(args: &BenchArgs) -> Result<()> {
    let bench = Bench::open(args).await?;
    let mut runs: [Vec<f64>; 3] = Default::default();
    for round in 1..=args.rounds.unwrap_or(ROUNDS_DEFAULT) {
        for (nth, name) in CONTENDERS.iter().enumerate() {
            eprint!("\rround {round}: {name}          ");
            runs[nth].push(bench.measure(nth).await.with_context(|| format!("measuring {name}"))?);
        }
    }
    eprint!("\r                              \r");
    if !args.keep {
        bench.broker.delete_stream(STREAM.as_bytes()).await?;
    }
    let medians = runs.each_ref().map(|runs| median(runs));
    let contenders = runs.into_iter().enumerate().map(|(nth, runs)| Contender {
        name: CONTENDERS[nth],
        per_second: medians[nth],
        of_raw: medians[nth] / medians[0],
        runs,
    });
    let report = Report {
        mode: "runtime",
        url: args.urls[0].clone(),
        entries: bench.entries,
        count: bench.count,
        value_bytes: args.value_bytes,
        contenders: contenders.collect(),
    };
    if args.json { print_json(&report) } else { print_line(&render(&report)) }
}

fn median(runs: &[f64]) -> f64 {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn render(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["", "entries\nper s", "least", "most", "of raw"]);
    for contender in &report.contenders {
        let (least, most) =
            contender.runs.iter().fold((f64::MAX, 0.0_f64), |(a, b), run| (a.min(*run), b.max(*run)));
        let figures = [contender.per_second, least, most].map(grouped);
        let row = [contender.name.to_owned()].into_iter().chain(figures);
        table.add_row(row.chain([format!("{:.2}×", contender.of_raw)]).map(Cell::new).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let Report { url, entries, count, value_bytes, .. } = report;
    let runs = report.contenders[0].runs.len();
    format!(
        "runtime: {entries} entries with values of {value_bytes} bytes at {url}, COUNT {count}; counted: entries read and \
         settled; medians of {runs} alternating runs\n{table}"
    )
}

struct Bench {
    broker: Arc<dyn Broker>,
    raw: Raw,
    entries: u64,
    count: u32,
    clock: SystemClock,
}

/// The bare loop of an engine.
enum Raw {
    Embedded(weir_engine::Namespace),
    Wire(Box<redis::Client>),
}

impl Bench {
    async fn open(args: &BenchArgs) -> Result<Self> {
        let url = &args.urls[0];
        let (broker, raw): (Arc<dyn Broker>, _) = if url == "memory:" {
            let namespace = weir_engine::Engine::memory().namespace("default")?;
            (Arc::new(namespace.clone()), Raw::Embedded(namespace))
        } else {
            let address = url.replacen("weir://", "redis://", 1);
            (weir_connect::open(url).await?, Raw::Wire(Box::new(redis::Client::open(address)?)))
        };
        let entries = args.entries.unwrap_or(ENTRIES_DEFAULT);
        let count = args.count.unwrap_or(COUNT_DEFAULT);
        let bench = Self { broker, raw, entries, count, clock: SystemClock::new() };
        bench.prepare(args.value_bytes as usize).await?;
        Ok(bench)
    }

    async fn prepare(&self, value_bytes: usize) -> Result<()> {
        self.broker.delete_stream(STREAM.as_bytes()).await?;
        let value = vec![b'x'; value_bytes];
        let fields: [(&[u8], &[u8]); 1] = [(b"value", &value)];
        let batch = vec![NewEntry { fields: &fields, id: None, append_id: None }; PREPARE_BATCH];
        let mut left = usize::try_from(self.entries).context("too many entries")?;
        while left > 0 {
            let part = &batch[..left.min(PREPARE_BATCH)];
            self.broker.append_batch(STREAM.as_bytes(), part, BatchOptions::default()).await?;
            left -= part.len();
        }
        Ok(())
    }

    /// Entries per second of one contender.
    async fn measure(&self, contender: usize) -> Result<f64> {
        let group = CONTENDERS[contender];
        let options = CreateGroup { origin: GroupOrigin::Beginning, policy: Policy::recommended() };
        self.broker.create_group(STREAM.as_bytes(), group.as_bytes(), options).await?;
        let began = self.clock.elapsed();
        match (contender, &self.raw) {
            (0, Raw::Embedded(namespace)) => self.embedded_loop(namespace, group)?,
            (0, Raw::Wire(client)) => self.wire_loop(client, group).await?,
            (1, _) => self.consume(group, false).await?,
            _ => self.consume(group, true).await?,
        }
        let elapsed = self.clock.elapsed().saturating_sub(began);
        let lag = self.broker.lag(STREAM.as_bytes(), group.as_bytes()).await?;
        ensure!(lag.total() == 0, "{} entries were not settled", lag.total());
        self.broker.delete_group(STREAM.as_bytes(), group.as_bytes()).await?;
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        Ok(self.entries as f64 / elapsed.as_secs_f64())
    }

    fn embedded_loop(&self, namespace: &weir_engine::Namespace, group: &str) -> Result<()> {
        let read = ReadGroup {
            group: group.into(),
            consumer: b"raw".to_vec(),
            source: GroupSource::New,
            count: self.count.into(),
            wait: None,
            while_paused: false,
        };
        loop {
            let deliveries = namespace.read_group(STREAM.as_bytes(), &read)?;
            if deliveries.is_empty() {
                return Ok(());
            }
            let acks: Vec<Settle> = deliveries
                .iter()
                .map(|delivery| Settle {
                    id: delivery.entry.id,
                    token: Some(delivery.token),
                    settlement: Settlement::Ack,
                })
                .collect();
            namespace.settle(STREAM.as_bytes(), group.as_bytes(), &acks)?;
        }
    }

    async fn wire_loop(&self, client: &redis::Client, group: &str) -> Result<()> {
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(RESPONSE_MAX));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let options = StreamReadOptions::default().group(group, "raw").count(self.count as usize);
        loop {
            let reply: RedisResult<Option<StreamReadReply>> =
                connection.xread_options(&[STREAM], &[">"], &options).await;
            let entries = reply?.and_then(|reply| reply.keys.into_iter().next()).map(|key| key.ids);
            let ids: Vec<String> = entries.into_iter().flatten().map(|entry| entry.id).collect();
            if ids.is_empty() {
                return Ok(());
            }
            let _settled: u64 = connection.xack(STREAM, group, &ids).await?;
        }
    }

    async fn consume(&self, group: &str, in_batches: bool) -> Result<()> {
        let (trigger, shutdown) = Shutdown::new();
        let (seen, wanted) = (Arc::new(AtomicU64::new(0)), self.entries);
        let count = move |entries: u64| {
            if seen.fetch_add(entries, Ordering::Relaxed) + entries >= wanted {
                trigger.signal();
            }
        };
        let builder =
            Consumer::builder(Arc::clone(&self.broker)).stream(STREAM).group(group).consumer("runtime");
        if in_batches {
            let handler = move |batch: Batch| {
                count(batch.len() as u64);
                async { Outcome::Done }
            };
            builder.batch_handler(handler).run(shutdown).await?;
        } else {
            let handler = move |order: Context| {
                count(1);
                debug_assert!(order.id() > EntryId::MIN, "an entry has an ID");
                async { Outcome::Done }
            };
            builder.handler(handler).run(shutdown).await?;
        }
        Ok(())
    }
}
