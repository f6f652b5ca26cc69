//! Making a failing sequence short.

use std::io;

use super::command::Command;
use super::exceptions::Exception;
use super::peer::Peer;
use super::run::{Found, Trial};
use crate::Protocol;

/// Commands sent over all tries.
const COMMANDS_MAX: usize = 3_000_000;

/// The shortest sequence found in so many tries that still makes the peers part at a command of the same name.
pub(super) fn shrink(
    left: &mut dyn Peer,
    right: &mut dyn Peer,
    exceptions: &[Exception],
    protocol: Protocol,
    commands: &[Command],
    found: &Found,
    tries_max: usize,
) -> io::Result<Vec<Command>> {
    let name = found.command.name();
    let mut commands = commands.to_vec();
    let (mut tries, mut sent) = (0, 0);
    let mut still_fails = |candidate: &[Command]| -> io::Result<Option<usize>> {
        if candidate.is_empty() || waits_for_long(candidate) || tries >= tries_max || sent >= COMMANDS_MAX {
            return Ok(None);
        }
        tries += 1;
        sent += candidate.len();
        let mut trial = Trial::begin(left, right, exceptions, protocol)?;
        let found = trial.first_difference(candidate)?;
        Ok(found.filter(|found| found.command.name() == name).map(|found| found.index))
    };
    let mut piece = commands.len() / 2;
    while piece > 0 {
        let mut from = commands.len();
        let mut removed = false;
        while from > 0 {
            let start = from.saturating_sub(piece);
            let candidate = [&commands[..start], &commands[from..]].concat();
            from = start;
            if let Some(index) = still_fails(&candidate)? {
                commands = candidate[..=index].to_vec();
                from = from.min(commands.len());
                removed = true;
            }
        }
        if !removed || piece > 1 {
            piece /= 2;
        }
    }
    Ok(commands)
}

/// Whether a blocking read has lost the transaction it stood in.
fn waits_for_long(commands: &[Command]) -> bool {
    let mut in_transaction = false;
    for command in commands {
        match command.name().as_str() {
            "multi" if command.words.len() == 1 => in_transaction = true,
            "exec" | "discard" => in_transaction = false,
            _ if command.may_wait() && !in_transaction => return true,
            _ => {}
        }
    }
    false
}
