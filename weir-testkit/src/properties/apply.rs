//! One operation on one broker, and its reply as text.

use std::time::Duration;

use weir_core::{
    AppendOptions, AutoClaim, BatchOptions, Broker, Claim, CreateGroup, Error, GroupSource, NewEntry,
    PendingQuery, Producer, Purge, ReadFrom, ReadGroup, ReadOptions, Redrive, RestoredRow, Retention, Seek,
    SeekTo, Settle, Settlement, Timestamp, TrimTo,
};

use super::book::{Book, Names};
use super::generate::FAR;
use super::look::{self, ALL};
use super::op::{Fate, From, GroupNo, Mark, Op, Restored, Source, StreamNo};
use super::shown::{self, Shown};

/// Applies an operation. Errors are replies, too.
pub(super) async fn apply(broker: &dyn Broker, book: &mut Book, names: &Names, op: &Op) -> String {
    match replied(broker, book, names, op).await {
        Ok(reply) => reply,
        Err(error) => format!(
            "error: {}",
            Shown { book, stream: stream_of(op), positions: names.positions }.error(&error)
        ),
    }
}

fn stream_of(op: &Op) -> StreamNo {
    match op {
        Op::Append { stream, .. } | Op::Batch { stream, .. } => *stream,
        _ => 0,
    }
}

async fn replied(broker: &dyn Broker, book: &mut Book, names: &Names, op: &Op) -> Result<String, Error> {
    match op {
        Op::Append { .. }
        | Op::Batch { .. }
        | Op::Read { .. }
        | Op::ReadSide { .. }
        | Op::Head { .. }
        | Op::Info { .. }
        | Op::List { .. }
        | Op::DeleteStream { .. }
        | Op::DeleteEntries { .. }
        | Op::Trim { .. }
        | Op::SetRetention { .. }
        | Op::Retention { .. }
        | Op::Lost { .. } => of_streams(broker, book, names, op).await,
        Op::CreateGroup { .. }
        | Op::DeleteGroup { .. }
        | Op::SetPolicy { .. }
        | Op::Groups { .. }
        | Op::GroupInfo { .. }
        | Op::Seek { .. }
        | Op::Pause { .. }
        | Op::Resume { .. }
        | Op::CreateConsumer { .. }
        | Op::Consumers { .. }
        | Op::DeleteConsumer { .. }
        | Op::Lag { .. } => of_groups(broker, book, names, op).await,
        Op::Look | Op::Restart => look::look(broker, book, names).await,
        _ => of_deliveries(broker, book, names, op).await,
    }
}

/// Fields as the traits want them.
type Refs<'a> = Vec<(&'a [u8], &'a [u8])>;

fn refs<'a>(fields: &'a [(&'static str, &'static str)]) -> Refs<'a> {
    fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
}

