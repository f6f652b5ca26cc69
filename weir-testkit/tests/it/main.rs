//! The model against what is known of Redis, and against a real one; and the differential test against itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod conformance;
mod differential;
mod life;
mod newest_surface;
mod parted;
mod properties;
mod simulation;
