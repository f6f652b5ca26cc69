//! Who may do what: users, their rules, and a log of what was refused.
//!
//! Invariants:
//! * The user `default` exists always; it is who a new connection is.
//! * A change of a user is seen by all its connections with their next command.
//! * What keys a command names decides the command's row; when they cannot be found, only those may run it who may use
//!   all keys.

mod log;
mod rules;
mod user;

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_resp::Request;

use super::command::{Command, flag};

pub(crate) use log::{AclLog, Refusal};
pub(crate) use user::{User, hash};

/// Users at a time.
pub(crate) const USERS_MAX: usize = 10_000;
/// The user that new connections are.
pub(crate) const DEFAULT: &[u8] = b"default";

/// All users.
#[derive(Debug)]
pub(crate) struct Acl {
    users: BTreeMap<Box<[u8]>, Arc<User>>,
    pub(crate) log: AclLog,
}

impl Acl {
    /// The default user with this password, or with none, and nobody else.
    pub(crate) fn new(password: Option<&[u8]>) -> Self {
        let default = Arc::new(User::unlimited(DEFAULT, password));
        Self { users: [(DEFAULT.into(), default)].into(), log: AclLog::default() }
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    pub(crate) fn default_user(&self) -> &Arc<User> {
        self.get(DEFAULT).expect("the default user exists always")
    }

    /// All users by name.
    pub(crate) fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values()
    }

    /// Adds a user or puts it in the place of the one of the same name; `false` when there are too many.
    pub(crate) fn put(&mut self, user: Arc<User>) -> bool {
        if !self.users.contains_key(&user.name) && self.users.len() >= USERS_MAX {
            return false;
        }
        self.users.insert(user.name.clone(), user);
        true
    }

    /// Removes a user; the default one stays.
    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        name != DEFAULT && self.users.remove(name).is_some()
    }

    /// The user with this name and password, if it may connect.
    pub(crate) fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<&Arc<User>> {
        self.get(name).filter(|user| user.is_on && user.knows_password(password))
    }
}

/// Why a user may not execute a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It is not among the user's commands.
    Command(&'static str),
    /// This key is not among the user's keys, or not for this use.
    Key(Box<[u8]>),
    /// This channel is not among the user's channels.
    Channel(Box<[u8]>),
}

impl Denied {
    /// The text that a client gets.
    pub(crate) fn text(&self, user: &User) -> Vec<u8> {
        match self {
            Self::Command(_) => [b"NOPERM ", &*self.details(user)].concat(),
            Self::Key(_) => b"NOPERM No permissions to access a key".to_vec(),
            Self::Channel(_) => b"NOPERM No permissions to access a channel".to_vec(),
        }
    }

    /// The text with all that is known.
    pub(crate) fn details(&self, user: &User) -> Vec<u8> {
        let (what, object, kind): (&[u8], &[u8], &[u8]) = match self {
            Self::Command(name) => (b"run", name.as_bytes(), b"command"),
            Self::Key(key) => (b"access", key, b"key"),
            Self::Channel(channel) => (b"access", channel, b"channel"),
        };
        [b"User ", &*user.name, b" has no permissions to ", what, b" the '", object, b"' ", kind].concat()
    }

    /// Why a command that was queued cannot be executed any more.
    pub(crate) fn later(&self) -> Vec<u8> {
        let reason = match self {
            Self::Command(_) => "no permission to execute the command or subcommand",
            Self::Key(_) => "no permission to touch the specified keys",
            Self::Channel(_) => {
                "no permission to access one of the channels used as arguments to the command"
            }
        };
        let text = "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. \
                    This command is no longer allowed for the following reason: ";
        format!("{text}{reason}").into_bytes()
    }
}

/// Whether a user may execute this request of this command.
pub(crate) fn check(user: &User, command: &'static Command, args: Request<'_>) -> Result<(), Denied> {
    if user.is_unlimited() || command.has(flag::NO_AUTH) {
        return Ok(());
    }
    if !user.may_run(command) {
        return Err(Denied::Command(command.name));
    }
    check_keys(user, command, args)?;
    check_channels(user, command, args)
}

fn check_keys(user: &User, command: &Command, args: Request<'_>) -> Result<(), Denied> {
    if user.has_all_keys() || command.key_specs().next().is_none() {
        return Ok(());
    }
    let keys = command.keys_in(args).map_err(|_| Denied::Key(Box::default()))?;
    for (at, key_use) in keys {
        let key = args.get(at).unwrap_or_default();
        if !user.may_use_key(key, key_use.reads(), key_use.writes()) {
            return Err(Denied::Key(key.into()));
        }
    }
    Ok(())
}

fn check_channels(user: &User, command: &Command, args: Request<'_>) -> Result<(), Denied> {
    let (count, is_pattern) = match command.name {
        "publish" => (1, false),
        "subscribe" => (usize::MAX, false),
        "psubscribe" => (usize::MAX, true),
        _ => return Ok(()),
    };
    for channel in args.iter().skip(1).take(count) {
        if !user.may_use_channel(channel, is_pattern) {
            return Err(Denied::Channel(channel.into()));
        }
    }
    Ok(())
}
