//! Finding a command's row by its name, in whatever case it was typed.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::command::Command;
use super::commands;

/// Names longer than this are no command's.
const NAME_MAX: usize = 16;

/// The command table with its index.
#[derive(Debug)]
pub(crate) struct Table {
    by_name: HashMap<u128, &'static Command, foldhash::fast::FixedState>,
    /// The name found last, as it was typed, and its row: most commands are like the one before.
    last: Option<(SmallVec<[u8; NAME_MAX]>, &'static Command)>,
}

impl Table {
    pub(crate) fn new() -> Self {
        let by_name = commands::all()
            .map(|command| (pack(command.name.as_bytes()).expect("command names are short"), command))
            .collect();
        Self { by_name, last: None }
    }

    /// The row of a top-level command.
    pub(crate) fn find(&self, name: &[u8]) -> Option<&'static Command> {
        self.by_name.get(&pack(name)?).copied()
    }

    /// As [`Table::find`], faster for the name that was found last.
    pub(crate) fn find_next(&mut self, name: &[u8]) -> Option<&'static Command> {
        if let Some((_, command)) = self.last.as_ref().filter(|(last, _)| **last == *name) {
            return Some(command);
        }
        let command = self.find(name)?;
        self.last = Some((name.into(), command));
        Some(command)
    }

    /// How many top-level commands there are.
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }
}

/// The subcommand of a container by its own name, in whatever case.
pub(crate) fn find_subcommand(container: &Command, name: &[u8]) -> Option<&'static Command> {
    let rows = container.subcommands().iter();
    rows.copied().find(|row| row.own_name().as_bytes().eq_ignore_ascii_case(name))
}

/// A name in lower case as one number.
fn pack(name: &[u8]) -> Option<u128> {
    // Shorter names are filled up with NUL, so a name that has one would be taken for another.
    if name.is_empty() || name.len() > NAME_MAX || name.contains(&0) {
        return None;
    }
    let mut bytes = [0_u8; NAME_MAX];
    bytes[..name.len()].copy_from_slice(name);
    bytes.make_ascii_lowercase();
    Some(u128::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::command::Run;

    #[test]
    fn every_row_is_found_and_complete() {
        let mut table = Table::new();
        assert_eq!(table.len(), commands::all().count(), "two rows have the same name");
        for command in commands::all() {
            let upper = command.name.to_ascii_uppercase();
            assert_eq!(table.find(upper.as_bytes()).map(|found| found.name), Some(command.name));
            complete(command);
            let rows = command.subcommands();
            let has_help = rows.iter().any(|row| row.own_name() == "help");
            assert!(has_help || rows.is_empty(), "errors tell of {} HELP", command.name);
            for row in command.subcommands() {
                assert!(row.name.starts_with(&format!("{}|", command.name)), "{}", row.name);
                assert!(matches!(row.run, Run::Call(_)), "{}", row.name);
                complete(row);
            }
        }
        for name in [&b"xadd"[..], b"XADD", b"xlen", b"xlen", b"xadd"] {
            assert_eq!(table.find_next(name).map(|row| row.name), table.find(name).map(|row| row.name));
        }
        assert!(table.find_next(b"nosuch").is_none());
        assert!(table.find(b"ping\0").is_none() && table.find(b"\0").is_none());
        assert!(table.find(b"a name that is far too long for a command").is_none());
    }

    fn complete(row: &Command) {
        assert_eq!(row.name, row.name.to_ascii_lowercase());
        assert!(!row.summary.is_empty(), "{} has no summary", row.name);
        assert!(!row.summary.ends_with('.'), "{} ends in a full stop", row.name);
        assert_ne!(row.arity, 0, "{}", row.name);
        assert!(!row.group.is_empty(), "{} has no group", row.name);
        let parts: Vec<&str> = row.since.split('.').collect();
        assert!(parts.len() == 3 && parts.iter().all(|part| part.parse::<u8>().is_ok()), "{}", row.name);
        let arguments = crate::resp::syntax::parse(row.syntax);
        let arguments = arguments.unwrap_or_else(|| panic!("the syntax of {} is malformed", row.name));
        let own_words = row.name.split('|').count() as i32;
        let takes_more = row.arity != own_words && row.subcommands().is_empty();
        // QUIT takes whatever comes behind it.
        assert_eq!(!arguments.is_empty(), takes_more && row.name != "quit", "syntax of {}", row.name);
        assert!(row.subcommands().is_sorted_by_key(|row| row.name), "subcommands of {}", row.name);
    }
}
