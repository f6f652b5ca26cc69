//! The vocabulary of streams: one stream of a story.

use std::time::Duration;

use tokio::task::JoinHandle;
use weir_core::{
    AppendOptions, Appended, BatchOptions, CreateGroup, Entry, EntryId, Error, GroupOrigin, Head, LostEntry,
    LostQuery, NewEntry, Policy, ReadFrom, ReadOptions, Retention, StreamInfo, TrimTo, Trimmed, alerts_of,
};

use super::check::{Wrong, labels, some, text, value_of, went};
use super::group::Group;
use super::story::Story;

/// A stream of a story.
#[derive(Clone)]
pub(super) struct Stream {
    pub(super) story: Story,
    pub(super) name: Vec<u8>,
}

/// Reads from there on, forwards, at most a thousand entries, without waiting.
pub(super) fn from(from: ReadFrom) -> ReadOptions {
    ReadOptions { from, to: None, backward: false, count: 1_000, wait: None }
}

/// The same backwards.
pub(super) fn back_from(from: ReadFrom) -> ReadOptions {
    ReadOptions { from, to: None, backward: true, count: 1_000, wait: None }
}

impl Stream {
    pub(super) fn new(story: Story, name: Vec<u8>) -> Self {
        Self { story, name }
    }

    /// Appends an entry with the one field `n`.
    pub(super) async fn add(&self, label: &str) -> Result<EntryId, Wrong> {
        self.add_fields(&[("n", label)]).await
    }

    /// Appends one entry after the other.
    pub(super) async fn add_all(&self, labels: &[&str]) -> Result<Vec<EntryId>, Wrong> {
        let mut ids = Vec::with_capacity(labels.len());
        for label in labels {
            ids.push(self.add(label).await?);
        }
        Ok(ids)
    }

    /// Appends so many entries, `1`, `2`, `3` …
    pub(super) async fn add_many(&self, count: usize) -> Result<Vec<EntryId>, Wrong> {
        let labels: Vec<String> = (1..=count).map(|n| n.to_string()).collect();
        let mut ids = Vec::with_capacity(count);
        for chunk in labels.chunks(1_000) {
            let fields: Vec<[(&[u8], &[u8]); 1]> =
                chunk.iter().map(|label| [(&b"n"[..], label.as_bytes())]).collect();
            let entries: Vec<NewEntry<'_>> =
                fields.iter().map(|fields| NewEntry { fields, id: None, append_id: None }).collect();
            let appended =
                self.story.broker().append_batch(&self.name, &entries, BatchOptions::default()).await;
            ids.extend(went("a batch is appended", appended)?.iter().map(|appended| appended.id));
        }
        Ok(ids)
    }

    /// Appends an entry with these fields.
    pub(super) async fn add_fields(&self, fields: &[(&str, &str)]) -> Result<EntryId, Wrong> {
        let appended = self.append(fields, AppendOptions::default()).await;
        Ok(went(&format!("{fields:?} is appended"), appended)?.id)
    }

    /// Appends an entry with a key, as delivery in order of keys wants it.
    pub(super) async fn add_keyed(&self, label: &str, key: &str) -> Result<EntryId, Wrong> {
        self.add_fields(&[("n", label), ("key", key)]).await
    }

    /// Appends an entry with an ID of its own.
    pub(super) async fn add_at(&self, ms: u64, seq: u64, label: &str) -> Result<EntryId, Wrong> {
        let options = AppendOptions { id: Some(EntryId::new(ms, seq)), ..AppendOptions::default() };
        let appended = self.append(&[("n", label)], options).await;
        Ok(went(&format!("{label:?} is appended as {ms}-{seq}"), appended)?.id)
    }

    /// Appends an entry and hands the answer on.
    pub(super) async fn append(
        &self,
        fields: &[(&str, &str)],
        options: AppendOptions,
    ) -> Result<Appended, Error> {
        let fields: Vec<(&[u8], &[u8])> =
            fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        self.story.broker().append(&self.name, &fields, options).await
    }

    /// Appends entries together and hands the answer on; each is a label, its ID and its append ID.
    pub(super) async fn batch(
        &self,
        entries: &[(&str, Option<EntryId>, Option<&str>)],
        options: BatchOptions,
    ) -> Result<Vec<Appended>, Error> {
        let fields: Vec<[(&[u8], &[u8]); 1]> =
            entries.iter().map(|(label, ..)| [(&b"n"[..], label.as_bytes())]).collect();
        let entries: Vec<NewEntry<'_>> = entries
            .iter()
            .zip(&fields)
            .map(|((_, id, append_id), fields)| NewEntry {
                fields,
                id: *id,
                append_id: append_id.map(str::as_bytes),
            })
            .collect();
        self.story.broker().append_batch(&self.name, &entries, options).await
    }

