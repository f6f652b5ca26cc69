//! `weir groups`: which groups there are, where they are, what their policy is, who reads them.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use weir_core::{Backoff, ConsumerInfo, GroupInfo, GroupOrigin, Policy};

use super::lag::{Behind, LagJson, behind};
use super::reach::{self, Folder, Reach};
use super::{all, json, text, words};
use crate::output::{Table, Tone, print_json, print_line, print_table, toned};

/// What `weir groups` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The stream, or a pattern for several
    #[arg(default_value = "*")]
    stream: String,
    /// One group of it, with its policy and its consumers
    group: Option<String>,
    /// Print a JSON object for each group
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

/// A group for programs. Times in milliseconds.
#[derive(Debug, Serialize)]
struct GroupJson {
    #[serde(flatten)]
    lag: LagJson,
    origin: Option<String>,
    last_delivered_id: String,
    filtered: u64,
    stale_settlements: u64,
    policy: Option<PolicyJson>,
    consumer_list: Vec<ConsumerJson>,
}

#[derive(Debug, Serialize)]
struct ConsumerJson {
    name: String,
    pending: u64,
    idle_ms: u64,
}

/// A policy for programs.
#[derive(Debug, Serialize)]
pub(super) struct PolicyJson {
    failures_max: u32,
    deliveries_max: u32,
    backoff: String,
    lease_ms: u64,
    dead_letter: Option<String>,
    key: Option<String>,
    filter: Vec<String>,
    required: bool,
    retry_for_max_ms: Option<u64>,
    reset_on_class: bool,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl PolicyJson {
    fn of(policy: &Policy) -> Self {
        let conditions = policy.filter.iter().flat_map(|filter| &filter.conditions);
        Self {
            failures_max: policy.failures_max,
            deliveries_max: policy.deliveries_max,
            backoff: backoff(&policy.backoff),
            lease_ms: millis(policy.lease),
            dead_letter: policy.dead_letter.as_deref().map(json::name),
            key: policy.key.as_deref().map(json::name),
            filter: conditions.map(words::shown_condition).collect(),
            required: policy.required,
            retry_for_max_ms: policy.retry_for_max.map(millis),
            reset_on_class: policy.reset_on_class,
        }
    }
}

/// A backoff as `weir group` takes it.
pub(super) fn backoff(backoff: &Backoff) -> String {
    match backoff {
        Backoff::List(delays) => {
            delays.iter().map(|delay| text::duration(*delay)).collect::<Vec<_>>().join(",")
        }
        Backoff::Exponential { first, factor_percent, max, jitter_percent } => {
            let factor = f64::from(*factor_percent) / 100.0;
            let jitter =
                if *jitter_percent > 0 { format!(", jitter {jitter_percent} %") } else { String::new() };
            format!("{}..{} ×{factor}{jitter}", text::duration(*first), text::duration(*max))
        }
    }
}

/// Prints a table of them, or everything about one.
pub(crate) fn run(args: &Args) -> Result<()> {
    reach::run(async {
        let broker = args.reach.open(Folder::Needed).await?;
        let groups = behind(&*broker, &args.stream, args.group.as_deref()).await?;
        if let (Some(group), true) = (&args.group, groups.is_empty()) {
            all::group(&*broker, &args.stream, group).await?;
        }
        if !args.json && args.group.is_none() {
            return match groups.is_empty() {
                true => print_line(&toned(Tone::Faint, "no groups")),
                false => print_table(&table(&groups)),
            };
        }
        for behind in &groups {
            let consumers = broker.consumers(&behind.stream, &behind.group.name).await?;
            match args.json {
                true => print_json(&group_json(behind, &consumers))?,
                false => print_one(behind, &consumers)?,
            }
        }
        Ok(())
    })
}

fn origin(group: &GroupInfo) -> Option<String> {
    Some(match group.origin? {
        GroupOrigin::Beginning => "start".into(),
        GroupOrigin::End => "end".into(),
        GroupOrigin::After(id) => format!("after:{id}"),
    })
}

fn group_json(behind: &Behind, consumers: &[ConsumerInfo]) -> GroupJson {
    let group = &behind.group;
    GroupJson {
        lag: behind.to_json(),
        origin: origin(group),
        last_delivered_id: group.last_delivered_id.to_string(),
        filtered: group.filtered,
        stale_settlements: group.stale_settlements,
        policy: group.policy.as_ref().map(PolicyJson::of),
        consumer_list: consumers
            .iter()
            .map(|consumer| ConsumerJson {
                name: json::name(&consumer.name),
                pending: consumer.pending,
                idle_ms: millis(consumer.idle),
            })
            .collect(),
    }
}

fn table(groups: &[Behind]) -> Table {
    let mut table =
        Table::new(&["stream", "group", "last delivered", "left", "dead", "consumers", "retries", "state"]);
    for behind in groups {
        let (group, lag) = (&behind.group, &behind.lag);
        let retries = group.policy.as_ref().map_or("no policy".into(), |policy| {
            format!("{} failures, {}", policy.failures_max, backoff(&policy.backoff))
        });
        let (tone, state) = match (group.paused, group.consumers) {
            (true, _) => (Tone::Warn, "paused"),
            (false, 0) if lag.total() > 0 => (Tone::Warn, "nobody reads"),
            _ => (Tone::Plain, ""),
        };
        table.toned_row(&[
            (Tone::Name, &text::shown(&behind.stream)),
            (Tone::Name, &text::shown(&group.name)),
            (Tone::Plain, &group.last_delivered_id.to_string()),
            (Tone::Plain, &lag.total().to_string()),
            (if lag.dead > 0 { Tone::Bad } else { Tone::Plain }, &lag.dead.to_string()),
            (Tone::Plain, &group.consumers.to_string()),
            (Tone::Plain, &retries),
            (tone, state),
        ]);
    }
    table
}

fn print_one(behind: &Behind, consumers: &[ConsumerInfo]) -> Result<()> {
    let (group, lag) = (&behind.group, &behind.lag);
    let mut table = Table::new(&["group", &text::shown(&group.name)]);
    let mut row = |name: &str, value: String| table.toned_row(&[(Tone::Plain, name), (Tone::Plain, &value)]);
    row("stream", text::shown(&behind.stream));
    row("made to start", origin(group).unwrap_or_else(|| "by XGROUP CREATE".into()));
    row("last delivered", group.last_delivered_id.to_string());
    row("undelivered", lag.undelivered.to_string());
    row("held, ready, delayed", format!("{}, {}, {}", lag.pending, lag.ready, lag.delayed));
    row("dead letters", lag.dead.to_string());
    row("filtered, ever", group.filtered.to_string());
    row("stale settlements, ever", group.stale_settlements.to_string());
    row("paused", if group.paused { "yes" } else { "no" }.into());
    for (name, value) in group.policy.as_ref().map_or_else(no_policy, policy_rows) {
        row(name, value);
    }
    print_table(&table)?;
    if consumers.is_empty() {
        return print_line(&toned(Tone::Faint, "no consumers"));
    }
    let mut table = Table::new(&["consumer", "holds", "last asked"]);
    for consumer in consumers {
        table.toned_row(&[
            (Tone::Name, &text::shown(&consumer.name)),
            (Tone::Plain, &consumer.pending.to_string()),
            (Tone::Plain, &format!("{} ago", text::duration(consumer.idle))),
        ]);
    }
    print_table(&table)
}

fn no_policy() -> Vec<(&'static str, String)> {
    vec![("policy", "none: nothing becomes a dead letter; `weir group set` gives it one".into())]
}

/// A policy, a line for each part.
pub(super) fn policy_rows(policy: &Policy) -> Vec<(&'static str, String)> {
    let conditions = policy.filter.iter().flat_map(|filter| &filter.conditions);
    let filter: Vec<_> = conditions.map(words::shown_condition).collect();
    let name = |name: &Option<Vec<u8>>, none: &str| name.as_deref().map_or(none.into(), text::shown);
    vec![
        ("failures until dead", policy.failures_max.to_string()),
        ("deliveries until dead", policy.deliveries_max.to_string()),
        ("waits between failures", backoff(&policy.backoff)),
        ("lease", text::duration(policy.lease)),
        ("retries for at most", policy.retry_for_max.map_or("ever".into(), text::duration)),
        ("another class counts anew", if policy.reset_on_class { "yes" } else { "no" }.into()),
        ("dead letters go to", name(&policy.dead_letter, "the stream beside it")),
        ("ordered by", name(&policy.key, "nothing")),
        ("sees", if filter.is_empty() { "everything".into() } else { filter.join(" and ") }),
        ("retention waits for it", if policy.required { "yes" } else { "no" }.into()),
    ]
}
