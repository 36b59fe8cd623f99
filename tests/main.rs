//! tests

// `cfg(test)` says so to clippy: helpers in these modules are test code, too.
#[cfg(test)]
mod architecture;
#[cfg(test)]
mod event_loop;
#[cfg(test)]
mod serving;
#[cfg(test)]
mod store;
