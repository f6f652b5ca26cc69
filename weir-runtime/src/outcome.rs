//! What a handler says became of an entry, and how errors turn into that.
//!
//! A handler returns an [`Outcome`], not a `Result`: an error alone does not say whether trying again helps. Errors that
//! implement [`Classify`] do, and become outcomes by `.into()`; so a handler may also return `Result<(), E>`.
//!
//! | Outcome | What the broker does | deliveries | failures |
//! |---|---|---|---|
//! | [`Outcome::Done`], [`Outcome::Skip`] | acknowledges | row removed | – |
//! | [`Outcome::Retry`], a panic, a timeout | negative acknowledgement, after a delay | kept | +1 |
//! | [`Outcome::Snooze`] | releases with a delay | given back | – |
//! | [`Outcome::Defer`], shutdown, kill switch | releases at once | given back | – |
//! | [`Outcome::Dead`] | dead letter | kept in the letter | +1 |

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use weir_core::{Error, ErrorKind, Timestamp};

/// Short names of failures that programs compare.
pub mod class {
    /// A handler that panicked.
    pub const PANIC: &str = "panic";
    /// A handler that took longer than it may.
    pub const TIMEOUT: &str = "timeout";
    /// Bytes that are not what they should be: no UTF-8, no JSON.
    pub const DECODING: &str = "decoding";
    /// A value that does not fit its type.
    pub const CONVERSION: &str = "conversion";
    /// An entry that breaks a rule of its schema.
    pub const VALIDATION: &str = "validation";
    /// Anything else.
    pub const ERROR: &str = "error";
    /// A batch handler that gave another number of outcomes than the batch has entries.
    pub const BATCH: &str = "batch-outcomes";

    /// Failures that trying again does not mend; they make a dead letter at once unless
    /// [`crate::Builder::fatal_classes`] says otherwise.
    pub const FATAL: [&str; 3] = [DECODING, CONVERSION, VALIDATION];
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an outcome that is dropped settles nothing"]
pub enum Outcome {
    /// It is done.
    Done,
    /// It does not concern this consumer. Acknowledged like [`Outcome::Done`], counted apart.
    Skip,
    /// It failed and may succeed later.
    Retry {
        /// When it comes again; `None` = after the immediate retries that are left, as the policy's backoff says. More
        /// than [`weir_core::Policy::DELAY_MAX`] is refused: then the backoff decides.
        after: Option<Duration>,
        /// What kind of failure.
        class: Cow<'static, str>,
        /// What happened.
        reason: Cow<'static, str>,
    },
    /// It was not tried, and shall come again later. Counts as nothing.
    Snooze(Snooze),
    /// It was not tried, and somebody else may try at once. Counts as nothing.
    Defer,
    /// It will never succeed: a dead letter at once.
    Dead {
        /// What kind of failure.
        class: Cow<'static, str>,
        /// What happened.
        reason: Cow<'static, str>,
    },
}

/// How long an entry sleeps. More than [`weir_core::Policy::DELAY_MAX`] is cut to that: the handler sees it then, and
/// may snooze again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snooze {
    /// So long.
    For(Duration),
    /// Until this wall-clock time.
    Until(Timestamp),
}

impl Outcome {
    /// A failure of class [`class::ERROR`] that may succeed later.
    pub fn retry(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::retry_as(class::ERROR, reason)
    }

    /// A failure that may succeed later.
    pub fn retry_as(class: impl Into<Cow<'static, str>>, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Retry { after: None, class: class.into(), reason: reason.into() }
    }

    /// A failure of class [`class::ERROR`] that is tried again after this delay, with no immediate retry before.
    pub fn retry_after(after: Duration, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Retry { after: Some(after), class: class::ERROR.into(), reason: reason.into() }
    }

    /// Not tried; again after this time.
    pub fn snooze(duration: Duration) -> Self {
        Self::Snooze(Snooze::For(duration))
    }

    /// A dead letter.
    pub fn dead(class: impl Into<Cow<'static, str>>, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Dead { class: class.into(), reason: reason.into() }
    }

    /// Whether a handler failed in a way that may pass: what the kill switch counts.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Retry { .. })
    }

    /// Whether the entry is done with: acknowledged, whatever it was.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Done | Self::Skip)
    }
}

