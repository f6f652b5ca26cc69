//! Calls of the wire as commands of the library.

use redis::Cmd;
use weir_wire::{Sink, Verb, encode_call};

/// Writes words straight into a command.
struct Words<'c>(&'c mut Cmd);

impl Sink for Words<'_> {
    fn word(&mut self, word: &[u8]) {
        self.0.arg(word);
    }
}

/// The command of a call.
pub(super) fn command<'a, V: Verb<'a>>(verb: &V) -> Cmd {
    let mut command = Cmd::new();
    encode_call(verb, &mut Words(&mut command));
    command
}
