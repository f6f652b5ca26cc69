//! The verbs of [`Deliveries`] for a namespace of the engine: for threads, and for tasks.

use std::collections::HashMap;

use weir_core::{
    AutoClaim, AutoClaimed, BoxFuture, Claim, DeadLetterPage, DeadLetterQuery, Deliveries, Delivery, Entry,
    EntryId, Error, ErrorKind, GroupSource, PendingQuery, PendingRow, PendingSummary, Purge, ReadGroup,
    Redrive, Redriven, RestoredRow, Settle, Settled,
};

use crate::api::{Entries, EntryRef, Given, ReadOutcome, ReadSource, TakenOver};
use crate::broker::{Namespace, Question, named};
use crate::dead::LettersDone;
use crate::waiting::Wanted;

impl Namespace {
    fn wanted(&self, stream: &[u8], options: &ReadGroup) -> Result<Wanted, Error> {
        if options.wait.is_some() && matches!(options.source, GroupSource::History { .. }) {
            return Err(ErrorKind::Invalid("a history read does not wait").into());
        }
        Ok(Wanted::Source(ReadSource {
            ns: self.ns,
            stream: stream.into(),
            group: options.group.as_slice().into(),
            consumer: options.consumer.as_slice().into(),
            source: options.source,
            count: options.count,
            while_paused: options.while_paused,
        }))
    }

    fn settling(
        &self,
        stream: &[u8],
        group: &[u8],
        settlements: &[Settle],
    ) -> impl Question<Vec<Settled>> + use<> {
        let settlements = settlements.to_vec();
        self.about_group(stream, group, move |core, key, group| core.settle(key, group, &settlements))
    }

    fn claiming(&self, stream: &[u8], claim: Claim) -> impl Question<Vec<Given>> + use<> {
        let group = claim.group.clone();
        self.about_group(stream, &group, move |core, key, _| core.take_over(key, &claim))
    }

    fn auto_claiming(&self, stream: &[u8], claim: AutoClaim) -> impl Question<TakenOver> + use<> {
        let group = claim.group.clone();
        self.about_group(stream, &group, move |core, key, _| core.take_over_old(key, &claim))
    }

    fn summing_up_pending(&self, stream: &[u8], group: &[u8]) -> impl Question<PendingSummary> + use<> {
        self.about_group(stream, group, move |core, key, group| core.pending_in_short(key, group))
    }

    fn listing_pending(
        &self,
        stream: &[u8],
        group: &[u8],
        query: PendingQuery,
    ) -> impl Question<Vec<PendingRow>> + use<> {
        self.about_group(stream, group, move |core, key, group| core.pending_states(key, group, &query))
    }

    fn restoring(&self, stream: &[u8], group: &[u8], rows: &[RestoredRow]) -> impl Question<u64> + use<> {
        let rows = rows.to_vec();
        self.about_group(stream, group, move |core, key, group| core.restore_pending(key, group, &rows))
    }

    fn listing_dead(
        &self,
        stream: &[u8],
        group: &[u8],
        query: DeadLetterQuery,
    ) -> impl Question<DeadLetterPage> + use<> {
        self.about_group(stream, group, move |core, key, group| core.dead_letters(key, group, &query))
    }

    fn redriving(&self, stream: &[u8], group: &[u8], options: Redrive) -> impl Question<Redriven> + use<> {
        let mut done = LettersDone::default();
        self.about_group(stream, group, move |core, key, group| core.redrive(key, group, &options, &mut done))
    }

    fn purging(&self, stream: &[u8], group: &[u8], options: Purge) -> impl Question<u64> + use<> {
        let mut done = LettersDone::default();
        self.about_group(stream, group, move |core, key, group| {
            core.purge_dead_letters(key, group, &options, &mut done)
        })
    }

    fn delivered(&self, given: Vec<Given>) -> Result<Vec<Delivery>, Error> {
        Ok(together(self.entries(&refs(&given))?, given))
    }

