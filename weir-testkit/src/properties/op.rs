//! The operations of a property run. They name what they are about by small numbers, so that the same operation means
//! the same to brokers that choose IDs and tokens of their own.

use std::time::Duration;

use weir_core::{Expected, GroupOrigin, PendingFate, Policy, Retention};

/// An entry ID that each broker's [`super::book::Book`] resolves.
#[derive(Debug, Clone, Copy)]
pub enum IdRef {
    /// `0-0`.
    Min,
    /// The greatest.
    Max,
    /// This one.
    Small(u64, u64),
    /// The nth that the broker gave in this stream; 1-0 when it gave none.
    Auto(usize),
    /// The entry of the nth last delivery to this group; 1-0 when there was none.
    Given(usize),
}

/// A token that each broker's book resolves.
#[derive(Debug, Clone, Copy)]
pub enum TokenRef {
    /// No token.
    None,
    /// The one that came with the delivery that [`IdRef::Given`] names; of another ID, one that nobody was given.
    OfDelivery,
}

/// A stream: 0, 1 or 2.
pub type StreamNo = usize;
/// A group: its stream, and 0 or 1.
pub type GroupNo = (StreamNo, usize);
/// Names and values.
pub type FieldList = Vec<(&'static str, &'static str)>;

/// A new entry: its ID, `None` = the broker gives one; its append ID; its fields.
pub type NewOne = (Option<IdRef>, Option<&'static str>, FieldList);

/// Where reading starts.
#[derive(Debug, Clone, Copy)]
pub enum From {
    /// See [`weir_core::ReadFrom`]; times are the beginning and the end of all time.
    Start,
    /// At the end.
    End,
    /// At this ID.
    Id(IdRef),
    /// Behind this ID.
    After(IdRef),
    /// At this position.
    Position(u64),
    /// At this time.
    Time(u64),
}

/// Where a group is moved to, or what a trim leaves.
#[derive(Debug, Clone, Copy)]
pub enum Mark {
    /// The start.
    Start,
    /// The end.
    End,
    /// An ID.
    Id(IdRef),
    /// A time.
    Time(u64),
    /// A number of entries.
    Count(u64),
    /// A number of bytes.
    Bytes(u64),
}

/// Which entries a reader of a group asks for.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// New ones.
    New,
    /// Ready and idle ones.
    Reclaimed(Option<Duration>),
    /// Both.
    Available(Option<Duration>),
    /// Its own.
    History(IdRef),
}

/// What becomes of a delivery.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// Done.
    Ack,
    /// Failed, with this delay, class and reason.
    Nak(Option<Duration>, &'static str, &'static str),
    /// Given back.
    Release(Option<Duration>),
    /// Given up.
    Term(&'static str, &'static str),
    /// Held on.
    Extend,
}

/// Which dead letters are meant.
#[derive(Debug, Clone, Default)]
pub struct Letters {
    /// By the IDs of their entries.
    pub ids: Vec<IdRef>,
    /// By class.
    pub class: Option<&'static str>,
    /// By a part of the reason.
    pub reason: Option<&'static str>,
    /// By the entry's type.
    pub kind: Option<&'static str>,
    /// By redrives.
    pub redrives_max: Option<u32>,
}

/// A row that is put back.
#[derive(Debug, Clone, Copy)]
pub struct Restored {
    /// The entry.
    pub id: IdRef,
    /// Who held it.
    pub consumer: Option<usize>,
    /// How often it was given out.
    pub deliveries: u64,
    /// How often it failed.
    pub failures: u64,
    /// For how long nobody is given it.
    pub delay: Option<Duration>,
}