/// The outcomes of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "outcomes that are dropped settle nothing"]
pub enum Outcomes {
    /// The same for every entry.
    All(Outcome),
    /// One for each entry, in the order of the batch. Of too few or too many none counts: every entry is retried with
    /// class [`class::BATCH`].
    Each(Vec<Outcome>),
}

impl From<Outcome> for Outcomes {
    fn from(outcome: Outcome) -> Self {
        Self::All(outcome)
    }
}

impl From<Vec<Outcome>> for Outcomes {
    fn from(outcomes: Vec<Outcome>) -> Self {
        Self::Each(outcomes)
    }
}

impl<E: Classify> From<Result<(), E>> for Outcomes {
    fn from(result: Result<(), E>) -> Self {
        Self::All(result.into())
    }
}

/// An error that knows whether trying again may help.
pub trait Classify: fmt::Display {
    /// Whether it may pass by itself.
    fn is_retryable(&self) -> bool;

    /// A short name for its kind, for programs.
    fn class(&self) -> Cow<'static, str>;
}

impl<E: Classify> From<E> for Outcome {
    fn from(error: E) -> Self {
        let reason = error.to_string();
        if error.is_retryable() {
            Self::retry_as(error.class(), reason)
        } else {
            Self::dead(error.class(), reason)
        }
    }
}

impl<E: Classify> From<Result<(), E>> for Outcome {
    fn from(result: Result<(), E>) -> Self {
        result.map_or_else(Self::from, |()| Self::Done)
    }
}

impl<E: Classify> From<Result<Self, E>> for Outcome {
    fn from(result: Result<Self, E>) -> Self {
        result.unwrap_or_else(Self::from)
    }
}

/// An error of a handler that has no type of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerError {
    is_retryable: bool,
    class: Cow<'static, str>,
    reason: Cow<'static, str>,
}

impl HandlerError {
    /// One that may pass by itself.
    #[must_use]
    pub fn retryable(class: impl Into<Cow<'static, str>>, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { is_retryable: true, class: class.into(), reason: reason.into() }
    }

    /// One that does not.
    #[must_use]
    pub fn fatal(class: impl Into<Cow<'static, str>>, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { is_retryable: false, class: class.into(), reason: reason.into() }
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for HandlerError {}

impl Classify for HandlerError {
    fn is_retryable(&self) -> bool {
        self.is_retryable
    }

    fn class(&self) -> Cow<'static, str> {
        self.class.clone()
    }
}

impl Classify for Error {
    /// Beside what [`Error::is_retryable`] says: what failed on the way may be asked again by a handler, too.
    fn is_retryable(&self) -> bool {
        Self::is_retryable(self) || matches!(self.kind(), ErrorKind::Io | ErrorKind::VersionMismatch { .. })
    }

    fn class(&self) -> Cow<'static, str> {
        match self.kind() {
            ErrorKind::Unavailable => "broker-unavailable".into(),
            _ => "broker".into(),
        }
    }
}

/// Errors of the standard library and of JSON that say what class they are of; none is retryable.
macro_rules! fatal {
    ($($error:ty => $class:expr),* $(,)?) => {$(
        impl Classify for $error {
            fn is_retryable(&self) -> bool {
                false
            }

            fn class(&self) -> Cow<'static, str> {
                $class.into()
            }
        }
    )*};
}

fatal! {
    serde_json::Error => class::DECODING,
    std::str::Utf8Error => class::DECODING,
    std::string::FromUtf8Error => class::DECODING,
    std::num::ParseIntError => class::CONVERSION,
    std::num::ParseFloatError => class::CONVERSION,
    std::num::TryFromIntError => class::CONVERSION,
    std::str::ParseBoolError => class::CONVERSION,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_become_outcomes_by_their_class() {
        let json = serde_json::from_str::<u32>("{").unwrap_err();
        assert!(matches!(Outcome::from(json), Outcome::Dead { class, .. } if class == class::DECODING));
        let number = "x".parse::<u32>().map(|_| ());
        assert!(matches!(Outcome::from(number), Outcome::Dead { class, .. } if class == class::CONVERSION));
        let away = Error::new(ErrorKind::Unavailable);
        assert!(
            matches!(Outcome::from(away), Outcome::Retry { after: None, class, .. } if class == "broker-unavailable")
        );
        assert_eq!(Outcome::from(Ok::<_, HandlerError>(Outcome::Skip)), Outcome::Skip);
        assert_eq!(Outcome::from(Ok::<_, HandlerError>(())), Outcome::Done);
    }
}
