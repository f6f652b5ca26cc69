//! Appending inside the user's own SQL transaction: the entry is there if, and only if, the transaction was committed.
//!
//! ```text
//! CREATE TABLE weir_outbox (number BIGSERIAL PRIMARY KEY, append_id TEXT, stream BYTEA, fields BYTEA);
//!
//! BEGIN;
//! … the user's changes …
//! INSERT INTO weir_outbox (append_id, stream, fields) VALUES ($1, $2, $3);      -- TransactionOutbox::put
//! COMMIT;
//!
//! SELECT … FROM weir_outbox ORDER BY number LIMIT $1;                           -- OutboxTable::oldest
//! DELETE FROM weir_outbox WHERE number = ANY($1);                               -- OutboxTable::remove
//! ```
//!
//! [`Publisher::relay`] moves rows from the table to their streams. A row that it moved and could not remove is moved
//! again, and recognised by its append ID, as long as the publisher has the same name: relays that take turns on several
//! machines want to be given one ([`super::Builder::name`]). One relay per table at a time keeps the order.

use std::future::Future;
use std::time::Duration;

use weir_core::{BoxFuture, Error, ErrorKind, FieldRefs, Fields};

use super::sender::is_away;
use super::{Append, Published, Publisher, closed, traced};
use crate::Shutdown;
use crate::time::Patience;

/// An append as a row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// What tells it from every other append.
    pub append_id: String,
    /// Where it goes.
    pub stream: Vec<u8>,
    /// What it says. [`OutboxRow::encode_fields`] makes one value of it.
    pub fields: Fields,
}

impl OutboxRow {
    /// The fields as one value for a column: each name and value with its length (u32, little-endian) before it.
    #[must_use]
    pub fn encode_fields(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for text in self.fields.iter().flat_map(|(name, value)| [name, value]) {
            bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend_from_slice(text);
        }
        bytes
    }

    /// The other way round; `None` for what [`Self::encode_fields`] never gives.
    #[must_use]
    pub fn decode_fields(mut bytes: &[u8]) -> Option<Fields> {
        let mut text = || {
            let (length, rest) = bytes.split_at_checked(4)?;
            let (text, rest) = rest.split_at_checked(u32::from_le_bytes(length.try_into().ok()?) as usize)?;
            bytes = rest;
            Some((text.to_vec(), rest.is_empty()))
        };
        let mut fields = Vec::new();
        loop {
            let (name, _) = text()?;
            let (value, is_end) = text()?;
            fields.push((name, value));
            if is_end {
                return Some(fields);
            }
        }
    }
}

/// The hook for rows that are written in the user's own transaction. `T` is the transaction of whatever database it is.
pub trait TransactionOutbox<T>: Send + Sync {
    /// What the database says when it fails.
    type Error;

    /// Writes the row within the transaction.
    ///
    /// # Errors
    /// What the database says; the transaction is then given up.
    fn put<'a>(
        &'a self,
        transaction: &'a mut T,
        row: &'a OutboxRow,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'a;
}

/// The table, for who moves its rows to the broker.
pub trait OutboxTable: Send + Sync {
    /// The oldest committed rows with their numbers, at most so many.
    fn oldest(&self, count: usize) -> BoxFuture<'_, Vec<(i64, OutboxRow)>>;

    /// Removes rows.
    fn remove<'a>(&'a self, numbers: &'a [i64]) -> BoxFuture<'a, ()>;
}

/// Rows that are moved together.
const ROWS_MAX: usize = 500;

impl Publisher {
    /// An append as a row for [`TransactionOutbox::put`], with an ID of its own and the current trace.
    #[must_use]
    pub fn row(&self, stream: impl AsRef<[u8]>, fields: FieldRefs<'_>) -> OutboxRow {
        let append_id = String::from_utf8_lossy(&self.next_id()).into_owned();
        OutboxRow { append_id, stream: stream.as_ref().to_vec(), fields: traced(fields) }
    }

    /// Moves rows from the table to their streams until the shutdown; looks every `every` when there is none. While the
    /// broker is away the rows wait in the table.
    ///
    /// # Errors
    /// What the table says, or the broker about a row that it never takes: the relay stops there, since it keeps the
    /// order.
    pub async fn relay(
        &self,
        table: &dyn OutboxTable,
        every: Duration,
        shutdown: impl Into<Shutdown>,
    ) -> Result<(), Error> {
        let (mut shutdown, mut patience) = (shutdown.into(), Patience::new());
        loop {
            let wait = match self.relay_some(table).await? {
                Ok(moved) => {
                    patience.reset();
                    if moved == ROWS_MAX { Duration::ZERO } else { every }
                }
                Err(error) if is_away(&error) && *error.kind() != ErrorKind::Closed => patience.next(),
                Err(error) => return Err(error),
            };
            tokio::select! {
                biased;
                () = shutdown.signalled(1) => return Ok(()),
                () = self.inner.time.sleep(wait) => {}
            }
        }
    }

    /// Moves the oldest rows; how many, or what the broker says.
    ///
    /// # Errors
    /// What the table says, or that the publisher was closed.
    async fn relay_some(&self, table: &dyn OutboxTable) -> Result<Result<usize, Error>, Error> {
        let rows = table.oldest(ROWS_MAX).await?;
        // All of them get their places first, and then their answers.
        let mut answers = Vec::with_capacity(rows.len());
        for (_, row) in &rows {
            let (stream, append_id) = (row.stream.clone(), row.append_id.clone().into_bytes());
            answers.push(self.enqueue(Append { stream, append_id, fields: row.fields.clone() }).await?);
        }
        let mut sent: Vec<Result<Published, Error>> = Vec::with_capacity(rows.len());
        for answer in answers {
            sent.push(answer.await.unwrap_or_else(|_| Err(closed())));
        }
        let numbers: Vec<i64> = rows
            .iter()
            .zip(&sent)
            .take_while(|(_, sent)| sent.is_ok())
            .map(|((number, _), _)| *number)
            .collect();
        table.remove(&numbers).await?;
        Ok(sent.into_iter().collect::<Result<Vec<_>, _>>().map(|sent| sent.len()))
    }
}
