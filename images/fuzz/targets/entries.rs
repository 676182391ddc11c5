//! Fuzzes `images::fuzzing::entries`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| images::fuzzing::entries(data));
