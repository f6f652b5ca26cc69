//! Runs the exam of brokers against any engine, by URL.

fn main() {}
