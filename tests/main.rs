//! tests

// `cfg(test)` says so to clippy: helpers in these modules are test code, too.
#[cfg(test)]
mod serving;
