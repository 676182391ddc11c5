//! Fuzzes `images::fuzzing::minisign`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| images::fuzzing::minisign(data));
