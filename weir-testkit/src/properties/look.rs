//! Everything there is to know of a run's streams and groups.

use weir_core::{
    Broker, DeadLetterFilter, DeadLetterQuery, EntryId, Error, ListStreams, LostQuery, PendingQuery,
    ReadFrom, ReadOptions,
};

use super::book::{Book, Names};
use super::op::{GroupNo, Letters, Side, StreamNo};
use super::recount::recount;
use super::shown::{self, Shown};

/// Entries, from the first to the last.
pub(super) const ALL: ReadOptions =
    ReadOptions { from: ReadFrom::Start, to: None, backward: false, count: u64::MAX, wait: None };

/// All rows.
fn all_rows() -> PendingQuery {
    PendingQuery { consumer: None, idle_min: None, start: EntryId::MIN, end: EntryId::MAX, count: u64::MAX }
}

/// A description of everything, line by line; what is wrong with it by itself begins with `WRONG`.
pub(super) async fn look(broker: &dyn Broker, book: &Book, names: &Names) -> Result<String, Error> {
    let mut lines = vec![list(broker, names, true, 100).await?.join(" ")];
    for stream in 0..3 {
        look_at_stream(broker, book, names, stream, &mut lines).await?;
    }
    Ok(lines.join("\n  "))
}

async fn look_at_stream(
    broker: &dyn Broker,
    book: &Book,
    names: &Names,
    stream: StreamNo,
    lines: &mut Vec<String>,
) -> Result<(), Error> {
    let (name, shown) = (names.stream(stream), Shown { book, stream, positions: names.positions });
    let Some(info) = broker.stream_info(&name).await? else { return Ok(()) };
    let (last, first) = (shown.id(info.last_id), info.first_id.map(|id| shown.id(id)));
    let (length, added, groups) = (info.length, info.entries_added, info.groups);
    lines.push(format!(
        "{} length {length} added {added} groups {groups} {first:?} {last}",
        shown::text(&name)
    ));
    lines.push(shown.entries(&broker.read(&name, ALL).await?));
    lines.push(format!("{:?}", broker.retention(&name).await?));
    lines.push(shown.lost(&lost(broker, &name, None, 100).await?));
    for side in [Side::Shared, Side::Lost, Side::Alerts, Side::Dead(0), Side::Dead(1)] {
        let entries = broker.read(&names.side(stream, side), ALL).await?;
        lines.push(format!("{side:?} {}", shown.side_entries(&entries)));
    }
    for group in broker.groups(&name).await? {
        lines.push(shown.group(&group));
        lines.push(shown.rows(&broker.pending(&name, &group.name, all_rows()).await?));
        lines.push(shown::consumers(&broker.consumers(&name, &group.name).await?));
        let (lag, wrong) = recount(broker, &name, &group.name).await?;
        lines.push(shown::lag(&lag));
        lines.extend(wrong.into_iter().map(|wrong| format!("WRONG: {wrong}")));
    }
    Ok(())
}

/// The names of the run's streams, in order.
pub(super) async fn list(
    broker: &dyn Broker,
    names: &Names,
    with_side_streams: bool,
    count: u64,
) -> Result<Vec<String>, Error> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let pattern = format!("*{}-*", names.prefix).into_bytes();
        let page = broker.list_streams(ListStreams { pattern, after, count, with_side_streams }).await?;
        found.extend(page.names.iter().map(|name| shown::text(name)));
        after = page.next;
        if after.is_none() {
            found.sort();
            return Ok(found);
        }
    }
}

/// All lost entries, so many at a time.
pub(super) async fn lost(
    broker: &dyn Broker,
    stream: &[u8],
    group: Option<&[u8]>,
    count: u64,
) -> Result<Vec<weir_core::LostEntry>, Error> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let query = LostQuery { group: group.map(<[u8]>::to_vec), after, count };
        let page = broker.lost(stream, query).await?;
        found.extend(page.entries);
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

/// All dead letters that are meant, so many at a time.
pub(super) async fn letters(
    broker: &dyn Broker,
    names: &Names,
    group: GroupNo,
    filter: &DeadLetterFilter,
    count: u64,
) -> Result<Vec<weir_core::DeadLetter>, Error> {
    let (stream, group) = (names.stream(group.0), names.group(group.1));
    let (mut found, mut after) = (Vec::new(), EntryId::MIN);
    loop {
        let query = DeadLetterQuery { filter: filter.clone(), after, count };
        let page = broker.dead_letters(&stream, group, query).await?;
        found.extend(page.letters);
        match page.next {
            Some(next) => after = next,
            None => return Ok(found),
        }
    }
}

/// What a filter means to one broker.
pub(super) fn filter(book: &Book, group: GroupNo, letters: &Letters) -> DeadLetterFilter {
    let equals = |kind: &'static str| weir_core::Condition {
        field: weir_core::FieldName::Type,
        test: weir_core::ConditionTest::Equals(kind.into()),
    };
    DeadLetterFilter {
        entry_ids: letters.ids.iter().map(|id| book.id(group, *id)).collect(),
        class: letters.class.map(Into::into),
        reason_contains: letters.reason.map(Into::into),
        conditions: letters.kind.map(equals).into_iter().collect(),
        redrives_max: letters.redrives_max,
    }
}
