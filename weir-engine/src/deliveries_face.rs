//! The verbs of [`Deliveries`] for a namespace of the engine: for threads, and for tasks.

use weir_core::{
    AutoClaim, AutoClaimed, BoxFuture, Claim, DeadLetterPage, DeadLetterQuery, Deliveries, Delivery, Error,
    ErrorKind, GroupSource, PendingQuery, PendingRow, PendingSummary, Purge, ReadGroup, Redrive, Redriven,
    RestoredRow, Settle, Settled, Settlement, Timestamp, Token,
};

use crate::api::{self, GroupReadFrom, ReadLimits};
use crate::broker::{Namespace, Question};
use crate::waiting::Wanted;

const NOT_YET: ErrorKind = ErrorKind::Unsupported("not in this build of the embedded engine");

impl Namespace {
    fn wanted(&self, stream: &[u8], options: &ReadGroup) -> Result<Wanted, Error> {
        let from = match options.source {
            GroupSource::New => GroupReadFrom::New,
            GroupSource::History { after } => GroupReadFrom::History(after),
            _ => return Err(NOT_YET.into()),
        };
        Ok(Wanted::Group(api::ReadGroup {
            ns: self.ns,
            group: options.group.as_slice().into(),
            consumer: options.consumer.as_slice().into(),
            streams: vec![(stream.into(), from)],
            limits: ReadLimits { count: Some(options.count), ..ReadLimits::default() },
            noack: false,
            claim_idle_min: None,
        }))
    }

    fn settling(
        &self,
        stream: &[u8],
        group: &[u8],
        settlements: &[Settle],
    ) -> impl Question<Vec<Settled>> + use<> {
        let (group, settlements) = (group.to_vec(), settlements.to_vec());
        self.about(stream, move |core, key| {
            if settlements.iter().any(|settle| settle.settlement != Settlement::Ack) {
                return Err(NOT_YET.into());
            }
            let each = settlements.iter().map(|settle| match core.ack(key, &group, &[settle.id])? {
                0 => Ok(Settled::NotPending),
                _ => Ok(Settled::Done),
            });
            each.collect()
        })
    }

    /// Gives a consumer entries. See [`Deliveries::read_group`].
    ///
    /// # Errors
    /// As [`Deliveries::read_group`].
    pub fn read_group(&self, stream: &[u8], options: &ReadGroup) -> Result<Vec<Delivery>, Error> {
        let entries = self.wait_for(self.wanted(stream, options)?, options.wait)?;
        Ok(entries.into_iter().map(delivery).collect())
    }

    /// Settles deliveries. See [`Deliveries::settle`].
    ///
    /// # Errors
    /// As [`Deliveries::settle`].
    pub fn settle(&self, stream: &[u8], group: &[u8], settlements: &[Settle]) -> Result<Vec<Settled>, Error> {
        self.settled(self.ask(self.settling(stream, group, settlements))?)
    }
}

fn delivery(entry: weir_core::Entry) -> Delivery {
    Delivery {
        entry,
        token: Token(0),
        deliveries: 1,
        failures: 0,
        first_failure: None,
        last_failure: None,
        lease_until: Timestamp(u64::MAX),
        redrives: 0,
    }
}

impl Deliveries for Namespace {
    fn read_group<'a>(&'a self, stream: &'a [u8], options: ReadGroup) -> BoxFuture<'a, Vec<Delivery>> {
        Box::pin(async move {
            let entries = self.read_aside(self.wanted(stream, &options)?, options.wait).await?;
            Ok(entries.into_iter().map(delivery).collect())
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

    fn claim<'a>(&'a self, _: &'a [u8], _: Claim) -> BoxFuture<'a, Vec<Delivery>> {
        Box::pin(async { Err(NOT_YET.into()) })
    }

    fn auto_claim<'a>(&'a self, _: &'a [u8], _: AutoClaim) -> BoxFuture<'a, AutoClaimed> {
        Box::pin(async { Err(NOT_YET.into()) })
    }

    fn pending_summary<'a>(&'a self, _: &'a [u8], _: &'a [u8]) -> BoxFuture<'a, PendingSummary> {
        Box::pin(async { Err(NOT_YET.into()) })
    }

    fn pending<'a>(&'a self, _: &'a [u8], _: &'a [u8], _: PendingQuery) -> BoxFuture<'a, Vec<PendingRow>> {
        Box::pin(async { Err(NOT_YET.into()) })
    }

    fn restore_pending<'a>(&'a self, _: &'a [u8], _: &'a [u8], _: &'a [RestoredRow]) -> BoxFuture<'a, u64> {
        Box::pin(async { Err(NOT_YET.into()) })
    }

    fn dead_letters<'a>(
        &'a self,
        _: &'a [u8],
        _: &'a [u8],
        _: DeadLetterQuery,
    ) -> BoxFuture<'a, DeadLetterPage> {
        Box::pin(async { Err(NOT_YET.into()) })
    }

    fn redrive<'a>(&'a self, _: &'a [u8], _: &'a [u8], _: Redrive) -> BoxFuture<'a, Redriven> {
        Box::pin(async { Err(NOT_YET.into()) })
    }

    fn purge_dead_letters<'a>(&'a self, _: &'a [u8], _: &'a [u8], _: Purge) -> BoxFuture<'a, u64> {
        Box::pin(async { Err(NOT_YET.into()) })
    }
}
impl Namespace {
    /// Gives a consumer pending entries that are old enough. See [`Deliveries::auto_claim`].
    ///
    /// # Errors
    /// As [`Deliveries::auto_claim`].
    pub fn auto_claim(&self, _: &[u8], _: &AutoClaim) -> Result<AutoClaimed, Error> {
        Err(NOT_YET.into())
    }
}
