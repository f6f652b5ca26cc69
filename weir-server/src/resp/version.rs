//! Which Redis the door says it is.

/// The Redis release whose stream commands are all here; libraries switch features on by it.
pub(crate) const REDIS_VERSION: &str = "8.10.0";
