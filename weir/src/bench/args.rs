//! What the user may write on the command line of `weir bench`.

use clap::{Args, ValueEnum};

/// Options of `weir bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Server to drive: redis://[user:password@]host:port[/db] or unix://[user:password@]/path; give it twice to compare two
    #[arg(
        long = "url",
        env = "WEIR_BENCH_URL",
        value_delimiter = ',',
        default_value = "redis://127.0.0.1:6379"
    )]
    pub(super) urls: Vec<String>,

    /// What to measure
    #[arg(long, short = 'm', env = "WEIR_BENCH_MODE", value_enum, default_value_t = Mode::Append)]
    pub(super) mode: Mode,

    /// Connections that write or ask for ranges; in idle and blocked, connections that wait
    /// [default: 50, blocked: 10000, idle: four fifths of what server and system allow]
    #[arg(long, short = 'c', env = "WEIR_BENCH_CLIENTS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) clients: Option<u32>,

    /// Requests a connection sends at once before it waits for their replies [default: 16, latency: 1]
    #[arg(long, short = 'P', env = "WEIR_BENCH_PIPELINE", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) pipeline: Option<u32>,

    /// Entries: to write (append, many-streams, fan-out, fill) or to prepare (consume, range, pending)
    /// [default: by time where --seconds applies, else 500000]
    #[arg(long, short = 'n', env = "WEIR_BENCH_ENTRIES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) entries: Option<u64>,

    /// Seconds per run in append, many-streams, fan-out, range and latency
    /// [default: 3, without limit when --entries is given]
    #[arg(long, env = "WEIR_BENCH_SECONDS")]
    pub(super) seconds: Option<f64>,

    /// Bytes of the one value of each entry
    #[arg(long, short = 'd', env = "WEIR_BENCH_VALUE_BYTES", default_value_t = 160, value_parser = clap::value_parser!(u32).range(0..=16_777_216))]
    pub(super) value_bytes: u32,

    /// Streams the entries go to, in turn (append, fill) or at random (many-streams)
    /// [default: 1, many-streams: 1000000]
    #[arg(long, env = "WEIR_BENCH_STREAMS", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(super) streams: Option<u64>,

    /// Consumer groups of the one stream in fan-out
    #[arg(long, env = "WEIR_BENCH_GROUPS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) groups: u32,

    /// COUNT of each read [default: consume 10, otherwise 100]
    #[arg(long, env = "WEIR_BENCH_COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) count: Option<u32>,

    /// Connections that read for a group in consume and pending, each as a consumer of its own
    #[arg(long, env = "WEIR_BENCH_CONSUMERS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) consumers: u32,

    /// Entries per second to send in latency [default: --load of the measured peak]
    #[arg(long, env = "WEIR_BENCH_RATE")]
    pub(super) rate: Option<f64>,

    /// Part of the first server's measured peak to send in latency
    #[arg(long, env = "WEIR_BENCH_LOAD", default_value_t = 0.5)]
    pub(super) load: f64,

    /// Runs per server, alternating between the servers [default: 5 when comparing, else 1]
    #[arg(long, env = "WEIR_BENCH_ROUNDS", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) rounds: Option<u32>,

    /// Measure the first server once more in each round, to show how far two equal servers differ here
    #[arg(long, env = "WEIR_BENCH_CONTROL")]
    pub(super) control: bool,

    /// Process of each server, for its CPU time and memory [default: as INFO says, on this machine]
    #[arg(long = "pid", env = "WEIR_BENCH_PID", value_delimiter = ',')]
    pub(super) pids: Vec<u32>,

    /// Leave the streams on the server (fill always does)
    #[arg(long, env = "WEIR_BENCH_KEEP")]
    pub(super) keep: bool,

    /// Print one JSON object instead of a table
    #[arg(long, env = "WEIR_BENCH_JSON")]
    pub(super) json: bool,
}

/// What `weir bench` measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    /// XADD as fast as the replies come
    Append,
    /// XREADGROUP and XACK of a prepared stream until it is drained
    Consume,
    /// XADD while a reader of each group waits in XREADGROUP; counts deliveries
    FanOut,
    /// XADD at a fixed rate, whatever the server does; latency from the intended time
    Latency,
    /// XADD to one of many streams, at random
    ManyStreams,
    /// XRANGE from random places of a prepared stream
    Range,
    /// XREADGROUP without XACK; memory per pending row
    Pending,
    /// Write entries and leave them there
    Fill,
    /// Hold connections that do nothing; memory per connection
    Idle,
    /// Block one reader per connection; whether each is served, once and in order
    Blocked,
    /// Drain a prepared stream by a bare loop, by a consumer of the runtime, and by one with a batch handler; also
    /// takes --url memory: and weir://host:port
    Runtime,
}

impl Mode {
    /// The name as written on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Consume => "consume",
            Self::FanOut => "fan-out",
            Self::Latency => "latency",
            Self::ManyStreams => "many-streams",
            Self::Range => "range",
            Self::Pending => "pending",
            Self::Fill => "fill",
            Self::Idle => "idle",
            Self::Blocked => "blocked",
            Self::Runtime => "runtime",
        }
    }

    /// What one operation is, in the plural.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Append | Self::ManyStreams | Self::Fill | Self::Latency => "entries written",
            Self::Consume | Self::Runtime => "entries read and acknowledged",
            Self::FanOut => "deliveries",
            Self::Range => "ranges",
            Self::Pending => "pending rows",
            Self::Idle => "connections",
            Self::Blocked => "readers",
        }
    }
}
