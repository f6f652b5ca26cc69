//! A durable, checksummed, append-only log of opaque records.
