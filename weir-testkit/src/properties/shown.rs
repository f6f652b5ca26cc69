//! Replies as text in which everything is masked that brokers may choose: equal text, equal reply.

use std::fmt::Write as _;

use weir_core::{
    ConsumerInfo, DeadLetter, Delivery, Entry, Error, ErrorKind, Failure, Fields, GroupInfo, GroupOrigin,
    Lag, LostEntry, PendingRow, PendingState,
};

use super::book::Book;
use super::op::StreamNo;

/// Fields of side streams that hold a time.
const TIMES: [&[u8]; 3] = [b"at", b"weir-first-at", b"weir-last-at"];

/// Shows replies about one stream of one broker.
pub(super) struct Shown<'a> {
    pub(super) book: &'a Book,
    pub(super) stream: StreamNo,
    pub(super) positions: bool,
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn list<T>(items: &[T], show: impl Fn(&T) -> String) -> String {
    let shown: Vec<_> = items.iter().map(show).collect();
    format!("[{}]", shown.join(", "))
}

fn failure(failure: Option<&Failure>) -> String {
    failure.map_or("-".into(), |failure| format!("{}:{}", text(&failure.class), text(&failure.reason)))
}

impl Shown<'_> {
    pub(super) fn id(&self, id: weir_core::EntryId) -> String {
        self.book.shown_id(self.stream, id)
    }

    pub(super) fn place(&self, id: weir_core::EntryId) -> String {
        self.book.shown_place(self.stream, id)
    }

    pub(super) fn ids(&self, ids: &[weir_core::EntryId]) -> String {
        list(ids, |id| self.id(*id))
    }

    pub(super) fn fields(&self, fields: &Fields) -> String {
        list(fields, |(name, value)| {
            let is_id = name == b"weir-id" || name == b"id";
            let id = if is_id { weir_core::EntryId::parse(value, 0).ok() } else { None };
            let value = match id {
                Some(id) => self.id(id),
                None if TIMES.contains(&&name[..]) => "T".to_owned(),
                None => text(value),
            };
            format!("{}={value}", text(name))
        })
    }

    pub(super) fn entry(&self, entry: &Entry) -> String {
        let place = match entry.position {
            Some(position) if self.positions => format!("@{position}"),
            None if self.positions => "@none".to_owned(),
            _ => String::new(),
        };
        format!("{}{place}{}", self.id(entry.id), self.fields(&entry.fields))
    }

    pub(super) fn entries(&self, entries: &[Entry]) -> String {
        list(entries, |entry| self.entry(entry))
    }

    /// Entries of a side stream, whose own IDs come from the time.
    pub(super) fn side_entries(&self, entries: &[Entry]) -> String {
        list(entries, |entry| self.fields(&entry.fields))
    }

    pub(super) fn deliveries(&self, deliveries: &[Delivery]) -> String {
        list(deliveries, |delivery| {
            let Delivery { entry, deliveries, failures, redrives, .. } = delivery;
            let (first, last) = (delivery.first_failure.as_ref(), delivery.last_failure.as_ref());
            let (first, last) = (failure(first), failure(last));
            format!("{} d{deliveries} f{failures} {first} {last} r{redrives}", self.entry(entry))
        })
    }

    pub(super) fn rows(&self, rows: &[PendingRow]) -> String {
        list(rows, |row| {
            let state = match row.state {
                PendingState::InFlight => "in flight",
                PendingState::Ready => "ready",
                PendingState::Delayed { .. } => "delayed",
                PendingState::Waiting => "waiting",
            };
            let PendingRow { deliveries, failures, .. } = row;
            let by = row.consumer.as_deref().map_or("-".into(), text);
            let last = failure(row.last_failure.as_ref());
            format!("{} {by} {state} d{deliveries} f{failures} {last}", self.id(row.id))
        })
    }

    pub(super) fn group(&self, info: &GroupInfo) -> String {
        let mut shown = format!("{} ", text(&info.name));
        let origin = match info.origin {
            Some(GroupOrigin::After(id)) => format!("after {}", self.id(id)),
            other => format!("{other:?}"),
        };
        let GroupInfo { pending, consumers, paused, filtered, stale_settlements, policy, .. } = info;
        let last = self.place(info.last_delivered_id);
        write!(
            shown,
            "{origin} last {last} pending {pending} consumers {consumers} paused {paused} filtered {filtered} \
             stale {stale_settlements} {policy:?}"
        )
        .expect("writing to a string does not fail");
        shown
    }

    pub(super) fn letters(&self, letters: &[DeadLetter]) -> String {
        list(letters, |letter| {
            let DeadLetter { deliveries, failures, redrives, .. } = letter;
            let by = letter.consumer.as_deref().map_or("-".into(), text);
            let (first, last) = (failure(letter.first_failure.as_ref()), failure(Some(&letter.last_failure)));
            let (id, fields) = (self.id(letter.entry_id), self.fields(&letter.fields));
            format!("{id}{fields} {by} d{deliveries} f{failures} {first} {last} r{redrives}")
        })
    }

    pub(super) fn lost(&self, lost: &[LostEntry]) -> String {
        list(lost, |lost| {
            let was = if lost.was_pending { "pending" } else { "undelivered" };
            format!("{} {} {was}", text(&lost.group), self.id(lost.id))
        })
    }

    /// The kind of an error, without its wording.
    pub(super) fn error(&self, error: &Error) -> String {
        match error.kind() {
            ErrorKind::IdNotGreater { last } => format!("not greater than {}", self.id(*last)),
            ErrorKind::Invalid(_) => "invalid".into(),
            ErrorKind::LimitReached(_) => "limit".into(),
            ErrorKind::Unsupported(_) => "unsupported".into(),
            ErrorKind::Unavailable | ErrorKind::Corrupt | ErrorKind::Io | ErrorKind::Faulted => {
                format!("broken: {error:?}")
            }
            kind => format!("{kind:?}"),
        }
    }
}

pub(super) fn consumers(consumers: &[ConsumerInfo]) -> String {
    list(consumers, |consumer| format!("{} {}", text(&consumer.name), consumer.pending))
}

/// Lag without times and rates.
pub(super) fn lag(lag: &Lag) -> String {
    let Lag { undelivered, pending, ready, delayed, dead, exact, .. } = lag;
    let (oldest, held) = (lag.oldest_undelivered.is_some(), lag.oldest_pending.is_some());
    format!(
        "undelivered {undelivered} {oldest} pending {pending} {held} ready {ready} delayed {delayed} dead {dead} {exact}"
    )
}
