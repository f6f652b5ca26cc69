//! One execution of one command: its arguments and everything it may touch.

use std::borrow::Cow;
use std::time::Duration;

use smallvec::SmallVec;
use weir_core::{EntryId, Error, ErrorKind, Timestamp};
use weir_engine::{Cold, Engine, Halt, KeyCopy, KeyImage, KeyRef, Turn};
use weir_resp::Request;

use super::asks::Ask;
use super::client::{Client, ClientNo, Closing};
use super::command::Command;
use super::door::Door;
use super::errors;
use super::number::parse_i64;
use super::reply::{ReadRequest, Reply};

/// What a command's function gives back.
pub(crate) type Answer = Result<Reply, Stop>;

/// IDs of one command; so many need no allocation.
pub(crate) type Ids = SmallVec<[EntryId; 16]>;

/// Why there is no reply (yet).
#[derive(Debug)]
pub(crate) enum Stop {
    /// The request is refused with this text.
    Refused(Cow<'static, [u8]>),
    /// The engine refused or failed.
    Engine(Error),
    /// The index has to be read from disk first. Nothing was changed, here or in the engine; the command is run again.
    Cold(Cold),
    /// The entries of a key have to be fetched by another thread. Nothing was changed; the command is run again
    /// and finds them as [`Door::fetched`].
    Fetch(Box<Fetching>),
    /// Something has to be done without the engine's lock first. Nothing was changed; the command is run again.
    Outside(Outside),
    /// There is nothing to answer yet: the client waits.
    Wait(Box<Wait>),
    /// The answer comes from a call of the broker traits, which begins when the turn is over.
    Ask(Box<Ask>),
    /// There is nothing to answer before everything so far is on the disk, or so many milliseconds are over; zero =
    /// without end.
    Flush(u64),
}

/// What a command may have done without the engine's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outside {
    /// A snapshot is written.
    Snapshot,
    /// Nothing happens for so long.
    Sleep(Duration),
}

/// A key that was taken out of the engine and has no entries yet.
#[derive(Debug)]
pub(crate) struct Fetching {
    pub(crate) image: KeyImage,
    pub(crate) expires: Option<Timestamp>,
}

/// A key that was taken out of the engine, and when it expires.
#[derive(Debug)]
pub(crate) struct Fetched {
    image: KeyImage,
    pub(crate) copy: KeyCopy,
    pub(crate) expires: Option<Timestamp>,
}

impl Fetched {
    /// Heap bytes held, about.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.image.heap_bytes() + self.copy.heap_bytes()
    }
}

impl Fetching {
    /// Fetches the entries; best done without the engine's lock.
    pub(crate) fn complete(self, engine: &Engine) -> Result<Fetched, Error> {
        Ok(Fetched { copy: engine.complete(&self.image)?, image: self.image, expires: self.expires })
    }
}

/// A read that is to wait.
#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) request: ReadRequest,
    /// Milliseconds; zero = without end.
    pub(crate) timeout: u64,
    /// See [`weir_engine::ReadOutcome::retry_at`].
    pub(crate) retry_at: Option<u64>,
}

impl Stop {
    /// A refusal with a text known beforehand.
    pub(crate) const fn refused(text: &'static str) -> Self {
        Self::Refused(Cow::Borrowed(text.as_bytes()))
    }
}

impl From<&'static str> for Stop {
    fn from(text: &'static str) -> Self {
        Self::refused(text)
    }
}

impl From<Vec<u8>> for Stop {
    fn from(text: Vec<u8>) -> Self {
        Self::Refused(Cow::Owned(text))
    }
}

impl From<Halt> for Stop {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Error(error) => Self::Engine(error),
            Halt::Cold(cold) => Self::Cold(cold),
        }
    }
}

/// Gives an error of the engine the text of the command at hand.
pub(crate) trait OrRefuse<T> {
    /// Replaces errors for which `kind` holds.
    fn or_refuse<S: Into<Stop>>(
        self,
        kind: impl FnOnce(&ErrorKind) -> bool,
        text: impl FnOnce() -> S,
    ) -> Result<T, Stop>;
}

impl<T> OrRefuse<T> for Result<T, Halt> {
    fn or_refuse<S: Into<Stop>>(
        self,
        kind: impl FnOnce(&ErrorKind) -> bool,
        text: impl FnOnce() -> S,
    ) -> Result<T, Stop> {
        self.map_err(|halt| match halt {
            Halt::Error(error) if kind(error.kind()) => text().into(),
            halt => halt.into(),
        })
    }
}

/// The group, or the stream it should be in, does not exist.
pub(crate) fn no_group(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::NoSuchGroup | ErrorKind::NoSuchStream)
}

/// One execution of one command.
pub(crate) struct Call<'c, 'e> {
    pub(crate) command: &'static Command,
    /// The words of the request; the first is the command's name.
    pub(crate) args: Request<'c>,
    pub(crate) turn: &'c mut Turn<'e>,
    pub(crate) engine: &'c Engine,
    pub(crate) door: &'c mut Door,
    pub(crate) who: ClientNo,
    /// Whether it runs inside EXEC, where nothing waits.
    pub(crate) in_exec: bool,
}

