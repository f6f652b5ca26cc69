//! The naive model: Redis with streams, in memory, written to be obviously right.
//!
//! It is what the engine and the doors are compared with where no real server speaks the newest surface,
//! and it is itself compared with a real server where one does. It looks everything up by walking, keeps nothing
//! twice, and reads no clock: the time comes with each command. It never blocks; a read that would wait answers as
//! it does inside a transaction.

mod append;
mod claim;
mod counters;
mod delete;
mod group;
mod groups;
mod info;
mod keys;
mod node;
mod parse;
mod producers;
mod range;
mod read;
mod session;
mod stream;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use parse::canonical_integer;
pub use session::Session;

use crate::Value;
use group::Group;
use parse::{Outcome, Refusal, err, err_quoting, no_key_or_group, wrong_arity, wrong_type};
use stream::Stream;

/// Which server the model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flavour {
    /// Redis 7.0.
    Redis70,
    /// The newest surface weir speaks, that of Redis 8.10.
    Latest,
}

/// One database of keys, most of them streams.
#[derive(Debug, Clone)]
pub struct Model {
    flavour: Flavour,
    now_ms: u64,
    keys: BTreeMap<Vec<u8>, Key>,
    /// Keys the last command changed in the sense of WATCH.
    touched: BTreeSet<Vec<u8>>,
}

#[derive(Debug, Clone)]
struct Key {
    data: Data,
    /// Milliseconds since the Unix epoch.
    expires: Option<i64>,
}

#[derive(Debug, Clone)]
enum Data {
    String(Vec<u8>),
    Stream(Stream),
}

type Run = fn(&mut Model, &[Vec<u8>]) -> Outcome;

