//! A namespace of a weir server: each method is one call of the wire.

use std::borrow::Cow;
use std::time::Duration;

use redis::Cmd;
use tokio::time::Instant;
use weir_core::{
    AppendOptions, Appended, AutoClaim, AutoClaimed, BatchOptions, BoxFuture, Claim, ConsumerInfo,
    CreateGroup, Created, DeadLetterPage, DeadLetterQuery, Deliveries, Delivery, Entry, EntryId, Error,
    FieldRefs, GroupInfo, Groups, Head, Lag, ListStreams, LostPage, LostQuery, NewEntry, PendingFate,
    PendingQuery, PendingRow, PendingSummary, Policy, Purge, ReadFrom, ReadGroup, ReadOptions, Redrive,
    Redriven, RestoredRow, Retention, Seek, Settle, Settled, Sought, StreamInfo, StreamPage, Streams, TrimTo,
    Trimmed,
};
use weir_wire::{
    AppendBatch, AppendEntry, AutoClaimEntries, BatchEntry, ClaimEntries, CreateConsumer, CreateGroupOf,
    DeadLetters, DeleteConsumer, DeleteEntries, DeleteGroup, DeleteStream, GetGroup, GetRetention, HeadOf,
    InfoOf, LagOf, ListConsumers, ListGroups, ListStreamNames, LostEntries, PauseGroup, PendingRows,
    PendingSummaryOf, PurgeDeadLetters, ReadAsGroup, ReadStream, RedriveDeadLetters, RestorePending,
    ResumeGroup, SeekGroup, SetPolicy, SetRetention, SettleEntries, TrimStream, Value, Verb,
};

use super::Options;
use super::address::Address;
use super::call::command;
use super::link::Link;
use super::readers::Readers;

/// The longest single wait. A longer one is asked piece by piece, so that a server that has gone without a word is
/// noticed.
const WAIT_PIECE: Duration = Duration::from_secs(30);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Namespace {
    commands: Link,
    settlements: Link,
    readers: Readers,
}

impl Namespace {
    /// Connects to nobody yet.
    pub(super) fn new(address: Address, options: Options) -> Result<Self, Error> {
        let link = || Ok::<_, Error>(Link::new(address.client()?, address.shown(), options.clone()));
        Ok(Self { commands: link()?, settlements: link()?, readers: Readers::new(options.clone()) })
    }

    /// Asks in these words something that may be asked again.
    pub(super) async fn ask(&self, words: &[&str]) -> Result<Value, Error> {
        let mut command = Cmd::new();
        words.iter().for_each(|word| {
            command.arg(*word);
        });
        self.commands.ask(&command, true).await
    }

    async fn call<'a, V: Verb<'a>>(&self, verb: V) -> Result<V::Reply, Error> {
        let answer = self.commands.ask(&command(&verb), verb.is_repeatable()).await?;
        verb.read_reply(answer)
    }

    /// Asks piece by piece until there is something or the time is up. `make` makes the call for a piece.
    async fn call_waiting<'a, V, T>(
        &self,
        wait: Duration,
        make: impl Fn(Duration) -> V,
    ) -> Result<Vec<T>, Error>
    where
        V: Verb<'a, Reply = Vec<T>>,
    {
        let until = Instant::now().checked_add(wait);
        let mut left = wait;
        loop {
            let piece = left.min(WAIT_PIECE);
            let verb = make(piece);
            let answer =
                self.readers.ask(&self.commands, &command(&verb), piece, verb.is_repeatable()).await?;
            let found = verb.read_reply(answer)?;
            left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            if !found.is_empty() || left.is_zero() {
                return Ok(found);
            }
        }
    }
}

impl Streams for Namespace {
    fn append<'a>(
        &'a self,
        stream: &'a [u8],
        fields: FieldRefs<'a>,
        options: AppendOptions,
    ) -> BoxFuture<'a, Appended> {
        Box::pin(self.call(AppendEntry { stream, fields: Cow::Borrowed(fields), options }))
    }

    fn append_batch<'a>(
        &'a self,
        stream: &'a [u8],
        entries: &'a [NewEntry<'a>],
        options: BatchOptions,
    ) -> BoxFuture<'a, Vec<Appended>> {
        let entries = entries.iter().map(BatchEntry::of).collect();
        Box::pin(self.call(AppendBatch { stream, entries, options }))
    }

    fn read<'a>(&'a self, stream: &'a [u8], options: ReadOptions) -> BoxFuture<'a, Vec<Entry>> {
        match options.wait.filter(|_| options.count > 0) {
            None => Box::pin(self.call(ReadStream { stream, options })),
            Some(wait) => Box::pin(self.read_waiting(stream, options, wait)),
        }
    }

    fn head<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<Head>> {
        Box::pin(self.call(HeadOf { stream }))
    }

    fn stream_info<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<StreamInfo>> {
        Box::pin(self.call(InfoOf { stream }))
    }

    fn list_streams(&self, options: ListStreams) -> BoxFuture<'_, StreamPage> {
        Box::pin(self.call(ListStreamNames { options }))
    }

    fn delete_stream<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, bool> {
        Box::pin(self.call(DeleteStream { stream }))
    }

    fn delete_entries<'a>(&'a self, stream: &'a [u8], ids: &'a [EntryId]) -> BoxFuture<'a, u64> {
        Box::pin(self.call(DeleteEntries { stream, ids: Cow::Borrowed(ids) }))
    }

    fn trim<'a>(&'a self, stream: &'a [u8], to: TrimTo) -> BoxFuture<'a, Trimmed> {
        Box::pin(self.call(TrimStream { stream, to }))
    }

    fn set_retention<'a>(&'a self, stream: &'a [u8], retention: Option<Retention>) -> BoxFuture<'a, ()> {
        Box::pin(self.call(SetRetention { stream, retention }))
    }

    fn retention<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<Retention>> {
        Box::pin(self.call(GetRetention { stream }))
    }

    fn lost<'a>(&'a self, stream: &'a [u8], query: LostQuery) -> BoxFuture<'a, LostPage> {
        Box::pin(self.call(LostEntries { stream, query }))
    }
}

