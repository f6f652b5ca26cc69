//! The embedded stream broker: decides, logs, applies.
