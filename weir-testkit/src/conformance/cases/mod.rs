//! The cases, by subject. Each is told in the vocabulary of [`super::story`], [`super::stream`] and [`super::group`].

mod appending;
mod claiming;
mod dead_letters;
mod delivering;
mod durability;
mod errors;
mod failing;
mod filters;
mod first_broker;
mod groups;
mod keeping;
mod lag;
mod lanes;
mod moving;
mod pending;
mod reading;
mod settling;
mod streams;
mod waiting;

use super::{Case, Played, Wrong};

/// All cases.
pub(super) static ALL: &[&[Case]] = &[
    appending::IDS,
    appending::BATCHES,
    appending::PRODUCERS,
    appending::VERSIONS,
    reading::FORWARD,
    reading::BACKWARD,
    reading::POSITIONS,
    reading::TIMES,
    streams::HEADS,
    streams::REMOVAL,
    streams::NAMES,
    waiting::READS,
    waiting::GROUP_READS,
    groups::MAKING,
    groups::KNOWING,
    groups::ENDING,
    groups::POLICIES,
    groups::CONSUMERS,
    moving::SEEKING,
    moving::PAUSING,
    delivering::NEW,
    delivering::HISTORIES,
    delivering::SOURCES,
    delivering::LEASES,
    settling::TOKENS,
    settling::SETTLEMENTS,
    settling::RELEASES,
    failing::COUNTING,
    failing::CLASSES,
    failing::BACKOFFS,
    failing::DELIVERIES,
    claiming::CLAIMS,
    claiming::AUTO_CLAIMS,
    pending::LOOKING,
    pending::RESTORING,
    dead_letters::CONTENT,
    dead_letters::LISTING,
    dead_letters::REDRIVING,
    dead_letters::PURGING,
    lanes::ORDER,
    lanes::PARKING,
    filters::CONDITIONS,
    filters::PASSING,
    lag::COUNTS,
    lag::AGES,
    keeping::TRIMS,
    keeping::GUARD,
    keeping::RETENTION,
    keeping::LOST,
    keeping::ALERTS,
    errors::ERRORS,
    first_broker::STORIES,
    first_broker::EXAMPLES,
    durability::STREAMS,
    durability::GROUPS,
];

/// Puts a story into the form in which a case keeps it.
fn told(story: impl Future<Output = Result<(), Wrong>> + Send + 'static) -> Played {
    Box::pin(story)
}

/// Cases of a subject: `cases! { Streams, "appending"; "a sentence" => |s| { … } … }`.
macro_rules! cases {
    ($profile:ident, $subject:literal; $($name:literal => |$story:ident| $body:block)+) => {
        &[$(crate::conformance::Case {
            subject: $subject,
            name: $name,
            profile: crate::conformance::Profile::$profile,
            play: |$story: crate::conformance::Story| crate::conformance::cases::told(async move {
                $body
                Ok(())
            }),
        }),+]
    };
}
use cases;

/// What all cases are told with.
mod vocabulary {
    pub(super) use std::time::Duration;

    pub(super) use weir_core::*;

    pub(super) use super::cases;
    pub(super) use crate::conformance::check::*;
    pub(super) use crate::conformance::group::*;
    pub(super) use crate::conformance::story::*;
    pub(super) use crate::conformance::stream::*;
    pub(super) use crate::conformance::{Case, Wrong};
}