impl Groups for Namespace {
    fn create_group<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        options: CreateGroup,
    ) -> BoxFuture<'a, Created> {
        Box::pin(self.call(CreateGroupOf { stream, group, options }))
    }

    fn delete_group<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, bool> {
        Box::pin(self.call(DeleteGroup { stream, group }))
    }

    fn groups<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Vec<GroupInfo>> {
        Box::pin(self.call(ListGroups { stream }))
    }

    fn group_info<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, Option<GroupInfo>> {
        Box::pin(self.call(GetGroup { stream, group }))
    }

    fn set_policy<'a>(&'a self, stream: &'a [u8], group: &'a [u8], policy: Policy) -> BoxFuture<'a, ()> {
        Box::pin(self.call(SetPolicy { stream, group, policy }))
    }

    fn seek<'a>(&'a self, stream: &'a [u8], group: &'a [u8], options: Seek) -> BoxFuture<'a, Sought> {
        Box::pin(self.call(SeekGroup { stream, group, options }))
    }

    fn pause<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        duration: Option<Duration>,
    ) -> BoxFuture<'a, ()> {
        Box::pin(self.call(PauseGroup { stream, group, duration }))
    }

    fn resume<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, ()> {
        Box::pin(self.call(ResumeGroup { stream, group }))
    }

    fn create_consumer<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        consumer: &'a [u8],
    ) -> BoxFuture<'a, bool> {
        Box::pin(self.call(CreateConsumer { stream, group, consumer }))
    }

    fn consumers<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, Vec<ConsumerInfo>> {
        Box::pin(self.call(ListConsumers { stream, group }))
    }

    fn delete_consumer<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        consumer: &'a [u8],
        pending: PendingFate,
    ) -> BoxFuture<'a, u64> {
        Box::pin(self.call(DeleteConsumer { stream, group, consumer, pending }))
    }

    fn lag<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, Lag> {
        Box::pin(self.call(LagOf { stream, group }))
    }
}

impl Deliveries for Namespace {
    fn read_group<'a>(&'a self, stream: &'a [u8], options: ReadGroup) -> BoxFuture<'a, Vec<Delivery>> {
        match options.wait.filter(|_| options.count > 0) {
            None => Box::pin(self.call(ReadAsGroup { stream, options })),
            Some(wait) => Box::pin(self.read_group_waiting(stream, options, wait)),
        }
    }

    fn settle<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        settlements: &'a [Settle],
    ) -> BoxFuture<'a, Vec<Settled>> {
        Box::pin(async move {
            let verb = SettleEntries { stream, group, settlements: Cow::Borrowed(settlements) };
            let answer = self.settlements.ask(&command(&verb), verb.is_repeatable()).await?;
            verb.read_reply(answer)
        })
    }

    fn claim<'a>(&'a self, stream: &'a [u8], options: Claim) -> BoxFuture<'a, Vec<Delivery>> {
        Box::pin(self.call(ClaimEntries { stream, options }))
    }

    fn auto_claim<'a>(&'a self, stream: &'a [u8], options: AutoClaim) -> BoxFuture<'a, AutoClaimed> {
        Box::pin(self.call(AutoClaimEntries { stream, options }))
    }

    fn pending_summary<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, PendingSummary> {
        Box::pin(self.call(PendingSummaryOf { stream, group }))
    }

    fn pending<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        query: PendingQuery,
    ) -> BoxFuture<'a, Vec<PendingRow>> {
        Box::pin(self.call(PendingRows { stream, group, query }))
    }

    fn restore_pending<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        rows: &'a [RestoredRow],
    ) -> BoxFuture<'a, u64> {
        Box::pin(self.call(RestorePending { stream, group, rows: Cow::Borrowed(rows) }))
    }

    fn dead_letters<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        query: DeadLetterQuery,
    ) -> BoxFuture<'a, DeadLetterPage> {
        Box::pin(self.call(DeadLetters { stream, group, query }))
    }

    fn redrive<'a>(&'a self, stream: &'a [u8], group: &'a [u8], options: Redrive) -> BoxFuture<'a, Redriven> {
        Box::pin(self.call(RedriveDeadLetters { stream, group, options }))
    }

    fn purge_dead_letters<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        options: Purge,
    ) -> BoxFuture<'a, u64> {
        Box::pin(self.call(PurgeDeadLetters { stream, group, options }))
    }
}

impl Namespace {
    async fn read_waiting(
        &self,
        stream: &[u8],
        mut options: ReadOptions,
        wait: Duration,
    ) -> Result<Vec<Entry>, Error> {
        // The end has to be the same for every piece, and for a piece that is asked again.
        if options.from == ReadFrom::End && !options.backward {
            let head = self.head(stream).await?;
            options.from = ReadFrom::After(head.map_or(EntryId::MIN, |head| head.last_id));
        }
        self.call_waiting(wait, |piece| {
            let options = ReadOptions { wait: Some(piece), ..options };
            ReadStream { stream, options }
        })
        .await
    }

    async fn read_group_waiting(
        &self,
        stream: &[u8],
        options: ReadGroup,
        wait: Duration,
    ) -> Result<Vec<Delivery>, Error> {
        self.call_waiting(wait, |piece| {
            let options = ReadGroup { wait: Some(piece), ..options.clone() };
            ReadAsGroup { stream, options }
        })
        .await
    }
}
