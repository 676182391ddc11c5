//! Fuzzes `images::fuzzing::cosign`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| images::fuzzing::cosign(data));
