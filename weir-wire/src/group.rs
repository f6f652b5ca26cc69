//! The verbs of `Groups`.

use std::time::Duration;

use weir_core::{
    BoxFuture, Broker, ConsumerInfo, CreateGroup, Created, Error, GroupInfo, GroupOrigin, Lag, PendingFate,
    Policy, Seek, SeekTo, Sought,
};

use crate::info::{consumer_info, group_info, lag, read_consumer_info, read_group_info, read_lag};
use crate::policy::{decode_policy, encode_policy, policy_syntax};
use crate::value::malformed;
use crate::{Command, Effect, Sink, Value, Verb, Words};

/// `WEIR.GROUP CREATE`: [`weir_core::Groups::create_group`].
#[derive(Debug, Clone)]
pub struct CreateGroupOf<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// The group.
    pub group: &'a [u8],
    /// How it is made.
    pub options: CreateGroup,
}

impl<'a> Verb<'a> for CreateGroupOf<'a> {
    type Reply = Created;

    const COMMAND: Command = Command {
        name: "weir.group|create",
        arity: -5,
        effect: Effect::Writes,
        syntax: concat!("key group <BEGINNING | END | AFTER id> ", policy_syntax!()),
        summary: "makes a group, and the stream too if there is none; what is not named is as recommended; answers NEW, \
                  or EXISTING if it was made before with the same start, and then it keeps its policy",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        out.word(self.group);
        match self.options.origin {
            GroupOrigin::Beginning => out.token("BEGINNING"),
            GroupOrigin::End => out.token("END"),
            GroupOrigin::After(id) => {
                out.token("AFTER");
                out.id(id);
            }
        }
        encode_policy(&self.options.policy, out);
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let (stream, group) = (words.word()?, words.word()?);
        let origin = if words.takes("BEGINNING") {
            GroupOrigin::Beginning
        } else if words.takes("END") {
            GroupOrigin::End
        } else if words.takes("AFTER") {
            GroupOrigin::After(words.id()?)
        } else {
            return Err(words.unexpected());
        };
        Ok(Self { stream, group, options: CreateGroup { origin, policy: decode_policy(words)? } })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Created> {
        broker.create_group(self.stream, self.group, self.options.clone())
    }

    fn reply(reply: Created) -> Value {
        Value::simple(match reply {
            Created::New => "NEW",
            Created::Existing => "EXISTING",
        })
    }

    fn read_reply(&self, value: Value) -> Result<Created, Error> {
        match &value.into_bytes()?[..] {
            b"NEW" => Ok(Created::New),
            b"EXISTING" => Ok(Created::Existing),
            _ => Err(malformed("NEW or EXISTING")),
        }
    }
}

/// `WEIR.GROUP SET`: [`weir_core::Groups::set_policy`].
#[derive(Debug, Clone)]
pub struct SetPolicy<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// The group.
    pub group: &'a [u8],
    /// Its policy from now on.
    pub policy: Policy,
}

impl<'a> Verb<'a> for SetPolicy<'a> {
    type Reply = ();

    const COMMAND: Command = Command {
        name: "weir.group|set",
        arity: -4,
        effect: Effect::Writes,
        syntax: concat!("key group ", policy_syntax!()),
        summary: "gives a group another policy; what is not named is as recommended, not as it was",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        out.word(self.group);
        encode_policy(&self.policy, out);
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        Ok(Self { stream: words.word()?, group: words.word()?, policy: decode_policy(words)? })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, ()> {
        broker.set_policy(self.stream, self.group, self.policy.clone())
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    fn reply((): ()) -> Value {
        Value::simple("OK")
    }

    fn read_reply(&self, value: Value) -> Result<(), Error> {
        value.into_ok()
    }
}

/// A verb whose arguments are a stream and a group and nothing else.
macro_rules! of_group {
    ($(#[$doc:meta])* $name:ident, $reply:ty, $call:ident, $command:expr, $write:expr, $read:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name<'a> {
            /// The stream.
            pub stream: &'a [u8],
            /// The group.
            pub group: &'a [u8],
        }

        impl<'a> Verb<'a> for $name<'a> {
            type Reply = $reply;

            const COMMAND: Command = $command;

            fn encode(&self, out: &mut dyn Sink) {
                out.word(self.stream);
                out.word(self.group);
            }

            fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
                let (stream, group) = (words.word()?, words.word()?);
                words.end()?;
                Ok(Self { stream, group })
            }

            fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Self::Reply> {
                broker.$call(self.stream, self.group)
            }

            fn reply(reply: Self::Reply) -> Value {
                $write(reply)
            }

            fn read_reply(&self, value: Value) -> Result<Self::Reply, Error> {
                $read(value)
            }
        }
    };
}
pub(crate) use of_group;

