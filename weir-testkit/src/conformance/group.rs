//! The vocabulary of groups: one group of a story, and what its consumers are given.

use std::time::Duration;

use tokio::task::JoinHandle;
use weir_core::{
    AutoClaim, AutoClaimed, Claim, DeadLetter, DeadLetterFilter, DeadLetterQuery, Delivery, EntryId, Error,
    GroupInfo, GroupSource, Lag, PendingFate, PendingQuery, PendingRow, PendingState, PendingSummary, Policy,
    ReadGroup, Redrive, Redriven, Seek, SeekTo, Settle, Settled, Settlement, Sought,
};

use super::check::{Wrong, labels, one, some, text, went};
use super::stream::Stream;

/// A group of a story.
#[derive(Clone)]
pub(super) struct Group {
    pub(super) stream: Stream,
    pub(super) name: Vec<u8>,
}

/// What is ready or has been held for so long.
pub(super) fn idle_for(idle_min: Duration) -> GroupSource {
    GroupSource::Reclaimed { idle_min: Some(idle_min) }
}

/// What is ready, or whose lease is over.
pub(super) const RECLAIMED: GroupSource = GroupSource::Reclaimed { idle_min: None };
/// That, then what is new.
pub(super) const AVAILABLE: GroupSource = GroupSource::Available { idle_min: None };
/// All that a consumer holds.
pub(super) const HISTORY: GroupSource = GroupSource::History { after: EntryId::MIN };

/// A negative acknowledgement.
pub(super) fn nak(delay: Option<Duration>) -> Settlement {
    nak_of("timeout", "no answer", delay)
}

/// The same with a class and a reason.
pub(super) fn nak_of(class: &str, reason: &str, delay: Option<Duration>) -> Settlement {
    Settlement::Nak { delay, class: class.into(), reason: reason.into() }
}

/// The end of all tries.
pub(super) fn term() -> Settlement {
    Settlement::Term { class: b"invalid".to_vec(), reason: b"cannot be read".to_vec() }
}

/// Handed back at once.
pub(super) const RELEASE: Settlement = Settlement::Release { delay: None };

impl Group {
    /// How a consumer reads from a source: at most a thousand entries, without waiting.
    pub(super) fn options(&self, consumer: &str, source: GroupSource) -> ReadGroup {
        ReadGroup {
            group: self.name.clone(),
            consumer: consumer.as_bytes().to_vec(),
            source,
            count: 1_000,
            wait: None,
            while_paused: false,
        }
    }

    /// Reads and hands the answer on.
    pub(super) async fn read_with(&self, options: ReadGroup) -> Result<Vec<Delivery>, Wrong> {
        let step = format!("{} reads {:?}", text(&options.consumer), options.source);
        went(&step, self.stream.story.broker().read_group(&self.stream.name, options).await)
    }

    /// What a consumer is given from a source, at most a thousand entries.
    pub(super) async fn take(&self, consumer: &str, source: GroupSource) -> Result<Vec<Delivery>, Wrong> {
        self.read_with(self.options(consumer, source)).await
    }

    /// What is new, at most so many.
    pub(super) async fn read(&self, consumer: &str, count: u64) -> Result<Vec<Delivery>, Wrong> {
        self.read_with(ReadGroup { count, ..self.options(consumer, GroupSource::New) }).await
    }

    /// The next new entry; none is wrong.
    pub(super) async fn next(&self, consumer: &str) -> Result<Delivery, Wrong> {
        one(&format!("{consumer} reads the next entry"), self.read(consumer, 1).await?)
    }

    /// The labels of what a consumer is given from a source.
    pub(super) async fn gives(&self, consumer: &str, source: GroupSource) -> Result<Vec<String>, Wrong> {
        Ok(labels(&self.take(consumer, source).await?))
    }

    /// The first that comes from a source, which may take a while.
    pub(super) async fn comes(&self, consumer: &str, source: GroupSource) -> Result<Delivery, Wrong> {
        let options = ReadGroup { count: 1, ..self.options(consumer, source) };
        let step = format!("an entry comes to {consumer} from {source:?}");
        let story = &self.stream.story;
        story.eventually(&step, || async { Ok(self.read_with(options.clone()).await?.pop()) }).await
    }

    /// A read that waits, beside the story.
    pub(super) fn wait_beside(
        &self,
        consumer: &str,
        source: GroupSource,
        wait: Duration,
    ) -> JoinHandle<Result<Vec<Delivery>, Wrong>> {
        let (group, options) = (self.clone(), self.options(consumer, source));
        tokio::spawn(async move { group.read_with(ReadGroup { wait: Some(wait), ..options }).await })
    }

