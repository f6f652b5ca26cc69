//! A command of a test sequence. Some words are known only when the command is sent.

use std::collections::HashMap;
use std::fmt;

use crate::value::readable;

/// One command, and where in its sequence it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Stays the same when a sequence is shrunk.
    pub serial: usize,
    /// Name and arguments.
    pub words: Vec<Word>,
}

/// A word of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The ID that the peer gave to the entry which the command with this serial added.
    IdGivenTo(usize),
}

/// What [`Word::IdGivenTo`] stands for when there is no such entry.
const NO_SUCH_ENTRY: &[u8] = b"7-7";

impl Command {
    /// The name in lower case.
    #[must_use]
    pub fn name(&self) -> String {
        self.lower(0)
    }

    /// The word at `at` in lower case; empty when there is none or it is known only on sending.
    #[must_use]
    pub fn lower(&self, at: usize) -> String {
        match self.words.get(at) {
            Some(Word::Bytes(bytes)) => String::from_utf8_lossy(bytes).to_lowercase(),
            _ => String::new(),
        }
    }

    /// Whether `word` occurs after the name, in whatever case.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        let is_it = |w: &Word| matches!(w, Word::Bytes(bytes) if bytes.eq_ignore_ascii_case(word.as_bytes()));
        self.words.iter().skip(1).any(is_it)
    }

    /// The commands whose IDs this one speaks of.
    pub(super) fn refers_to(&self) -> impl Iterator<Item = usize> {
        self.words.iter().filter_map(|word| match word {
            Word::Bytes(_) => None,
            Word::IdGivenTo(serial) => Some(*serial),
        })
    }

    /// The words as they are sent to a peer that gave these IDs.
    pub(super) fn resolve(&self, given: &HashMap<usize, Vec<u8>>) -> Vec<Vec<u8>> {
        let word = |word: &Word| match word {
            Word::Bytes(bytes) => bytes.clone(),
            Word::IdGivenTo(serial) => given.get(serial).map_or(NO_SUCH_ENTRY.to_vec(), Clone::clone),
        };
        self.words.iter().map(word).collect()
    }

    /// Whether a connection that sends this outside a transaction may wait for long.
    pub(super) fn may_wait(&self) -> bool {
        let forever = |pair: &[Word]| match pair {
            [Word::Bytes(name), Word::Bytes(value)] if name.eq_ignore_ascii_case(b"BLOCK") => {
                crate::model::canonical_integer(value).is_some_and(|ms| ms == 0 || ms > WAIT_MS_MAX)
            }
            _ => false,
        };
        self.name().starts_with("xread") && self.words.windows(2).any(forever)
    }
}

/// Longer words are printed by their beginning and their length.
const SHOWN_MAX: usize = 100;

/// A read outside a transaction waits at most this long.
const WAIT_MS_MAX: i64 = 3;

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:<5}", self.serial)?;
        for word in &self.words {
            match word {
                Word::IdGivenTo(serial) => write!(f, " <id of #{serial}>")?,
                Word::Bytes(bytes) if bytes.len() > SHOWN_MAX => {
                    write!(f, " {}…({} bytes)", readable(&bytes[..SHOWN_MAX / 4]), bytes.len())?;
                }
                Word::Bytes(bytes) => {
                    let plain = !bytes.is_empty() && bytes.iter().all(|b| b.is_ascii_graphic() && *b != b'"');
                    let text = readable(bytes);
                    if plain { write!(f, " {text}")? } else { write!(f, " \"{text}\"")? }
                }
            }
        }
        Ok(())
    }
}
