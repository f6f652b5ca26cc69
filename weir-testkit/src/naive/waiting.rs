//! Reads that wait: they look again whenever something changed, and when a time has come.

use std::sync::atomic::Ordering;
use std::time::Duration;

use weir_core::{Error, ErrorKind, Timestamp};

use super::space::Space;
use super::time::Alarm;
use super::{NaiveBroker, WAITING_MAX};

/// What a look found.
pub(super) struct Look<T> {
    /// What there is; nothing = wait on.
    pub(super) found: Vec<T>,
    /// When there may be something though nothing changes.
    pub(super) due: Option<Timestamp>,
}

/// Counts a waiting read as long as it lives.
struct Counted<'a>(&'a NaiveBroker);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.shared.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl NaiveBroker {
    fn count_in(&self) -> Result<Counted<'_>, Error> {
        let before = self.shared.waiting.fetch_add(1, Ordering::SeqCst);
        let counted = Counted(self);
        if before >= WAITING_MAX {
            return Err(Error::new(ErrorKind::LimitReached("too many reads wait")));
        }
        Ok(counted)
    }

    /// Looks until something is found or the wait is over.
    pub(super) async fn look_until<T>(
        &self,
        wait: Option<Duration>,
        mut look: impl FnMut(&mut Space) -> Result<Look<T>, Error>,
    ) -> Result<Vec<T>, Error> {
        let start = self.shared.time.elapsed();
        let mut counted = None;
        loop {
            // Before the look, so that no change falls between the look and the wait.
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            let Look { found, due } = self.with(&mut look)?;
            let Some(wait) = wait.filter(|_| found.is_empty()) else { return Ok(found) };
            let left = wait.saturating_sub(self.shared.time.elapsed() - start);
            if left.is_zero() {
                return Ok(found);
            }
            if counted.is_none() {
                counted = Some(self.count_in()?);
            }
            let left = due.map_or(left, |due| left.min(self.shared.time.until(due)));
            match self.shared.alarm {
                Alarm::Tokio if left < Duration::MAX => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep(left) => {}
                    }
                }
                Alarm::Tokio | Alarm::Ticks => changed.await,
            }
        }
    }
}
