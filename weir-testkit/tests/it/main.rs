//! The model against what is known of Redis, and against a real one; and the differential test against itself.

mod conformance;
mod differential;
mod life;
mod newest_surface;
mod parted;
mod properties;
mod simulation;