of_group! {
    /// `WEIR.GROUP GET`: [`weir_core::Groups::group_info`].
    GetGroup, Option<GroupInfo>, group_info,
    Command {
        name: "weir.group|get",
        arity: 4,
        syntax: "key group",
        summary: "what there is to know of a group, its policy included; a null when there is none",
        ..Command::BASE
    },
    |reply| Value::option(reply, group_info),
    |value: Value| value.into_option(read_group_info)
}

of_group! {
    /// `WEIR.GROUP DEL`: [`weir_core::Groups::delete_group`].
    DeleteGroup, bool, delete_group,
    Command {
        name: "weir.group|del",
        arity: 4,
        effect: Effect::Writes,
        syntax: "key group",
        summary: "ends a group with everything it has pending; its dead letters stay",
        ..Command::BASE
    },
    Value::flag,
    Value::into_flag
}

/// `WEIR.GROUP LIST`: [`weir_core::Groups::groups`].
#[derive(Debug, Clone, Copy)]
pub struct ListGroups<'a> {
    /// The stream.
    pub stream: &'a [u8],
}

impl<'a> Verb<'a> for ListGroups<'a> {
    type Reply = Vec<GroupInfo>;

    const COMMAND: Command = Command {
        name: "weir.group|list",
        arity: 3,
        syntax: "key",
        summary: "the groups of a stream, each as WEIR.GROUP GET says it",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let stream = words.word()?;
        words.end()?;
        Ok(Self { stream })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Vec<GroupInfo>> {
        broker.groups(self.stream)
    }

    fn reply(reply: Vec<GroupInfo>) -> Value {
        Value::array(reply, group_info)
    }

    fn read_reply(&self, value: Value) -> Result<Vec<GroupInfo>, Error> {
        value.into_list(read_group_info)
    }
}

/// `WEIR.SEEK`: [`weir_core::Groups::seek`].
#[derive(Debug, Clone, Copy)]
pub struct SeekGroup<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// The group.
    pub group: &'a [u8],
    /// Where to.
    pub options: Seek,
}

impl<'a> Verb<'a> for SeekGroup<'a> {
    type Reply = Sought;

    const COMMAND: Command = Command {
        name: "weir.seek",
        arity: -4,
        effect: Effect::Writes,
        syntax: "key group <START | END | AFTER id | TIME unix-time-milliseconds | SKIP count> [DRYRUN]",
        summary: "moves a group; answers its last-delivered ID before and afterwards, and how many rows left its pending \
                  list because their entries come again",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        out.word(self.group);
        match self.options.to {
            SeekTo::Start => out.token("START"),
            SeekTo::End => out.token("END"),
            SeekTo::After(id) => {
                out.token("AFTER");
                out.id(id);
            }
            SeekTo::Time(time) => out.option_u64("TIME", Some(time.0)),
            SeekTo::Skip(count) => out.option_u64("SKIP", Some(count)),
        }
        out.flag("DRYRUN", self.options.dry_run);
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let (stream, group) = (words.word()?, words.word()?);
        let to = if words.takes("START") {
            SeekTo::Start
        } else if words.takes("END") {
            SeekTo::End
        } else if words.takes("AFTER") {
            SeekTo::After(words.id()?)
        } else if words.takes("TIME") {
            SeekTo::Time(words.time()?)
        } else if words.takes("SKIP") {
            SeekTo::Skip(words.u64()?)
        } else {
            return Err(words.unexpected());
        };
        let dry_run = words.takes("DRYRUN");
        words.end()?;
        Ok(Self { stream, group, options: Seek { to, dry_run } })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Sought> {
        broker.seek(self.stream, self.group, self.options)
    }

    fn reply(reply: Sought) -> Value {
        Value::Array(vec![Value::id(reply.from), Value::id(reply.to), Value::count(reply.dropped)])
    }

    fn read_reply(&self, value: Value) -> Result<Sought, Error> {
        let [from, to, dropped] = value.into_tuple()?;
        Ok(Sought { from: from.into_id()?, to: to.into_id()?, dropped: dropped.into_u64()? })
    }
}

/// `WEIR.PAUSE`: [`weir_core::Groups::pause`].
#[derive(Debug, Clone, Copy)]
pub struct PauseGroup<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// The group.
    pub group: &'a [u8],
    /// When it ends by itself.
    pub duration: Option<Duration>,
}

