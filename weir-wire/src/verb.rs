//! What a verb of the traits is on the wire: its command, its words, its answer, and how it is carried out.

use weir_core::{BoxFuture, Broker, Error};

use crate::{Sink, Value, Words};

/// What a command does to what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Reads,
    /// It changes something.
    Writes,
}

/// A command as documents and command tables have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// In lower case; a subcommand's is `weir.group|create`.
    pub name: &'static str,
    /// Words including the command's name and the subcommand's; negative: at least so many.
    pub arity: i32,
    /// What it does to what is stored.
    pub effect: Effect,
    /// Whether it may wait.
    pub waits: bool,
    /// Whether its first argument is a stream.
    pub has_key: bool,
    /// The arguments, as a manual shows them.
    pub syntax: &'static str,
    /// What it does, in a sentence without a full stop.
    pub summary: &'static str,
}

impl Command {
    /// The row that others are made from.
    pub(crate) const BASE: Self = Self {
        name: "",
        arity: -2,
        effect: Effect::Reads,
        waits: false,
        has_key: true,
        syntax: "key",
        summary: "",
    };

    /// The words of its name.
    pub fn words(&self) -> impl Iterator<Item = &'static str> {
        self.name.split('|')
    }
}

/// A verb with its arguments. `'a` is how long the bytes live that it borrows.
pub trait Verb<'a>: Sized + Send + Sync {
    /// What it is answered with.
    type Reply: Send;

    /// Its row.
    const COMMAND: Command;

    /// Writes its arguments, without the command's name.
    fn encode(&self, out: &mut dyn Sink);

    /// Reads its arguments, all of them.
    ///
    /// # Errors
    /// [`weir_core::ErrorKind::Invalid`] and [`weir_core::ErrorKind::LimitReached`].
    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error>;

    /// Carries it out.
    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Self::Reply>;

    /// Whether it may be asked again without anybody knowing whether it was done already: it does no more the second time,
    /// and answers the same.
    fn is_repeatable(&self) -> bool {
        Self::COMMAND.effect == Effect::Reads
    }

    /// The reply as a value.
    fn reply(reply: Self::Reply) -> Value;

    /// The value as a reply; a [`Value::Error`] is not looked for: [`Value::accepted`] has done that.
    ///
    /// # Errors
    /// [`weir_core::ErrorKind::Unsupported`] when it is not understood.
    fn read_reply(&self, value: Value) -> Result<Self::Reply, Error>;
}

/// Writes a whole call: the command's name and its arguments.
pub fn encode_call<'a, V: Verb<'a>>(verb: &V, out: &mut dyn Sink) {
    for word in V::COMMAND.words() {
        out.token(&word.to_ascii_uppercase());
    }
    verb.encode(out);
}
