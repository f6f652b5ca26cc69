//! XREAD and XREADGROUP, as inside a transaction: what would wait answers null.

use weir_core::EntryId;

use super::group::{Holder, Pending};
use super::node::Entry;
use super::parse::{self, Outcome, Refusal, err, integer, integer_or, is, syntax_error};
use super::stream::{Stream, entry_reply, fields_reply, id_reply};
use super::{Flavour, Model, Value};

const NOT_OF_XREAD: &str = " option is only supported by XREADGROUP. You called XREAD instead.";

#[derive(Default)]
struct Request<'a> {
    group: Option<(&'a [u8], &'a [u8])>,
    /// Entries from each stream.
    count: Option<usize>,
    budget: Budget,
    claim_idle_min: Option<i64>,
    no_ack: bool,
    streams: &'a [Vec<u8>],
}

/// What is left for the whole reply; `None` is without limit.
#[derive(Default)]
struct Budget {
    entries: Option<usize>,
    bytes: Option<usize>,
    begun: bool,
}

#[derive(Clone, Copy)]
enum From {
    After(EntryId),
    /// `+`: the newest entry.
    Top,
    /// `>`: what the group has not seen.
    New,
    /// The consumer's own pending entries.
    History(EntryId),
}

pub(super) fn xread(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    read(model, args, false)
}

pub(super) fn xreadgroup(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    read(model, args, true)
}

fn read(model: &mut Model, args: &[Vec<u8>], grouped: bool) -> Outcome {
    let (flavour, now) = (model.flavour, model.now());
    let mut request = parse_request(model, args, grouped)?;
    let (keys, ids) = request.streams.split_at(request.streams.len() / 2);
    let mut from = Vec::new();
    for (key, id) in keys.iter().zip(ids) {
        let stream = model.stream(key)?;
        from.push(match request.group {
            Some((group, _)) => group_position(flavour, stream.as_deref(), key, group, id)?,
            None => plain_position(flavour, stream.as_deref(), id)?,
        });
    }
    let mut replies = Vec::new();
    for (key, from) in keys.iter().zip(from) {
        let Some(stream) = model.stream(key)? else { continue };
        let found = match request.group {
            None => read_plain(stream, &mut request, from),
            Some((group, consumer)) => read_group(stream, &mut request, from, group, consumer, now),
        };
        if !found.is_empty() || matches!(from, From::History(_)) {
            replies.push((Value::bulk(key), Value::Array(found)));
        }
    }
    if replies.is_empty() {
        return Ok(Value::NullArray);
    }
    Ok(Value::StreamMap(replies))
}

fn parse_request<'a>(model: &Model, args: &'a [Vec<u8>], grouped: bool) -> Result<Request<'a>, Refusal> {
    let flavour = model.flavour;
    let mut request = Request::default();
    let mut at = 1;
    loop {
        let Some(word) = args.get(at) else { return Err(syntax_error()) };
        let rest = &args[at + 1..];
        at += match rest {
            [value, ..] if is(word, "BLOCK") => {
                parse_timeout(flavour, value, model.now())?;
                2
            }
            [value, ..] if is(word, "COUNT") => {
                request.count = usize::try_from(integer(value)?).ok().filter(|n| *n > 0);
                2
            }
            [_, ..] if is(word, "STREAMS") => {
                request.streams = rest;
                break;
            }
            [group, consumer, ..] if is(word, "GROUP") => {
                if !grouped {
                    return Err(err(format!("The GROUP{NOT_OF_XREAD}")));
                }
                request.group = Some((group, consumer));
                3
            }
            _ if is(word, "NOACK") => {
                if !grouped {
                    return Err(err(format!("The NOACK{NOT_OF_XREAD}")));
                }
                request.no_ack = true;
                1
            }
            [value, ..] if flavour == Flavour::Latest => request.newer_option(word, value, grouped)?,
            _ => return Err(syntax_error()),
        };
    }
    if request.streams.len() % 2 == 1 {
        return Err(unbalanced(flavour, grouped));
    }
    if grouped && request.group.is_none() {
        return Err(err("Missing GROUP option for XREADGROUP"));
    }
    if let (Some(count), Some(max)) = (request.count, request.budget.entries)
        && max < count
    {
        return Err(err("MAXCOUNT must be greater than or equal to COUNT"));
    }
    Ok(request)
}

