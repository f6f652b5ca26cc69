//! What there is to know about a stream: `XINFO`.

use weir_core::{EntryId, ErrorKind};

use crate::api::{
    ConsumerInfo, EntryRef, GroupDetail, GroupInfo, Halt, KeyRef, PendingRow, StreamDetail, StreamInfo,
};
use crate::block::Located;
use crate::core::{Core, Found};
use crate::counters;
use crate::group::{Consumer, Group};
use crate::groups::pending_row;
use crate::node;
use crate::stream::Span;

impl From<Located> for EntryRef {
    fn from(entry: Located) -> Self {
        Self { id: entry.id, lsn: entry.lsn }
    }
}

impl Core {
    /// Counters of a stream, its first and its last entry.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchStream`], [`ErrorKind::WrongType`].
    pub fn stream_info(&mut self, key: KeyRef<'_>) -> Result<StreamInfo, Halt> {
        let found = self.find_stream(key)?.ok_or(ErrorKind::NoSuchStream)?;
        self.info_of(found)
    }

    fn info_of(&self, found: Found) -> Result<StreamInfo, Halt> {
        let stream = self.stream(found);
        let limits = stream.idempotence_limits;
        let idempotence = stream.idempotence.as_ref();
        // One walk over the blocks for both numbers.
        let mut nodes = 0;
        let radix_nodes = node::radix_nodes(stream.node_masters().inspect(|_| nodes += 1));
        let (producers, ids) = idempotence.map_or((0, 0), |i| i.tracked(limits, self.now.0));
        Ok(StreamInfo {
            length: stream.len,
            nodes,
            radix_nodes,
            last_id: stream.last_id,
            max_deleted: stream.max_deleted,
            entries_added: stream.entries_added,
            first_id: stream.first_id,
            next_position: stream.next_pos,
            idempotence_duration: limits.duration_s,
            idempotence_max: limits.ids_max,
            producers,
            idempotent_ids: ids,
            idempotent_added: idempotence.map_or(0, |i| i.added),
            idempotent_duplicates: idempotence.map_or(0, |i| i.duplicates),
            groups: stream.groups.as_ref().map_or(0, |groups| groups.len() as u64),
            first: stream.oldest(&self.blocks)?.map(EntryRef::from),
            last: stream.newest(&self.blocks)?.map(EntryRef::from),
        })
    }

    /// Everything about a stream; of entries and of each pending list the first `count`, all when it is 0.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchStream`], [`ErrorKind::WrongType`].
    pub fn stream_detail(&mut self, key: KeyRef<'_>, count: u64) -> Result<StreamDetail, Halt> {
        let found = self.find_stream(key)?.ok_or(ErrorKind::NoSuchStream)?;
        let most = match usize::try_from(count).unwrap_or(usize::MAX) {
            0 => self.options.limits.reply_entries,
            count => count.min(self.options.limits.reply_entries),
        };
        let stream = self.stream(found);
        let entries = self.entries_of(found, Span { most: most as u64, ..Span::ALL }, false)?;
        let groups = stream.groups().map(|group| self.group_detail(found, group, most)).collect();
        Ok(StreamDetail { info: self.info_of(found)?, entries, groups })
    }

    fn group_detail(&self, found: Found, group: &Group, most: usize) -> GroupDetail {
        let now = self.steady().0;
        let pending = group.pending.from(EntryId::MIN).take(most).map(|row| pending_row(group, &row, now));
        let own_rows = |consumer: &Consumer| -> Vec<PendingRow> {
            let rows = consumer.pending.iter().take(most).filter_map(|id| group.pending.get(*id));
            rows.map(|row| pending_row(group, &row, now)).collect()
        };
        GroupDetail {
            info: self.group_info(found, group),
            pending: pending.collect(),
            consumers: group
                .consumers()
                .map(|(_, consumer)| (consumer_info(consumer), own_rows(consumer)))
                .collect(),
        }
    }

    fn group_info(&self, found: Found, group: &Group) -> GroupInfo {
        GroupInfo {
            name: group.name.clone(),
            consumers: group.consumer_count() as u64,
            pending: group.pending.len() as u64,
            nacked: group.pending.unheld_len() as u64,
            last_id: group.last_id,
            entries_read: group.entries_read,
            lag: counters::lag(self.stream(found), group),
        }
    }

    /// The groups of a stream, in the order of their names' bytes.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchStream`], [`ErrorKind::WrongType`].
    pub fn groups_info(&mut self, key: KeyRef<'_>) -> Result<Vec<GroupInfo>, Halt> {
        let found = self.find_stream(key)?.ok_or(ErrorKind::NoSuchStream)?;
        Ok(self.stream(found).groups().map(|group| self.group_info(found, group)).collect())
    }

    /// The consumers of a group, in the order of their names' bytes.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchStream`], [`ErrorKind::NoSuchGroup`], [`ErrorKind::WrongType`].
    pub fn consumers_info(&mut self, key: KeyRef<'_>, group: &[u8]) -> Result<Vec<ConsumerInfo>, Halt> {
        self.find_stream(key)?.ok_or(ErrorKind::NoSuchStream)?;
        let (found, at) = self.find_group(key, group)?;
        Ok(self.group(found, at).consumers().map(|(_, consumer)| consumer_info(consumer)).collect())
    }

    /// Tells a stream how long and how many idempotent IDs to remember; a change forgets those it remembers.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchStream`], [`ErrorKind::WrongType`].
    pub fn configure_idempotence(
        &mut self,
        key: KeyRef<'_>,
        duration_s: Option<u64>,
        ids_max: Option<u64>,
    ) -> Result<(), Halt> {
        let found = self.find_stream(key)?.ok_or(ErrorKind::NoSuchStream)?;
        self.check_writable(true)?;
        let mut limits = self.stream(found).idempotence_limits;
        limits.duration_s = duration_s.unwrap_or(limits.duration_s);
        limits.ids_max = ids_max.unwrap_or(limits.ids_max);
        let record = crate::record::Record::Idempotence { key: self.key(found).no, limits };
        self.commit_to(found, &record);
        Ok(())
    }

    /// Ties an idempotent ID to an entry that exists.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchStream`], [`ErrorKind::WrongType`], [`ErrorKind::LimitReached`]; [`ErrorKind::Invalid`] with
    /// the text Redis answers.
    pub fn record_idempotent(
        &mut self,
        key: KeyRef<'_>,
        producer: &[u8],
        iid: &[u8],
        id: EntryId,
    ) -> Result<(), Halt> {
        let found = self.find_stream(key)?.ok_or(ErrorKind::NoSuchStream)?;
        let stream = self.stream(found);
        if stream.find(&self.blocks, id)?.is_none() {
            return Err(ErrorKind::Invalid("No such message in stream").into());
        }
        let limits = stream.idempotence_limits;
        let known = stream.idempotence.as_ref().and_then(|i| i.find(producer, iid, limits, self.now.0));
        match known {
            Some(known) if known == id => return Ok(()),
            Some(_) => {
                let text = "IID already exists for this producer with a different stream ID";
                return Err(ErrorKind::Invalid(text).into());
            }
            None => {}
        }
        self.check_producer(Some(found), producer, iid)?;
        self.check_writable(true)?;
        let record = crate::record::Record::IdempotentId { key: self.key(found).no, producer, iid, id };
        self.commit_to(found, &record);
        Ok(())
    }
}

fn consumer_info(consumer: &Consumer) -> ConsumerInfo {
    ConsumerInfo {
        name: consumer.name.clone(),
        pending: consumer.pending.len() as u64,
        seen: consumer.seen,
        active: consumer.active,
    }
}