async fn of_streams(broker: &dyn Broker, book: &mut Book, names: &Names, op: &Op) -> Result<String, Error> {
    Ok(match op {
        Op::Append { stream, entry, producer, expected } => {
            let (id, append_id, fields) = entry;
            let producer = producer
                .zip(*append_id)
                .map(|(name, append_id)| Producer { name: name.into(), append_id: append_id.into() });
            let id = id.map(|id| book.id((*stream, 0), id));
            let options = AppendOptions { id, producer, expected: *expected };
            let appended = broker.append(&names.stream(*stream), &refs(fields), options).await?;
            book.note_appended(*stream, appended.id);
            format!("{} {}", book.shown_id(*stream, appended.id), appended.is_duplicate)
        }
        Op::Batch { stream, entries, producer, expected } => {
            let fields: Vec<Refs<'_>> = entries.iter().map(|(_, _, fields)| refs(fields)).collect();
            let ids: Vec<_> =
                entries.iter().map(|entry| entry.0.map(|id| book.id((*stream, 0), id))).collect();
            let parts = entries.iter().zip(ids).zip(&fields);
            let batch: Vec<NewEntry<'_>> = parts
                .map(|((entry, id), fields)| NewEntry { fields, id, append_id: entry.1.map(str::as_bytes) })
                .collect();
            let options = BatchOptions { producer: producer.map(Into::into), expected: *expected };
            let appended = broker.append_batch(&names.stream(*stream), &batch, options).await?;
            appended.iter().for_each(|appended| book.note_appended(*stream, appended.id));
            let shown =
                appended.iter().map(|one| format!("{} {}", book.shown_id(*stream, one.id), one.is_duplicate));
            shown.collect::<Vec<_>>().join(", ")
        }
        Op::Read { stream, from, to, backward, count, wait } => {
            let group = (*stream, 0);
            let from = match *from {
                From::Start => ReadFrom::Start,
                From::End => ReadFrom::End,
                From::Id(id) => ReadFrom::Id(book.id(group, id)),
                From::After(id) => ReadFrom::After(book.id(group, id)),
                From::Position(position) if names.positions => ReadFrom::Position(position),
                From::Position(_) => ReadFrom::Start,
                From::Time(0) if !names.positions => ReadFrom::Start,
                From::Time(FAR) if !names.positions => ReadFrom::End,
                From::Time(time) => ReadFrom::Time(Timestamp(time)),
            };
            let to = to.map(|to| book.id(group, to));
            let wait = wait.then_some(Duration::ZERO);
            let options = ReadOptions { from, to, backward: *backward, count: *count, wait };
            let entries = broker.read(&names.stream(*stream), options).await?;
            Shown { book, stream: *stream, positions: names.positions }.entries(&entries)
        }
        Op::ReadSide { stream, side } => {
            let entries = broker.read(&names.side(*stream, *side), ALL).await?;
            Shown { book, stream: *stream, positions: names.positions }.side_entries(&entries)
        }
        Op::Head { stream } => {
            let head = broker.head(&names.stream(*stream)).await?;
            format!("{:?}", head.map(|head| (book.shown_id(*stream, head.last_id), head.version)))
        }
        Op::Info { stream } => {
            let info = broker.stream_info(&names.stream(*stream)).await?;
            let id = |id| book.shown_id(*stream, id);
            let shown = info.map(|info| {
                (info.length, info.entries_added, info.groups, id(info.last_id), info.first_id.map(id))
            });
            format!("{shown:?}")
        }
        Op::List { side_streams, page } => look::list(broker, names, *side_streams, *page).await?.join(" "),
        Op::DeleteStream { stream } => {
            let there_was = broker.delete_stream(&names.stream(*stream)).await?;
            book.forget(*stream);
            // A stream of the same name is to have other IDs, so that what is left of this one can be told apart.
            tokio::time::sleep(Duration::from_millis(2)).await;
            format!("{there_was}")
        }
        Op::DeleteEntries { stream, ids } => {
            let ids: Vec<_> = ids.iter().map(|id| book.id((*stream, 0), *id)).collect();
            format!("{}", broker.delete_entries(&names.stream(*stream), &ids).await?)
        }
        Op::Trim { stream, to } => {
            let to = match *to {
                Mark::Start => TrimTo::Time(Timestamp(0)),
                Mark::End => TrimTo::Length(0),
                Mark::Id(id) => TrimTo::MinId(book.id((*stream, 0), id)),
                Mark::Time(FAR) if !names.positions => TrimTo::Length(0),
                Mark::Time(time) => TrimTo::Time(Timestamp(time)),
                Mark::Count(length) => TrimTo::Length(length),
                Mark::Bytes(bytes) => TrimTo::Bytes(bytes),
            };
            format!("{:?}", broker.trim(&names.stream(*stream), to).await?)
        }
        Op::SetRetention { stream, retention } => {
            let retention = retention.map(|limits| Retention {
                age: limits.age.filter(|age| names.positions || age.is_zero()),
                ..limits
            });
            format!("{:?}", broker.set_retention(&names.stream(*stream), retention).await?)
        }
        Op::Retention { stream } => format!("{:?}", broker.retention(&names.stream(*stream)).await?),
        Op::Lost { stream, group, page } => {
            let group = group.map(|group| names.group(group));
            let lost = look::lost(broker, &names.stream(*stream), group, *page).await?;
            Shown { book, stream: *stream, positions: names.positions }.lost(&lost)
        }
        _ => unreachable!("it is no operation of streams"),
    })
}

