//! The last refusals, for ACL LOG.

use std::collections::VecDeque;

use weir_core::Timestamp;

/// Refusals that are kept.
const KEPT_MAX: usize = 128;
/// Refusals of the same kind so close to each other count as one.
const SAME_MS: u64 = 60_000;
/// How far back to look for one of the same kind.
const SAME_LOOK: usize = 10;
/// Bytes that are kept of a key, of a channel, of the name that somebody tried, of the line that tells of the client.
const TEXT_MAX: usize = 1_024;

/// Refusals, the latest first.
#[derive(Debug, Default)]
pub(crate) struct AclLog {
    pub(crate) refusals: VecDeque<Refusal>,
    next_id: u64,
}

/// Something that was refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) id: u64,
    pub(crate) count: u64,
    /// `auth`, `command`, `key` or `channel`.
    pub(crate) reason: &'static str,
    /// `toplevel` or `multi`.
    pub(crate) context: &'static str,
    pub(crate) object: Box<[u8]>,
    pub(crate) user: Box<[u8]>,
    /// The line of CLIENT LIST.
    pub(crate) client: String,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
}

impl AclLog {
    /// Notes a refusal. Its number, count and times are given here.
    pub(crate) fn note(&mut self, mut refusal: Refusal, now: Timestamp) {
        for text in [&mut refusal.object, &mut refusal.user] {
            if text.len() > TEXT_MAX {
                *text = text[..TEXT_MAX].into();
            }
        }
        refusal.client.truncate(refusal.client.floor_char_boundary(TEXT_MAX));
        let is_same = |known: &Refusal| {
            (known.reason, known.context, &known.object, &known.user)
                == (refusal.reason, refusal.context, &refusal.object, &refusal.user)
                && now.millis_since(known.updated) <= SAME_MS
        };
        if let Some(at) = self.refusals.iter().take(SAME_LOOK).position(is_same)
            && let Some(mut known) = self.refusals.remove(at)
        {
            known.count += 1;
            known.updated = now;
            known.client = refusal.client;
            return self.refusals.push_front(known);
        }
        self.refusals.push_front(Refusal {
            id: self.next_id,
            count: 1,
            created: now,
            updated: now,
            ..refusal
        });
        self.next_id += 1;
        self.refusals.truncate(KEPT_MAX);
    }
}
