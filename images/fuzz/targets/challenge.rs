//! Fuzzes `images::fuzzing::challenge`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| images::fuzzing::challenge(data));
