//! Fuzzes `images::fuzzing::document`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| images::fuzzing::document(data));
