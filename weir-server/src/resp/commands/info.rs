//! INFO: the state of the server as lines of `name:value`.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};

use weir_engine::NamespaceNo;

use crate::resp::call::{Answer, Call};
use crate::resp::command::{Command, Run, flag};
use crate::resp::door::{DATABASES, Door};
use crate::resp::memory;
use crate::resp::reply::{ReadRequest, Reply};
use crate::resp::settings::fsync_word;
use crate::resp::version::REDIS_VERSION;

pub(super) static COMMAND: Command = Command {
    name: "info",
    arity: -1,
    flags: flag::LOADING | flag::STALE | flag::DANGEROUS,
    group: "server",
    summary: "returns the state of the server, or some sections of it",
    syntax: "[section ...]",
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    run: Run::Call(info),
    ..Command::BASE
};

/// A section: its name, whether it is shown unasked, what it says.
type Section = (&'static str, bool, fn(&mut Call<'_, '_>, &mut Lines));

static SECTIONS: &[Section] = &[
    ("Server", true, server),
    ("Clients", true, clients),
    ("Memory", true, memory_section),
    ("Persistence", true, persistence),
    ("Stats", true, stats),
    ("Replication", true, replication),
    ("CPU", true, cpu),
    ("Commandstats", false, command_stats),
    ("Errorstats", true, error_stats),
    ("Cluster", true, |_, lines| lines.add("cluster_enabled", 0)),
    ("Keyspace", true, keyspace),
    ("Weir", true, weir),
];

/// The lines so far.
#[derive(Debug, Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: impl Display, value: impl Display) {
        write!(self.0, "{name}:{value}\r\n").expect("a string takes everything");
    }
}

fn info(call: &mut Call<'_, '_>) -> Answer {
    let wanted: Vec<&[u8]> = (1..call.len()).map(|at| call.arg(at)).collect();
    let names = |name: &str| wanted.iter().any(|given| given.eq_ignore_ascii_case(name.as_bytes()));
    let everything = names("all") || names("everything");
    let unasked = wanted.is_empty() || names("default");
    let mut lines = Lines::default();
    for (name, usual, tell) in SECTIONS {
        if everything || names(name) || (unasked && *usual) {
            if !lines.0.is_empty() {
                lines.0.push_str("\r\n");
            }
            write!(lines.0, "# {name}\r\n").expect("a string takes everything");
            tell(call, &mut lines);
        }
    }
    Ok(Reply::Verbatim(lines.0.into()))
}

fn server(call: &mut Call<'_, '_>, lines: &mut Lines) {
    let door = &*call.door;
    let uptime = door.clock.elapsed().saturating_sub(door.started).as_secs();
    lines.add("redis_version", REDIS_VERSION);
    lines.add("weir_version", env!("CARGO_PKG_VERSION"));
    lines.add("redis_mode", "standalone");
    lines.add("os", format_args!("{} {}", std::env::consts::OS, std::env::consts::ARCH));
    lines.add("arch_bits", usize::BITS);
    lines.add("multiplexing_api", "epoll");
    lines.add("process_id", std::process::id());
    lines.add("run_id", &door.run_id);
    lines.add("tcp_port", door.config.port);
    lines.add("server_time_usec", call.turn.now_micros());
    lines.add("uptime_in_seconds", uptime);
    lines.add("uptime_in_days", uptime / 86_400);
    lines.add("config_file", "");
}

fn clients(call: &mut Call<'_, '_>, lines: &mut Lines) {
    let (waiting, streams) = call.turn.waiting_counts();
    let door = &*call.door;
    lines.add("connected_clients", door.clients.len());
    lines.add("cluster_connections", 0);
    lines.add("maxclients", door.config.limits.clients);
    lines.add("blocked_clients", waiting + door.flush_waits.len());
    lines.add("tracking_clients", 0);
    lines.add("total_blocking_keys", streams);
    lines.add("total_blocking_keys_on_nokey", keys_of_waiting_groups(door));
}

/// Streams in which a group read waits, which ends when the stream does.
fn keys_of_waiting_groups(door: &Door) -> usize {
    let blocked = door.clients.iter().filter_map(|(_, client)| client.blocked.as_ref());
    let reads = blocked.filter_map(|blocked| match &blocked.request {
        ReadRequest::Group(read) => Some(read),
        ReadRequest::Plain(_) => None,
    });
    let keys = reads.flat_map(|read| read.streams.iter().map(|(name, _)| (read.ns, &**name)));
    keys.collect::<BTreeSet<_>>().len()
}

fn memory_section(call: &mut Call<'_, '_>, lines: &mut Lines) {
    let resident = memory::resident_bytes();
    let sizes = [
        ("used_memory", resident),
        ("used_memory_rss", resident),
        ("used_memory_peak", memory::peak_bytes().max(resident)),
        ("total_system_memory", memory::machine_bytes()),
        ("maxmemory", 0),
    ];
    for (name, bytes) in sizes {
        lines.add(name, bytes);
        lines.add(format_args!("{name}_human"), memory::human(bytes));
    }
    lines.add("maxmemory_policy", "noeviction");
    lines.add("mem_fragmentation_ratio", "1.00");
    lines.add("mem_clients_normal", call.door.buffered);
}

