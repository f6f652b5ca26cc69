//! What is sent: a plain command, or a script with its arguments.
//!
//! Scripts are sent by their hash; a server that does not know one is sent its text.

use std::sync::LazyLock;

use redis::{Cmd, ToRedisArgs};

use crate::side_prefix;

/// A script, told apart by its name.
#[derive(Debug)]
pub(crate) struct Script {
    code: String,
    hash: String,
}

impl Script {
    fn new(parts: &[&str]) -> Self {
        let code = parts.concat();
        let hash = redis::Script::new(&code).get_hash().to_owned();
        Self { code, hash }
    }
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $($part:literal)+;)+) => {
        $($(#[$doc])*
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(&[$(include_str!(concat!("scripts/", $part)), "\n"),+])
        });)+
    };
}

scripts! {
    APPEND = "prelude.lua" "retention.lua" "append.lua";
    TRIM = "prelude.lua" "retention.lua" "trim.lua";
    SET_RETENTION = "prelude.lua" "retention.lua" "set_retention.lua";
    DELETE_STREAM = "prelude.lua" "delete_stream.lua";
    CREATE_GROUP = "prelude.lua" "policy.lua" "create_group.lua";
    SET_POLICY = "prelude.lua" "policy.lua" "set_policy.lua";
    DELETE_GROUP = "prelude.lua" "delete_group.lua";
    GROUPS = "prelude.lua" "groups.lua";
    PAUSE = "prelude.lua" "pause.lua";
    SEEK = "prelude.lua" "retention.lua" "seek.lua";
    DELETE_CONSUMER = "prelude.lua" "delete_consumer.lua";
    LAG = "prelude.lua" "retention.lua" "lag.lua";
    READ = "prelude.lua" "read.lua";
    SETTLE = "prelude.lua" "settle.lua";
    CLAIM = "prelude.lua" "claim.lua";
    AUTO_CLAIM = "prelude.lua" "auto_claim.lua";
    SUMMARY = "prelude.lua" "summary.lua";
    PENDING = "prelude.lua" "pending.lua";
    RESTORE = "prelude.lua" "restore.lua";
    REDRIVE = "prelude.lua" "redrive.lua";
}

/// Behind the prefix of the side keys: the name of a key that never exists.
const NEVER: &[u8] = b"never";

/// A command or a script with its arguments.
#[derive(Debug)]
pub(crate) enum Request {
    Plain(Cmd),
    /// The stream is its first key.
    Scripted {
        script: &'static Script,
        args: Cmd,
        /// How many keys it names.
        keys: usize,
    },
}

impl Request {
    /// A plain command.
    pub(crate) fn command(name: &str) -> Self {
        Self::Plain(redis::cmd(name))
    }

    /// A script about a stream. It names a key in the same slot that never exists: while the slot moves to another node
    /// of a cluster, a call with a key that is there and one that is not is refused as a whole. Named by the stream
    /// alone, the script would begin, and stop at the first key that has moved, with half of its work done.
    pub(crate) fn script(script: &'static LazyLock<Script>, stream: &[u8]) -> Self {
        let script: &'static Script = script;
        let mut args = redis::cmd("EVALSHA");
        args.arg(script.hash.as_bytes());
        let keys = match side_prefix(stream) {
            Ok(prefix) => {
                args.arg(2).arg(stream).arg([&prefix, NEVER].concat());
                2
            }
            // Nothing can be kept beside it: the stream is all that the script looks at.
            Err(_) => {
                args.arg(1).arg(stream);
                1
            }
        };
        Self::Scripted { script, args, keys }
    }

    pub(crate) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.push(arg);
        self
    }

    pub(crate) fn push(&mut self, arg: impl ToRedisArgs) {
        match self {
            Self::Plain(command) | Self::Scripted { args: command, .. } => command.arg(arg),
        };
    }

    /// The group that it is about, if any: in a command it follows its stream, in a script the keys and the prefix of the
    /// side keys.
    pub(crate) fn group(&self, stream: &[u8]) -> Option<&[u8]> {
        let mut args = self.command_ref().args_iter().filter_map(|arg| match arg {
            redis::Arg::Simple(bytes) => Some(bytes),
            _ => None,
        });
        match self {
            // The command, the hash and the number of keys come first.
            Self::Scripted { keys, .. } => args.nth(3 + keys + 1),
            Self::Plain(_) => {
                args.find(|arg| *arg == stream)?;
                args.next()
            }
        }
    }

    /// What is sent first.
    pub(crate) fn command_ref(&self) -> &Cmd {
        match self {
            Self::Plain(command) | Self::Scripted { args: command, .. } => command,
        }
    }

    /// What is sent to a server that does not know the script.
    pub(crate) fn with_text(&self) -> Option<Cmd> {
        let Self::Scripted { script, args, .. } = self else { return None };
        let mut command = redis::cmd("EVAL");
        command.arg(script.code.as_bytes());
        for arg in args.args_iter().skip(2) {
            if let redis::Arg::Simple(bytes) = arg {
                command.arg(bytes);
            }
        }
        Some(command)
    }
}
