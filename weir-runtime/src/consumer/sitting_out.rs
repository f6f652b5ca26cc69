//! What a subscription does while the kill switch is open: it pauses the group, and tries one entry now and then.

use std::sync::Arc;
use std::time::Duration;

use weir_core::Error;

use super::settle::ends;
use super::status::StreamState;
use super::subscription::{Subscription, unless_stopped};
use super::work::Unit;
use crate::metrics::add;
use crate::time::Patience;
use crate::{Outcome, Stage};

/// How long a probe waits for an entry to try.
const PROBE_WAIT: Duration = Duration::from_secs(1);
/// The group's pause ends by itself so long after the next probe should have been: should this process die, others
/// go on.
const PAUSE_MARGIN: Duration = Duration::from_secs(60);

impl<W: Unit, S: Stage<W>> Subscription<W, S> {
    /// Sits out an open kill switch. Whatever is held goes back uncounted, failures that were not reported yet as well.
    pub(super) async fn sit_out(&mut self) -> Result<(), Error> {
        let Some(switch) = self.shared.switch.clone() else { return Ok(()) };
        self.shared.note_state(&self.scope, StreamState::SwitchedOff);
        add(&self.shared.metrics.switched_off, 1);
        let stream = String::from_utf8_lossy(&self.scope.stream).into_owned();
        tracing::warn!(%stream, "nearly everything fails: the group is paused");
        self.drop_read().await;
        self.settler.forgive();
        self.hand_back_hand();
        self.drain(false).await;
        self.settler.forgive();
        self.pause_group().await?;
        if !self.flushed().await? {
            return Ok(());
        }
        while switch.is_open() {
            let wait = self.shared.time.sleep(switch.settings.restart_after);
            if unless_stopped(&self.urgency, wait).await.is_none() {
                return Ok(());
            }
            while switch.is_open() && switch.begin_probe() {
                self.pause_group().await?;
                let shown = self.try_one(PROBE_WAIT).await;
                let is_well = matches!(&shown, Ok(Some(outcome)) if outcome.is_success());
                switch.end_probe(is_well);
                let is_over = match shown {
                    Ok(None) => self.is_stopped(),
                    // What was snoozed, refused, or done without the handler has shown nothing: on to the next one.
                    Ok(Some(outcome)) => matches!(outcome, Outcome::Retry { .. } | Outcome::Defer),
                    Err(error) if ends(&error) => return Err(error),
                    Err(error) => {
                        self.shared.note_error(&self.scope, &error);
                        true
                    }
                };
                if !self.flushed().await? || is_over {
                    break;
                }
            }
            if self.is_stopped() {
                return Ok(());
            }
        }
        tracing::info!(%stream, "the group goes on");
        self.resume_group().await
    }

    /// Settles everything; `false` when told to stop before.
    async fn flushed(&mut self) -> Result<bool, Error> {
        match unless_stopped(&self.urgency, self.settler.flush()).await {
            Some(flushed) => flushed.map(|()| true),
            None => Ok(false),
        }
    }

    async fn pause_group(&mut self) -> Result<(), Error> {
        let after =
            self.shared.switch.as_ref().map_or(Duration::ZERO, |switch| switch.settings.restart_after);
        let length = after + PAUSE_MARGIN;
        let (broker, scope) = (Arc::clone(&self.shared.broker), Arc::clone(&self.scope));
        self.insist(|| broker.pause(&scope.stream, &scope.group, Some(length))).await
    }

    async fn resume_group(&mut self) -> Result<(), Error> {
        let (broker, scope) = (Arc::clone(&self.shared.broker), Arc::clone(&self.scope));
        self.insist(|| broker.resume(&scope.stream, &scope.group)).await
    }

    /// Asks until the broker does it, or this is told to stop.
    async fn insist<'b>(&mut self, ask: impl Fn() -> weir_core::BoxFuture<'b, ()>) -> Result<(), Error> {
        let mut patience = Patience::new();
        loop {
            match unless_stopped(&self.urgency, ask()).await {
                None | Some(Ok(())) => return Ok(()),
                Some(Err(error)) if ends(&error) => return Err(error),
                Some(Err(error)) => self.shared.note_error(&self.scope, &error),
            }
            let wait = self.shared.time.sleep(patience.next());
            if unless_stopped(&self.urgency, wait).await.is_none() {
                return Ok(());
            }
        }
    }
}
