//! Fuzzes `images::fuzzing::unpack`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| images::fuzzing::unpack(data));