/// An operation. Each is a method of the traits; see there.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "they are the methods of the traits")]
pub enum Op {
    Append {
        stream: StreamNo,
        entry: NewOne,
        producer: Option<&'static str>,
        expected: Expected,
    },
    Batch {
        stream: StreamNo,
        entries: Vec<NewOne>,
        producer: Option<&'static str>,
        expected: Expected,
    },
    Read {
        stream: StreamNo,
        from: From,
        to: Option<IdRef>,
        backward: bool,
        count: u64,
        wait: bool,
    },
    /// Reads a side stream: dead letters of a group, lost entries, alerts.
    ReadSide {
        stream: StreamNo,
        side: Side,
    },
    Head {
        stream: StreamNo,
    },
    Info {
        stream: StreamNo,
    },
    List {
        side_streams: bool,
        page: u64,
    },
    DeleteStream {
        stream: StreamNo,
    },
    DeleteEntries {
        stream: StreamNo,
        ids: Vec<IdRef>,
    },
    Trim {
        stream: StreamNo,
        to: Mark,
    },
    SetRetention {
        stream: StreamNo,
        retention: Option<Retention>,
    },
    Retention {
        stream: StreamNo,
    },
    Lost {
        stream: StreamNo,
        group: Option<usize>,
        page: u64,
    },
    CreateGroup {
        group: GroupNo,
        origin: Origin,
        policy: PolicyRef,
    },
    DeleteGroup {
        group: GroupNo,
    },
    SetPolicy {
        group: GroupNo,
        policy: PolicyRef,
    },
    Groups {
        stream: StreamNo,
    },
    GroupInfo {
        group: GroupNo,
    },
    Seek {
        group: GroupNo,
        to: Mark,
        dry_run: bool,
    },
    Pause {
        group: GroupNo,
        duration: Option<Duration>,
    },
    Resume {
        group: GroupNo,
    },
    CreateConsumer {
        group: GroupNo,
        consumer: usize,
    },
    Consumers {
        group: GroupNo,
    },
    DeleteConsumer {
        group: GroupNo,
        consumer: usize,
        fate: PendingFate,
    },
    Lag {
        group: GroupNo,
    },
    ReadGroup {
        group: GroupNo,
        consumer: usize,
        source: Source,
        count: u64,
        while_paused: bool,
    },
    Settle {
        group: GroupNo,
        each: Vec<(IdRef, TokenRef, Fate)>,
    },
    Claim {
        group: GroupNo,
        consumer: usize,
        idle_min: Duration,
        ids: Vec<IdRef>,
    },
    AutoClaim {
        group: GroupNo,
        consumer: usize,
        idle_min: Duration,
        start: IdRef,
        count: u64,
    },
    Summary {
        group: GroupNo,
    },
    Pending {
        group: GroupNo,
        consumer: Option<usize>,
        idle_min: Option<Duration>,
        start: IdRef,
        end: IdRef,
        count: u64,
    },
    Restore {
        group: GroupNo,
        rows: Vec<Restored>,
    },
    Letters {
        group: GroupNo,
        filter: Letters,
        page: u64,
    },
    Redrive {
        group: GroupNo,
        filter: Letters,
        count: u64,
        dry_run: bool,
    },
    Purge {
        group: GroupNo,
        filter: Letters,
        count: u64,
        dry_run: bool,
    },
    /// Everything there is to know, and lag recounted.
    Look,
    /// Restarts those that can be.
    Restart,
}

/// Where a group starts.
#[derive(Debug, Clone, Copy)]
pub enum Origin {
    /// As [`GroupOrigin`], with an ID that the book resolves.
    Beginning,
    /// Behind an ID.
    After(IdRef),
    /// At the end.
    End,
}

impl Origin {
    pub(super) fn at(self, id: impl FnOnce(IdRef) -> weir_core::EntryId) -> GroupOrigin {
        match self {
            Self::Beginning => GroupOrigin::Beginning,
            Self::After(after) => GroupOrigin::After(id(after)),
            Self::End => GroupOrigin::End,
        }
    }
}

/// A policy but for the name of its dead-letter stream, which depends on the prefix.
#[derive(Debug, Clone)]
pub struct PolicyRef {
    /// Everything else.
    pub policy: Policy,
    /// Where dead letters go.
    pub dead_letter: DeadLetterRef,
}

/// Where dead letters go.
#[derive(Debug, Clone, Copy)]
pub enum DeadLetterRef {
    /// The default.
    Default,
    /// A stream that both groups of the stream may want.
    Shared,
    /// The stream itself.
    Itself,
    /// The stream's lost entries.
    Lost,
    /// The default of the stream's other group.
    Others,
}

/// A side stream.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    /// Dead letters of a group, by default.
    Dead(usize),
    /// Dead letters elsewhere: [`DeadLetterRef::Shared`].
    Shared,
    /// Lost entries.
    Lost,
    /// Alerts.
    Alerts,
}