    /// Settles one delivery.
    pub(super) async fn settle(&self, delivery: &Delivery, settlement: Settlement) -> Result<Settled, Wrong> {
        let step =
            format!("{} is settled by {settlement:?}", labels(std::slice::from_ref(delivery)).join(""));
        let settle = Settle { id: delivery.entry.id, token: Some(delivery.token), settlement };
        one(&step, went(&step, self.settle_all(&[settle]).await)?)
    }

    /// Settles whatever row an entry has.
    pub(super) async fn settle_id(&self, id: EntryId, settlement: Settlement) -> Result<Settled, Wrong> {
        let step = format!("{id} is settled without a token by {settlement:?}");
        one(&step, went(&step, self.settle_all(&[Settle { id, token: None, settlement }]).await)?)
    }

    /// Settles a batch and hands the answer on.
    pub(super) async fn settle_all(&self, settlements: &[Settle]) -> Result<Vec<Settled>, Error> {
        self.stream.story.broker().settle(&self.stream.name, &self.name, settlements).await
    }

    /// Acknowledges deliveries.
    pub(super) async fn ack(&self, deliveries: &[Delivery]) -> Result<(), Wrong> {
        for delivery in deliveries {
            let settled = self.settle(delivery, Settlement::Ack).await?;
            super::check::same("the acknowledgement", settled, Settled::Done)?;
        }
        Ok(())
    }

    /// What there is to know of it; none is wrong.
    pub(super) async fn info(&self) -> Result<GroupInfo, Wrong> {
        let info = self.stream.story.broker().group_info(&self.stream.name, &self.name).await;
        some("the group", went("the group is looked at", info)?)
    }

    /// How far behind it is.
    pub(super) async fn lag(&self) -> Result<Lag, Wrong> {
        went("the lag is asked for", self.stream.story.broker().lag(&self.stream.name, &self.name).await)
    }

    /// Undelivered, pending, ready, delayed and dead entries.
    pub(super) async fn counts(&self) -> Result<[u64; 5], Wrong> {
        let lag = self.lag().await?;
        Ok([lag.undelivered, lag.pending, lag.ready, lag.delayed, lag.dead])
    }

    /// Its pending rows.
    pub(super) async fn rows(&self) -> Result<Vec<PendingRow>, Wrong> {
        self.rows_of(every_row()).await
    }

    /// Some of its pending rows.
    pub(super) async fn rows_of(&self, query: PendingQuery) -> Result<Vec<PendingRow>, Wrong> {
        let broker = self.stream.story.broker();
        went("pending rows are listed", broker.pending(&self.stream.name, &self.name, query).await)
    }

    /// The one row of an entry; none is wrong.
    pub(super) async fn row(&self, id: EntryId) -> Result<PendingRow, Wrong> {
        let rows = self.rows_of(PendingQuery { start: id, end: id, ..every_row() }).await?;
        one(&format!("the pending row of {id}"), rows)
    }

