//! Settling deliveries: a batch of whatever kinds, and one command for each kind that people type.
//!
//! In a batch a word says what becomes of the IDs that follow it, so that a hundred acknowledgements are a hundred IDs:
//!
//! ```text
//! WEIR.SETTLE orders billing  ACK 1-1:17 1-2:18  NACK POLICY timeout "no answer" 1-3:19  ACK 1-4:20
//! ```
//!
//! An ID without a token settles whatever row there is.

use std::borrow::Cow;

use weir_core::{BoxFuture, Broker, Error, ErrorKind, Settle, Settled, Settlement, Token};

use crate::limits::SETTLEMENTS_MAX;
use crate::number::{parse_id, parse_u64, push_id, push_u64};
use crate::value::malformed;
use crate::words::{invalid, millis};
use crate::{Command, Effect, Sink, Value, Verb, Words};

/// `WEIR.SETTLE`: [`weir_core::Deliveries::settle`].
#[derive(Debug, Clone)]
pub struct SettleEntries<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// The group.
    pub group: &'a [u8],
    /// What becomes of what.
    pub settlements: Cow<'a, [Settle]>,
}

impl<'a> Verb<'a> for SettleEntries<'a> {
    type Reply = Vec<Settled>;

    const COMMAND: Command = Command {
        name: "weir.settle",
        arity: -3,
        effect: Effect::Writes,
        syntax: "key group [<ACK | EXTEND | RELEASE <NOW | milliseconds> | NACK <POLICY | milliseconds> class reason | \
                 TERM class reason> id-or-id:token [id-or-id:token ...] ...]",
        summary: "settles deliveries, one after the other; answers OK when all were, otherwise of each DONE, \
                  DEADLETTERED, STALE (the token is of an earlier delivery) or NOTPENDING",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        out.word(self.group);
        let mut before = None;
        for settle in &*self.settlements {
            if before != Some(&settle.settlement) {
                encode_settlement(&settle.settlement, out);
                before = Some(&settle.settlement);
            }
            encode_target(settle, out);
        }
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let (stream, group) = (words.word()?, words.word()?);
        let mut settlements = Vec::new();
        while !words.is_empty() {
            let settlement = decode_settlement(words)?;
            let from = settlements.len();
            decode_targets(words, &settlement, &mut settlements)?;
            if settlements.len() == from {
                return Err(words.unexpected());
            }
        }
        Ok(Self { stream, group, settlements: settlements.into() })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Vec<Settled>> {
        broker.settle(self.stream, self.group, &self.settlements)
    }

    fn reply(reply: Vec<Settled>) -> Value {
        if reply.iter().all(|settled| *settled == Settled::Done) {
            return Value::simple("OK");
        }
        Value::array(reply, settled)
    }

    fn read_reply(&self, value: Value) -> Result<Vec<Settled>, Error> {
        match value {
            Value::Simple(word) if word == "OK" => Ok(vec![Settled::Done; self.settlements.len()]),
            value => {
                let settled = value.into_list(read_settled)?;
                if settled.len() == self.settlements.len() {
                    Ok(settled)
                } else {
                    Err(malformed("an answer for each"))
                }
            }
        }
    }
}

fn encode_settlement(settlement: &Settlement, out: &mut dyn Sink) {
    match settlement {
        Settlement::Ack => out.token("ACK"),
        Settlement::Extend => out.token("EXTEND"),
        Settlement::Release { delay } => {
            out.token("RELEASE");
            match delay {
                Some(delay) => out.millis(*delay),
                None => out.token("NOW"),
            }
        }
        Settlement::Nak { delay, class, reason } => {
            out.token("NACK");
            match delay {
                Some(delay) => out.millis(*delay),
                None => out.token("POLICY"),
            }
            out.word(class);
            out.word(reason);
        }
        Settlement::Term { class, reason } => {
            out.token("TERM");
            out.word(class);
            out.word(reason);
        }
    }
}

fn decode_settlement(words: &mut Words<'_, '_>) -> Result<Settlement, Error> {
    if words.takes("ACK") {
        Ok(Settlement::Ack)
    } else if words.takes("EXTEND") {
        Ok(Settlement::Extend)
    } else if words.takes("RELEASE") {
        Ok(Settlement::Release { delay: if words.takes("NOW") { None } else { Some(words.millis()?) } })
    } else if words.takes("NACK") {
        let delay = if words.takes("POLICY") { None } else { Some(words.millis()?) };
        Ok(Settlement::Nak { delay, class: words.owned()?, reason: words.owned()? })
    } else if words.takes("TERM") {
        Ok(Settlement::Term { class: words.owned()?, reason: words.owned()? })
    } else {
        Err(words.unexpected())
    }
}

/// `5-1` or `5-1:17`
fn encode_target(settle: &Settle, out: &mut dyn Sink) {
    let mut text = Vec::with_capacity(48);
    push_id(&mut text, settle.id);
    if let Some(token) = settle.token {
        text.push(b':');
        push_u64(&mut text, token.0);
    }
    out.word(&text);
}

/// Reads targets up to the next word that does not begin with a digit.
fn decode_targets(
    words: &mut Words<'_, '_>,
    settlement: &Settlement,
    into: &mut Vec<Settle>,
) -> Result<(), Error> {
    while let Some(word) = words.peek().filter(|word| word.first().is_some_and(u8::is_ascii_digit)) {
        if into.len() == SETTLEMENTS_MAX {
            return Err(ErrorKind::LimitReached("settlements in one command").into());
        }
        words.word()?;
        let colon = word.iter().position(|byte| *byte == b':');
        let (id, token) = match colon {
            Some(colon) => (&word[..colon], Some(parse_u64(&word[colon + 1..]).ok_or_else(no_target)?)),
            None => (word, None),
        };
        let id = parse_id(id).ok_or_else(no_target)?;
        into.push(Settle { id, token: token.map(Token), settlement: settlement.clone() });
    }
    Ok(())
}

