//! Feeds arbitrary bytes to the reader of the head of a request.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cirque_proxy::fuzzing::request_head(bytes));
