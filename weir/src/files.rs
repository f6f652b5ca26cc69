//! How many files the process may open, and what that means for clients.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are not clients': segments, snapshots, listeners, and some to spare.
pub(crate) const OWN_FILES: u64 = 256;

/// Raises the soft limit as far as the system allows, and answers how many clients there may be at most.
pub(crate) fn clients(wanted: usize) -> usize {
    let limit = raise(wanted as u64 + OWN_FILES);
    let fit = clients_within(limit, wanted);
    if fit < wanted {
        tracing::info!(
            limit,
            clients = fit,
            "fewer clients than the {wanted} of --clients: raise the limit of open files (ulimit -n)"
        );
    }
    fit
}

/// How many of the clients wanted fit into a limit of open files.
pub(crate) fn clients_within(limit: u64, wanted: usize) -> usize {
    // Where a process may open next to nothing, half of it is better than none.
    let left = limit.saturating_sub(OWN_FILES).max(limit / 2).max(1);
    usize::try_from(left).unwrap_or(usize::MAX).min(wanted)
}

/// The soft limit of open files, and the hard one.
pub(crate) fn limits() -> (u64, u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    (current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX))
}

/// Raises the soft limit to `wanted` as far as the hard one allows, and answers what it is then.
pub(crate) fn raise(wanted: u64) -> u64 {
    let (soft, hard) = limits();
    let target = wanted.min(hard);
    if soft >= target {
        return soft;
    }
    let limit = Rlimit { current: Some(target), maximum: Some(hard).filter(|hard| *hard != u64::MAX) };
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => target,
        Err(_) => soft,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_room_for_the_log() {
        assert_eq!(clients_within(1_024, 50_000), 768);
        assert_eq!(clients_within(1 << 20, 50_000), 50_000);
        assert_eq!(clients_within(64, 50_000), 32);
        assert_eq!(clients_within(1, 50_000), 1);
    }
}
