//! The exam of brokers: small stories with names, which every engine has to live through.
//!
//! A [`Case`] is a story of a few steps against a [`Broker`](weir_core::Broker). All cases of a declared [`Profile`] run
//! on a target, unchanged: there is no list of exceptions and no switch. Users run their own brokers and wrappers of
//! brokers through it, too:
//!
//! ```
//! use std::sync::Arc;
//! use weir_testkit::conformance::{self, Profile, RealTime, RunOptions};
//!
//! # fn my_broker() -> Arc<dyn weir_core::Broker> { Arc::new(weir_testkit::TestBroker::new()) }
//! async fn my_broker_passes() {
//!     let target = RealTime::new("mine", vec![Profile::Streams], my_broker());
//!     let report = conformance::run(Arc::new(target), RunOptions::default()).await;
//!     assert!(report.failures().is_empty(), "{report}");
//! }
//! ```
//!
//! Invariants:
//! * A case touches no stream but its own, so that cases run side by side on one server.
//! * A case never relies on being fast: what has to come is awaited, what must not come yet is kept away by a delay that
//!   is far longer than the exam.
//! * A case sees nothing but the traits.

mod cases;
mod check;
mod group;
mod run;
mod story;
mod stream;
mod target;

pub use check::Wrong;
pub use run::{CaseResult, Report, RunOptions, run};
pub use story::Story;
pub use target::{OnClock, RealTime, Restarts, Stage, StageFuture, Target, Virtual, model};

use std::future::Future;
use std::pin::Pin;

/// What a target says it can do. Everything that is not named here is asked of every target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Streams, groups and delivery: all that a plain Redis can be brought to do. Every target has it.
    Streams,
    /// Entries know their position in the stream and in the namespace, and reading starts at one.
    Positions,
    /// What was answered is still there after the engine was killed and started again: [`Stage::restart`].
    Durable,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Streams, Self::Positions, Self::Durable];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Streams => "streams",
            Self::Positions => "positions",
            Self::Durable => "durable",
        }
    }
}

/// A story of the exam.
pub struct Case {
    /// What it is about.
    pub subject: &'static str,
    /// What it says, as a sentence.
    pub name: &'static str,
    /// What a target has to declare to be asked.
    pub profile: Profile,
    play: fn(Story) -> Played,
}

/// A story while it is played.
type Played = Pin<Box<dyn Future<Output = Result<(), Wrong>> + Send>>;

impl Case {
    /// Whether it is meant by a filter: any, or one whose text is in its subject or name.
    #[must_use]
    pub fn is_about(&self, filter: Option<&str>) -> bool {
        filter.is_none_or(|text| self.subject.contains(text) || self.name.contains(text))
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.subject, self.name)
    }
}

/// All cases, by subject.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    cases::ALL.iter().copied().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_that_reads_as_a_sentence() {
        let mut names = BTreeSet::new();
        for case in cases() {
            assert!(names.insert(case.name), "{case:?} is there twice");
            assert!(case.name.split(' ').count() >= 3, "{case:?} is no sentence");
            assert!(!case.name.ends_with('.'), "{case:?} ends with a full stop");
        }
    }
}
