//! Feeds arbitrary bytes to the reader of a chunked body.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cirque_proxy::fuzzing::chunked(bytes));
