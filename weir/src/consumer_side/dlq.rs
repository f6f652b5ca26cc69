//! `weir dlq`: dead letters of a group, listed, shown, handed back to the group that failed, removed.

use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use weir_core::{
    Broker, Condition, DeadLetter, DeadLetterFilter, DeadLetterQuery, EntryId, ErrorKind, Failure, Purge,
    Redrive,
};

use super::ask::confirm;
use super::json::FieldsJson;
use super::reach::{self, Folder, Reach};
use super::{all, json, text, words};
use crate::exit::{refused, usage};
use crate::output::{Table, Tone, print_json, print_line, print_table, toned};

/// Letters that are asked for at a time.
const PAGE: u64 = 500;
/// With a rate, so often per second some letters are handed back.
const STEPS_PER_S: f64 = 10.0;

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List dead letters of a group, or the groups that have any
    List(ListArgs),
    /// Show everything about a dead letter
    Show(ShowArgs),
    /// Hand dead letters back to the group that failed, and to no other
    Redrive(RedriveArgs),
    /// Remove dead letters for good
    Purge(PurgeArgs),
}

/// Which letters: those that meet everything given.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Which")]
pub(crate) struct Which {
    /// This entry, by its ID in the stream; may be given several times
    #[arg(long = "id", value_name = "ID", value_parser = words::id)]
    ids: Vec<EntryId>,
    /// Whose last failure is of this class
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Whose last failure's reason has this in it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Whose entry has this field: name=value, name^=prefix, name|=one,other
    #[arg(long = "where", value_name = "CONDITION", value_parser = words::condition)]
    conditions: Vec<Condition>,
    /// That were redriven at most so often before
    #[arg(long, value_name = "N")]
    redrives_max: Option<u32>,
}

impl Which {
    fn filter(&self) -> DeadLetterFilter {
        let bytes = |text: &Option<String>| text.clone().map(String::into_bytes);
        DeadLetterFilter {
            entry_ids: self.ids.clone(),
            class: bytes(&self.class),
            reason_contains: bytes(&self.reason),
            conditions: self.conditions.clone(),
            redrives_max: self.redrives_max,
        }
    }

