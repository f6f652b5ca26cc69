//! The options that XADD and XTRIM share: what to trim, what to do about references, who produces.

use weir_core::EntryId;
use weir_engine::{NewId, Producer, References, Trim, TrimBound};

use crate::resp::call::{Call, Stop};
use crate::resp::errors;

/// Which command's options are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Add,
    Trim,
}

/// What the options said.
#[derive(Debug)]
pub(super) struct Options<'a> {
    pub(super) trim: Option<Trim>,
    /// Whether a missing stream is made.
    pub(super) create: bool,
    pub(super) producer: Option<Producer<'a>>,
    /// XADD's ID; `None` when the request ended before one.
    pub(super) id: Option<NewId>,
    /// The index behind the ID.
    pub(super) next: usize,
}

/// Reads the options from argument 2 on.
pub(super) fn parse<'c>(call: &Call<'c, '_>, purpose: Purpose) -> Result<Options<'c>, Stop> {
    let mut parser = Parser { call, purpose, bound: None, approximate: false, limit: None, policy: None };
    let mut options = Options { trim: None, create: true, producer: None, id: None, next: 2 };
    while options.next < call.len() {
        let at = options.next;
        let add = purpose == Purpose::Add;
        if add && call.arg(at) == b"*" {
            options.id = Some(NewId::Auto);
        } else if let Some(next) = parser.trimming(at)? {
            options.next = next;
        } else if add && call.is(at, "NOMKSTREAM") {
            options.create = false;
            options.next += 1;
        } else if add && let Some((producer, next)) = parser.producer(at, options.producer.is_some())? {
            options.producer = Some(producer);
            options.next = next;
        } else if add {
            options.id = Some(new_id(call, at)?);
        } else {
            return Err(errors::SYNTAX.into());
        }
        if options.id.is_some() {
            options.next += 1;
            break;
        }
    }
    options.trim = parser.trim()?;
    if options.producer.is_some() && !matches!(options.id, Some(NewId::Auto)) {
        return Err("ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs".into());
    }
    Ok(options)
}

/// The ID of a new entry: `ms-seq`, `ms` or `ms-*`.
fn new_id(call: &Call<'_, '_>, at: usize) -> Result<NewId, Stop> {
    let text = call.arg(at);
    let Some(ms) = text.strip_suffix(b"-*").filter(|ms| !ms.contains(&b'-') && text.len() <= 127) else {
        return call.id(at).map(NewId::Exact);
    };
    let id = EntryId::parse(ms, 0).map_err(|_| Stop::refused(errors::INVALID_ID))?;
    Ok(NewId::AutoSeq(id.ms))
}

struct Parser<'p, 'c, 'e> {
    call: &'p Call<'c, 'e>,
    purpose: Purpose,
    bound: Option<TrimBound>,
    approximate: bool,
    limit: Option<u64>,
    policy: Option<References>,
}

impl<'c> Parser<'_, 'c, '_> {
    /// An option of trimming at `at`: the index behind it.
    fn trimming(&mut self, at: usize) -> Result<Option<usize>, Stop> {
        let call = self.call;
        let more = call.len() - 1 - at;
        if more > 0 && (call.is(at, "MAXLEN") || call.is(at, "MINID")) {
            return self.strategy(at, more).map(Some);
        }
        if more > 0 && call.is(at, "LIMIT") {
            let limit = call.int(at + 1)?;
            self.limit = Some(not_negative(limit, "ERR The LIMIT argument must be >= 0.")?);
            return Ok(Some(at + 2));
        }
        match reference_policy(call, at) {
            // XADD takes a second one for its ID, and says that it is none.
            Some(policy) if self.policy.is_none() => {
                self.policy = Some(policy);
                Ok(Some(at + 1))
            }
            _ => Ok(None),
        }
    }

    fn strategy(&mut self, at: usize, more: usize) -> Result<usize, Stop> {
        let call = self.call;
        if self.bound.is_some() {
            let text = "ERR syntax error, MAXLEN and MINID options at the same time are not compatible";
            return Err(text.into());
        }
        let mark = call.arg(at + 1);
        self.approximate = more >= 2 && mark == b"~";
        let value = if more >= 2 && (mark == b"~" || mark == b"=") { at + 2 } else { at + 1 };
        self.bound = Some(if call.is(at, "MAXLEN") {
            let most = call.int(value)?;
            TrimBound::MaxLen(not_negative(most, "ERR The MAXLEN argument must be >= 0.")?)
        } else {
            TrimBound::MinId(call.id(value)?)
        });
        Ok(value + 1)
    }

    /// IDMP or IDMPAUTO at `at`: who produces, and the index behind it.
    fn producer(&self, at: usize, again: bool) -> Result<Option<(Producer<'c>, usize)>, Stop> {
        let call = self.call;
        let more = call.len() - 1 - at;
        let (words, is_auto) = match (call.is(at, "IDMP"), call.is(at, "IDMPAUTO")) {
            (true, _) if more >= 2 => (2, false),
            (_, true) if more >= 1 => (1, true),
            _ => return Ok(None),
        };
        if again {
            return Err("ERR syntax error, IDMP/IDMPAUTO specified multiple times".into());
        }
        let (id, iid) = (call.arg(at + 1), (!is_auto).then(|| call.arg(at + 2)));
        match (id, iid) {
            ([], Some(_)) => Err("ERR syntax error, IDMP requires a non-empty producer ID".into()),
            ([], None) => Err("ERR syntax error, IDMPAUTO requires a non-empty producer ID".into()),
            (_, Some([])) => Err("ERR syntax error, IDMP requires a non-empty idempotent ID".into()),
            _ => Ok(Some((Producer { id, iid }, at + 1 + words))),
        }
    }

    /// What is to be trimmed, once all options are read.
    fn trim(self) -> Result<Option<Trim>, Stop> {
        if self.limit.is_some_and(|limit| limit > 0) && self.bound.is_none() {
            let text = "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy";
            return Err(text.into());
        }
        if self.purpose == Purpose::Trim && self.bound.is_none() {
            return Err("ERR syntax error, XTRIM must be called with a trimming strategy".into());
        }
        if self.limit.is_some() && !self.approximate {
            return Err("ERR syntax error, LIMIT cannot be used without the special ~ option".into());
        }
        let limit = match self.limit {
            Some(limit) => limit,
            None if self.approximate => default_limit(self.call.door.config.node_entries_max),
            None => 0,
        };
        let references = self.policy.unwrap_or_default();
        Ok(self.bound.map(|bound| Trim { bound, approximate: self.approximate, limit, references }))
    }
}

/// How many entries an approximate trim removes at most, unless told otherwise.
fn default_limit(node_entries_max: u64) -> u64 {
    match node_entries_max.saturating_mul(100) {
        0 => 10_000,
        limit => limit.min(1_000_000),
    }
}

fn not_negative(value: i64, text: &'static str) -> Result<u64, Stop> {
    u64::try_from(value).map_err(|_| Stop::refused(text))
}

/// KEEPREF, DELREF or ACKED at `at`.
pub(super) fn reference_policy(call: &Call<'_, '_>, at: usize) -> Option<References> {
    if call.is(at, "KEEPREF") {
        Some(References::Keep)
    } else if call.is(at, "DELREF") {
        Some(References::Delete)
    } else if call.is(at, "ACKED") {
        Some(References::Acked)
    } else {
        None
    }
}
