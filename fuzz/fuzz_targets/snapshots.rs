//! Fuzzes `weir_fuzz::snapshots`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_fuzz::snapshots(data));
