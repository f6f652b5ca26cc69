//! `weir group`: makes a group, gives it another policy, pauses it, ends it.

use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;
use serde::Serialize;
use weir_core::{Backoff, Condition, CreateGroup, Created, GroupOrigin, PendingFate, Policy};

use super::ask::confirm;
use super::reach::{self, Folder, Reach};
use super::{all, text, words};
use crate::exit::usage;
use crate::output::{Tone, print_json, print_line, toned};

/// What can be done to a group.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Make a group, and the stream when it is not there
    Create(CreateArgs),
    /// Give a group another policy, or one to a group that has none; what is not given stays as it is
    Set(SetArgs),
    /// End a group with everything it has pending
    Delete(DeleteArgs),
    /// Give nothing out until it is resumed
    Pause(PauseArgs),
    /// End a pause
    Resume(Named),
    /// Remove a consumer that does not come back; what it holds goes to the others
    Forget(ForgetArgs),
}

/// Which group.
#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// The stream
    stream: String,
    /// The group
    group: String,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

/// What was done, for programs.
#[derive(Debug, Serialize)]
struct DoneJson<'a> {
    stream: &'a str,
    group: &'a str,
    done: &'a str,
}

impl Named {
    /// Says what was done: a word for programs, a sentence for people.
    fn tell(&self, done: &str, sentence: &str) -> Result<()> {
        match self.json {
            true => print_json(&DoneJson { stream: &self.stream, group: &self.group, done }),
            false => print_line(sentence),
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    named: Named,
    /// Where it starts: start, end, or after:ID. There is no default: a group that starts elsewhere than meant loses
    /// entries or repeats them
    #[arg(long, value_name = "PLACE", value_parser = origin)]
    from: GroupOrigin,
    #[command(flatten)]
    policy: PolicyArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    policy: PolicyArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    named: Named,
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    named: Named,
    /// It ends by itself after this time
    #[arg(long = "for", value_name = "TIME", value_parser = words::duration)]
    duration: Option<Duration>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ForgetArgs {
    #[command(flatten)]
    named: Named,
    /// The consumer
    consumer: String,
}

/// The parts of a policy. Defaults are those of a new group.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Policy")]
pub(crate) struct PolicyArgs {
    /// So many reported failures make an entry a dead letter [default: 10, with --delays one more than there are delays]
    #[arg(long, value_name = "N")]
    failures: Option<u32>,
    /// Given out so often and never settled, an entry becomes a dead letter [default: 20]
    #[arg(long, value_name = "N")]
    deliveries: Option<u32>,
    /// Wait so long after the first, second … failure: 200ms,1s,3s
    #[arg(long, value_name = "LIST", value_parser = delays)]
    delays: Option<Delays>,
    /// Wait longer after each failure: FIRST..MAX, doubling, or FIRST..MAXxFACTOR [default: 1s..60s]
    #[arg(long, value_name = "RANGE", value_parser = backoff, conflicts_with = "delays")]
    backoff: Option<Backoff>,
    /// Take up to so much off each wait, so that what failed together does not come back together
    #[arg(long, value_name = "PERCENT", conflicts_with = "delays")]
    jitter: Option<u32>,
    /// So long a consumer may hold an entry before others may take it [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = words::duration)]
    lease: Option<Duration>,
    /// A failure so long after the first one makes a dead letter; `none` = no such limit [default: none]
    #[arg(long, value_name = "TIME", value_parser = maybe_duration)]
    retry_for: Option<Maybe<Duration>>,
    /// A failure of another class than the last one counts from 1 again
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    reset_on_class: Option<bool>,
    /// Where dead letters go; `none` = a stream beside this one [default: none]
    #[arg(long, value_name = "STREAM", value_parser = maybe_name)]
    dead_letter: Option<Maybe<Vec<u8>>>,
    /// The field whose value orders delivery; `none` = nothing does [default: none]
    #[arg(long, value_name = "FIELD", value_parser = maybe_name)]
    key: Option<Maybe<Vec<u8>>>,
    /// Only entries with this field: name=value, name^=prefix, name|=one,other; `none` = all. Several have to hold together
    #[arg(long = "where", value_name = "CONDITION", value_parser = maybe_condition)]
    conditions: Vec<Maybe<Condition>>,
    /// Retention and trims wait until this group has acknowledged
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    required: Option<bool>,
}

/// `none`, or something.
#[derive(Debug, Clone)]
struct Maybe<T>(Option<T>);

/// Several waits; a type of its own, since a list would be read as an option that may be repeated.
#[derive(Debug, Clone)]
struct Delays(Vec<Duration>);

fn delays(text: &str) -> Result<Delays, String> {
    words::durations(text).map(Delays)
}

fn maybe<T>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Maybe<T>, String> {
    if text == "none" { Ok(Maybe(None)) } else { read(text).map(|value| Maybe(Some(value))) }
}

fn maybe_duration(text: &str) -> Result<Maybe<Duration>, String> {
    maybe(text, words::duration)
}

fn maybe_name(text: &str) -> Result<Maybe<Vec<u8>>, String> {
    maybe(text, |name| Ok(name.as_bytes().to_vec()))
}

fn maybe_condition(text: &str) -> Result<Maybe<Condition>, String> {
    maybe(text, words::condition)
}

pub(super) fn origin(text: &str) -> Result<GroupOrigin, String> {
    match text {
        "start" => Ok(GroupOrigin::Beginning),
        "end" => Ok(GroupOrigin::End),
        text => match text.strip_prefix("after:").map(words::id) {
            Some(id) => id.map(GroupOrigin::After),
            None => Err("a group starts at `start`, at `end`, or `after:ID`".into()),
        },
    }
}

/// `1s..60s`, `1s..60sx1.5`.
fn backoff(text: &str) -> Result<Backoff, String> {
    let wrong = || format!("{text:?} is no backoff; write FIRST..MAX, such as 1s..60s, or 1s..60sx1.5");
    let (first, rest) = text.split_once("..").ok_or_else(wrong)?;
    let (max, factor) = rest.split_once('x').unwrap_or((rest, "2"));
    let factor: f64 =
        factor.parse().ok().filter(|factor| (1.0..=1_000.0).contains(factor)).ok_or_else(wrong)?;
    Ok(Backoff::Exponential {
        first: words::duration(first)?,
        factor_percent: (factor * 100.0).round() as u32,
        max: words::duration(max)?,
        jitter_percent: 0,
    })
}

impl PolicyArgs {
    /// Whether nothing is given.
    pub(super) fn is_default(&self) -> bool {
        self.failures.is_none()
            && self.deliveries.is_none()
            && self.delays.is_none()
            && self.backoff.is_none()
            && self.jitter.is_none()
            && self.lease.is_none()
            && self.retry_for.is_none()
            && self.reset_on_class.is_none()
            && self.dead_letter.is_none()
            && self.key.is_none()
            && self.conditions.is_empty()
            && self.required.is_none()
    }

    /// A policy with what is given here, and with the rest of another one.
    pub(super) fn over(&self, old: Policy) -> Result<Policy> {
        let mut policy = old;
        if let Some(Delays(delays)) = &self.delays {
            let Policy { failures_max, backoff, .. } = Policy::delayed(delays.clone());
            policy = Policy { failures_max, backoff, ..policy };
        }
        if let Some(backoff) = &self.backoff {
            policy.backoff = backoff.clone();
        }
        if let Some(percent) = self.jitter {
            match &mut policy.backoff {
                Backoff::Exponential { jitter_percent, .. } => *jitter_percent = percent,
                Backoff::List(_) => {
                    return Err(usage("a list of delays has no jitter; give --backoff with --jitter"));
                }
            }
        }
        policy.failures_max = self.failures.unwrap_or(policy.failures_max);
        policy.deliveries_max = self.deliveries.unwrap_or(policy.deliveries_max);
        policy.lease = self.lease.unwrap_or(policy.lease);
        policy.reset_on_class = self.reset_on_class.unwrap_or(policy.reset_on_class);
        policy.required = self.required.unwrap_or(policy.required);
        let pick = |given: &Option<Maybe<Vec<u8>>>, old| given.clone().map_or(old, |given| given.0);
        policy.dead_letter = pick(&self.dead_letter, policy.dead_letter);
        policy.key = pick(&self.key, policy.key);
        policy.retry_for_max = self.retry_for.clone().map_or(policy.retry_for_max, |given| given.0);
        if !self.conditions.is_empty() {
            let conditions: Vec<_> = self.conditions.iter().filter_map(|given| given.0.clone()).collect();
            policy.filter = words::filter(&conditions);
        }
        policy.check()?;
        Ok(policy)
    }
}

/// Does it.
pub(crate) fn run(command: &GroupCommand) -> Result<()> {
    reach::run(async {
        match command {
            GroupCommand::Create(args) => create(args).await,
            GroupCommand::Set(args) => set(args).await,
            GroupCommand::Delete(args) => delete(args).await,
            GroupCommand::Pause(args) => pause(args).await,
            GroupCommand::Resume(named) => resume(named).await,
            GroupCommand::Forget(args) => forget(args).await,
        }
    })
}

fn title(named: &Named) -> String {
    format!("{} of {}", toned(Tone::Name, &named.group), toned(Tone::Name, &named.stream))
}

async fn create(args: &CreateArgs) -> Result<()> {
    let policy = args.policy.over(Policy::recommended())?;
    let Named { stream, group, reach, .. } = &args.named;
    let broker = reach.open(Folder::Made).await?;
    let options = CreateGroup { origin: args.from, policy };
    match broker.create_group(stream.as_bytes(), group.as_bytes(), options).await? {
        Created::New => args.named.tell("created", &format!("made the group {}", title(&args.named))),
        Created::Existing => {
            let hint = "its policy was left as it is; `weir group set` changes it";
            args.named.tell("existed", &format!("the group {} was there already; {hint}", title(&args.named)))
        }
    }
}

async fn set(args: &SetArgs) -> Result<()> {
    let Named { stream, group, reach, .. } = &args.named;
    let broker = reach.open(Folder::Needed).await?;
    let info = all::group(&*broker, stream, group).await?;
    let policy = args.policy.over(info.policy.unwrap_or_else(Policy::recommended))?;
    broker.set_policy(stream.as_bytes(), group.as_bytes(), policy.clone()).await?;
    if args.named.json {
        return args.named.tell("set", "");
    }
    print_line(&format!("the policy of {}:", title(&args.named)))?;
    for (name, value) in super::groups::policy_rows(&policy) {
        print_line(&format!("  {name:<26} {value}"))?;
    }
    Ok(())
}

async fn delete(args: &DeleteArgs) -> Result<()> {
    let Named { stream, group, reach, .. } = &args.named;
    let broker = reach.open(Folder::Needed).await?;
    let info = all::group(&*broker, stream, group).await?;
    if !args.named.json {
        print_line(&format!(
            "{} has {} pending, {}; its dead letters stay",
            title(&args.named),
            text::entries(info.pending),
            text::plural(info.consumers, "consumer", "consumers")
        ))?;
    }
    confirm("End the group?", args.yes)?;
    broker.delete_group(stream.as_bytes(), group.as_bytes()).await?;
    args.named.tell("deleted", &format!("ended the group {}", title(&args.named)))
}

async fn pause(args: &PauseArgs) -> Result<()> {
    let Named { stream, group, reach, .. } = &args.named;
    let broker = reach.open(Folder::Needed).await?;
    all::group(&*broker, stream, group).await?;
    broker.pause(stream.as_bytes(), group.as_bytes(), args.duration).await?;
    let until = match args.duration {
        Some(duration) => format!("for {}", text::duration(duration)),
        None => format!("until `weir group resume {stream} {group}`"),
    };
    args.named.tell("paused", &format!("paused {} {until}", title(&args.named)))
}

async fn resume(named: &Named) -> Result<()> {
    let broker = named.reach.open(Folder::Needed).await?;
    all::group(&*broker, &named.stream, &named.group).await?;
    broker.resume(named.stream.as_bytes(), named.group.as_bytes()).await?;
    named.tell("resumed", &format!("resumed {}", title(named)))
}

async fn forget(args: &ForgetArgs) -> Result<()> {
    let Named { stream, group, reach, .. } = &args.named;
    let broker = reach.open(Folder::Needed).await?;
    all::group(&*broker, stream, group).await?;
    let (stream, group, consumer) = (stream.as_bytes(), group.as_bytes(), args.consumer.as_bytes());
    let held = broker.delete_consumer(stream, group, consumer, PendingFate::HandBack).await?;
    let sentence = format!(
        "removed the consumer {}; it held {}, which others are given now",
        toned(Tone::Name, &args.consumer),
        text::entries(held)
    );
    args.named.tell("forgotten", &sentence)
}

#[cfg(test)]
mod tests {
    use weir_core::EntryId;

    use super::*;

    #[test]
    fn backoffs_and_origins_are_read() {
        let doubled = backoff("1s..60s").unwrap();
        assert_eq!(doubled, Backoff::recommended());
        assert!(matches!(backoff("1s..1mx1.5"), Ok(Backoff::Exponential { factor_percent: 150, .. })));
        for text in ["1s", "..", "1s..2sx0.5", "1s..2sx", "a..b"] {
            assert!(backoff(text).is_err(), "{text}");
        }
        assert_eq!(origin("after:5-1"), Ok(GroupOrigin::After(EntryId::new(5, 1))));
        assert!(origin("5-1").is_err() && origin("$").is_err() && origin("0").is_err());
    }
}
