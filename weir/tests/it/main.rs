//! The `weir` program from outside, as a user starts it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod backend;
mod bench;
mod check;
mod config;
mod connections;
mod consumer_side;
mod consumers_killed;
mod corpora;
mod dead_letters;
mod differential;
mod doctor;

mod documents;
mod exam;
mod fake_server;
mod full_disk;
mod kills;
mod publisher_cut_off;
mod redis;
mod serve;
mod tidy;
mod transcripts;
mod tree;
mod weir;
