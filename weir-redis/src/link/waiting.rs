//! Waiting at a server for entries, through failures of the connection.

use std::time::Duration;

use redis::Value;
use tokio::time::{Instant, sleep};
use weir_core::{Error, ErrorKind};

use super::{Link, Reader};

/// A wait in slices. It has a connection of its own from the first slice to its end.
#[derive(Debug)]
pub(crate) struct Waiting<'w> {
    link: &'w Link,
    key: &'w [u8],
    reader: Option<Reader>,
    /// Since when the server could not be reached.
    away: Option<Instant>,
}

impl<'w> Waiting<'w> {
    pub(crate) fn new(link: &'w Link, key: &'w [u8]) -> Self {
        Self { link, key, reader: None, away: None }
    }

    /// Waits for entries above an ID. `Nil` when none came in this slice, or the connection was lost in it.
    ///
    /// # Errors
    /// `Unavailable` when the server was away for longer than a call goes on trying.
    pub(crate) async fn wait(&mut self, above: &str, count: u64, slice: Duration) -> Result<Value, Error> {
        match self.try_wait(above, count, slice).await {
            Ok(value) => {
                self.away = None;
                Ok(value)
            }
            Err(error) if *error.kind() == ErrorKind::Unavailable => {
                self.reader = None;
                self.link.forget_where();
                let since = *self.away.get_or_insert_with(Instant::now);
                if since.elapsed() > self.link.options().retry_for {
                    return Err(error);
                }
                sleep(self.link.options().backoff_first).await;
                Ok(Value::Nil)
            }
            Err(error) => Err(error),
        }
    }

    async fn try_wait(&mut self, above: &str, count: u64, slice: Duration) -> Result<Value, Error> {
        if self.reader.is_none() {
            self.reader = Some(self.link.reader(self.key).await?);
        }
        match &mut self.reader {
            Some(reader) => reader.wait(self.key, above, count, slice).await,
            None => Ok(Value::Nil),
        }
    }
}
