//! How the program ends: 0 done, 1 failed, 2 wrong usage, 3 refused because of the state of things, 130 interrupted.
//!
//! Scripts depend on these numbers.

use std::fmt;
use std::process::ExitCode;

use anyhow::Error;

/// Why a command did not do what it was told, where that has a number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Usage,
    Refused,
}

#[derive(Debug)]
struct Ended {
    reason: Reason,
    text: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Ended {}

/// The command was told nonsense.
pub(crate) fn usage(text: impl Into<String>) -> Error {
    Ended { reason: Reason::Usage, text: text.into() }.into()
}

/// What was asked for cannot be done as things are: somebody holds the folder, an address is taken.
pub(crate) fn refused(text: impl Into<String>) -> Error {
    Ended { reason: Reason::Refused, text: text.into() }.into()
}

/// The number an error stands for.
pub(crate) fn code(error: &Error) -> ExitCode {
    match error.downcast_ref::<Ended>().map(|ended| ended.reason) {
        Some(Reason::Usage) => ExitCode::from(2),
        Some(Reason::Refused) => ExitCode::from(3),
        None => ExitCode::FAILURE,
    }
}
