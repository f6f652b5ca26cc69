//! What commands that read share: bounds of ranges, and the options of XREAD and XREADGROUP.

use weir_core::EntryId;
use weir_engine::ReadLimits;

use crate::resp::call::{Call, Stop};
use crate::resp::errors;
use crate::resp::number::parse_i64;

/// The lower bound of a range: an ID, `-`, `+`, or `(id` for what is above it.
pub(super) fn lower_bound(text: &[u8]) -> Result<EntryId, Stop> {
    let (id, exclusive) = bound(text, 0)?;
    if !exclusive {
        return Ok(id);
    }
    id.next().ok_or(Stop::refused("ERR invalid start ID for the interval"))
}

/// The upper bound of a range; an ID without a sequence number includes its whole millisecond.
pub(super) fn upper_bound(text: &[u8]) -> Result<EntryId, Stop> {
    let (id, exclusive) = bound(text, u64::MAX)?;
    if !exclusive {
        return Ok(id);
    }
    id.previous().ok_or(Stop::refused("ERR invalid end ID for the interval"))
}

fn bound(text: &[u8], seq_default: u64) -> Result<(EntryId, bool), Stop> {
    let (text, exclusive) = match text {
        b"-" => return Ok((EntryId::MIN, false)),
        b"+" => return Ok((EntryId::MAX, false)),
        [b'(', id @ ..] => (id, true),
        id => (id, false),
    };
    let id = EntryId::parse(text, seq_default).map_err(|_| Stop::refused(errors::INVALID_ID))?;
    Ok((id, exclusive))
}

/// The options of XREAD or XREADGROUP.
#[derive(Debug, Default)]
pub(super) struct ReadOptions<'a> {
    pub(super) limits: ReadLimits,
    /// Milliseconds to wait; zero = without end; `None` = not at all.
    pub(super) block: Option<u64>,
    /// Group and consumer.
    pub(super) group: Option<(&'a [u8], &'a [u8])>,
    pub(super) noack: bool,
    pub(super) claim_idle_min: Option<u64>,
    /// Where the streams' names start; their IDs follow them.
    pub(super) streams_at: usize,
    pub(super) streams: usize,
}

impl<'c> ReadOptions<'c> {
    /// Reads everything up to the names of the streams.
    pub(super) fn parse(call: &Call<'c, '_>, for_group: bool) -> Result<Self, Stop> {
        let mut options = Self::default();
        let mut at = 1;
        while options.streams_at == 0 {
            at = options.option(call, at, for_group)?;
        }
        if for_group && options.group.is_none() {
            return Err("ERR Missing GROUP option for XREADGROUP".into());
        }
        let limits = options.limits;
        if limits.count_total.zip(limits.count).is_some_and(|(total, count)| total < count) {
            return Err("ERR MAXCOUNT must be greater than or equal to COUNT".into());
        }
        Ok(options)
    }

    /// Reads the option at `at`; answers where the next one is.
    fn option(&mut self, call: &Call<'c, '_>, at: usize, for_group: bool) -> Result<usize, Stop> {
        let more = call.len().saturating_sub(at + 1);
        let group_only = |text: &'static str| if for_group { Ok(()) } else { Err(Stop::refused(text)) };
        if call.is(at, "BLOCK") && more >= 1 {
            self.block = Some(timeout(call, at + 1)?);
        } else if call.is(at, "COUNT") && more >= 1 {
            // Zero and less mean no limit.
            self.limits.count = u64::try_from(call.int(at + 1)?).ok().filter(|count| *count > 0);
        } else if call.is(at, "MAXCOUNT") && more >= 1 {
            self.limits.count_total =
                Some(positive(call, at + 1, "ERR MAXCOUNT must be a positive integer")?);
        } else if call.is(at, "MAXSIZE") && more >= 1 {
            self.limits.bytes_total = Some(positive(call, at + 1, "ERR MAXSIZE must be a positive integer")?);
        } else if call.is(at, "STREAMS") && more >= 1 {
            if !more.is_multiple_of(2) {
                return Err(unbalanced(for_group));
            }
            (self.streams_at, self.streams) = (at + 1, more / 2);
        } else if call.is(at, "GROUP") && more >= 2 {
            group_only(only_in_group_reads::GROUP)?;
            self.group = Some((call.arg(at + 1), call.arg(at + 2)));
            return Ok(at + 3);
        } else if call.is(at, "CLAIM") && more >= 1 {
            group_only(only_in_group_reads::CLAIM)?;
            self.claim_idle_min = Some(idle_min(call, at + 1)?);
        } else if call.is(at, "NOACK") {
            group_only(only_in_group_reads::NOACK)?;
            self.noack = true;
            return Ok(at + 1);
        } else {
            return Err(errors::SYNTAX.into());
        }
        Ok(at + 2)
    }

    /// The index of the nth stream's name.
    pub(super) fn name_at(&self, nth: usize) -> usize {
        self.streams_at + nth
    }

    /// The index of the nth stream's ID.
    pub(super) fn id_at(&self, nth: usize) -> usize {
        self.streams_at + self.streams + nth
    }
}

mod only_in_group_reads {
    pub(super) const GROUP: &str =
        "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.";
    pub(super) const NOACK: &str =
        "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.";
    pub(super) const CLAIM: &str =
        "ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead.";
}

fn unbalanced(for_group: bool) -> Stop {
    Stop::refused(if for_group {
        "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified."
    } else {
        "ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified."
    })
}

/// A timeout in milliseconds; zero = without end.
fn timeout(call: &Call<'_, '_>, at: usize) -> Result<u64, Stop> {
    let value = call.int_or(at, "ERR timeout is not an integer or out of range")?;
    let timeout = u64::try_from(value).map_err(|_| Stop::refused("ERR timeout is negative"))?;
    // The moment it ends must be a time, too.
    let now = i64::try_from(call.turn.now().0).unwrap_or(i64::MAX);
    if value > i64::MAX - now {
        return Err("ERR timeout is out of range".into());
    }
    Ok(timeout)
}

fn idle_min(call: &Call<'_, '_>, at: usize) -> Result<u64, Stop> {
    let value = call.int_or(at, "ERR min-idle-time is not an integer or out of range")?;
    u64::try_from(value).map_err(|_| Stop::refused("ERR min-idle-time must be a positive integer"))
}

fn positive(call: &Call<'_, '_>, at: usize, text: &'static str) -> Result<u64, Stop> {
    let value = parse_i64(call.arg(at)).and_then(|value| u64::try_from(value).ok());
    value.filter(|value| *value > 0).ok_or(Stop::refused(text))
}