async fn of_groups(broker: &dyn Broker, book: &Book, names: &Names, op: &Op) -> Result<String, Error> {
    let named = |(stream, group): GroupNo| {
        (names.stream(stream), names.group(group), Shown { book, stream, positions: names.positions })
    };
    Ok(match op {
        Op::CreateGroup { group, origin, policy } => {
            let (stream, name, _) = named(*group);
            let origin = origin.at(|id| book.id(*group, id));
            let options = CreateGroup { origin, policy: names.policy(*group, policy) };
            format!("{:?}", broker.create_group(&stream, name, options).await?)
        }
        Op::DeleteGroup { group } => {
            let (stream, name, _) = named(*group);
            format!("{}", broker.delete_group(&stream, name).await?)
        }
        Op::SetPolicy { group, policy } => {
            let (stream, name, _) = named(*group);
            format!("{:?}", broker.set_policy(&stream, name, names.policy(*group, policy)).await?)
        }
        Op::Groups { stream } => {
            let groups = broker.groups(&names.stream(*stream)).await?;
            let shown = groups
                .iter()
                .map(|group| Shown { book, stream: *stream, positions: names.positions }.group(group));
            shown.collect::<Vec<_>>().join("; ")
        }
        Op::GroupInfo { group } => {
            let (stream, name, shown) = named(*group);
            broker.group_info(&stream, name).await?.map_or("none".into(), |info| shown.group(&info))
        }
        Op::Seek { group, to, dry_run } => {
            let (stream, name, shown) = named(*group);
            let to = match *to {
                Mark::Start => SeekTo::Start,
                Mark::End => SeekTo::End,
                Mark::Id(id) => SeekTo::After(book.id(*group, id)),
                Mark::Time(FAR) if !names.positions => SeekTo::End,
                Mark::Time(time) => SeekTo::Time(Timestamp(time)),
                Mark::Count(count) | Mark::Bytes(count) => SeekTo::Skip(count),
            };
            let sought = broker.seek(&stream, name, Seek { to, dry_run: *dry_run }).await?;
            format!("{} -> {} dropped {}", shown.place(sought.from), shown.place(sought.to), sought.dropped)
        }
        Op::Pause { group, duration } => {
            let (stream, name, _) = named(*group);
            format!("{:?}", broker.pause(&stream, name, *duration).await?)
        }
        Op::Resume { group } => {
            let (stream, name, _) = named(*group);
            format!("{:?}", broker.resume(&stream, name).await?)
        }
        Op::CreateConsumer { group, consumer } => {
            let (stream, name, _) = named(*group);
            format!("{}", broker.create_consumer(&stream, name, names.consumer(*consumer)).await?)
        }
        Op::Consumers { group } => {
            let (stream, name, _) = named(*group);
            shown::consumers(&broker.consumers(&stream, name).await?)
        }
        Op::DeleteConsumer { group, consumer, fate } => {
            let (stream, name, _) = named(*group);
            format!("{}", broker.delete_consumer(&stream, name, names.consumer(*consumer), *fate).await?)
        }
        Op::Lag { group } => {
            let (stream, name, _) = named(*group);
            shown::lag(&broker.lag(&stream, name).await?)
        }
        _ => unreachable!("it is no operation of groups"),
    })
}