    fn is_everything(&self) -> bool {
        let Self { ids, class, reason, conditions, redrives_max } = self;
        ids.is_empty()
            && class.is_none()
            && reason.is_none()
            && conditions.is_empty()
            && redrives_max.is_none()
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// The stream, or a pattern for several
    #[arg(default_value = "*")]
    stream: String,
    /// The group whose letters are listed
    group: Option<String>,
    #[command(flatten)]
    which: Which,
    /// At most so many
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 20)]
    count: u64,
    /// Print a JSON object for each letter
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// The stream
    stream: String,
    /// The group
    group: String,
    /// The entry, by its ID in the stream
    #[arg(value_parser = words::id)]
    id: EntryId,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RedriveArgs {
    /// The stream
    stream: String,
    /// The group that failed
    group: String,
    #[command(flatten)]
    which: Which,
    /// At most so many, the oldest first [default: all]
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// At most so many per second
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Only show what would happen
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PurgeArgs {
    /// The stream
    stream: String,
    /// The group that failed
    group: String,
    #[command(flatten)]
    which: Which,
    /// All of them
    #[arg(long)]
    all: bool,
    /// At most so many, the oldest first
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// Only show what would happen
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

/// Does it.
pub(crate) fn run(command: &DlqCommand) -> Result<()> {
    reach::run(async {
        match command {
            DlqCommand::List(args) => list(args).await,
            DlqCommand::Show(args) => show(args).await,
            DlqCommand::Redrive(args) => redrive(args).await,
            DlqCommand::Purge(args) => purge(args).await,
        }
    })
}

/// A dead letter for programs. Times in milliseconds.
#[derive(Debug, Serialize)]
struct LetterJson<'a> {
    letter_id: String,
    id: String,
    consumer: Option<String>,
    deliveries: u64,
    failures: u64,
    redrives: u32,
    first_failure: Option<FailureJson>,
    last_failure: FailureJson,
    fields: FieldsJson<'a>,
}

#[derive(Debug, Serialize)]
struct FailureJson {
    class: String,
    reason: String,
    at: u64,
}

impl FailureJson {
    fn of(failure: &Failure) -> Self {
        Self { class: json::name(&failure.class), reason: json::name(&failure.reason), at: failure.at.0 }
    }
}

impl<'a> LetterJson<'a> {
    fn of(letter: &'a DeadLetter) -> Self {
        Self {
            letter_id: letter.id.to_string(),
            id: letter.entry_id.to_string(),
            consumer: letter.consumer.as_deref().map(json::name),
            deliveries: letter.deliveries,
            failures: letter.failures,
            redrives: letter.redrives,
            first_failure: letter.first_failure.as_ref().map(FailureJson::of),
            last_failure: FailureJson::of(&letter.last_failure),
            fields: FieldsJson(&letter.fields),
        }
    }
}

async fn list(args: &ListArgs) -> Result<()> {
    let broker = args.reach.open(Folder::Needed).await?;
    let Some(group) = &args.group else {
        if !args.which.is_everything() {
            return Err(usage("letters are chosen among those of a group: `weir dlq list STREAM GROUP …`"));
        }
        return list_groups(&*broker, args).await;
    };
    all::group(&*broker, &args.stream, group).await?;
    let (stream, group) = (args.stream.as_bytes(), group.as_bytes());
    let mut table = Table::new(&["entry", "died", "class", "reason", "failures", "deliveries", "redriven"]);
    let (mut after, mut left) = (EntryId::MIN, args.count);
    while left > 0 {
        let query = DeadLetterQuery { filter: args.which.filter(), after, count: left.min(PAGE) };
        let page = broker.dead_letters(stream, group, query).await?;
        for letter in &page.letters {
            match args.json {
                true => print_json(&LetterJson::of(letter))?,
                false => add_row(&mut table, letter),
            }
        }
        left -= (page.letters.len() as u64).min(left);
        let Some(next) = page.next else { break };
        after = next;
    }
    if args.json {
        return Ok(());
    }
    if table.is_empty() {
        return print_line(&toned(Tone::Good, "no dead letters"));
    }
    print_table(&table)?;
    let dead = broker.lag(stream, group).await?.dead;
    print_line(&format!("{} in all", text::plural(dead, "dead letter", "dead letters")))
}

fn add_row(table: &mut Table, letter: &DeadLetter) {
    let failure = &letter.last_failure;
    table.toned_row(&[
        (Tone::Plain, &letter.entry_id.to_string()),
        (Tone::Faint, &text::time(failure.at)),
        (Tone::Warn, &text::shown(&failure.class)),
        (Tone::Plain, &text::cut(&failure.reason)),
        (Tone::Plain, &letter.failures.to_string()),
        (Tone::Plain, &letter.deliveries.to_string()),
        (Tone::Plain, &letter.redrives.to_string()),
    ]);
}

#[derive(Debug, Serialize)]
struct DeadGroupJson {
    stream: String,
    group: String,
    dead: u64,
}

/// The groups that have dead letters.
async fn list_groups(broker: &dyn Broker, args: &ListArgs) -> Result<()> {
    let mut table = Table::new(&["stream", "group", "dead letters"]);
    for behind in super::lag::behind(broker, &args.stream, None).await? {
        let dead = behind.lag.dead;
        if dead == 0 {
            continue;
        }
        match args.json {
            true => print_json(&DeadGroupJson {
                stream: json::name(&behind.stream),
                group: json::name(&behind.group.name),
                dead,
            })?,
            false => table.toned_row(&[
                (Tone::Name, &text::shown(&behind.stream)),
                (Tone::Name, &text::shown(&behind.group.name)),
                (Tone::Bad, &dead.to_string()),
            ]),
        }
    }
    match (args.json, table.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => print_line(&toned(Tone::Good, "no dead letters")),
        (false, false) => print_table(&table),
    }
}

async fn show(args: &ShowArgs) -> Result<()> {
    let broker = args.reach.open(Folder::Needed).await?;
    all::group(&*broker, &args.stream, &args.group).await?;
    let filter = DeadLetterFilter { entry_ids: vec![args.id], ..DeadLetterFilter::default() };
    let mut after = EntryId::MIN;
    let mut found = None;
    loop {
        let query = DeadLetterQuery { filter: filter.clone(), after, count: PAGE };
        let page = broker.dead_letters(args.stream.as_bytes(), args.group.as_bytes(), query).await?;
        // Of several letters of one entry the newest tells most.
        found = page.letters.into_iter().last().or(found);
        let Some(next) = page.next else { break };
        after = next;
    }
    let Some(letter) = found else {
        return Err(refused(format!(
            "{} is no dead letter of {}; `weir dlq list {} {}` lists them",
            args.id, args.group, args.stream, args.group
        )));
    };
    if args.json {
        return print_json(&LetterJson::of(&letter));
    }
    print_letter(args, &letter)
}

fn print_letter(args: &ShowArgs, letter: &DeadLetter) -> Result<()> {
    let line = |name: &str, value: &str| print_line(&format!("{name:<14} {value}"));
    let failure = |failure: &Failure| {
        let class = toned(Tone::Warn, &text::shown(&failure.class));
        format!("{class}: {} ({})", text::shown(&failure.reason), text::time(failure.at))
    };
    line("entry", &letter.entry_id.to_string())?;
    line("stream", &args.stream)?;
    line("group", &args.group)?;
    line("last had by", &letter.consumer.as_deref().map_or("nobody".into(), text::shown))?;
    line("failures", &letter.failures.to_string())?;
    line("deliveries", &letter.deliveries.to_string())?;
    line("redriven", &text::plural(letter.redrives.into(), "time", "times"))?;
    if let Some(first) = &letter.first_failure {
        line("first failure", &failure(first))?;
    }
    line("last failure", &failure(&letter.last_failure))?;
    if letter.fields.is_empty() {
        return line("fields", "none: the entry was gone already");
    }
    line("fields", "")?;
    letter.fields.iter().try_for_each(|(name, value)| {
        print_line(&format!(
            "  {} {}",
            toned(Tone::Faint, &format!("{}=", text::shown(name))),
            text::shown(value)
        ))
    })
}

#[derive(Debug, Default, Serialize)]
struct RedrivenJson {
    redriven: u64,
    gone: u64,
    left: u64,
    dry_run: bool,
}

async fn redrive(args: &RedriveArgs) -> Result<()> {
    if args.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
        return Err(usage("--rate wants a number above 0"));
    }
    let broker = args.reach.open(Folder::Needed).await?;
    all::group(&*broker, &args.stream, &args.group).await?;
    let (stream, group) = (args.stream.as_bytes(), args.group.as_bytes());
    let ask = |count, dry_run| Redrive { filter: args.which.filter(), count, dry_run };
    let most = args.count.unwrap_or(u64::MAX);
    let preview = broker.redrive(stream, group, ask(most, true)).await?;
    let found = preview.entry_ids.len() as u64;
    if !args.json {
        print_preview(args, found, preview.gone.len() as u64)?;
    }
    if args.dry_run || found == 0 {
        let told = RedrivenJson {
            redriven: found,
            gone: preview.gone.len() as u64,
            left: preview.left,
            dry_run: true,
        };
        return if args.json { print_json(&told) } else { Ok(()) };
    }
    confirm("Redrive them?", args.yes)?;
    let told = redrive_all(&*broker, args, found).await?;
    match args.json {
        true => print_json(&told),
        false => print_line(&format!(
            "redrove {}; {} left",
            text::entries(told.redriven),
            text::plural(told.left, "dead letter", "dead letters")
        )),
    }
}

