//! Making the group that a subscription reads as.

use std::time::Duration;

use weir_core::{CreateGroup, Error, ErrorKind, GroupOrigin, Policy};

use super::{Scope, Shared};

/// Where a subscription's group starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// As the builder was told; `None` = the group must exist.
    pub(crate) given: Option<GroupOrigin>,
    /// Whether the stream was found by its pattern. Such a group may exist with another origin: who finds a stream when it
    /// is new has its group start with the first entry, who finds it at the beginning as the builder was told.
    pub(crate) is_found: bool,
}

/// Makes sure that there is the group, with the policy that was asked for. Answers its lease, if it has a policy.
pub(crate) async fn establish(
    shared: &Shared,
    scope: &Scope,
    origin: Origin,
) -> Result<Option<Duration>, Error> {
    let settings = &shared.settings;
    let (stream, group) = (&*scope.stream, &*scope.group);
    if let Some(given) = origin.given {
        let policy = settings.policy.clone().unwrap_or_else(Policy::recommended);
        let made = shared.broker.create_group(stream, group, CreateGroup { origin: given, policy }).await;
        if let Err(error) = made {
            accept(shared, scope, origin, error).await?;
        }
    }
    let Some(info) = shared.broker.group_info(stream, group).await? else {
        return Err(missing(scope));
    };
    let Some(stored) = info.policy else {
        return Err(Error::new(ErrorKind::GroupExists).with_context(plain(scope)));
    };
    match &settings.policy {
        Some(wanted) if *wanted != stored => {
            shared.broker.set_policy(stream, group, wanted.clone()).await?;
            Ok(Some(wanted.lease))
        }
        _ => Ok(Some(stored.lease)),
    }
}

/// A group exists, but was made otherwise: whether that will do.
async fn accept(shared: &Shared, scope: &Scope, origin: Origin, error: Error) -> Result<(), Error> {
    if *error.kind() != ErrorKind::GroupExists {
        return Err(error);
    }
    let info = shared.broker.group_info(&scope.stream, &scope.group).await?;
    let Some(info) = info else { return Err(error) };
    match (&info.policy, info.origin) {
        (None, _) if shared.settings.adopts => {
            let policy = shared.settings.policy.clone().unwrap_or_else(Policy::recommended);
            shared.broker.set_policy(&scope.stream, &scope.group, policy).await
        }
        (None, _) => Err(error.with_context(plain(scope))),
        // Adopted before: its origin is not known, and was accepted then.
        (Some(_), None) if shared.settings.adopts => Ok(()),
        (Some(_), Some(GroupOrigin::Beginning)) if origin.is_found => Ok(()),
        (Some(_), made) if origin.is_found && made == shared.settings.origin => Ok(()),
        (Some(_), made) => Err(error.with_context(format!(
            "group {:?} on stream {:?} was made to start at {made:?}, not at {:?}; say the same, or seek it",
            String::from_utf8_lossy(&scope.group),
            String::from_utf8_lossy(&scope.stream),
            origin.given,
        ))),
    }
}

fn missing(scope: &Scope) -> Error {
    Error::new(ErrorKind::NoSuchGroup).with_context(format!(
        "there is no group {:?} on stream {:?}; say .origin(..), and it is made",
        String::from_utf8_lossy(&scope.group),
        String::from_utf8_lossy(&scope.stream),
    ))
}

fn plain(scope: &Scope) -> String {
    format!(
        "group {:?} on stream {:?} has no policy: nothing would ever become a dead letter; say .adopt_plain_groups() to \
         give it one",
        String::from_utf8_lossy(&scope.group),
        String::from_utf8_lossy(&scope.stream),
    )
}
