//! Fuzzes `weir_fuzz::folders`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_fuzz::folders(data));