impl Request<'_> {
    fn newer_option(&mut self, word: &[u8], value: &[u8], grouped: bool) -> Result<usize, Refusal> {
        let positive = |refusal: &str| {
            let n = parse::canonical_integer(value).and_then(|n| usize::try_from(n).ok());
            n.filter(|n| *n > 0).ok_or_else(|| err(refusal))
        };
        if is(word, "MAXCOUNT") {
            self.budget.entries = Some(positive("MAXCOUNT must be a positive integer")?);
        } else if is(word, "MAXSIZE") {
            self.budget.bytes = Some(positive("MAXSIZE must be a positive integer")?);
        } else if is(word, "CLAIM") {
            if !grouped {
                return Err(err(format!("The CLAIM{NOT_OF_XREAD}")));
            }
            let idle_min = integer_or(value, "min-idle-time is not an integer or out of range")?;
            if idle_min < 0 {
                return Err(err("min-idle-time must be a positive integer"));
            }
            self.claim_idle_min = Some(idle_min);
        } else {
            return Err(syntax_error());
        }
        Ok(2)
    }
}

fn parse_timeout(flavour: Flavour, text: &[u8], now: i64) -> Result<(), Refusal> {
    match integer_or(text, "timeout is not an integer or out of range")? {
        ..0 => Err(err("timeout is negative")),
        timeout if flavour == Flavour::Latest && timeout > i64::MAX - now => {
            Err(err("timeout is out of range"))
        }
        _ => Ok(()),
    }
}

fn unbalanced(flavour: Flavour, grouped: bool) -> Refusal {
    err(match (flavour, grouped) {
        (Flavour::Redis70, _) => {
            "Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."
        }
        (Flavour::Latest, false) => {
            "Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified."
        }
        (Flavour::Latest, true) => {
            "Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified."
        }
    })
}

fn plain_position(flavour: Flavour, stream: Option<&Stream>, id: &[u8]) -> Result<From, Refusal> {
    match id {
        b"$" => Ok(From::After(stream.map_or(EntryId::MIN, |stream| stream.last_id))),
        b"+" if flavour == Flavour::Latest => Ok(From::Top),
        b">" => Err(err(
            "The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
        )),
        _ => parse::id(id).map(From::After),
    }
}

fn group_position(
    flavour: Flavour,
    stream: Option<&Stream>,
    key: &[u8],
    group: &[u8],
    id: &[u8],
) -> Result<From, Refusal> {
    if stream.is_none_or(|stream| !stream.groups.contains_key(group)) {
        let Refusal(mut text) = parse::no_key_or_group(key, group);
        text.extend(b" in XREADGROUP with GROUP option");
        return Err(Refusal(text));
    }
    let meaningless = |id: &str| {
        err(format!(
            "The {id} ID is meaningless in the context of XREADGROUP: you want to read the history of this \
             consumer by specifying a proper ID, or use the > ID to get new messages. The {id} ID would just \
             return an empty result set."
        ))
    };
    match id {
        b">" => Ok(From::New),
        b"$" => Err(meaningless("$")),
        b"+" if flavour == Flavour::Latest => Err(meaningless("+")),
        _ => Ok(match parse::id(id)? {
            EntryId::MAX => From::New,
            id => From::History(id),
        }),
    }
}

fn read_plain(stream: &Stream, request: &mut Request<'_>, from: From) -> Vec<Value> {
    let after = match (from, stream.top_id()) {
        (From::After(id), _) => id,
        // The top entry is what comes after its predecessor.
        (_, Some(top)) => top.previous().unwrap_or(EntryId::MIN),
        (_, None) => EntryId::MIN,
    };
    let limit = request.count.unwrap_or(usize::MAX);
    stream
        .after(after)
        .take(limit)
        .take_while(|entry| request.budget.allows(entry))
        .map(entry_reply)
        .collect()
}