impl std::fmt::Debug for Call<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("command", &self.command).field("who", &self.who).finish_non_exhaustive()
    }
}

impl<'c> Call<'c, '_> {
    /// How many words the request has.
    pub(crate) fn len(&self) -> usize {
        self.args.len()
    }

    /// The word at `index`; empty where there is none.
    pub(crate) fn arg(&self, index: usize) -> &'c [u8] {
        self.args.get(index).unwrap_or_default()
    }

    /// The key at `index`, in the client's database.
    pub(crate) fn key(&mut self, index: usize) -> KeyRef<'c> {
        KeyRef { ns: self.client().ns, name: self.arg(index) }
    }

    /// The client that asked.
    pub(crate) fn client(&mut self) -> &mut Client {
        self.door.client(self.who)
    }

    /// Whether the word at `index` is this option, in whatever case.
    pub(crate) fn is(&self, index: usize, option: &str) -> bool {
        self.arg(index).eq_ignore_ascii_case(option.as_bytes())
    }

    /// The integer at `index`.
    pub(crate) fn int(&self, index: usize) -> Result<i64, Stop> {
        self.int_or(index, errors::NOT_AN_INTEGER)
    }

    /// The integer at `index`, with a text of its own for what is none.
    pub(crate) fn int_or(&self, index: usize, text: &'static str) -> Result<i64, Stop> {
        parse_i64(self.arg(index)).ok_or(Stop::refused(text))
    }

    /// The entry ID at `index`, where `-` and `+` have no meaning.
    pub(crate) fn id(&self, index: usize) -> Result<EntryId, Stop> {
        EntryId::parse(self.arg(index), 0).map_err(|_| Stop::refused(errors::INVALID_ID))
    }

    /// The entry IDs from `index` up to, not including, `end`.
    pub(crate) fn ids(&self, index: usize, end: usize) -> Result<Ids, Stop> {
        (index..end).map(|at| self.id(at)).collect()
    }

    /// Disconnects a client: the one that asked when it has its answers, another at once.
    pub(crate) fn disconnect(&mut self, who: ClientNo) {
        if who == self.who {
            return self.door.close(who, Closing::AfterReplies);
        }
        self.door.release(who, self.turn);
        self.door.close(who, Closing::Now);
    }

    /// Has something done without the engine's lock; the command is run again and comes here a second time.
    pub(crate) fn outside(&mut self, what: Outside) -> Result<(), Stop> {
        if std::mem::take(&mut self.door.done_outside) {
            return Ok(());
        }
        if self.in_exec {
            return Err("ERR Command not allowed inside a transaction".into());
        }
        Err(Stop::Outside(what))
    }

    /// When the last snapshot was written, or else when the server started, in seconds since the Unix epoch.
    pub(crate) fn last_save(&self) -> u64 {
        self.engine.snapshot_at().map_or(self.door.started_at, |at| at.0 / 1_000)
    }

    /// Takes a key out of the engine with everything in it, as it is now. Its entries are fetched by another thread. When
    /// somebody changed the key meanwhile, and inside EXEC, they are fetched on the spot.
    pub(crate) fn take_out(&mut self, key: KeyRef<'_>) -> Result<Option<Fetched>, Stop> {
        let Some(image) = self.turn.image(key)? else { return Ok(None) };
        let fetching = Fetching { image, expires: self.turn.expiry(key)?.flatten() };
        match self.door.fetched.take() {
            Some(fetched) if fetched.image == fetching.image => {
                return Ok(Some(Fetched { expires: fetching.expires, ..*fetched }));
            }
            // Most of them are in memory by now.
            Some(_) => {}
            None if self.in_exec => {}
            None => return Err(Stop::Fetch(Box::new(fetching))),
        }
        self.turn.submit();
        fetching.complete(self.engine).map(Some).map_err(Stop::Engine)
    }

    /// What a container's HELP answers, made from the rows of its subcommands.
    pub(crate) fn help(&self) -> Reply {
        let Some(container) = self.door.table.find(self.arg(0)) else { return Reply::Array(Vec::new()) };
        let name = container.name.to_ascii_uppercase();
        let mut lines = vec![format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
        for row in container.subcommands().iter().filter(|row| row.own_name() != "help") {
            lines.push(
                format!("{} {}", row.own_name().to_ascii_uppercase(), row.syntax).trim_end().to_owned(),
            );
            let (first, rest) = row.summary.split_at(1);
            lines.push(format!("    {}{rest}.", first.to_ascii_uppercase()));
        }
        lines.extend(["HELP".to_owned(), "    Print this help.".to_owned()]);
        Reply::Array(lines.into_iter().map(|line| Reply::Line(line.into())).collect())
    }

    /// The error for too few or too many words.
    pub(crate) fn wrong_arity(&self) -> Stop {
        errors::wrong_arity(self.command.name).into()
    }
}