impl<'a> Verb<'a> for PauseGroup<'a> {
    type Reply = ();

    const COMMAND: Command = Command {
        name: "weir.pause",
        arity: -3,
        effect: Effect::Writes,
        syntax: "key group [FOR milliseconds]",
        summary: "gives nothing out any more to whoever reads the group, until it is resumed or the time is over",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        out.word(self.group);
        out.option_millis("FOR", self.duration);
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let (stream, group) = (words.word()?, words.word()?);
        let duration = if words.takes("FOR") { Some(words.millis()?) } else { None };
        words.end()?;
        Ok(Self { stream, group, duration })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, ()> {
        broker.pause(self.stream, self.group, self.duration)
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    fn reply((): ()) -> Value {
        Value::simple("OK")
    }

    fn read_reply(&self, value: Value) -> Result<(), Error> {
        value.into_ok()
    }
}

of_group! {
    /// `WEIR.RESUME`: [`weir_core::Groups::resume`].
    ResumeGroup, (), resume,
    Command {
        name: "weir.resume",
        arity: 3,
        effect: Effect::Writes,
        syntax: "key group",
        summary: "ends a pause",
        ..Command::BASE
    },
    |()| Value::simple("OK"),
    Value::into_ok
}

of_group! {
    /// `WEIR.CONSUMER LIST`: [`weir_core::Groups::consumers`].
    ListConsumers, Vec<ConsumerInfo>, consumers,
    Command {
        name: "weir.consumer|list",
        arity: 4,
        syntax: "key group",
        summary: "the consumers of a group: name, pending, idle milliseconds",
        ..Command::BASE
    },
    |reply| Value::array(reply, consumer_info),
    |value: Value| value.into_list(read_consumer_info)
}

/// `WEIR.CONSUMER CREATE`: [`weir_core::Groups::create_consumer`].
#[derive(Debug, Clone, Copy)]
pub struct CreateConsumer<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// The group.
    pub group: &'a [u8],
    /// The consumer.
    pub consumer: &'a [u8],
}

impl<'a> Verb<'a> for CreateConsumer<'a> {
    type Reply = bool;

    const COMMAND: Command = Command {
        name: "weir.consumer|create",
        arity: 5,
        effect: Effect::Writes,
        syntax: "key group consumer",
        summary: "makes a consumer of a group; answers 0 when it exists",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        [self.stream, self.group, self.consumer].into_iter().for_each(|word| out.word(word));
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let (stream, group, consumer) = (words.word()?, words.word()?, words.word()?);
        words.end()?;
        Ok(Self { stream, group, consumer })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, bool> {
        broker.create_consumer(self.stream, self.group, self.consumer)
    }

    fn reply(reply: bool) -> Value {
        Value::flag(reply)
    }

    fn read_reply(&self, value: Value) -> Result<bool, Error> {
        value.into_flag()
    }
}

/// `WEIR.CONSUMER DEL`: [`weir_core::Groups::delete_consumer`].
#[derive(Debug, Clone, Copy)]
pub struct DeleteConsumer<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// The group.
    pub group: &'a [u8],
    /// The consumer.
    pub consumer: &'a [u8],
    /// What becomes of what it holds.
    pub pending: PendingFate,
}

impl<'a> Verb<'a> for DeleteConsumer<'a> {
    type Reply = u64;

    const COMMAND: Command = Command {
        name: "weir.consumer|del",
        arity: 6,
        effect: Effect::Writes,
        syntax: "key group consumer <HANDBACK | DROP>",
        summary: "removes a consumer; what it holds goes back to the group, or is never given to anybody again; answers \
                  how many that are",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        [self.stream, self.group, self.consumer].into_iter().for_each(|word| out.word(word));
        out.token(match self.pending {
            PendingFate::HandBack => "HANDBACK",
            PendingFate::Drop => "DROP",
        });
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let (stream, group, consumer) = (words.word()?, words.word()?, words.word()?);
        let pending = if words.takes("HANDBACK") {
            PendingFate::HandBack
        } else if words.takes("DROP") {
            PendingFate::Drop
        } else {
            return Err(words.unexpected());
        };
        words.end()?;
        Ok(Self { stream, group, consumer, pending })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, u64> {
        broker.delete_consumer(self.stream, self.group, self.consumer, self.pending)
    }

    fn reply(reply: u64) -> Value {
        Value::count(reply)
    }

    fn read_reply(&self, value: Value) -> Result<u64, Error> {
        value.into_u64()
    }
}

of_group! {
    /// `WEIR.LAG`: [`weir_core::Groups::lag`].
    LagOf, Lag, lag,
    Command {
        name: "weir.lag",
        arity: 3,
        syntax: "key group",
        summary: "how far behind a group is: entries undelivered, pending, ready, delayed and dead, the oldest of them, \
                  rates per second, and the time until nothing is left",
        ..Command::BASE
    },
    lag,
    read_lag
}
