//! What a case says when something is not as it should be.

use std::fmt;

use weir_core::{Delivery, Entry, EntryId, Error, first_value};

/// A step that did not go as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Which step.
    pub step: String,
    /// What was expected.
    pub expected: String,
    /// What came.
    pub got: String,
}

impl Wrong {
    /// A step, what was expected of it and what came.
    pub fn new(step: impl Into<String>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self { step: step.into(), expected: expected.into(), got: got.into() }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.step, self.expected, self.got)
    }
}

/// The two are the same.
pub(super) fn same<G, W>(step: &str, got: G, want: W) -> Result<(), Wrong>
where
    G: PartialEq<W> + fmt::Debug,
    W: fmt::Debug,
{
    if got == want { Ok(()) } else { Err(Wrong::new(step, format!("{want:?}"), format!("{got:?}"))) }
}

/// It is so.
pub(super) fn holds(step: &str, is_so: bool, got: impl fmt::Debug) -> Result<(), Wrong> {
    if is_so { Ok(()) } else { Err(Wrong::new(step, "it to be so", format!("{got:?}"))) }
}

/// There is just one.
pub(super) fn one<T: fmt::Debug>(step: &str, mut found: Vec<T>) -> Result<T, Wrong> {
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(last), false) => {
            found.push(last);
            Err(Wrong::new(step, "exactly one", format!("{found:?}")))
        }
        (None, _) => Err(Wrong::new(step, "exactly one", "none")),
    }
}

/// There is something.
pub(super) fn some<T>(step: &str, found: Option<T>) -> Result<T, Wrong> {
    found.ok_or_else(|| Wrong::new(step, "something", "nothing"))
}

/// It was not refused.
pub(super) fn went<T>(step: &str, answer: Result<T, Error>) -> Result<T, Wrong> {
    answer.map_err(|error| Wrong::new(step, "no error", format!("the error {:?}: {error}", error.kind())))
}

/// It was refused; the error is handed on.
pub(super) fn refused<T: fmt::Debug>(
    step: &str,
    expected: &str,
    answer: Result<T, Error>,
) -> Result<Error, Wrong> {
    match answer {
        Ok(answer) => Err(Wrong::new(step, format!("the error {expected}"), format!("{answer:?}"))),
        Err(error) => Ok(error),
    }
}

/// It is refused with an error of this kind: `refuses!("what is done", answer, ErrorKind::Invalid(_))`. Gives the
/// error.
macro_rules! refuses {
    ($step:expr, $answer:expr, $kind:pat) => {{
        let error = crate::conformance::check::refused($step, stringify!($kind), $answer)?;
        match error.kind() {
            $kind => error,
            other => {
                let got = format!("the error {other:?}: {error}");
                return Err(crate::conformance::Wrong::new(
                    $step,
                    concat!("the error ", stringify!($kind)),
                    got,
                ));
            }
        }
    }};
}
pub(super) use refuses;

/// What carries the name that a story gave it: the value of its first field.
pub(super) trait Labelled {
    /// The name.
    fn label(&self) -> String;
}

impl Labelled for Entry {
    fn label(&self) -> String {
        self.fields.first().map_or_else(String::new, |(_, value)| text(value))
    }
}

impl Labelled for Delivery {
    fn label(&self) -> String {
        self.entry.label()
    }
}

/// The names of entries or deliveries, in order.
pub(super) fn labels(of: &[impl Labelled]) -> Vec<String> {
    of.iter().map(Labelled::label).collect()
}

/// Their IDs, in order.
pub(super) fn ids(of: &[Delivery]) -> Vec<EntryId> {
    of.iter().map(|delivery| delivery.entry.id).collect()
}

/// The first value of a field.
pub(super) fn value_of(entry: &Entry, field: &str) -> Option<String> {
    first_value(&entry.fields, field.as_bytes()).map(text)
}

/// Bytes for people.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