    /// The entries that a read gives.
    pub(super) async fn entries(&self, options: ReadOptions) -> Result<Vec<Entry>, Wrong> {
        let read = self.story.broker().read(&self.name, options).await;
        went(&format!("{} is read, {options:?}", text(&self.name)), read)
    }

    /// The labels of the entries that a read gives.
    pub(super) async fn read(&self, options: ReadOptions) -> Result<Vec<String>, Wrong> {
        Ok(labels(&self.entries(options).await?))
    }

    /// The labels of all entries.
    pub(super) async fn all(&self) -> Result<Vec<String>, Wrong> {
        self.read(from(ReadFrom::Start)).await
    }

    /// A read beside the story.
    pub(super) fn read_beside(&self, options: ReadOptions) -> JoinHandle<Result<Vec<String>, Wrong>> {
        let stream = self.clone();
        tokio::spawn(async move { stream.read(options).await })
    }

    /// The end of the stream; none is wrong.
    pub(super) async fn head(&self) -> Result<Head, Wrong> {
        some(
            "the head of the stream",
            went("the head is asked for", self.story.broker().head(&self.name).await)?,
        )
    }

    /// Its counters; none is wrong.
    pub(super) async fn info(&self) -> Result<StreamInfo, Wrong> {
        let info = self.story.broker().stream_info(&self.name).await;
        some("the counters of the stream", went("the stream's counters are asked for", info)?)
    }

    /// Trims it.
    pub(super) async fn trim(&self, to: TrimTo) -> Result<Trimmed, Wrong> {
        went(&format!("the stream is trimmed to {to:?}"), self.story.broker().trim(&self.name, to).await)
    }

    /// Removes entries.
    pub(super) async fn delete(&self, ids: &[EntryId]) -> Result<u64, Wrong> {
        went("entries are deleted", self.story.broker().delete_entries(&self.name, ids).await)
    }

    /// Says how much is kept.
    pub(super) async fn keep(&self, retention: Retention) -> Result<(), Wrong> {
        let set = self.story.broker().set_retention(&self.name, Some(retention)).await;
        went(&format!("{retention:?} is set"), set)
    }

    /// Entries that were lost.
    pub(super) async fn lost(&self) -> Result<Vec<LostEntry>, Wrong> {
        let query = LostQuery { group: None, after: None, count: 1_000 };
        Ok(went("lost entries are listed", self.story.broker().lost(&self.name, query).await)?.entries)
    }

    /// The levels of the alerts that stand, oldest first.
    pub(super) async fn alert_levels(&self) -> Result<Vec<String>, Wrong> {
        let name = went("the name of the alerts", alerts_of(&self.name))?;
        let alerts = Self { story: self.story.clone(), name };
        let entries = alerts.entries(from(ReadFrom::Start)).await?;
        Ok(entries.iter().map(|entry| value_of(entry, "level").unwrap_or_default()).collect())
    }

    /// Makes a group that starts with the first entry there is.
    pub(super) async fn group(&self, group: &str, policy: Policy) -> Result<Group, Wrong> {
        self.group_from(group, GroupOrigin::Beginning, policy).await
    }

    /// Makes a group that starts there.
    pub(super) async fn group_from(
        &self,
        group: &str,
        origin: GroupOrigin,
        policy: Policy,
    ) -> Result<Group, Wrong> {
        let options = CreateGroup { origin, policy };
        let made = self.story.broker().create_group(&self.name, group.as_bytes(), options).await;
        went(&format!("the group {group} is made"), made)?;
        Ok(self.existing_group(group))
    }

    /// A group by its name, whether there is one or not.
    pub(super) fn existing_group(&self, group: &str) -> Group {
        Group { stream: self.clone(), name: group.as_bytes().to_vec() }
    }

    /// Waits, beside the story, for what comes after an ID.
    pub(super) fn wait_after(&self, id: EntryId, wait: Duration) -> JoinHandle<Result<Vec<String>, Wrong>> {
        self.read_beside(ReadOptions { wait: Some(wait), ..from(ReadFrom::After(id)) })
    }
}
