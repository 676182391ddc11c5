//! Fuzzes `images::fuzzing::bundle`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| images::fuzzing::bundle(data));
