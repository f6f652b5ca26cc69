//! How the program ends: 0 done, 1 failed, 2 wrong usage, 3 refused because of the state of things, 130 interrupted.
//!
//! Scripts depend on these numbers.

use std::fmt;
use std::process::ExitCode;

use anyhow::Error;
use weir_core::ErrorKind;

/// Why a command did not do what it was told, where that has a number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Usage,
    Refused,
    Interrupted,
    /// Whoever read what is printed went away (`weir … | head`), and wants no more. That is no failure.
    ReaderGone,
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

/// Somebody asked the command to end before it was done.
pub(crate) fn interrupted() -> Error {
    Ended { reason: Reason::Interrupted, text: "interrupted".into() }.into()
}

/// Nobody reads what is printed any more.
pub(crate) fn reader_gone() -> Error {
    Ended { reason: Reason::ReaderGone, text: "nobody reads this any more".into() }.into()
}

/// Whether there is nobody, or nothing, to tell of this end.
pub(crate) fn is_quiet(error: &Error) -> bool {
    matches!(reason(error), Some(Reason::Interrupted | Reason::ReaderGone))
}

/// The number an error stands for.
pub(crate) fn code(error: &Error) -> ExitCode {
    match reason(error) {
        Some(Reason::Usage) => ExitCode::from(2),
        Some(Reason::Refused) => ExitCode::from(3),
        Some(Reason::Interrupted) => ExitCode::from(130),
        Some(Reason::ReaderGone) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}

fn reason(error: &Error) -> Option<Reason> {
    if let Some(ended) = error.downcast_ref::<Ended>() {
        return Some(ended.reason);
    }
    of_kind(error.chain().find_map(|cause| cause.downcast_ref::<weir_core::Error>())?.kind())
}

/// What a broker's refusal means for a command.
fn of_kind(kind: &ErrorKind) -> Option<Reason> {
    match kind {
        ErrorKind::Invalid(_) | ErrorKind::IdZero | ErrorKind::EntryTooLarge => Some(Reason::Usage),
        ErrorKind::WrongType
        | ErrorKind::NoSuchStream
        | ErrorKind::NoSuchGroup
        | ErrorKind::GroupExists
        | ErrorKind::IdNotGreater { .. }
        | ErrorKind::VersionMismatch { .. }
        | ErrorKind::DeadLetterTaken
        | ErrorKind::Unsupported(_)
        | ErrorKind::Denied
        | ErrorKind::StreamExhausted
        | ErrorKind::LimitReached(_)
        | ErrorKind::DiskFull
        | ErrorKind::InUse => Some(Reason::Refused),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(error: Error) -> String {
        format!("{:?}", code(&error))
    }

    #[test]
    fn what_a_broker_refuses_has_the_number_of_its_kind() {
        let of = |kind| number(Error::from(weir_core::Error::new(kind)).context("while moving a group"));
        assert_eq!(of(ErrorKind::NoSuchGroup), number(refused("x")));
        assert_eq!(of(ErrorKind::Invalid("x")), number(usage("x")));
        assert_eq!(of(ErrorKind::Unavailable), format!("{:?}", ExitCode::FAILURE));
        assert_eq!(number(reader_gone()), format!("{:?}", ExitCode::SUCCESS));
    }
}
