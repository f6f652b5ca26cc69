//! What a run remembers of each broker: the IDs and tokens it chose, and what the small numbers of operations mean.

use std::collections::BTreeMap;

use weir_core::{Delivery, EntryId, Policy, Token, alerts_of, dead_letters_of, lost_of};

use super::op::{DeadLetterRef, GroupNo, IdRef, PolicyRef, Side, StreamNo, TokenRef};

/// IDs from here on are times: a broker gave them.
const AUTO_MS: u64 = 1_000_000_000_000;

/// The names of a run.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) prefix: String,
    /// As [`super::RunOptions::positions`].
    pub(super) positions: bool,
}

impl Names {
    pub(super) fn stream(&self, stream: StreamNo) -> Vec<u8> {
        format!("{}-{}", self.prefix, ["a", "b", "c"][stream]).into_bytes()
    }

    pub(super) fn side(&self, stream: StreamNo, side: Side) -> Vec<u8> {
        let name = self.stream(stream);
        let named = match side {
            Side::Dead(group) => dead_letters_of(&name, self.group(group)),
            Side::Shared => Ok([b"{", &name[..], b"}:letters"].concat()),
            Side::Lost => lost_of(&name),
            Side::Alerts => alerts_of(&name),
        };
        named.expect("these names have no braces")
    }

    #[expect(clippy::unused_self, reason = "the names are its business")]
    pub(super) fn group(&self, group: usize) -> &'static [u8] {
        [&b"g"[..], b"h"][group]
    }

    #[expect(clippy::unused_self, reason = "the names are its business")]
    pub(super) fn consumer(&self, consumer: usize) -> &'static [u8] {
        [&b"ann"[..], b"ben", b"cem"][consumer]
    }

    pub(super) fn policy(&self, (stream, group): GroupNo, policy: &PolicyRef) -> Policy {
        let dead_letter = match policy.dead_letter {
            DeadLetterRef::Default => None,
            DeadLetterRef::Shared => Some(self.side(stream, Side::Shared)),
            DeadLetterRef::Itself => Some(self.stream(stream)),
            DeadLetterRef::Lost => Some(self.side(stream, Side::Lost)),
            DeadLetterRef::Others => Some(self.side(stream, Side::Dead(1 - group))),
        };
        Policy { dead_letter, ..policy.policy.clone() }
    }
}

/// What one broker chose.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// The IDs it gave, by stream, in order.
    given_ids: BTreeMap<StreamNo, Vec<EntryId>>,
    /// What it delivered, by group, in order.
    delivered: BTreeMap<GroupNo, Vec<(EntryId, Token)>>,
}

impl Book {
    pub(super) fn note_appended(&mut self, stream: StreamNo, id: EntryId) {
        let given = self.given_ids.entry(stream).or_default();
        if id.ms >= AUTO_MS && id != EntryId::MAX && !given.contains(&id) {
            given.push(id);
        }
    }

    /// A stream is gone; one that comes after it may be given the same IDs again.
    pub(super) fn forget(&mut self, stream: StreamNo) {
        self.given_ids.remove(&stream);
        self.delivered.retain(|(of, _), _| *of != stream);
    }

    pub(super) fn note_delivered(&mut self, group: GroupNo, deliveries: &[Delivery]) {
        let given = deliveries.iter().map(|delivery| (delivery.entry.id, delivery.token));
        self.delivered.entry(group).or_default().extend(given);
    }

    fn delivery(&self, group: GroupNo, nth_last: usize) -> Option<(EntryId, Token)> {
        self.delivered.get(&group)?.iter().rev().nth(nth_last).copied()
    }

    /// What an ID means in a stream, to one of its groups.
    pub(super) fn id(&self, (stream, group): GroupNo, id: IdRef) -> EntryId {
        let none = EntryId::new(1, 0);
        match id {
            IdRef::Min => EntryId::MIN,
            IdRef::Max => EntryId::MAX,
            IdRef::Small(ms, seq) => EntryId::new(ms, seq),
            IdRef::Auto(nth) => {
                self.given_ids.get(&stream).and_then(|ids| ids.get(nth)).copied().unwrap_or(none)
            }
            IdRef::Given(nth) => self.delivery((stream, group), nth).map_or(none, |(id, _)| id),
        }
    }

    pub(super) fn token(&self, group: GroupNo, id: IdRef, token: TokenRef) -> Option<Token> {
        match (token, id) {
            (TokenRef::None, _) => None,
            (TokenRef::OfDelivery, IdRef::Given(nth)) => {
                Some(self.delivery(group, nth).map_or(Token(0), |(_, token)| token))
            }
            (TokenRef::OfDelivery, _) => Some(Token(0)),
        }
    }

    /// Where a group is, as all brokers would show it: the ID below an entry's may or may not be the one of the entry
    /// before.
    pub(super) fn shown_place(&self, stream: StreamNo, id: EntryId) -> String {
        if id.ms < AUTO_MS || id == EntryId::MAX {
            return id.to_string();
        }
        let passed =
            self.given_ids.get(&stream).map_or(0, |ids| ids.iter().filter(|known| **known <= id).count());
        format!("behind {passed}")
    }

    /// An ID as all brokers would show it.
    pub(super) fn shown_id(&self, stream: StreamNo, id: EntryId) -> String {
        let nth = |id: EntryId| {
            self.given_ids.get(&stream).and_then(|ids| ids.iter().position(|known| *known == id))
        };
        if id.ms < AUTO_MS || id == EntryId::MAX {
            return id.to_string();
        }
        match (nth(id), id.next().and_then(nth)) {
            (Some(nth), _) => format!("auto{nth}"),
            (None, Some(nth)) => format!("below auto{nth}"),
            (None, None) => "auto?".to_owned(),
        }
    }
}
