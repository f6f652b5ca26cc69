//! Fuzzes `weir_fuzz::log`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_fuzz::log(data));
