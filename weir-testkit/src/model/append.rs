//! XADD, XTRIM, XSETID, XCFGSET: what makes a stream longer, shorter, or different.

use weir_core::EntryId;

use super::node::Fields;
use super::parse::{self, Outcome, Refusal, err, integer, is, no_such_key, syntax_error, wrong_arity};
use super::producers::IdempotentId;
use super::stream::{Policy, Stream, Threshold, Trim, id_reply};
use super::{Flavour, Model, Value};

/// LIMIT when `~` is given without one: a hundred nodes' worth.
const LIMIT_DEFAULT: u64 = 100 * 100;

/// The options XADD and XTRIM share, and those of XADD.
struct Options {
    trim: Option<Trim>,
    create: bool,
    producer: Option<(Vec<u8>, Option<Vec<u8>>)>,
    /// Where the ID stands; the number of words when there is none.
    id_at: usize,
    id: NewId,
}

#[derive(Debug, Clone, Copy)]
enum NewId {
    /// `*`
    Auto,
    /// `ms-*`
    AutoSeq(u64),
    Given(EntryId),
}

/// What the words before the ID have said so far.
#[derive(Default)]
struct Words {
    threshold: Option<(Threshold, bool)>,
    limit: Option<i64>,
    policy: Option<Policy>,
    keep_missing: bool,
    producer: Option<(Vec<u8>, Option<Vec<u8>>)>,
}

pub(super) fn xadd(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let now_ms = model.now_ms;
    let options = parse_options(model.flavour, args, true)?;
    let fields = args.get(options.id_at + 1..).unwrap_or_default();
    if fields.len() < 2 || fields.len() % 2 == 1 {
        return Err(wrong_arity("xadd"));
    }
    let fields: Fields = fields.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    if matches!(options.id, NewId::Given(EntryId::MIN)) {
        return Err(err("The ID specified in XADD must be greater than 0-0"));
    }
    if model.stream(&args[1])?.is_none() && !options.create {
        return Ok(Value::Null);
    }
    let stream = model.stream_or_new(&args[1])?;
    stream.producers.expire(now_ms);
    let producer = options.producer.map(|(producer, iid)| {
        (producer, iid.map_or_else(|| IdempotentId::of_fields(&fields), IdempotentId::Given))
    });
    if let Some((producer, iid)) = &producer
        && let Some(entry) = stream.producers.find(producer, iid)
    {
        stream.producers.duplicates += 1;
        return Ok(id_reply(entry));
    }
    let id = next_id(stream, options.id, now_ms)?;
    stream.append(id, fields);
    if let Some((producer, iid)) = producer {
        stream.producers.record(&producer, iid, id);
    }
    if let Some(trim) = &options.trim {
        stream.trim(trim);
    }
    model.touch(&args[1]);
    Ok(id_reply(id))
}

fn next_id(stream: &Stream, wanted: NewId, now_ms: u64) -> Result<EntryId, Refusal> {
    let last = stream.last_id;
    if last == EntryId::MAX {
        return Err(err("The stream has exhausted the last possible ID, unable to add more items"));
    }
    let id = match wanted {
        NewId::Auto if now_ms > last.ms => Some(EntryId::new(now_ms, 0)),
        NewId::Auto => last.next(),
        NewId::AutoSeq(ms) if ms == last.ms => last.seq.checked_add(1).map(|seq| EntryId::new(ms, seq)),
        NewId::AutoSeq(ms) => Some(EntryId::new(ms, 0)),
        NewId::Given(id) => Some(id),
    };
    id.filter(|id| *id > last)
        .ok_or_else(|| err("The ID specified in XADD is equal or smaller than the target stream top item"))
}

pub(super) fn xtrim(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let options = parse_options(model.flavour, args, false)?;
    let Some(stream) = model.stream(&args[1])? else { return Ok(Value::Int(0)) };
    let removed = options.trim.map_or(0, |trim| stream.trim(&trim));
    if removed > 0 {
        model.touch(&args[1]);
    }
    Ok(Value::Int(removed as i64))
}

