//! What XDELEX and XACKDEL share: the policy, the block of IDs, and one answer for each ID.

use weir_engine::{Deleted, References};

use super::trimming::reference_policy;
use crate::resp::call::{Call, Stop};
use crate::resp::errors;
use crate::resp::reply::Reply;

/// What the arguments said.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) references: References,
    /// Where the IDs start and end.
    pub(super) ids: (usize, usize),
}

/// Reads `[KEEPREF | DELREF | ACKED] IDS n id …`, in either order, from `at` on.
pub(super) fn parse(call: &Call<'_, '_>, mut at: usize) -> Result<Options, Stop> {
    let (mut policy, mut ids) = (None, None);
    while at < call.len() {
        if let Some(named) = reference_policy(call, at).filter(|_| policy.is_none()) {
            policy = Some(named);
            at += 1;
        } else if call.is(at, "IDS") && ids.is_none() && at + 1 < call.len() {
            let text = "ERR Number of IDs must be a positive integer";
            let count = usize::try_from(call.int_or(at + 1, text)?).ok().filter(|count| *count > 0);
            let count = count.ok_or(Stop::refused(text))?;
            if count > call.len() - (at + 2) {
                return Err("ERR The `numids` parameter must match the number of arguments".into());
            }
            ids = Some((at + 2, at + 2 + count));
            at += 2 + count;
        } else {
            return Err(errors::SYNTAX.into());
        }
    }
    let ids = ids.ok_or(Stop::refused("ERR IDS option is required"))?;
    Ok(Options { references: policy.unwrap_or_default(), ids })
}

impl Options {
    /// How many IDs there are.
    pub(super) fn count(&self) -> usize {
        self.ids.1 - self.ids.0
    }
}

/// An integer for each ID.
pub(super) fn answers(answers: &[Deleted]) -> Reply {
    let number = |answer: &Deleted| match answer {
        Deleted::Yes => Reply::Int(1),
        Deleted::Referenced => Reply::Int(2),
        Deleted::NotFound => Reply::Int(-1),
    };
    Reply::Array(answers.iter().map(number).collect())
}

/// The answer where there is no stream or no group.
pub(super) fn none_found(count: usize) -> Reply {
    Reply::Array((0..count).map(|_| Reply::Int(-1)).collect())
}
