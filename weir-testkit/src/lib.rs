//! For tests: the naive model, and drivers of the differential and crash tests.
