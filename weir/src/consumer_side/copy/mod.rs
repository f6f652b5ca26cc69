//! `weir copy`: streams with their groups from one broker to another, whichever engines these are.
//!
//! Entries keep their IDs. Groups keep their place, their policy, and what they have pending: who holds it, how often it was
//! given out and failed, how long it waits. Dead letters go with the group they belong to.
//!
//! It can be stopped and started again: it goes on behind what the destination has. Nothing of the source is changed, and
//! nothing that the destination has is changed or removed.

mod entries;
mod groups;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;
use weir_core::{Broker, ErrorKind, dead_letters_of};

use super::ask::confirm;
use super::reach::{self, Folder};
use super::{all, json, text};
use crate::exit::usage;
use crate::output::{Table, Tone, print_json, print_line, print_table, toned};

/// What `weir copy` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the streams are: any URL that other commands take with --url
    source: String,
    /// Where they go
    destination: String,
    /// Which streams: names and patterns [default: all]
    streams: Vec<String>,
    /// Only the entries
    #[arg(long)]
    no_groups: bool,
    /// Only show what would be copied
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
    /// Print a JSON object for each stream
    #[arg(long)]
    json: bool,
    /// The source's password, where its URL has none
    #[arg(long, value_name = "SECRET", env = "WEIR_TOKEN", hide_env_values = true)]
    source_token: Option<String>,
    /// The destination's password, where its URL has none
    #[arg(long, value_name = "SECRET", env = "WEIR_DESTINATION_TOKEN", hide_env_values = true)]
    destination_token: Option<String>,
    /// Certificates to trust instead of the usual ones, in PEM, for TLS
    #[arg(long, value_name = "FILE", env = "WEIR_TLS_CA")]
    tls_ca: Option<PathBuf>,
}

/// The two brokers.
struct Ends {
    source: Arc<dyn Broker>,
    destination: Arc<dyn Broker>,
}

/// What is to be copied of a stream, before or after.
#[derive(Debug, Clone, Default, Serialize)]
struct Copied {
    stream: String,
    /// Entries of the source.
    entries: u64,
    /// Entries that the destination has already.
    there: u64,
    copied: u64,
    groups: u64,
    pending: u64,
    dry_run: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// A stream and what is known of it on both sides.
struct Plan {
    stream: Vec<u8>,
    groups: Vec<weir_core::GroupInfo>,
    told: Copied,
}

/// Shows, asks, copies.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.source == args.destination {
        return Err(usage("source and destination are the same"));
    }
    reach::run(async {
        let ca = args.tls_ca.as_deref();
        let source = reach::open(&args.source, args.source_token.clone(), ca, Folder::Needed).await?;
        let make = if args.dry_run { Folder::Needed } else { Folder::Made };
        let destination = reach::open(&args.destination, args.destination_token.clone(), ca, make).await?;
        let ends = Ends { source, destination };
        let mut plans = plans(&ends, args).await?;
        if !args.json {
            print_preview(&plans)?;
        }
        if plans.is_empty() || args.dry_run {
            return plans.iter().try_for_each(|plan| told(args, plan, true));
        }
        confirm("Copy them?", args.yes)?;
        for plan in &mut plans {
            copy(&ends, args, plan)
                .await
                .with_context(|| format!("{} could not be copied", text::shown(&plan.stream)))?;
            told(args, plan, false)?;
        }
        Ok(())
    })
}

/// All streams in the order they are copied: dead letters behind the streams whose groups they belong to.
async fn plans(ends: &Ends, args: &Args) -> Result<Vec<Plan>> {
    let mut names = BTreeSet::new();
    let patterns = if args.streams.is_empty() { &["*".to_owned()][..] } else { &args.streams };
    for pattern in patterns {
        names.extend(all::named(&*ends.source, pattern).await?);
    }
    let (mut plans, mut dead) = (Vec::new(), BTreeSet::new());
    for stream in names {
        let plan = plan(ends, args, stream).await?;
        for group in &plan.groups {
            let own = group.policy.as_ref().and_then(|policy| policy.dead_letter.clone());
            dead.extend(own.or_else(|| dead_letters_of(&plan.stream, &group.name).ok()));
        }
        plans.push(plan);
    }
    plans.retain(|plan| !dead.contains(&plan.stream));
    for stream in dead {
        if ends.source.head(&stream).await?.is_some() {
            plans.push(plan(ends, args, stream).await?);
        }
    }
    Ok(plans)
}

async fn plan(ends: &Ends, args: &Args, stream: Vec<u8>) -> Result<Plan> {
    let groups = if args.no_groups { Vec::new() } else { ends.source.groups(&stream).await? };
    let length = |info: Option<weir_core::StreamInfo>| info.map_or(0, |info| info.length);
    let told = Copied {
        stream: json::name(&stream),
        entries: length(ends.source.stream_info(&stream).await?),
        there: length(ends.destination.stream_info(&stream).await?),
        groups: groups.len() as u64,
        pending: groups.iter().map(|group| group.pending).sum(),
        ..Copied::default()
    };
    Ok(Plan { stream, groups, told })
}

fn print_preview(plans: &[Plan]) -> Result<()> {
    if plans.is_empty() {
        return print_line(&toned(Tone::Faint, "no streams to copy"));
    }
    let mut table = Table::new(&["stream", "entries", "there already", "groups", "pending"]);
    for Plan { stream, told, .. } in plans {
        table.toned_row(&[
            (Tone::Name, &text::shown(stream)),
            (Tone::Plain, &told.entries.to_string()),
            (if told.there > 0 { Tone::Warn } else { Tone::Plain }, &told.there.to_string()),
            (Tone::Plain, &told.groups.to_string()),
            (Tone::Plain, &told.pending.to_string()),
        ]);
    }
    print_table(&table)
}

fn told(args: &Args, plan: &Plan, dry_run: bool) -> Result<()> {
    let told = &plan.told;
    if args.json {
        return print_json(&Copied { dry_run, ..told.clone() });
    }
    if dry_run {
        return Ok(());
    }
    print_line(&format!(
        "{}: copied {}, {}, {} pending",
        toned(Tone::Name, &text::shown(&plan.stream)),
        text::entries(told.copied),
        text::plural(told.groups, "group", "groups"),
        told.pending
    ))?;
    told.notes.iter().try_for_each(|note| print_line(&toned(Tone::Warn, &format!("  {note}"))))
}

async fn copy(ends: &Ends, args: &Args, plan: &mut Plan) -> Result<()> {
    plan.told.copied = entries::copy(ends, &plan.stream, plan.told.entries, args.json).await?;
    plan.told.pending = 0;
    for group in &plan.groups {
        plan.told.pending += groups::copy(ends, &plan.stream, group, &mut plan.told.notes).await?;
    }
    match ends.source.retention(&plan.stream).await {
        Ok(Some(kept)) => Ok(ends.destination.set_retention(&plan.stream, Some(kept)).await?),
        // A name that no retention can be kept for has none.
        Ok(None) => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::Invalid(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