fn print_preview(args: &RedriveArgs, found: u64, gone: u64) -> Result<()> {
    let back = format!(
        "back to {} of {}: {}",
        args.group,
        args.stream,
        text::plural(found, "dead letter", "dead letters")
    );
    print_line(&back)?;
    match gone {
        0 => Ok(()),
        gone => print_line(&toned(
            Tone::Warn,
            &format!(
                "{} cannot: the entries are no longer in the stream; `weir dlq show` has what is left of them",
                text::entries(gone)
            ),
        )),
    }
}

/// Hands back what was found, at the rate that is wanted.
async fn redrive_all(broker: &dyn Broker, args: &RedriveArgs, found: u64) -> Result<RedrivenJson> {
    let (stream, group) = (args.stream.as_bytes(), args.group.as_bytes());
    let step = args.rate.map_or(PAGE, |rate| (rate / STEPS_PER_S).max(1.0) as u64);
    let mut ticks = args.rate.map(|rate| tokio::time::interval(Duration::from_secs_f64(step as f64 / rate)));
    let bar = progress(found, args.json);
    let mut told = RedrivenJson::default();
    // Letters whose entries are gone stay where they are, at the head: then it has to be looked behind them.
    let mut beyond = 0;
    while told.redriven < found {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let count = step.min(found - told.redriven) + beyond;
        let options = Redrive { filter: args.which.filter(), count, dry_run: false };
        let done = broker.redrive(stream, group, options).await?;
        told.left = done.left;
        told.gone = told.gone.max(done.gone.len() as u64);
        match (done.entry_ids.is_empty(), done.gone.len() as u64) {
            (true, gone) if gone > beyond => beyond = gone,
            (true, _) => break,
            (false, _) => {}
        }
        told.redriven += done.entry_ids.len() as u64;
        bar.set_position(told.redriven);
    }
    bar.finish_and_clear();
    Ok(told)
}

