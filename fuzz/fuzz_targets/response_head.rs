//! Feeds arbitrary bytes to the reader of the head of an answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cirque_proxy::fuzzing::response_head(bytes));
