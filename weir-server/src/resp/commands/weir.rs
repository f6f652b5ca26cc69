//! WEIR.*: the broker traits as commands. What they are called, how they are written and what they answer stands in
//! `weir-wire`, once for server and clients.

use weir_wire::{
    AppendBatch, AppendEntry, AutoClaimEntries, ClaimEntries, CreateConsumer, CreateGroupOf, DeadLetterPeek,
    DeadLetters, DeleteConsumer, DeleteEntries, DeleteGroup, DeleteStream, Effect, ExtendEntries, GetGroup,
    GetRetention, HeadOf, InfoOf, LagOf, ListConsumers, ListGroups, ListStreamNames, LostEntries,
    NackEntries, PauseGroup, PendingRows, PendingSummaryOf, PurgeDeadLetters, ReadAsGroup, ReadStream,
    RedriveDeadLetters, ReleaseEntries, RestorePending, ResumeGroup, SeekGroup, SetPolicy, SetRetention,
    SettleEntries, TermEntries, TrimStream, Verb,
};

use super::weir_native;
use crate::resp::asks::{Ask, namespace_names};
use crate::resp::call::{Answer, Call, Stop};
use crate::resp::command::{Command, KeyUse, Keys, Run, flag};
use crate::resp::reply::Reply;

/// The rows of verbs.
macro_rules! rows {
    ($($name:ident = $verb:ty),* $(,)?) => {
        $(pub(super) static $name: Command = row(<$verb as Verb<'static>>::COMMAND);)*
    };
}

rows! {
    ADDBATCH = AppendBatch<'static>,
    READ = ReadStream<'static>,
    HEAD = HeadOf<'static>,
    INFO = InfoOf<'static>,
    STREAMS = ListStreamNames,
    DEL = DeleteStream<'static>,
    DELENTRIES = DeleteEntries<'static>,
    TRIM = TrimStream<'static>,
    LOST = LostEntries<'static>,
    RETENTION_SET = SetRetention<'static>,
    RETENTION_GET = GetRetention<'static>,
    GROUP_CREATE = CreateGroupOf<'static>,
    GROUP_SET = SetPolicy<'static>,
    GROUP_GET = GetGroup<'static>,
    GROUP_LIST = ListGroups<'static>,
    GROUP_DEL = DeleteGroup<'static>,
    SEEK = SeekGroup<'static>,
    PAUSE = PauseGroup<'static>,
    RESUME = ResumeGroup<'static>,
    LAG = LagOf<'static>,
    CONSUMER_CREATE = CreateConsumer<'static>,
    CONSUMER_LIST = ListConsumers<'static>,
    CONSUMER_DEL = DeleteConsumer<'static>,
    NACK = NackEntries<'static>,
    RELEASE = ReleaseEntries<'static>,
    TERM = TermEntries<'static>,
    EXTEND = ExtendEntries<'static>,
    CLAIM = ClaimEntries<'static>,
    AUTOCLAIM = AutoClaimEntries<'static>,
    PENDING_SUMMARY = PendingSummaryOf<'static>,
    PENDING_PAGE = PendingRows<'static>,
    RESTORE = RestorePending<'static>,
    DLQ_LIST = DeadLetters<'static>,
    DLQ_PEEK = DeadLetterPeek<'static>,
    DLQ_REDRIVE = RedriveDeadLetters<'static>,
    DLQ_PURGE = PurgeDeadLetters<'static>,
}

pub(super) static ADD: Command = native(<AppendEntry<'static> as Verb<'static>>::COMMAND, weir_native::add);
pub(super) static READGROUP: Command =
    native(<ReadAsGroup<'static> as Verb<'static>>::COMMAND, weir_native::read_group);
pub(super) static SETTLE: Command =
    native(<SettleEntries<'static> as Verb<'static>>::COMMAND, weir_native::settle);

pub(super) static RETENTION: Command = container(
    "weir.retention",
    "how much of a stream is kept",
    &[&RETENTION_GET, &RETENTION_HELP, &RETENTION_SET],
);
pub(super) static GROUP: Command = container(
    "weir.group",
    "groups with policies",
    &[&GROUP_CREATE, &GROUP_DEL, &GROUP_GET, &GROUP_HELP, &GROUP_LIST, &GROUP_SET],
);
pub(super) static CONSUMER: Command = container(
    "weir.consumer",
    "consumers of a group",
    &[&CONSUMER_CREATE, &CONSUMER_DEL, &CONSUMER_HELP, &CONSUMER_LIST],
);
pub(super) static PENDING: Command =
    container("weir.pending", "what a group has pending", &[&PENDING_HELP, &PENDING_PAGE, &PENDING_SUMMARY]);
pub(super) static DLQ: Command = container(
    "weir.dlq",
    "the dead letters of a group",
    &[&DLQ_HELP, &DLQ_LIST, &DLQ_PEEK, &DLQ_PURGE, &DLQ_REDRIVE],
);

static RETENTION_HELP: Command = help("weir.retention|help");
static GROUP_HELP: Command = help("weir.group|help");
static CONSUMER_HELP: Command = help("weir.consumer|help");
static PENDING_HELP: Command = help("weir.pending|help");
static DLQ_HELP: Command = help("weir.dlq|help");

pub(super) static NAMESPACES: Command = Command {
    name: "weir.namespaces",
    arity: 1,
    flags: flag::STREAM | flag::READONLY | flag::FAST,
    keys: Keys::None,
    summary: "the names of the namespaces, by the numbers of their databases",
    run: Run::Call(|_| Ok(Reply::Array(namespace_names().map(Reply::bulk).collect()))),
    ..ROW
};

const ROW: Command = Command { group: "weir", since: "0.1.0", ..Command::STREAM };

const fn container(name: &'static str, summary: &'static str, rows: &'static [&'static Command]) -> Command {
    Command {
        name,
        arity: -2,
        summary,
        flags: flag::STREAM,
        keys: Keys::None,
        run: Run::Container(rows),
        ..ROW
    }
}

const fn help(name: &'static str) -> Command {
    let summary = "says what the subcommands are";
    Command {
        name,
        arity: 2,
        summary,
        flags: flag::STREAM | flag::LOADING,
        keys: Keys::None,
        run: Run::Call(say_help),
        ..ROW
    }
}

/// The subcommands of the container that was asked, as the table has them.
fn say_help(call: &mut Call<'_, '_>) -> Answer {
    let container = call.door.table.find(call.arg(0)).map_or(&[][..], Command::subcommands);
    let line = |text: String| Reply::Line(text.into());
    let mut lines =
        vec![line(format!("{} <subcommand> [<arg> ...]. Subcommands are:", shown(call.command.name)))];
    for row in container {
        lines.push(line(
            format!("{} {}", row.own_name().to_ascii_uppercase(), row.syntax).trim_end().to_owned(),
        ));
        lines.push(line(format!("    {}.", row.summary)));
    }
    Ok(Reply::Array(lines))
}

/// The name of a subcommand's container, as people write it.
fn shown(name: &str) -> String {
    name.split('|').next().unwrap_or(name).to_ascii_uppercase()
}

/// A row of the command table, made from one of the wire's.
const fn row(wire: weir_wire::Command) -> Command {
    let (effect, key_use) = match wire.effect {
        Effect::Reads => (flag::READONLY, KeyUse::Read),
        Effect::Writes => (flag::WRITE, KeyUse::Update),
    };
    let waits = if wire.waits { flag::BLOCKING } else { 0 };
    let keys = if wire.has_key { Keys::at(if is_subcommand(wire.name) { 2 } else { 1 }) } else { Keys::None };
    Command {
        name: wire.name,
        arity: wire.arity,
        // Its call is carried out outside the turn that a transaction is.
        flags: flag::STREAM | flag::NO_MULTI | effect | waits,
        keys,
        key_use,
        summary: wire.summary,
        syntax: wire.syntax,
        run: Run::Call(ask),
        ..ROW
    }
}

/// A row whose command is carried out within the turn, so that transactions may have it.
const fn native(wire: weir_wire::Command, run: fn(&mut Call<'_, '_>) -> Answer) -> Command {
    let row = row(wire);
    Command { flags: row.flags & !flag::NO_MULTI, run: Run::Call(run), ..row }
}

const fn is_subcommand(name: &str) -> bool {
    let (bytes, mut at) = (name.as_bytes(), 0);
    while at < bytes.len() {
        if bytes[at] == b'|' {
            return true;
        }
        at += 1;
    }
    false
}

/// Leaves the call to be carried out when the turn is over.
pub(super) fn ask(call: &mut Call<'_, '_>) -> Answer {
    let ns = call.client().ns;
    let broker = call.door.asks.broker(ns);
    let words: Vec<Box<[u8]>> = call.args.iter().map(Box::from).collect();
    let bytes = words.iter().map(|word| word.len() + size_of::<Box<[u8]>>()).sum();
    let waits = call.command.has(flag::BLOCKING);
    let future = Box::pin(async move {
        let words: Vec<&[u8]> = words.iter().map(|word| &**word).collect();
        weir_wire::call_words(&*broker, &words).await
    });
    Err(Stop::Ask(Box::new(Ask { future, bytes, waits })))
}
