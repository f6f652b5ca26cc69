//! `weir consume`: a consumer whose handler is any program.
//!
//! It is the runtime and nothing else: groups, retries, leases, order and shutdown are those of a program that is written
//! with `weir-runtime`. The program is run once for each delivery; see [`program`] for what it is given and how it answers.

mod program;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use weir_core::{Broker, GroupOrigin, Policy};
use weir_runtime::{Consumer, Context, Shutdown, Totals, Trigger};

use self::program::Program;
use super::group::{PolicyArgs, origin};
use super::reach::{self, Folder, Reach};
use super::{all, words};
use crate::logging;
use crate::output::tell;
use crate::settings::LogFormat;

/// So often `--drain` looks whether anything is left.
const DRAIN_PAUSE: Duration = Duration::from_millis(200);

/// What `weir consume` can be told.
#[derive(Debug, clap::Args)]
#[command(after_long_help = program::HELP)]
pub(crate) struct Args {
    /// The streams, by name or pattern; new streams of a pattern are picked up
    #[arg(required = true)]
    streams: Vec<String>,
    /// The group to read as
    #[arg(short, long)]
    group: String,
    /// What is run for each entry, by `sh -c`
    #[arg(short, long, value_name = "COMMAND")]
    exec: String,
    /// Where the group starts if it has to be made: start, end, or after:ID. Without this it has to be there
    #[arg(long, value_name = "PLACE", value_parser = origin)]
    from: Option<GroupOrigin>,
    /// What this consumer is called: the same over restarts, another one for each process [default: host and instance]
    #[arg(long, value_name = "NAME", env = "WEIR_CONSUMER")]
    consumer: Option<String>,
    /// Run so many at a time, for each stream
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    concurrency: usize,
    /// A run that takes longer is killed, and the entry is tried again
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = words::duration)]
    timeout: Duration,
    /// How long an entry sleeps that the command snoozes
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = words::duration)]
    snooze: Duration,
    /// Read at most so many entries per second
    #[arg(long, value_name = "N")]
    rate: Option<u64>,
    /// End when the groups have nothing left to do
    #[arg(long)]
    drain: bool,
    /// How long commands that run have to come to their end at SIGTERM
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = words::duration)]
    grace: Duration,
    /// Serve /health and /metrics at this address
    #[arg(long, value_name = "HOST:PORT")]
    health_addr: Option<SocketAddr>,
    /// So many entries behind, /health says `lagging`
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    lagging_at: u64,
    /// Give a policy to groups that have none, made by XGROUP CREATE
    #[arg(long)]
    adopt: bool,
    /// Say nothing of entries that failed
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    reach: Reach,
}

/// Consumes until SIGTERM or SIGINT, or with `--drain` until nothing is left.
pub(crate) fn run(args: &Args) -> Result<()> {
    let filter = std::env::var("WEIR_LOG").unwrap_or_else(|_| "warn".into());
    logging::start(LogFormat::Text, &filter)?;
    let runtime = reach::runtime()?;
    let ended = runtime.block_on(consume(args));
    runtime.shutdown_background();
    ended
}

async fn consume(args: &Args) -> Result<()> {
    // From here on signals end it in order.
    let signals = signals().context("signals cannot be waited for")?;
    let broker = args.reach.open(Folder::Made).await?;
    let program = Arc::new(Program {
        command: args.exec.clone(),
        url: args.reach.url.clone(),
        snooze: args.snooze,
        quiet: args.quiet,
    });
    let handler = move |context: Context| {
        let program = program.clone();
        async move { program.handle(&context).await }
    };
    let consumer = configured(args, broker.clone())?.handler(handler).build()?;
    let handle = consumer.handle();
    let (trigger, shutdown) = signals;
    let drained = args.drain.then(|| tokio::spawn(drain(broker, handle.clone(), trigger)));
    let ended = consumer.run(shutdown).await;
    if let Some(drained) = drained {
        drained.abort();
    }
    if !args.quiet {
        tell(&summary(&handle.totals()));
    }
    Ok(ended?)
}

/// A shutdown by signals, and by a trigger of our own.
fn signals() -> std::io::Result<(Trigger, Shutdown)> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (trigger, shutdown) = Shutdown::new();
    let ours = trigger.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(()) = interrupt.recv() => trigger.signal(),
                Some(()) = terminate.recv() => trigger.signal(),
                else => return,
            }
        }
    });
    Ok((ours, shutdown))
}

fn configured(
    args: &Args,
    broker: Arc<dyn Broker>,
) -> Result<weir_runtime::Builder<weir_runtime::NoHandler>> {
    let (patterns, names): (Vec<_>, Vec<_>) = args.streams.iter().partition(|name| all::is_pattern(name));
    let mut builder = Consumer::builder(broker)
        .streams(names)
        .group(&args.group)
        .concurrency(args.concurrency)
        .timeout(args.timeout)
        .max_lease(args.timeout.saturating_add(Duration::from_secs(60)))
        .grace(args.grace)
        .lagging_at(args.lagging_at)
        // The command says itself what is beyond help.
        .fatal_classes(Vec::<String>::new());
    for pattern in patterns {
        builder = builder.pattern(pattern);
    }
    if let Some(origin) = args.from {
        builder = builder.origin(origin);
    }
    if !args.policy.is_default() {
        builder = builder.policy(args.policy.over(Policy::recommended())?);
    }
    if let Some(name) = &args.consumer {
        builder = builder.consumer(name);
    }
    if let Some(rate) = args.rate {
        builder = builder.rate_limit(rate, Duration::from_secs(1));
    }
    if let Some(address) = args.health_addr {
        builder = builder.health(address);
    }
    Ok(if args.adopt { builder.adopt_plain_groups() } else { builder })
}

/// Ends the consumer when nothing is left to do.
async fn drain(broker: Arc<dyn Broker>, handle: weir_runtime::Handle, trigger: Trigger) {
    loop {
        tokio::time::sleep(DRAIN_PAUSE).await;
        let Ok(status) = handle.status().await else { continue };
        let mut left = u64::from(status.streams.is_empty());
        for stream in &status.streams {
            // The broker's word counts, and not that of a moment ago.
            left += broker.lag(&stream.stream, &status.group).await.map_or(1, |lag| lag.total());
        }
        if left == 0 {
            return trigger.signal();
        }
    }
}

fn summary(totals: &Totals) -> String {
    let counters = totals.counters().filter(|(_, count)| *count > 0);
    let counters: Vec<_> =
        counters.map(|(name, count)| format!("{count} {}", name.replace('_', " "))).collect();
    match counters.is_empty() {
        true => "consumed nothing".into(),
        false => format!("consumed: {}", counters.join(", ")),
    }
}
