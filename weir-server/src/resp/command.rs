//! A command as a row of data: name, arity, flags, keys, texts, and the function that runs it.
//!
//! Dispatch, `COMMAND INFO`, `COMMAND DOCS` and the manual all read these rows.

use super::call::{Answer, Call};

/// What holds for a command whatever its arguments. Combined with `|`.
pub(crate) mod flag {
    /// Changes keys.
    pub(crate) const WRITE: u32 = 1;
    /// Reads keys and changes none.
    pub(crate) const READONLY: u32 = 1 << 1;
    /// Refused when memory is used up.
    pub(crate) const DENYOOM: u32 = 1 << 2;
    /// Takes constant or logarithmic time.
    pub(crate) const FAST: u32 = 1 << 3;
    /// May wait.
    pub(crate) const BLOCKING: u32 = 1 << 4;
    /// Keys do not stand at fixed places.
    pub(crate) const MOVABLE_KEYS: u32 = 1 << 5;
    /// Allowed before authentication.
    pub(crate) const NO_AUTH: u32 = 1 << 6;
    /// Refused inside MULTI.
    pub(crate) const NO_MULTI: u32 = 1 << 7;
    /// Executed at once inside MULTI instead of being queued.
    pub(crate) const AT_ONCE: u32 = 1 << 8;
    /// Operates the server.
    pub(crate) const ADMIN: u32 = 1 << 9;
    /// Publish and subscribe.
    pub(crate) const PUBSUB: u32 = 1 << 10;
    /// Not from scripts.
    pub(crate) const NOSCRIPT: u32 = 1 << 11;
    /// Allowed while data is loaded.
    pub(crate) const LOADING: u32 = 1 << 12;
    /// Allowed on a stale replica.
    pub(crate) const STALE: u32 = 1 << 13;
    /// Does not show in MONITOR.
    pub(crate) const SKIP_MONITOR: u32 = 1 << 14;
    /// Does not show in SLOWLOG.
    pub(crate) const SKIP_SLOWLOG: u32 = 1 << 15;
    /// In ACL category `@dangerous`.
    pub(crate) const DANGEROUS: u32 = 1 << 16;
    /// In ACL category `@connection`.
    pub(crate) const CONNECTION: u32 = 1 << 17;
    /// In ACL category `@keyspace`.
    pub(crate) const KEYSPACE: u32 = 1 << 18;
    /// In ACL category `@stream`.
    pub(crate) const STREAM: u32 = 1 << 19;
    /// In ACL category `@string`.
    pub(crate) const STRING: u32 = 1 << 20;
    /// In ACL category `@transaction`.
    pub(crate) const TRANSACTION: u32 = 1 << 21;
    /// Allowed to a RESP2 client that has subscribed.
    pub(crate) const SUBSCRIBED: u32 = 1 << 22;
    /// Allowed while a script runs.
    pub(crate) const ALLOW_BUSY: u32 = 1 << 23;
    /// Refused while data is loaded in the background.
    pub(crate) const NO_ASYNC_LOADING: u32 = 1 << 24;
    /// In ACL category `@scripting`.
    pub(crate) const SCRIPTING: u32 = 1 << 25;
}

/// Where a command's keys stand among its arguments; the command's name is argument 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// It has none.
    None,
    /// From `first` to `last` (negative: counted from the end, -1 being the last argument), every `step`.
    Range { first: u32, last: i32, step: u32 },
    /// Behind the word STREAMS, looked for from argument `from` on; half of what follows it.
    Streams { from: u32 },
}

impl Keys {
    /// One key.
    pub(crate) const fn at(index: u32) -> Self {
        Self::Range { first: index, last: index as i32, step: 1 }
    }
}

/// What a command does with its keys, as key specifications tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyUse {
    /// Reads the value: `RO access`.
    Read,
    /// Reads metadata only: `RO`.
    Look,
    /// Adds to the value: `RW update`.
    Update,
    /// Adds to the value what was not there: `RW insert`.
    Insert,
    /// Reads the value and changes it: `RW access update`.
    ReadUpdate,
    /// Reads the value and changes it, or does one of both, as options say: `RW access update variable_flags`.
    ReadUpdateVariable,
    /// Reads the value and removes it: `RW access delete`.
    ReadDelete,
    /// Puts another value in place: `OW update`.
    Replace,
    /// Puts a value where none is: `OW insert`.
    Put,
    /// Removes the key: `RM delete`.
    Remove,
    /// Removes from the value: `RW delete`.
    Delete,
    /// Reads the value and changes bookkeeping: `RO access` in Redis, in spite of the write.
    ReadGroup,
}