fn parse_options(flavour: Flavour, args: &[Vec<u8>], is_xadd: bool) -> Result<Options, Refusal> {
    let mut words = Words::default();
    let mut id = NewId::Auto;
    let mut at = 2;
    while at < args.len() {
        if is_xadd && args[at] == b"*" {
            break;
        }
        if let Some(taken) = words.option(flavour, &args[at..], is_xadd)? {
            at += taken;
        } else if is_xadd {
            id = parse_new_id(&args[at])?;
            break;
        } else {
            return Err(syntax_error());
        }
    }
    if words.producer.is_some() && !matches!(id, NewId::Auto) {
        return Err(err("syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs"));
    }
    let trim = words.trim(is_xadd)?;
    Ok(Options { trim, create: !words.keep_missing, producer: words.producer, id_at: at, id })
}

fn parse_new_id(text: &[u8]) -> Result<NewId, Refusal> {
    match text.strip_suffix(b"-*") {
        Some(ms) => Ok(NewId::AutoSeq(parse::id(ms).map(|id| id.ms)?)),
        None => Ok(NewId::Given(parse::id(text)?)),
    }
}

impl Words {
    /// Reads the option at the front; answers how many words it took, or `None` when it is no option.
    fn option(&mut self, flavour: Flavour, args: &[Vec<u8>], xadd: bool) -> Result<Option<usize>, Refusal> {
        let (word, more) = (&args[0], args.len() - 1);
        if (is(word, "MAXLEN") || is(word, "MINID")) && more >= 1 {
            return self.threshold(args).map(Some);
        }
        if is(word, "LIMIT") && more >= 1 {
            let limit = integer(&args[1])?;
            if limit < 0 {
                return Err(err("The LIMIT argument must be >= 0."));
            }
            self.limit = Some(limit);
            return Ok(Some(2));
        }
        if xadd && is(word, "NOMKSTREAM") {
            self.keep_missing = true;
            return Ok(Some(1));
        }
        if flavour == Flavour::Redis70 {
            return Ok(None);
        }
        if self.policy.is_none() {
            self.policy = policy(word);
            if self.policy.is_some() {
                return Ok(Some(1));
            }
        }
        if xadd && is(word, "IDMP") && more >= 2 {
            self.check_producer("IDMP", &args[1])?;
            if args[2].is_empty() {
                return Err(err("syntax error, IDMP requires a non-empty idempotent ID"));
            }
            self.producer = Some((args[1].clone(), Some(args[2].clone())));
            return Ok(Some(3));
        }
        if xadd && is(word, "IDMPAUTO") && more >= 1 {
            self.check_producer("IDMPAUTO", &args[1])?;
            self.producer = Some((args[1].clone(), None));
            return Ok(Some(2));
        }
        Ok(None)
    }

    fn threshold(&mut self, args: &[Vec<u8>]) -> Result<usize, Refusal> {
        if self.threshold.is_some() {
            let text = "syntax error, MAXLEN and MINID options at the same time are not compatible";
            return Err(err(text));
        }
        let sign = if args.len() > 2 { args[1].as_slice() } else { b"" };
        let signed = sign == b"~" || sign == b"=";
        let value = &args[if signed { 2 } else { 1 }];
        let threshold = if is(&args[0], "MAXLEN") {
            let max = u64::try_from(integer(value)?).map_err(|_| err("The MAXLEN argument must be >= 0."))?;
            Threshold::MaxLen(max)
        } else {
            Threshold::MinId(parse::id(value)?)
        };
        self.threshold = Some((threshold, sign == b"~"));
        Ok(if signed { 3 } else { 2 })
    }

    fn check_producer(&self, option: &str, producer: &[u8]) -> Result<(), Refusal> {
        if self.producer.is_some() {
            return Err(err("syntax error, IDMP/IDMPAUTO specified multiple times"));
        }
        if producer.is_empty() {
            return Err(err(format!("syntax error, {option} requires a non-empty producer ID")));
        }
        Ok(())
    }