/// Name (a subcommand behind a bar), number of words (negative: at least), since when, what it does.
struct Row(&'static str, i32, Flavour, Run);

use Flavour::{Latest, Redis70};

const COMMANDS: &[Row] = &[
    Row("xadd", -5, Redis70, append::xadd),
    Row("xtrim", -4, Redis70, append::xtrim),
    Row("xsetid", -3, Redis70, append::xsetid),
    Row("xcfgset", -2, Latest, append::xcfgset),
    Row("xlen", 2, Redis70, range::xlen),
    Row("xrange", -4, Redis70, range::xrange),
    Row("xrevrange", -4, Redis70, range::xrevrange),
    Row("xread", -4, Redis70, read::xread),
    Row("xreadgroup", -7, Redis70, read::xreadgroup),
    Row("xgroup|create", -5, Redis70, groups::create),
    Row("xgroup|setid", -5, Redis70, groups::setid),
    Row("xgroup|destroy", 4, Redis70, groups::destroy),
    Row("xgroup|createconsumer", 5, Redis70, groups::createconsumer),
    Row("xgroup|delconsumer", 5, Redis70, groups::delconsumer),
    Row("xgroup|help", 2, Redis70, groups::help),
    Row("xack", -4, Redis70, delete::xack),
    Row("xdel", -3, Redis70, delete::xdel),
    Row("xdelex", -5, Latest, delete::xdelex),
    Row("xackdel", -6, Latest, delete::xackdel),
    Row("xnack", -7, Latest, delete::xnack),
    Row("xpending", -3, Redis70, claim::xpending),
    Row("xclaim", -6, Redis70, claim::xclaim),
    Row("xautoclaim", -6, Redis70, claim::xautoclaim),
    Row("xinfo|stream", -3, Redis70, info::stream),
    Row("xinfo|groups", 3, Redis70, info::groups),
    Row("xinfo|consumers", 4, Redis70, info::consumers),
    Row("xinfo|help", 2, Redis70, info::help),
    Row("del", -2, Redis70, keys::del),
    Row("unlink", -2, Redis70, keys::del),
    Row("exists", -2, Redis70, keys::exists),
    Row("touch", -2, Redis70, keys::exists),
    Row("type", 2, Redis70, keys::type_of),
    Row("rename", 3, Redis70, keys::rename),
    Row("renamenx", 3, Redis70, keys::renamenx),
    Row("copy", -3, Redis70, keys::copy),
    Row("expire", -3, Redis70, keys::expire),
    Row("pexpire", -3, Redis70, keys::pexpire),
    Row("expireat", -3, Redis70, keys::expireat),
    Row("pexpireat", -3, Redis70, keys::pexpireat),
    Row("ttl", 2, Redis70, keys::ttl),
    Row("pttl", 2, Redis70, keys::pttl),
    Row("expiretime", 2, Redis70, keys::expiretime),
    Row("pexpiretime", 2, Redis70, keys::pexpiretime),
    Row("persist", 2, Redis70, keys::persist),
    Row("set", -3, Redis70, keys::set),
    Row("get", 2, Redis70, keys::get),
    Row("dbsize", 1, Redis70, keys::dbsize),
    Row("flushall", -1, Redis70, keys::flushall),
    Row("ping", -1, Redis70, keys::ping),
    Row("unwatch", 1, Redis70, keys::unwatch),
];

impl Model {
    /// An empty database.
    #[must_use]
    pub fn new(flavour: Flavour) -> Self {
        Self { flavour, now_ms: 0, keys: BTreeMap::new(), touched: BTreeSet::new() }
    }

    /// Carries one command out as of `now_ms`, milliseconds since the Unix epoch.
    ///
    /// Maps are maps in the answer; see [`Value::over`] for what RESP2 makes of them.
    pub fn execute(&mut self, now_ms: u64, args: &[Vec<u8>]) -> Value {
        self.now_ms = now_ms;
        self.touched.clear();
        let now = self.now();
        self.keys.retain(|_, key| key.expires.is_none_or(|expires| expires > now));
        self.find(args).and_then(|row| (row.3)(self, args)).unwrap_or_else(|Refusal(text)| Value::Error(text))
    }

    /// The command's row, or why there is none: an unknown name or a wrong number of words.
    fn find(&self, args: &[Vec<u8>]) -> Result<&'static Row, Refusal> {
        let Some(typed) = args.first() else { return Err(err("unknown command ''")) };
        let name = String::from_utf8_lossy(typed).to_lowercase();
        let known = |name: &str| COMMANDS.iter().find(|row| row.0 == name && row.2 <= self.flavour);
        let row = if name == "xgroup" || name == "xinfo" {
            let Some(sub) = args.get(1) else { return Err(wrong_arity(&name)) };
            let full = format!("{name}|{}", String::from_utf8_lossy(sub).to_lowercase());
            let after = format!("'. Try {} HELP.", name.to_uppercase());
            known(&full).ok_or_else(|| err_quoting("unknown subcommand '", sub, &after))?
        } else {
            known(&name).ok_or_else(|| self.unknown_command(args))?
        };
        let words = args.len() as i32;
        if (row.1 > 0 && words != row.1) || words < -row.1 { Err(wrong_arity(row.0)) } else { Ok(row) }
    }

    fn unknown_command(&self, args: &[Vec<u8>]) -> Refusal {
        let mut shown = Vec::new();
        for word in &args[1..] {
            if shown.len() >= 128 {
                break;
            }
            let room = 128 - shown.len();
            shown.extend([b"'", &word[..word.len().min(room)], b"' "].concat());
        }
        let name = &args[0][..args[0].len().min(128)];
        if shown.is_empty() && self.flavour == Latest {
            return err_quoting("unknown command '", name, "'");
        }
        err([b"unknown command '", name, b"', with args beginning with: ", &shown].concat())
    }

    fn now(&self) -> i64 {
        self.now_ms as i64
    }

    fn touch(&mut self, key: &[u8]) {
        self.touched.insert(key.to_vec());
    }

    /// The stream under `key`, if there is one; a refusal when something else is there.
    fn stream(&mut self, key: &[u8]) -> Result<Option<&mut Stream>, Refusal> {
        match self.keys.get_mut(key).map(|key| &mut key.data) {
            Some(Data::Stream(stream)) => Ok(Some(stream)),
            Some(Data::String(_)) => Err(wrong_type()),
            None => Ok(None),
        }
    }

    fn stream_or_new(&mut self, key: &[u8]) -> Result<&mut Stream, Refusal> {
        let fresh = Key { data: Data::Stream(Stream::new(self.flavour)), expires: None };
        match &mut self.keys.entry(key.to_vec()).or_insert(fresh).data {
            Data::Stream(stream) => Ok(stream),
            Data::String(_) => Err(wrong_type()),
        }
    }

    /// The stream and its group, or NOGROUP as the commands on pending entries say it.
    fn stream_with_group(&mut self, key: &[u8], group: &[u8]) -> Result<&mut Stream, Refusal> {
        match self.stream(key)? {
            Some(stream) if stream.groups.contains_key(group) => Ok(stream),
            _ => Err(no_key_or_group(key, group)),
        }
    }
}

impl Stream {
    fn group(&mut self, name: &[u8]) -> &mut Group {
        self.groups.get_mut(name).expect("the caller has looked the group up")
    }
}