async fn of_deliveries(
    broker: &dyn Broker,
    book: &mut Book,
    names: &Names,
    op: &Op,
) -> Result<String, Error> {
    let named = |(stream, group): GroupNo| (names.stream(stream), names.group(group));
    Ok(match op {
        Op::ReadGroup { group, consumer, source, count, while_paused } => {
            let (stream, name) = named(*group);
            let source = match *source {
                Source::New => GroupSource::New,
                Source::Reclaimed(idle_min) => GroupSource::Reclaimed { idle_min },
                Source::Available(idle_min) => GroupSource::Available { idle_min },
                Source::History(after) => GroupSource::History { after: book.id(*group, after) },
            };
            let options = ReadGroup {
                group: name.to_vec(),
                consumer: names.consumer(*consumer).to_vec(),
                source,
                count: *count,
                wait: None,
                while_paused: *while_paused,
            };
            let deliveries = broker.read_group(&stream, options).await?;
            book.note_delivered(*group, &deliveries);
            Shown { book, stream: group.0, positions: names.positions }.deliveries(&deliveries)
        }
        Op::Settle { group, each } => {
            let (stream, name) = named(*group);
            let settle = |(id, token, fate): &_| Settle {
                id: book.id(*group, *id),
                token: book.token(*group, *id, *token),
                settlement: settlement(*fate),
            };
            let settlements: Vec<_> = each.iter().map(settle).collect();
            format!("{:?}", broker.settle(&stream, name, &settlements).await?)
        }
        Op::Claim { group, consumer, idle_min, ids } => {
            let (stream, name) = named(*group);
            let options = Claim {
                group: name.to_vec(),
                consumer: names.consumer(*consumer).to_vec(),
                idle_min: *idle_min,
                ids: ids.iter().map(|id| book.id(*group, *id)).collect(),
            };
            let deliveries = broker.claim(&stream, options).await?;
            book.note_delivered(*group, &deliveries);
            Shown { book, stream: group.0, positions: names.positions }.deliveries(&deliveries)
        }
        Op::AutoClaim { group, consumer, idle_min, start, count } => {
            let (stream, name) = named(*group);
            let options = AutoClaim {
                group: name.to_vec(),
                consumer: names.consumer(*consumer).to_vec(),
                idle_min: *idle_min,
                start: book.id(*group, *start),
                count: *count,
            };
            let claimed = broker.auto_claim(&stream, options).await?;
            book.note_delivered(*group, &claimed.deliveries);
            let shown = Shown { book, stream: group.0, positions: names.positions };
            let (deliveries, cursor) = (shown.deliveries(&claimed.deliveries), shown.id(claimed.cursor));
            format!("{deliveries} {cursor} deleted {}", shown.ids(&claimed.deleted))
        }
        Op::Summary { group } => {
            let (stream, name) = named(*group);
            let summary = broker.pending_summary(&stream, name).await?;
            let id = |id| book.shown_id(group.0, id);
            let bounds = summary.bounds.map(|(low, high)| (id(low), id(high)));
            let consumers = summary.consumers.iter().map(|(name, held)| (shown::text(name), held));
            format!("{} {bounds:?} {:?}", summary.count, consumers.collect::<Vec<_>>())
        }
        Op::Pending { group, consumer, idle_min, start, end, count } => {
            let (stream, name) = named(*group);
            let query = PendingQuery {
                consumer: consumer.map(|consumer| names.consumer(consumer).to_vec()),
                idle_min: *idle_min,
                start: book.id(*group, *start),
                end: book.id(*group, *end),
                count: *count,
            };
            Shown { book, stream: group.0, positions: names.positions }
                .rows(&broker.pending(&stream, name, query).await?)
        }
        Op::Restore { group, rows } => {
            let (stream, name) = named(*group);
            let rows: Vec<_> = rows.iter().map(|row| restored(book, names, *group, row)).collect();
            format!("{}", broker.restore_pending(&stream, name, &rows).await?)
        }
        Op::Letters { group, filter, page } => {
            let filter = look::filter(book, *group, filter);
            let letters = look::letters(broker, names, *group, &filter, *page).await?;
            Shown { book, stream: group.0, positions: names.positions }.letters(&letters)
        }
        Op::Redrive { group, filter, count, dry_run } => {
            let (stream, name) = named(*group);
            let filter = look::filter(book, *group, filter);
            let options = Redrive { filter, count: *count, dry_run: *dry_run };
            let redriven = broker.redrive(&stream, name, options).await?;
            let shown = Shown { book, stream: group.0, positions: names.positions };
            let (ids, gone) = (shown.ids(&redriven.entry_ids), shown.ids(&redriven.gone));
            format!("{ids} gone {gone} left {}", redriven.left)
        }
        Op::Purge { group, filter, count, dry_run } => {
            let (stream, name) = named(*group);
            let filter = look::filter(book, *group, filter);
            let options = Purge { filter, count: *count, dry_run: *dry_run };
            format!("{}", broker.purge_dead_letters(&stream, name, options).await?)
        }
        _ => unreachable!("it is no operation of deliveries"),
    })
}

fn settlement(fate: Fate) -> Settlement {
    match fate {
        Fate::Ack => Settlement::Ack,
        Fate::Nak(delay, class, reason) => {
            Settlement::Nak { delay, class: class.into(), reason: reason.into() }
        }
        Fate::Release(delay) => Settlement::Release { delay },
        Fate::Term(class, reason) => Settlement::Term { class: class.into(), reason: reason.into() },
        Fate::Extend => Settlement::Extend,
    }
}

fn restored(book: &Book, names: &Names, group: GroupNo, row: &Restored) -> RestoredRow {
    RestoredRow {
        id: book.id(group, row.id),
        consumer: row.consumer.map(|consumer| names.consumer(consumer).to_vec()),
        idle: Duration::ZERO,
        deliveries: row.deliveries,
        failures: row.failures,
        delay: row.delay,
    }
}