    fn trim(&self, xadd: bool) -> Result<Option<Trim>, Refusal> {
        if self.limit.is_some_and(|limit| limit > 0) && self.threshold.is_none() {
            return Err(err("syntax error, LIMIT cannot be used without specifying a trimming strategy"));
        }
        if !xadd && self.threshold.is_none() {
            return Err(err("syntax error, XTRIM must be called with a trimming strategy"));
        }
        let approximate = self.threshold.is_some_and(|(_, approximate)| approximate);
        if self.limit.is_some() && !approximate {
            return Err(err("syntax error, LIMIT cannot be used without the special ~ option"));
        }
        let limit = match self.limit {
            Some(limit) => limit as u64,
            None if approximate => LIMIT_DEFAULT,
            None => 0,
        };
        let policy = self.policy.unwrap_or(Policy::KeepRef);
        Ok(self.threshold.map(|(threshold, approximate)| Trim { threshold, approximate, limit, policy }))
    }
}

pub(super) fn policy(word: &[u8]) -> Option<Policy> {
    [("KEEPREF", Policy::KeepRef), ("DELREF", Policy::DelRef), ("ACKED", Policy::Acked)]
        .into_iter()
        .find_map(|(name, policy)| is(word, name).then_some(policy))
}

pub(super) fn xsetid(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let flavour = model.flavour;
    let id = parse::id(&args[2])?;
    let mut entries_added = None;
    let mut max_deleted = EntryId::MIN;
    for option in args[3..].chunks(2) {
        match option {
            [name, value] if is(name, "ENTRIESADDED") => {
                let value = integer(value)?;
                entries_added =
                    Some(u64::try_from(value).map_err(|_| err("entries_added must be positive"))?);
            }
            [name, value] if is(name, "MAXDELETEDID") => {
                max_deleted = parse::id(value)?;
                if id < max_deleted {
                    let text = "The ID specified in XSETID is smaller than the provided max_deleted_entry_id";
                    return Err(err(text));
                }
            }
            _ => return Err(syntax_error()),
        }
    }
    let stream = model.stream(&args[1])?.ok_or_else(no_such_key)?;
    if flavour == Flavour::Latest && id < stream.max_deleted {
        return Err(err("The ID specified in XSETID is smaller than current max_deleted_entry_id"));
    }
    if stream.top_id().is_some_and(|top| id < top) {
        return Err(err("The ID specified in XSETID is smaller than the target stream top item"));
    }
    let length = stream.len() as u64;
    if entries_added.is_some_and(|added| added < length) {
        return Err(err("The entries_added specified in XSETID is smaller than the target stream length"));
    }
    stream.last_id = id;
    stream.entries_added = entries_added.unwrap_or(stream.entries_added);
    if max_deleted != EntryId::MIN {
        stream.max_deleted = max_deleted;
    }
    Ok(Value::ok())
}

pub(super) fn xcfgset(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let stream = model.stream(&args[1])?.ok_or_else(no_such_key)?;
    if args.len() == 2 {
        return Err(err("At least one parameter must be specified"));
    }
    let (mut duration, mut entries) = (None, None);
    for option in args[2..].chunks(2) {
        let [name, value] = option else { return Err(syntax_error()) };
        let (slot, name, max, unit) = if is(name, "IDMP-DURATION") {
            (&mut duration, "IDMP-DURATION", 86_400, "seconds")
        } else if is(name, "IDMP-MAXSIZE") {
            (&mut entries, "IDMP-MAXSIZE", 10_000, "entries")
        } else {
            return Err(syntax_error());
        };
        if slot.is_some() {
            return Err(err(format!("{name} specified multiple times")));
        }
        let value = integer(value)?;
        if !(1..=max).contains(&value) {
            return Err(err(format!("{name} must be between 1 and {max} {unit}")));
        }
        *slot = Some(value);
    }
    stream.producers.configure(duration, entries);
    Ok(Value::ok())
}