    /// The states of its rows, as words.
    pub(super) async fn states(&self) -> Result<Vec<&'static str>, Wrong> {
        Ok(self.rows().await?.iter().map(|row| state_name(row.state)).collect())
    }

    /// What it has pending, in short.
    pub(super) async fn summary(&self) -> Result<PendingSummary, Wrong> {
        let broker = self.stream.story.broker();
        went("the pending list is summed up", broker.pending_summary(&self.stream.name, &self.name).await)
    }

    /// Takes over named entries.
    pub(super) async fn claim(
        &self,
        by: &str,
        idle_min: Duration,
        ids: &[EntryId],
    ) -> Result<Vec<Delivery>, Wrong> {
        let options =
            Claim { group: self.name.clone(), consumer: by.as_bytes().to_vec(), idle_min, ids: ids.to_vec() };
        went(
            &format!("{by} claims {ids:?}"),
            self.stream.story.broker().claim(&self.stream.name, options).await,
        )
    }

    /// Takes over what is old.
    pub(super) async fn auto_claim(
        &self,
        by: &str,
        idle_min: Duration,
        start: EntryId,
        count: u64,
    ) -> Result<AutoClaimed, Wrong> {
        let (group, consumer) = (self.name.clone(), by.as_bytes().to_vec());
        let options = AutoClaim { group, consumer, idle_min, start, count };
        let claimed = self.stream.story.broker().auto_claim(&self.stream.name, options).await;
        went(&format!("{by} claims what is idle from {start} on"), claimed)
    }

    /// Moves it.
    pub(super) async fn seek(&self, to: SeekTo) -> Result<Sought, Wrong> {
        let options = Seek { to, dry_run: false };
        let sought = self.stream.story.broker().seek(&self.stream.name, &self.name, options).await;
        went(&format!("the group seeks {to:?}"), sought)
    }

    /// Gives it another policy.
    pub(super) async fn set_policy(&self, policy: Policy) -> Result<(), Wrong> {
        let set = self.stream.story.broker().set_policy(&self.stream.name, &self.name, policy).await;
        went("another policy is set", set)
    }

    /// Pauses it.
    pub(super) async fn pause(&self, duration: Option<Duration>) -> Result<(), Wrong> {
        let paused = self.stream.story.broker().pause(&self.stream.name, &self.name, duration).await;
        went("the group is paused", paused)
    }

    /// Ends its pause.
    pub(super) async fn resume(&self) -> Result<(), Wrong> {
        went("the group is resumed", self.stream.story.broker().resume(&self.stream.name, &self.name).await)
    }

    /// Its consumers and how many entries each holds.
    pub(super) async fn consumers(&self) -> Result<Vec<(String, u64)>, Wrong> {
        let listed = self.stream.story.broker().consumers(&self.stream.name, &self.name).await;
        let listed = went("the consumers are listed", listed)?;
        Ok(listed.iter().map(|consumer| (text(&consumer.name), consumer.pending)).collect())
    }

    /// Removes a consumer.
    pub(super) async fn dismiss(&self, consumer: &str, fate: PendingFate) -> Result<u64, Wrong> {
        let broker = self.stream.story.broker();
        let held = broker.delete_consumer(&self.stream.name, &self.name, consumer.as_bytes(), fate).await;
        went(&format!("{consumer} is removed"), held)
    }

    /// Its dead letters.
    pub(super) async fn dead(&self) -> Result<Vec<DeadLetter>, Wrong> {
        self.dead_of(DeadLetterFilter::default()).await
    }

    /// Some of its dead letters.
    pub(super) async fn dead_of(&self, filter: DeadLetterFilter) -> Result<Vec<DeadLetter>, Wrong> {
        let query = DeadLetterQuery { filter, after: EntryId::MIN, count: 1_000 };
        let page = self.stream.story.broker().dead_letters(&self.stream.name, &self.name, query).await;
        Ok(went("dead letters are listed", page)?.letters)
    }

    /// The labels of its dead letters.
    pub(super) async fn dead_labels(&self) -> Result<Vec<String>, Wrong> {
        Ok(dead_labels(&self.dead().await?))
    }

    /// The one dead letter; another number is wrong.
    pub(super) async fn dead_letter(&self) -> Result<DeadLetter, Wrong> {
        one("the dead letters", self.dead().await?)
    }

    /// Hands dead letters back.
    pub(super) async fn redrive(&self, filter: DeadLetterFilter) -> Result<Redriven, Wrong> {
        self.redrive_with(Redrive { filter, count: 1_000, dry_run: false }).await
    }

    /// Hands dead letters back, with all options.
    pub(super) async fn redrive_with(&self, options: Redrive) -> Result<Redriven, Wrong> {
        let redriven = self.stream.story.broker().redrive(&self.stream.name, &self.name, options).await;
        went("dead letters are redriven", redriven)
    }

    /// Makes all that is new dead letters.
    pub(super) async fn bury_all(&self) -> Result<(), Wrong> {
        for delivery in self.read("undertaker", 1_000).await? {
            let settled = self.settle(&delivery, term()).await?;
            super::check::same("an entry that will never succeed", settled, Settled::DeadLettered)?;
        }
        Ok(())
    }
}

/// All rows, at most a thousand.
pub(super) fn every_row() -> PendingQuery {
    PendingQuery { consumer: None, idle_min: None, start: EntryId::MIN, end: EntryId::MAX, count: 1_000 }
}

/// The labels of dead letters.
pub(super) fn dead_labels(letters: &[DeadLetter]) -> Vec<String> {
    letters
        .iter()
        .map(|letter| letter.fields.first().map_or_else(String::new, |(_, value)| text(value)))
        .collect()
}

/// A state as a word.
pub(super) fn state_name(state: PendingState) -> &'static str {
    match state {
        PendingState::InFlight => "in flight",
        PendingState::Ready => "ready",
        PendingState::Delayed { .. } => "delayed",
        PendingState::Waiting => "waiting",
    }
}
