//! Fuzzes `weir_fuzz::records`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_fuzz::records(data));
