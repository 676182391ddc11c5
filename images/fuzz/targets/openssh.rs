//! Fuzzes `images::fuzzing::openssh`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| images::fuzzing::openssh(data));
