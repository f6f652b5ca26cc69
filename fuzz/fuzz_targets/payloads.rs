//! Fuzzes `weir_fuzz::payloads`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_fuzz::payloads(data));