fn no_target() -> Error {
    invalid("an entry ID, or one with the token of its delivery (ms-seq:token), is expected")
}

fn settled(settled: Settled) -> Value {
    Value::simple(match settled {
        Settled::Done => "DONE",
        Settled::DeadLettered => "DEADLETTERED",
        Settled::Stale => "STALE",
        Settled::NotPending => "NOTPENDING",
    })
}

fn read_settled(value: Value) -> Result<Settled, Error> {
    match &value.into_bytes()?[..] {
        b"DONE" => Ok(Settled::Done),
        b"DEADLETTERED" => Ok(Settled::DeadLettered),
        b"STALE" => Ok(Settled::Stale),
        b"NOTPENDING" => Ok(Settled::NotPending),
        _ => Err(malformed("what became of a settlement")),
    }
}

/// A command that settles entries in one way, options behind the IDs.
macro_rules! one_way {
    ($(#[$doc:meta])* $name:ident, $command:literal, $options:literal, $summary:literal, $decode:expr, $encode:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name<'a> {
            /// The stream.
            pub stream: &'a [u8],
            /// The group.
            pub group: &'a [u8],
            /// All with the same settlement.
            pub settlements: Vec<Settle>,
        }

        impl<'a> Verb<'a> for $name<'a> {
            type Reply = Vec<Settled>;

            const COMMAND: Command = Command {
                name: $command,
                arity: -4,
                effect: Effect::Writes,
                syntax: concat!("key group id-or-id:token [id-or-id:token ...]", $options),
                summary: concat!($summary, "; answers of each DONE, DEADLETTERED, STALE or NOTPENDING"),
                ..Command::BASE
            };

            fn encode(&self, out: &mut dyn Sink) {
                out.word(self.stream);
                out.word(self.group);
                self.settlements.iter().for_each(|settle| encode_target(settle, out));
                if let Some(first) = self.settlements.first() {
                    $encode(&first.settlement, out);
                }
            }

            fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
                let (stream, group) = (words.word()?, words.word()?);
                let mut settlements = Vec::new();
                decode_targets(words, &Settlement::Ack, &mut settlements)?;
                if settlements.is_empty() {
                    return Err(words.unexpected());
                }
                let settlement: Settlement = $decode(words)?;
                settlements.iter_mut().for_each(|settle| settle.settlement = settlement.clone());
                Ok(Self { stream, group, settlements })
            }

            fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Vec<Settled>> {
                broker.settle(self.stream, self.group, &self.settlements)
            }

            fn reply(reply: Vec<Settled>) -> Value {
                Value::array(reply, settled)
            }

            fn read_reply(&self, value: Value) -> Result<Vec<Settled>, Error> {
                value.into_list(read_settled)
            }
        }
    };
}

/// `DELAY`, `CLASS` and `REASON`, as far as the command has them.
fn decode_options(
    words: &mut Words<'_, '_>,
    has_delay: bool,
    has_failure: bool,
) -> Result<Settlement, Error> {
    let (mut delay, mut class, mut reason) = (None, Vec::new(), Vec::new());
    while !words.is_empty() {
        if has_delay && words.takes("DELAY") {
            delay = Some(words.millis()?);
        } else if has_failure && words.takes("CLASS") {
            class = words.owned()?;
        } else if has_failure && words.takes("REASON") {
            reason = words.owned()?;
        } else {
            return Err(words.unexpected());
        }
    }
    Ok(match (has_delay, has_failure) {
        (true, true) => Settlement::Nak { delay, class, reason },
        (true, false) => Settlement::Release { delay },
        (false, true) => Settlement::Term { class, reason },
        (false, false) => Settlement::Extend,
    })
}

fn encode_options(settlement: &Settlement, out: &mut dyn Sink) {
    let failure = |class: &[u8], reason: &[u8], out: &mut dyn Sink| {
        out.option_word("CLASS", Some(class));
        out.option_word("REASON", Some(reason));
    };
    match settlement {
        Settlement::Nak { delay, class, reason } => {
            out.option_u64("DELAY", delay.map(millis));
            failure(class, reason, out);
        }
        Settlement::Release { delay } => out.option_u64("DELAY", delay.map(millis)),
        Settlement::Term { class, reason } => failure(class, reason, out),
        Settlement::Ack | Settlement::Extend => {}
    }
}

one_way! {
    /// `WEIR.NACK`: entries failed.
    NackEntries, "weir.nack", " [DELAY milliseconds] [CLASS class] [REASON reason]",
    "says that entries failed: they come again after the delay, or as the policy says, or become dead letters",
    |words| decode_options(words, true, true), encode_options
}

one_way! {
    /// `WEIR.RELEASE`: entries were not tried.
    ReleaseEntries, "weir.release", " [DELAY milliseconds]",
    "gives entries back untried: no failure, and the delivery is not counted",
    |words| decode_options(words, true, false), encode_options
}

one_way! {
    /// `WEIR.TERM`: entries will never succeed.
    TermEntries, "weir.term", " [CLASS class] [REASON reason]",
    "says that entries will never succeed: they become dead letters at once",
    |words| decode_options(words, false, true), encode_options
}

one_way! {
    /// `WEIR.EXTEND`: entries take longer.
    ExtendEntries, "weir.extend", "",
    "lets the lease of entries begin anew",
    |words| decode_options(words, false, false), encode_options
}
