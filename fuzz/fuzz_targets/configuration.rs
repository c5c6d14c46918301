//! Feeds arbitrary texts to the reader of the edge's configuration.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cirque_proxy::fuzzing::configuration(bytes));