/// One row of the command table.
pub(crate) struct Command {
    /// In lower case; a subcommand's is `container|name`.
    pub(crate) name: &'static str,
    /// Words including the command's name (and the container's); negative: at least so many.
    pub(crate) arity: i32,
    /// See [`flag`].
    pub(crate) flags: u32,
    /// Where keys stand.
    pub(crate) keys: Keys,
    /// What is done with them.
    pub(crate) key_use: KeyUse,
    /// Keys at other places, with which something else is done.
    pub(crate) more_keys: &'static [(Keys, KeyUse)],
    /// Group in the documentation: `stream`, `connection`, …
    pub(crate) group: &'static str,
    /// The Redis version that brought it.
    pub(crate) since: &'static str,
    /// What it does, in a sentence without a full stop.
    pub(crate) summary: &'static str,
    /// The arguments, as a manual shows them.
    pub(crate) syntax: &'static str,
    /// Hints for proxies.
    pub(crate) tips: &'static [&'static str],
    /// How it is run.
    pub(crate) run: Run,
}

impl Command {
    /// The row that others are made from with `..Command::BASE`.
    pub(crate) const BASE: Self = Self {
        name: "",
        arity: 1,
        flags: 0,
        keys: Keys::None,
        key_use: KeyUse::Read,
        more_keys: &[],
        group: "generic",
        since: "1.0.0",
        summary: "",
        syntax: "",
        tips: &[],
        run: Run::Container(&[]),
    };

    /// The row that stream commands are made from.
    pub(crate) const STREAM: Self =
        Self { group: "stream", flags: flag::STREAM, keys: Keys::at(1), ..Self::BASE };

    /// Whether all of `flags` are set.
    pub(crate) fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    /// Whether a request of `words` words can be meant.
    pub(crate) fn accepts(&self, words: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { words >= wanted } else { words == wanted }
    }

    /// The last part of the name: `create` of `xgroup|create`.
    pub(crate) fn own_name(&self) -> &'static str {
        self.name.rsplit('|').next().unwrap_or(self.name)
    }

    /// The ACL categories it is in, without their `@`.
    pub(crate) fn categories(&self) -> impl Iterator<Item = &'static str> {
        CATEGORIES.iter().filter(|(_, holds)| holds(self)).map(|(name, _)| *name)
    }

    /// Subcommands, for a container.
    pub(crate) fn subcommands(&self) -> &'static [&'static Self] {
        match self.run {
            Run::Container(rows) | Run::Both(_, rows) => rows,
            Run::Call(_) => &[],
        }
    }
}

/// An ACL category: its name, and which commands are in it.
type Category = (&'static str, fn(&Command) -> bool);

/// All ACL categories, in the order in which they are told. Those of data types that are not here are empty.
pub(crate) static CATEGORIES: &[Category] = &[
    ("keyspace", |row| row.has(flag::KEYSPACE)),
    ("read", |row| row.has(flag::READONLY)),
    ("write", |row| row.has(flag::WRITE)),
    ("set", |_| false),
    ("sortedset", |_| false),
    ("list", |_| false),
    ("hash", |_| false),
    ("string", |row| row.has(flag::STRING)),
    ("bitmap", |_| false),
    ("hyperloglog", |_| false),
    ("geo", |_| false),
    ("stream", |row| row.has(flag::STREAM)),
    ("pubsub", |row| row.has(flag::PUBSUB)),
    ("admin", |row| row.has(flag::ADMIN)),
    ("fast", |row| row.has(flag::FAST)),
    ("slow", |row| !row.has(flag::FAST)),
    ("blocking", |row| row.has(flag::BLOCKING)),
    ("dangerous", |row| row.has(flag::DANGEROUS) || row.has(flag::ADMIN)),
    ("connection", |row| row.has(flag::CONNECTION)),
    ("transaction", |row| row.has(flag::TRANSACTION)),
    ("scripting", |row| row.has(flag::SCRIPTING)),
];

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// How a command is run.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// By this function.
    Call(fn(&mut Call<'_, '_>) -> Answer),
    /// By the subcommand that argument 1 names.
    Container(&'static [&'static Command]),
    /// By this function when there is no argument, by a subcommand otherwise.
    Both(fn(&mut Call<'_, '_>) -> Answer, &'static [&'static Command]),
}