/// How far something is, on standard error; hidden where nobody looks.
pub(super) fn progress(length: u64, hidden: bool) -> ProgressBar {
    if hidden {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {per_sec} {eta}");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[derive(Debug, Serialize)]
struct PurgedJson {
    purged: u64,
    left: u64,
    dry_run: bool,
}

async fn purge(args: &PurgeArgs) -> Result<()> {
    if args.which.is_everything() && !args.all {
        return Err(usage("which letters? Choose with --id, --class, --reason or --where, or say --all"));
    }
    let broker = args.reach.open(Folder::Needed).await?;
    all::group(&*broker, &args.stream, &args.group).await?;
    let (stream, group) = (args.stream.as_bytes(), args.group.as_bytes());
    let ask = |dry_run| Purge { filter: args.which.filter(), count: args.count.unwrap_or(u64::MAX), dry_run };
    let found = broker.purge_dead_letters(stream, group, ask(true)).await?;
    if !args.json {
        print_line(&format!("{} would go for good", text::plural(found, "dead letter", "dead letters")))?;
    }
    let mut purged = found;
    if !args.dry_run && found > 0 {
        confirm("Remove them?", args.yes)?;
        purged = broker.purge_dead_letters(stream, group, ask(false)).await?;
    }
    let left = match broker.lag(stream, group).await {
        Ok(lag) => lag.dead,
        Err(error) if *error.kind() == ErrorKind::NoSuchGroup => 0,
        Err(error) => return Err(error.into()),
    };
    match (args.json, args.dry_run || found == 0) {
        (true, dry_run) => print_json(&PurgedJson { purged, left, dry_run }),
        (false, true) => Ok(()),
        (false, false) => print_line(&format!("removed {purged}, {left} left")),
    }
}
