//! Marks: what tells an entry that was handled from one that was not.
//!
//! Deliveries come at least once. Where an effect must not happen twice, the handler writes a [`Mark`] *in the same
//! transaction as the effect*:
//!
//! ```text
//! CREATE TABLE weir_marks (mark TEXT PRIMARY KEY);
//!
//! BEGIN;
//! INSERT INTO weir_marks (mark) VALUES ($1) ON CONFLICT DO NOTHING;   -- no row inserted: done before, COMMIT and Done
//! … the effects …
//! COMMIT;                                                             -- then Outcome::Done
//! ```
//!
//! [`TransactionMarks`] is the same as a trait, so that a program writes it once per database. Where effects and marks
//! cannot share a transaction, a [`MarkStore`] marks after the handler and before the acknowledgement: a second
//! delivery of what was marked is not handled; a crash between effect and mark still repeats the effect.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use std::sync::Arc;
use weir_core::{
    AppendOptions, BoxFuture, Broker, EntryId, Error, ReadFrom, ReadOptions, Retention, first_value,
    slot_name,
};

/// That a group handled an entry. As text it is a key: `stream/group/id`, with `%` for bytes beyond ASCII letters,
/// digits and a few signs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mark(String);

impl Mark {
    /// The mark of an entry.
    #[must_use]
    pub fn of_entry(stream: &[u8], group: &[u8], id: EntryId) -> Self {
        Self(format!("{}/{}/{id}", Escaped(stream), Escaped(group)))
    }

    /// The mark of what a group handled under a key of its own, such as an event's ID: the same event, appended twice,
    /// is handled once.
    #[must_use]
    pub fn of_key(group: &[u8], key: &[u8]) -> Self {
        Self(format!("{}/={}", Escaped(group), Escaped(key)))
    }

    /// As a key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            if byte.is_ascii_alphanumeric() || b"-_.:{}".contains(byte) {
                write!(f, "{}", char::from(*byte))?;
            } else {
                write!(f, "%{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// The hook for marks in the user's own transaction. `T` is the transaction of whatever database it is.
pub trait TransactionMarks<T>: Send + Sync {
    /// What the database says when it fails.
    type Error;

    /// Writes the mark within the transaction; `false` when it stood there already, and then the effects must not
    /// happen again.
    ///
    /// # Errors
    /// What the database says; the transaction is then given up, and the entry retried.
    fn mark<'a>(
        &'a self,
        transaction: &'a mut T,
        mark: &'a Mark,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send + 'a;
}

/// Where marks are kept that are not part of a transaction.
pub trait MarkStore: Send + Sync + 'static {
    /// Whether a mark was set.
    fn is_marked<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, bool>;

    /// Sets a mark.
    fn mark<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, ()>;
}

/// Marks in memory, for tests: the newest so many, gone with the process.
#[derive(Debug)]
pub struct MemoryMarks {
    marks: Mutex<Recent>,
}

/// The newest marks.
#[derive(Debug)]
struct Recent {
    limit: usize,
    known: HashSet<Mark>,
    order: VecDeque<Mark>,
}

impl Recent {
    fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), known: HashSet::new(), order: VecDeque::new() }
    }

    fn insert(&mut self, mark: Mark) {
        if !self.known.insert(mark.clone()) {
            return;
        }
        self.order.push_back(mark);
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl MemoryMarks {
    /// Keeps the newest `limit` marks, at least one.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { marks: Mutex::new(Recent::new(limit)) }
    }

    fn marks(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.marks.lock().expect("nothing panics under this lock")
    }
}

impl MarkStore for MemoryMarks {
    fn is_marked<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, bool> {
        Box::pin(async move { Ok(self.marks().known.contains(mark)) })
    }

    fn mark<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.marks().insert(mark.clone());
            Ok(())
        })
    }
}

/// Marks in a stream of the broker, `{name}:marks`, shared by all consumers that use the same name.
///
/// Before it answers it reads what others have marked since, so that it knows every mark there is, the newest `limit`
/// of them: the stream keeps no more. One read per question, one append per mark.
pub struct BrokerMarks {
    broker: Arc<dyn Broker>,
    stream: Vec<u8>,
    limit: usize,
    /// Held while reading on, so that nobody answers from half of what was read.
    seen: tokio::sync::Mutex<Seen>,
}

struct Seen {
    after: Option<EntryId>,
    recent: Recent,
    is_bounded: bool,
}

impl BrokerMarks {
    /// The most marks that are kept unless said otherwise.
    pub const LIMIT: usize = 1_000_000;
    const FIELD: &'static [u8] = b"mark";
    const PAGE: u64 = 1_000;

    /// The marks under a name, such as the group's.
    ///
    /// # Errors
    /// [`weir_core::ErrorKind::Invalid`] for a name with a closing brace and no hash tag.
    pub fn new(broker: Arc<dyn Broker>, name: impl AsRef<[u8]>, limit: usize) -> Result<Self, Error> {
        let stream = [&slot_name(name.as_ref())?, &b":marks"[..]].concat();
        let seen = Seen { after: None, recent: Recent::new(limit), is_bounded: false };
        Ok(Self { broker, stream, limit: limit.max(1), seen: tokio::sync::Mutex::new(seen) })
    }

    /// The stream that holds them.
    #[must_use]
    pub fn stream(&self) -> &[u8] {
        &self.stream
    }

    async fn catch_up(&self, seen: &mut Seen) -> Result<(), Error> {
        loop {
            let from = seen.after.map_or(ReadFrom::Start, ReadFrom::After);
            let options = ReadOptions { from, to: None, backward: false, count: Self::PAGE, wait: None };
            let entries = self.broker.read(&self.stream, options).await?;
            for entry in &entries {
                if let Some(mark) = first_value(&entry.fields, Self::FIELD) {
                    seen.recent.insert(Mark(String::from_utf8_lossy(mark).into_owned()));
                }
                seen.after = Some(entry.id);
            }
            if (entries.len() as u64) < Self::PAGE {
                return Ok(());
            }
        }
    }
}

impl fmt::Debug for BrokerMarks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerMarks").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl MarkStore for BrokerMarks {
    fn is_marked<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let mut seen = self.seen.lock().await;
            self.catch_up(&mut seen).await?;
            Ok(seen.recent.known.contains(mark))
        })
    }

    fn mark<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut seen = self.seen.lock().await;
            if !seen.is_bounded {
                let retention = Retention { length: Some(self.limit as u64), ..Retention::default() };
                self.broker.set_retention(&self.stream, Some(retention)).await?;
                seen.is_bounded = true;
            }
            let fields = [(Self::FIELD, mark.as_str().as_bytes())];
            self.broker.append(&self.stream, &fields, AppendOptions::default()).await.map(drop)
        })
    }
}

/// How long a question to a mark store may take before the entry is retried: [`crate::Builder::dedup`].
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_different_things_differ() {
        let id = EntryId::new(1, 2);
        let marks = [
            Mark::of_entry(b"a", b"b/c", id),
            Mark::of_entry(b"a/b", b"c", id),
            Mark::of_entry(b"a", b"b", id),
            Mark::of_key(b"a", b"b"),
        ];
        let different: HashSet<_> = marks.iter().collect();
        assert_eq!(different.len(), marks.len());
        assert_eq!(marks[1].as_str(), "a%2fb/c/1-2");
    }
}
