//! The one task of a publisher that talks to the broker, so that there is one order.
//!
//! ```text
//!             the broker does not take a batch
//!   direct ───────────────────────────────────► away: everything goes to the outbox
//!      ▲                                          │   its oldest appends are tried now and then
//!      └──────────────────────────────────────────┘
//!                  the outbox is empty
//! ```
//!
//! Without an outbox a batch is tried until its patience is over, and what comes behind it waits. Once the publisher is
//! being closed, nothing is tried for longer than that may take.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use weir_core::{Appended, BatchOptions, Broker, Error, ErrorKind, Expected, NewEntry};

use super::outbox::{self, Outbox, Stored};
use super::{Append, Flushed, Published, Request, closed};
use crate::Time;
use crate::time::Patience;

/// So many appends go together.
const BATCH_MAX: usize = 500;

type Reply = oneshot::Sender<Result<Published, Error>>;

pub(super) struct Sender {
    broker: Arc<dyn Broker>,
    name: Vec<u8>,
    patience: Duration,
    time: Time,
    outbox: Option<Outbox>,
    /// When a close wants everything to be over, by the steady clock; `None` = nobody closes.
    hurry: watch::Receiver<Option<Duration>>,
    /// Appends that were given up because of that.
    given_up: u64,
}

impl Sender {
    pub(super) fn new(
        broker: Arc<dyn Broker>,
        name: Vec<u8>,
        patience: Duration,
        time: Time,
        outbox: Option<Outbox>,
        hurry: watch::Receiver<Option<Duration>>,
    ) -> Self {
        Self { broker, name, patience, time, outbox, hurry, given_up: 0 }
    }

    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let (mut gathered, mut backoff) = (Vec::new(), Patience::new());
        // When the outbox is tried again.
        let mut again = self.is_away().then(|| self.time.sleep(Duration::ZERO));
        loop {
            // Whichever is ready, by chance: neither those who append all the time nor a full outbox keep the other waiting.
            tokio::select! {
                count = requests.recv_many(&mut gathered, BATCH_MAX) => {
                    if count == 0 {
                        return;
                    }
                    if let Some((limit, reply)) = self.take(&mut gathered).await {
                        requests.close();
                        let flushed = self.close(requests, gathered, limit).await;
                        // Who asked may have gone; there is nobody else to tell.
                        drop(reply.send(flushed));
                        return;
                    }
                    if self.is_away() && again.is_none() {
                        again = Some(self.time.sleep(backoff.next()));
                    }
                }
                () = async { if let Some(again) = &mut again { again.await } }, if again.is_some() => {
                    let wait = if self.drain_some().await {
                        backoff.reset();
                        Duration::ZERO
                    } else {
                        backoff.next()
                    };
                    again = self.is_away().then(|| self.time.sleep(wait));
                }
            }
        }
    }

    fn is_away(&self) -> bool {
        self.outbox.as_ref().is_some_and(|outbox| outbox.queued() > 0)
    }

    /// Does what was gathered. Answers a request to close, with what came behind it left over.
    async fn take(
        &mut self,
        gathered: &mut Vec<Request>,
    ) -> Option<(Duration, oneshot::Sender<Result<Flushed, Error>>)> {
        let (mut appends, mut replies) = (Vec::new(), Vec::new());
        let mut closes = None;
        let mut rest = mem::take(gathered).into_iter();
        for request in rest.by_ref() {
            match request {
                Request::Append(append, reply) => {
                    appends.push(append);
                    replies.push(reply);
                }
                Request::Close(limit, reply) => {
                    closes = Some((limit, reply));
                    break;
                }
            }
        }
        gathered.extend(rest);
        self.publish(appends, replies).await;
        closes
    }

    async fn publish(&mut self, appends: Vec<Append>, replies: Vec<Reply>) {
        if appends.is_empty() {
            return;
        }
        if self.is_away() {
            return self.queue(appends, replies).await;
        }
        let patient_until = self.time.elapsed().saturating_add(self.patience);
        let (mut appends, mut replies, mut backoff) = (appends, replies, Patience::new());
        loop {
            let results = self.in_time(self.send(&appends)).await;
            let results = results.unwrap_or_else(|| appends.iter().map(|_| None).collect());
            (appends, replies) = answer(appends, replies, results);
            if appends.is_empty() {
                return;
            }
            if self.outbox.is_some() {
                return self.queue(appends, replies).await;
            }
            let closes_at = *self.hurry.borrow_and_update();
            let left = closes_at
                .map_or(patient_until, |at| at.min(patient_until))
                .saturating_sub(self.time.elapsed());
            if left.is_zero() {
                self.given_up += if closes_at.is_some() { replies.len() as u64 } else { 0 };
                let context = "the broker did not take it in time; it may be in its stream all the same";
                let error = || Error::new(ErrorKind::Unavailable).with_context(context);
                replies.into_iter().for_each(|reply| drop(reply.send(Err(error()))));
                return;
            }
            tokio::select! {
                () = self.time.sleep(backoff.next().min(left)) => {}
                Ok(()) = self.hurry.changed() => {}
            }
        }
    }

    /// What a future gives; `None` when a close has no time left for it.
    async fn in_time<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut hurry = self.hurry.clone();
        let over = async {
            let closes_at = loop {
                let told = *hurry.borrow_and_update();
                match told {
                    Some(closes_at) => break closes_at,
                    None if hurry.changed().await.is_err() => std::future::pending().await,
                    None => {}
                }
            };
            self.time.sleep(closes_at.saturating_sub(self.time.elapsed())).await;
        };
        tokio::select! {
            biased;
            value = future => Some(value),
            () = over => None,
        }
    }

    /// Sends appends, stream by stream. What each came to; `None` = the broker is away, and it may be there or not.
    async fn send(&self, appends: &[Append]) -> Vec<Option<Result<Appended, Error>>> {
        let mut results: Vec<_> = appends.iter().map(|_| None).collect();
        let mut streams: Vec<(&[u8], Vec<usize>)> = Vec::new();
        let mut place_of: HashMap<&[u8], usize> = HashMap::new();
        for (at, append) in appends.iter().enumerate() {
            let place = *place_of.entry(&append.stream).or_insert_with(|| {
                streams.push((&append.stream, Vec::new()));
                streams.len() - 1
            });
            streams[place].1.push(at);
        }
        for (stream, places) in streams {
            if !self.send_to(stream, appends, &places, &mut results).await {
                break;
            }
        }
        results
    }

    /// Sends the appends to one stream; `false` when the broker is away.
    async fn send_to(
        &self,
        stream: &[u8],
        appends: &[Append],
        places: &[usize],
        results: &mut [Option<Result<Appended, Error>>],
    ) -> bool {
        match self.send_batch(stream, appends, places).await {
            Ok(appended) => {
                places.iter().zip(appended).for_each(|(at, appended)| results[*at] = Some(Ok(appended)));
                true
            }
            Err(error) if is_away(&error) => {
                tracing::warn!(%error, "the broker does not take appends; they are kept");
                false
            }
            Err(error) if places.len() == 1 => {
                results[places[0]] = Some(Err(error));
                true
            }
            // One of them is refused for good, and with it the whole batch. One by one the others are not.
            Err(_) => {
                for at in places {
                    match self.send_batch(stream, appends, &[*at]).await {
                        Ok(appended) => results[*at] = appended.into_iter().next().map(Ok),
                        Err(error) if is_away(&error) => return false,
                        Err(error) => results[*at] = Some(Err(error)),
                    }
                }
                true
            }
        }
    }

    async fn send_batch(
        &self,
        stream: &[u8],
        appends: &[Append],
        places: &[usize],
    ) -> Result<Vec<Appended>, Error> {
        let fields: Vec<Vec<(&[u8], &[u8])>> = places
            .iter()
            .map(|at| appends[*at].fields.iter().map(|(name, value)| (&**name, &**value)).collect())
            .collect();
        let entries: Vec<_> = places
            .iter()
            .zip(&fields)
            .map(|(at, fields)| NewEntry { fields, id: None, append_id: Some(&appends[*at].append_id) })
            .collect();
        let options = BatchOptions { producer: Some(self.name.clone()), expected: Expected::Any };
        self.broker.append_batch(stream, &entries, options).await
    }

    /// Puts appends into the outbox, and answers their callers once they are safe.
    async fn queue(&mut self, appends: Vec<Append>, replies: Vec<Reply>) {
        let Some(mut outbox) = self.outbox.take() else { return };
        let name = self.name.clone();
        let (outbox, results) = outbox::aside(move || {
            let results = outbox.put(&name, &appends);
            (outbox, results)
        })
        .await;
        self.outbox = Some(outbox);
        for (reply, result) in replies.into_iter().zip(results) {
            // The caller may have gone; its append is kept all the same.
            drop(reply.send(result.map(|()| Published::Queued)));
        }
    }

    /// Sends what is in the outbox as long as the broker takes it; whether it took any. Ends after one batch, so that
    /// new requests have their turn.
    async fn drain_some(&mut self) -> bool {
        let Some(mut outbox) = self.outbox.take() else { return false };
        let (outbox, stored) = outbox::aside(move || {
            let stored = outbox.oldest(BATCH_MAX);
            (outbox, stored)
        })
        .await;
        self.outbox = Some(outbox);
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) => {
                tracing::error!(%error, "the outbox cannot be read");
                return false;
            }
        };
        // What was sent meanwhile and is not known to be is sent again, and recognised.
        let sent = self.in_time(self.send_stored(stored)).await.unwrap_or(0);
        let Some(mut outbox) = self.outbox.take() else { return false };
        self.outbox = Some(
            outbox::aside(move || {
                outbox.forget(sent);
                outbox
            })
            .await,
        );
        sent > 0
    }

    /// Sends stored appends in their order; how many are off the list. What the broker refuses for good is left out, and
    /// that is told: nobody waits for its answer any more.
    async fn send_stored(&self, stored: Vec<Stored>) -> usize {
        let mut sent = 0;
        let mut stored = stored.into_iter().peekable();
        while let Some(first) = stored.next() {
            // Appends of an earlier process may be under another name.
            let name = first.producer.clone();
            let mut appends = vec![first.append];
            while let Some(next) = stored.next_if(|next| next.producer == name) {
                appends.push(next.append);
            }
            let sender = Self {
                broker: Arc::clone(&self.broker),
                name,
                patience: self.patience,
                time: self.time.clone(),
                outbox: None,
                hurry: self.hurry.clone(),
                given_up: 0,
            };
            for (result, append) in sender.send(&appends).await.into_iter().zip(&appends) {
                match result {
                    None => return sent,
                    Some(Err(error)) => {
                        let stream = String::from_utf8_lossy(&append.stream);
                        tracing::error!(%stream, %error, "an append of the outbox is refused for good, and left out");
                    }
                    Some(Ok(_)) => {}
                }
                sent += 1;
            }
        }
        sent
    }

    /// Sends everything that is left, until the limit.
    async fn close(
        &mut self,
        mut requests: mpsc::Receiver<Request>,
        gathered: Vec<Request>,
        limit: Duration,
    ) -> Result<Flushed, Error> {
        let deadline = self.time.elapsed().saturating_add(limit);
        let mut rest = gathered;
        while let Ok(request) = requests.try_recv() {
            rest.push(request);
        }
        let (mut appends, mut replies) = (Vec::new(), Vec::new());
        for request in rest {
            match request {
                Request::Append(append, reply) => {
                    appends.push(append);
                    replies.push(reply);
                }
                Request::Close(_, reply) => drop(reply.send(Err(closed()))),
            }
        }
        while !appends.is_empty() {
            let (later, unanswered) = (
                appends.split_off(appends.len().min(BATCH_MAX)),
                replies.split_off(replies.len().min(BATCH_MAX)),
            );
            self.publish(mem::replace(&mut appends, later), mem::replace(&mut replies, unanswered)).await;
        }
        if self.given_up > 0 {
            let context =
                format!("{} appends were given up; they may be in their streams all the same", self.given_up);
            return Err(Error::new(ErrorKind::Unavailable).with_context(context));
        }
        let mut backoff = Patience::new();
        while self.is_away() && self.time.elapsed() < deadline {
            if !self.drain_some().await {
                let left = deadline.saturating_sub(self.time.elapsed());
                self.time.sleep(backoff.next().min(left)).await;
            }
        }
        Ok(Flushed { queued: self.outbox.as_ref().map_or(0, Outbox::queued) })
    }
}

/// Answers the callers whose appends came to something; those that are left.
fn answer(
    appends: Vec<Append>,
    replies: Vec<Reply>,
    results: Vec<Option<Result<Appended, Error>>>,
) -> (Vec<Append>, Vec<Reply>) {
    let mut left = (Vec::new(), Vec::new());
    for ((append, reply), result) in appends.into_iter().zip(replies).zip(results) {
        match result {
            // A caller that has gone wants no answer.
            Some(result) => drop(reply.send(result.map(Published::Appended))),
            None => {
                left.0.push(append);
                left.1.push(reply);
            }
        }
    }
    left
}

/// Whether the same append may be taken later.
pub(super) fn is_away(error: &Error) -> bool {
    let kind = error.kind();
    error.is_retryable()
        || matches!(kind, ErrorKind::Io | ErrorKind::Faulted | ErrorKind::Closed | ErrorKind::Corrupt)
}