    async fn delivered_aside(&self, given: Vec<Given>) -> Result<Vec<Delivery>, Error> {
        Ok(together(self.fetch_aside(refs(&given)).await?, given))
    }

    // ---- synchronous calls -------------------------------------------------------------------------------------

    /// Gives a consumer entries. See [`Deliveries::read_group`].
    ///
    /// # Errors
    /// As [`Deliveries::read_group`].
    pub fn read_group(&self, stream: &[u8], options: &ReadGroup) -> Result<Vec<Delivery>, Error> {
        let outcome = self.outcome_of(self.wanted(stream, options)?, options.wait);
        self.delivered(given(outcome.map_err(|error| named(error, stream, &options.group))?))
    }

    /// Settles deliveries. See [`Deliveries::settle`].
    ///
    /// # Errors
    /// As [`Deliveries::settle`].
    pub fn settle(&self, stream: &[u8], group: &[u8], settlements: &[Settle]) -> Result<Vec<Settled>, Error> {
        self.settled(self.ask(self.settling(stream, group, settlements))?)
    }

    /// Gives a consumer named entries that are pending. See [`Deliveries::claim`].
    ///
    /// # Errors
    /// As [`Deliveries::claim`].
    pub fn claim(&self, stream: &[u8], options: &Claim) -> Result<Vec<Delivery>, Error> {
        self.delivered(self.settled(self.ask(self.claiming(stream, options.clone()))?)?)
    }

    /// Gives a consumer pending entries that are old enough. See [`Deliveries::auto_claim`].
    ///
    /// # Errors
    /// As [`Deliveries::auto_claim`].
    pub fn auto_claim(&self, stream: &[u8], options: &AutoClaim) -> Result<AutoClaimed, Error> {
        let taken = self.settled(self.ask(self.auto_claiming(stream, options.clone()))?)?;
        let TakenOver { given, cursor, deleted } = taken;
        Ok(AutoClaimed { deliveries: self.delivered(given)?, cursor, deleted })
    }

    /// What a group has pending, in short. See [`Deliveries::pending_summary`].
    ///
    /// # Errors
    /// As [`Deliveries::pending_summary`].
    pub fn pending_summary(&self, stream: &[u8], group: &[u8]) -> Result<PendingSummary, Error> {
        self.settled(self.ask(self.summing_up_pending(stream, group))?)
    }

    /// Rows of the pending list. See [`Deliveries::pending`].
    ///
    /// # Errors
    /// As [`Deliveries::pending`].
    pub fn pending(
        &self,
        stream: &[u8],
        group: &[u8],
        query: &PendingQuery,
    ) -> Result<Vec<PendingRow>, Error> {
        self.settled(self.ask(self.listing_pending(stream, group, query.clone()))?)
    }

    /// Puts rows on the pending list. See [`Deliveries::restore_pending`].
    ///
    /// # Errors
    /// As [`Deliveries::restore_pending`].
    pub fn restore_pending(&self, stream: &[u8], group: &[u8], rows: &[RestoredRow]) -> Result<u64, Error> {
        self.settled(self.ask(self.restoring(stream, group, rows))?)
    }

    /// The dead letters of a group. See [`Deliveries::dead_letters`].
    ///
    /// # Errors
    /// As [`Deliveries::dead_letters`].
    pub fn dead_letters(
        &self,
        stream: &[u8],
        group: &[u8],
        query: &DeadLetterQuery,
    ) -> Result<DeadLetterPage, Error> {
        self.settled(self.ask(self.listing_dead(stream, group, query.clone()))?)
    }

    /// Hands dead letters back to the group that failed. See [`Deliveries::redrive`].
    ///
    /// # Errors
    /// As [`Deliveries::redrive`].
    pub fn redrive(&self, stream: &[u8], group: &[u8], options: &Redrive) -> Result<Redriven, Error> {
        self.settled(self.ask(self.redriving(stream, group, options.clone()))?)
    }

