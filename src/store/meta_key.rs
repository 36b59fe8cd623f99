//! The names of the texts that a store keeps for the event loop.

/// The texts that the event loop stores, separate for each integration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaKey {
    /// The policy with which all stored times were planned.
    Policy,
    /// The state of the circuit breaker.
    Breaker,
}

impl MetaKey {
    /// The name of the text in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Breaker => "breaker",
        }
    }
}
