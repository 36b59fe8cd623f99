//! See `tests/properties/retry_after.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| webex_tokend_fuzz::holds("retry_after", data));
