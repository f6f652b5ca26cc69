//! Runs handlers: reads, retries, claims, sets aside, shuts down.