    /// Removes dead letters. See [`Deliveries::purge_dead_letters`].
    ///
    /// # Errors
    /// As [`Deliveries::purge_dead_letters`].
    pub fn purge_dead_letters(&self, stream: &[u8], group: &[u8], options: &Purge) -> Result<u64, Error> {
        self.settled(self.ask(self.purging(stream, group, options.clone()))?)
    }
}

fn given(outcome: ReadOutcome) -> Vec<Given> {
    let given = outcome.streams.into_iter().flat_map(|stream| match stream.entries {
        Entries::Given(given) => given,
        Entries::Plain(_) | Entries::Claimed(_) => unreachable!("a read by source answers deliveries"),
    });
    given.collect()
}

fn refs(given: &[Given]) -> Vec<EntryRef> {
    given.iter().map(|given| given.entry).collect()
}

/// Entries that went before they were fetched are left out; their rows are dropped when somebody is to have them again.
fn together(entries: Vec<Entry>, given: Vec<Given>) -> Vec<Delivery> {
    let mut of: HashMap<EntryId, Given> = given.into_iter().map(|given| (given.entry.id, given)).collect();
    let deliveries = entries.into_iter().filter_map(|entry| {
        let Given { token, deliveries, failures, redrives, lease_until, failed, .. } =
            of.remove(&entry.id)?;
        let (first_failure, last_failure) = failed.map(|failed| *failed).unzip();
        Some(Delivery {
            entry,
            token,
            deliveries,
            failures,
            first_failure,
            last_failure,
            lease_until,
            redrives,
        })
    });
    deliveries.collect()
}

impl Deliveries for Namespace {
    fn read_group<'a>(&'a self, stream: &'a [u8], options: ReadGroup) -> BoxFuture<'a, Vec<Delivery>> {
        Box::pin(async move {
            let wanted = self.wanted(stream, &options)?;
            let outcome = self.outcome_aside(wanted, options.wait).await;
            let outcome = outcome.map_err(|error| named(error, stream, &options.group))?;
            self.delivered_aside(given(outcome)).await
        })
    }

    fn settle<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        settlements: &'a [Settle],
    ) -> BoxFuture<'a, Vec<Settled>> {
        Box::pin(self.answer(self.settling(stream, group, settlements)))
    }

    fn claim<'a>(&'a self, stream: &'a [u8], options: Claim) -> BoxFuture<'a, Vec<Delivery>> {
        Box::pin(
            async move { self.delivered_aside(self.answer(self.claiming(stream, options)).await?).await },
        )
    }

    fn auto_claim<'a>(&'a self, stream: &'a [u8], options: AutoClaim) -> BoxFuture<'a, AutoClaimed> {
        Box::pin(async move {
            let taken = self.answer(self.auto_claiming(stream, options)).await?;
            let TakenOver { given, cursor, deleted } = taken;
            Ok(AutoClaimed { deliveries: self.delivered_aside(given).await?, cursor, deleted })
        })
    }

    fn pending_summary<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, PendingSummary> {
        Box::pin(self.answer(self.summing_up_pending(stream, group)))
    }

    fn pending<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        query: PendingQuery,
    ) -> BoxFuture<'a, Vec<PendingRow>> {
        Box::pin(self.answer(self.listing_pending(stream, group, query)))
    }

    fn restore_pending<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        rows: &'a [RestoredRow],
    ) -> BoxFuture<'a, u64> {
        Box::pin(self.answer(self.restoring(stream, group, rows)))
    }

    fn dead_letters<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        query: DeadLetterQuery,
    ) -> BoxFuture<'a, DeadLetterPage> {
        Box::pin(self.answer(self.listing_dead(stream, group, query)))
    }

    fn redrive<'a>(&'a self, stream: &'a [u8], group: &'a [u8], options: Redrive) -> BoxFuture<'a, Redriven> {
        Box::pin(self.answer(self.redriving(stream, group, options)))
    }

    fn purge_dead_letters<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        options: Purge,
    ) -> BoxFuture<'a, u64> {
        Box::pin(self.answer(self.purging(stream, group, options)))
    }
}