fn read_group(
    stream: &mut Stream,
    request: &mut Request<'_>,
    from: From,
    group: &[u8],
    consumer: &[u8],
    now: i64,
) -> Vec<Value> {
    let flavour = stream.flavour;
    stream.group(group).attempt(consumer, now, flavour);
    if let From::History(after) = from {
        stream.group(group).see(consumer, now);
        request.claim_idle_min = None;
        return read_history(stream, request, group, consumer, after, now);
    }
    let limit = request.count.unwrap_or(usize::MAX);
    let mut replies = match request.claim_idle_min {
        Some(idle_min) => claim_idle(stream, request, (group, consumer), idle_min, now),
        None => Vec::new(),
    };
    let counters = stream.counters();
    let position = stream.group(group).last_id;
    let fresh: Vec<Entry> = stream.after(position).take(limit - replies.len()).cloned().collect();
    for entry in fresh.iter().take_while(|entry| request.budget.allows(entry)) {
        let group = stream.group(group);
        group.see(consumer, now);
        group.entries_read = counters.read_after(group.last_id, group.entries_read, entry.id);
        group.last_id = entry.id;
        if !request.no_ack {
            group.deliver(entry.id, consumer, now);
        }
        replies.push(match request.claim_idle_min {
            Some(_) => claimed_reply(entry, 0, 0),
            None => entry_reply(entry),
        });
    }
    replies
}

fn read_history(
    stream: &mut Stream,
    request: &mut Request<'_>,
    group: &[u8],
    consumer: &[u8],
    after: EntryId,
    now: i64,
) -> Vec<Value> {
    let limit = request.count.unwrap_or(usize::MAX);
    let flavour = stream.flavour;
    let own = stream.group(group).pending_of(consumer).map(|(id, _)| *id);
    let own: Vec<EntryId> = own.filter(|id| *id > after).take(limit).collect();
    let mut replies = Vec::new();
    for id in own {
        let entry = stream.entry(id).cloned();
        if !request.budget.allows_size(entry.as_ref().map_or(1, size)) {
            break;
        }
        let Some(entry) = entry else {
            replies.push(Value::Array(vec![id_reply(id), Value::NullArray]));
            continue;
        };
        let row = stream.group(group).pending.get_mut(&id).expect("listed from this map");
        row.delivered = now;
        row.count_delivery(flavour);
        replies.push(entry_reply(&entry));
    }
    replies
}

/// Takes over pending rows that are idle long enough: released ones first, then the longest idle.
fn claim_idle(
    stream: &mut Stream,
    request: &mut Request<'_>,
    (group, consumer): (&[u8], &[u8]),
    idle_min: i64,
    now: i64,
) -> Vec<Value> {
    let limit = request.count.unwrap_or(usize::MAX);
    let flavour = stream.flavour;
    let order = |row: &Pending| match row.holder {
        Holder::Released(order) => (0, order as i64),
        Holder::Consumer(_) => (1, row.delivered),
    };
    let rows = stream.group(group).pending.iter().filter(|(_, row)| row.is_claimable(now, idle_min));
    let mut rows: Vec<(EntryId, Pending)> = rows.map(|(id, row)| (*id, row.clone())).collect();
    rows.sort_by_key(|(id, row)| (order(row), *id));
    let mut replies = Vec::new();
    for (id, mut row) in rows {
        let Some(entry) = stream.entry(id).cloned() else { continue };
        if replies.len() == limit || !request.budget.allows(&entry) {
            break;
        }
        replies.push(claimed_reply(&entry, now - row.delivered, row.deliveries));
        row.count_delivery(flavour);
        row.delivered = now;
        row.holder = Holder::Consumer(consumer.to_vec());
        stream.group(group).pending.insert(id, row);
        stream.group(group).activate(consumer, now);
    }
    replies
}

fn claimed_reply(entry: &Entry, idle: i64, deliveries: i64) -> Value {
    Value::Array(vec![id_reply(entry.id), fields_reply(entry), Value::Int(idle), Value::Int(deliveries)])
}

impl Budget {
    /// Whether the reply may hold this entry too; if so, it is charged for it.
    fn allows(&mut self, entry: &Entry) -> bool {
        self.allows_size(size(entry))
    }

    fn allows_size(&mut self, size: usize) -> bool {
        if self.entries == Some(0) || (self.begun && self.bytes == Some(0)) {
            return false;
        }
        self.begun = true;
        self.entries = self.entries.map(|left| left - 1);
        self.bytes = self.bytes.map(|left| left.saturating_sub(size));
        true
    }
}

/// A rough measure; the limit it counts against is soft.
fn size(entry: &Entry) -> usize {
    1 + entry.fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}
