//! See `tests/properties/replies.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| webex_tokend_fuzz::holds("replies", data));