fn persistence(call: &mut Call<'_, '_>, lines: &mut Lines) {
    let engine = call.engine;
    let status = |failed| if failed { "err" } else { "ok" };
    let log_status = status(engine.is_faulted());
    let snapshot_status = status(engine.is_faulted() || engine.snapshot_failed());
    let snapshotting = u8::from(engine.snapshot_requested());
    lines.add("loading", 0);
    lines.add("async_loading", 0);
    lines.add("rdb_changes_since_last_save", 0);
    lines.add("rdb_bgsave_in_progress", snapshotting);
    lines.add("rdb_last_save_time", call.last_save());
    lines.add("rdb_last_bgsave_status", snapshot_status);
    lines.add("rdb_saves", engine.snapshots_written());
    lines.add("aof_enabled", 1);
    lines.add("aof_rewrite_in_progress", 0);
    lines.add("aof_rewrite_scheduled", 0);
    lines.add("aof_last_bgrewrite_status", snapshot_status);
    lines.add("aof_last_write_status", log_status);
    lines.add("aof_current_size", engine.log_bytes());
}

fn stats(call: &mut Call<'_, '_>, lines: &mut Lines) {
    let now = call.door.clock.elapsed();
    let (lookups, expired) = (call.turn.lookups(), call.turn.expired_keys());
    let door = &*call.door;
    let counts = door.counters;
    let kib = |rate: f64| format!("{:.2}", rate / 1024.0);
    lines.add("total_connections_received", counts.connections);
    lines.add("total_commands_processed", counts.commands);
    lines.add("instantaneous_ops_per_sec", door.stats.rate(now, &counts, |counts| counts.commands) as u64);
    lines.add("total_net_input_bytes", counts.input_bytes);
    lines.add("total_net_output_bytes", counts.output_bytes);
    let input = door.stats.rate(now, &counts, |counts| counts.input_bytes);
    let output = door.stats.rate(now, &counts, |counts| counts.output_bytes);
    lines.add("instantaneous_input_kbps", kib(input));
    lines.add("instantaneous_output_kbps", kib(output));
    lines.add("rejected_connections", counts.rejected_connections);
    lines.add("expired_keys", expired);
    lines.add("evicted_keys", 0);
    lines.add("keyspace_hits", lookups.hits);
    lines.add("keyspace_misses", lookups.misses);
    lines.add("total_error_replies", counts.errors);
}

fn replication(call: &mut Call<'_, '_>, lines: &mut Lines) {
    lines.add("role", "master");
    lines.add("connected_slaves", 0);
    lines.add("master_failover_state", "no-failover");
    lines.add("master_replid", &call.door.run_id);
    lines.add("master_replid2", "0".repeat(40));
    lines.add("master_repl_offset", 0);
    lines.add("second_repl_offset", -1);
    lines.add("repl_backlog_active", 0);
}

/// Processor time of the process, in the units of which the system counts a hundred a second.
fn cpu(_: &mut Call<'_, '_>, lines: &mut Lines) {
    let line = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command's name may hold blanks; what follows its bracket does not.
    let fields: Vec<&str> = line.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let seconds = |at: usize| {
        let ticks = fields.get(at).and_then(|field| field.parse::<f64>().ok());
        format!("{:.6}", ticks.unwrap_or(0.0) / 100.0)
    };
    lines.add("used_cpu_sys", seconds(12));
    lines.add("used_cpu_user", seconds(11));
}

fn command_stats(call: &mut Call<'_, '_>, lines: &mut Lines) {
    for (command, stat) in call.door.stats.commands() {
        let micros = stat.time.as_micros();
        let each = if stat.calls > 0 { micros as f64 / stat.calls as f64 } else { 0.0 };
        lines.add(
            format_args!("cmdstat_{}", command.name),
            format_args!(
                "calls={},usec={micros},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
                stat.calls, stat.rejected, stat.failed
            ),
        );
    }
}

fn error_stats(call: &mut Call<'_, '_>, lines: &mut Lines) {
    for (word, count) in call.door.stats.errors() {
        let word = String::from_utf8_lossy(word);
        lines.add(format_args!("errorstat_{word}"), format_args!("count={count}"));
    }
}

fn keyspace(call: &mut Call<'_, '_>, lines: &mut Lines) {
    for ns in 0..DATABASES {
        let keys = call.turn.key_count(NamespaceNo(ns)).unwrap_or(0);
        let expires = call.turn.expiring_count(NamespaceNo(ns)).unwrap_or(0);
        if keys > 0 {
            let value = format_args!("keys={keys},expires={expires},avg_ttl=0,subexpiry=0");
            lines.add(format_args!("db{ns}"), value);
        }
    }
}

fn weir(call: &mut Call<'_, '_>, lines: &mut Lines) {
    let engine = call.engine;
    let (log, (written, durable)) = (engine.log_stats(), engine.watermarks());
    lines.add("weir_version", env!("CARGO_PKG_VERSION"));
    lines.add("fsync", fsync_word(engine.fsync()));
    lines.add("log_bytes", engine.log_bytes());
    lines.add("log_segments", log.segments);
    lines.add("log_appended_bytes", log.bytes_appended);
    lines.add("log_segments_recycled", log.recycled);
    lines.add("log_segments_rewritten", log.compacted);
    lines.add("log_punched_bytes", log.bytes_punched);
    lines.add("log_written", written.0);
    lines.add("log_durable", durable.0);
    lines.add("flushes", log.flushes);
    lines.add("flush_usual_usec", log.flush_usual.as_micros());
    lines.add("flush_max_usec", log.flush_max.as_micros());
    lines.add("snapshots", engine.snapshots_written());
    lines.add("disk_full", u8::from(log.disk_full));
    lines.add("faulted", u8::from(engine.is_faulted()));
    lines.add("waiting_reads", call.turn.waiting_counts().0);
}
