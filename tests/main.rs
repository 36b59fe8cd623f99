//! Every test that runs more than one module, in one binary.

// Marks the helpers in these modules as test code for clippy.
#[cfg(test)]
mod abuse;
#[cfg(test)]
mod api;
#[cfg(test)]
mod architecture;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod consent;
#[cfg(test)]
mod dashboard;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod end_to_end;
#[cfg(test)]
mod event_loop;
#[cfg(test)]
mod import;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod notices;
#[cfg(test)]
mod process;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod recipes;
#[cfg(test)]
mod server;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod store;
#[cfg(test)]
mod support;
#[cfg(test)]
mod wording;
