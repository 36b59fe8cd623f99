//! See `tests/properties/settings.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| webex_tokend_fuzz::holds("settings", data));
