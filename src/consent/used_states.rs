//! States that browsers brought back from Webex, and their results, until their tickets expire.
//!
//! Browsers bring the same state back more than once: after a reload, a double redirect or a broken
//! connection. The code works only once, so all later requests get the result of the first.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use parking_lot::MutexGuard;
use tokio::sync::watch;

use crate::consent::types::ConsentError;
use crate::consent::types::Granted;
use crate::consent::types::MAX_TRIES;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;
use crate::domain::verdict::TokenSet;

/// Maximum number of states. Each needs a valid ticket, so legitimate use stays below this number within a
/// ticket's lifetime.
const MAX_STATES: usize = 20_000;

/// Maximum number of complete results; each takes some kilobytes.
const MAX_RESULTS: usize = 2_000;

/// Maximum number of states with unstored tokens; each takes some kilobytes.
const MAX_TOKENS_IN_HAND: usize = 1_000;

/// The result of a state.
type SharedResult = Arc<Result<Granted, ConsentError>>;

/// Tells a repeated state with the same code from one with another code, since a person may go back in the
/// browser and choose another account.
type CodeHash = [u8; 32];

/// The tokens for a code. The code is spent, so they cannot be requested again.
#[derive(Clone, Debug)]
pub(super) struct TokensInHand {
    pub(super) issued: TokenSet,
    pub(super) sent_at: UnixTime,
    pub(super) tracking_id: Option<String>,
}

/// The tokens of a state, with the hash of their code.
type StateTokens = Option<Box<(CodeHash, TokensInHand)>>;

/// The ticket's deadline, which orders the states, and the state.
type StateKey = (UnixTime, String);

/// The used states of this process, in memory. After a restart, or when entries were dropped, Webex itself
/// still rejects a used code.
#[derive(Debug, Default)]
pub(super) struct UsedStates(Mutex<StateTable>);

#[derive(Debug, Default)]
struct StateTable {
    all: BTreeMap<StateKey, UsedState>,
    /// States with complete results, oldest first.
    ended: VecDeque<StateKey>,
    /// States with unstored tokens, oldest first.
    in_hand: VecDeque<StateKey>,
}

#[derive(Debug)]
enum UsedState {
    /// Webex was asked this many times without a final answer. There may be tokens that are not stored yet.
    Open(u32, StateTokens),
    /// A request to Webex is running.
    Running(CodeHash, watch::Receiver<Option<SharedResult>>),
    /// Webex gave its final answer.
    Ended(CodeHash, SharedResult),
    /// Webex gave its final answer, and the result was dropped.
    Spent,
}

/// How to handle a returned state.
#[derive(Debug)]
pub(super) enum Redemption<'a> {
    /// Ask Webex.
    First(FirstUse<'a>),
    /// Wait for another request that asks Webex.
    Again(RepeatedUse),
    /// The state was used, and its result is no longer known.
    Spent,
}

/// The only request that asks Webex about a state. If it is dropped before its end, the state stays open.
#[derive(Debug)]
pub(super) struct FirstUse<'a> {
    used: &'a UsedStates,
    key: StateKey,
    code: CodeHash,
    tries: u32,
    in_hand: StateTokens,
    tell: watch::Sender<Option<SharedResult>>,
}

/// A request that waits for the result of another one.
#[derive(Debug)]
pub(super) struct RepeatedUse(Result<SharedResult, watch::Receiver<Option<SharedResult>>>);

impl UsedStates {
    /// Registers a state with a valid ticket that came back with a code.
    pub(super) fn show(
        &self,
        state: &Secret,
        code: &Secret,
        deadline: UnixTime,
        now: UnixTime,
    ) -> Redemption<'_> {
        let code = code.sha256();
        let key = (deadline, state.expose().to_owned());
        let mut states = self.states();
        states.forget(now);
        let (tries, in_hand) = match states.all.get_mut(&key) {
            None => (0, None),
            Some(UsedState::Open(tries, in_hand)) => (*tries, in_hand.take()),
            Some(UsedState::Running(first, end)) if *first == code => {
                return Redemption::Again(RepeatedUse(Err(end.clone())));
            }
            Some(UsedState::Ended(first, end)) if *first == code => {
                return Redemption::Again(RepeatedUse(Ok(end.clone())));
            }
            Some(UsedState::Running(..) | UsedState::Ended(..) | UsedState::Spent) => {
                return Redemption::Spent;
            }
        };
        states.in_hand.retain(|held| *held != key);
        let (tell, end) = watch::channel(None);
        states.all.insert(key.clone(), UsedState::Running(code, end));
        Redemption::First(FirstUse { used: self, key, code, tries, in_hand, tell })
    }

    fn states(&self) -> MutexGuard<'_, StateTable> {
        self.0.lock()
    }
}

impl StateTable {
    fn forget(&mut self, now: UnixTime) {
        while self.all.len() >= MAX_STATES
            || self.all.first_key_value().is_some_and(|((ends, _), _)| *ends < now)
        {
            self.all.pop_first();
        }
    }

    /// A state that was dropped in the meantime stays dropped.
    fn set(&mut self, key: &StateKey, state: UsedState) {
        if let Some(entry) = self.all.get_mut(key) {
            *entry = state;
        }
    }

    fn open(&mut self, key: &StateKey, tries: u32, in_hand: StateTokens) {
        if in_hand.is_some() {
            self.in_hand.push_back(key.clone());
        }
        self.set(key, UsedState::Open(tries, in_hand));
        if self.in_hand.len() > MAX_TOKENS_IN_HAND
            && let Some(oldest) = self.in_hand.pop_front()
            && let Some(UsedState::Open(_, in_hand)) = self.all.get_mut(&oldest)
        {
            *in_hand = None;
        }
    }

    fn end(&mut self, key: &StateKey, code: CodeHash, end: SharedResult) {
        self.set(key, UsedState::Ended(code, end));
        self.ended.push_back(key.clone());
        if self.ended.len() > MAX_RESULTS
            && let Some(oldest) = self.ended.pop_front()
        {
            self.set(&oldest, UsedState::Spent);
        }
    }
}

impl FirstUse<'_> {
    /// Whether this is the last request to Webex for the state.
    pub(super) fn is_last(&self) -> bool {
        self.tries + 1 >= MAX_TRIES
    }

    /// The tokens that Webex issued for this code before.
    pub(super) fn in_hand(&self) -> Option<&TokensInHand> {
        self.in_hand.as_deref().filter(|(code, _)| *code == self.code).map(|(_, tokens)| tokens)
    }

    /// Holds the tokens that Webex issued for the code, until the state ends.
    pub(super) fn hold(&mut self, tokens: TokensInHand) {
        self.in_hand = Some(Box::new((self.code, tokens)));
    }

    /// Ends a request that did not reach Webex.
    pub(super) fn put_back(self, end: Result<Granted, ConsentError>) -> Result<Granted, ConsentError> {
        self.leave_open(0, end)
    }

    /// Ends a request to which Webex gave no final answer.
    pub(super) fn keep_open(self, end: Result<Granted, ConsentError>) -> Result<Granted, ConsentError> {
        self.leave_open(1, end)
    }

    fn leave_open(mut self, asked: u32, end: Result<Granted, ConsentError>) -> Result<Granted, ConsentError> {
        // Dropping `self` does the rest.
        self.tries += asked;
        self.tell.send_replace(Some(Arc::new(end.clone())));
        end
    }

    /// Ends a request to which Webex gave its final answer.
    pub(super) fn end(self, end: Result<Granted, ConsentError>) -> Result<Granted, ConsentError> {
        let shared = Arc::new(end.clone());
        self.used.states().end(&self.key, self.code, shared.clone());
        self.tell.send_replace(Some(shared));
        end
    }
}

impl Drop for FirstUse<'_> {
    fn drop(&mut self) {
        let mut states = self.used.states();
        if let Some(UsedState::Running(..)) = states.all.get(&self.key) {
            states.open(&self.key, self.tries, self.in_hand.take());
        }
    }
}

impl RepeatedUse {
    /// The result of the first request; `None` if that request was cancelled.
    pub(super) async fn end(self) -> Option<Result<Granted, ConsentError>> {
        let end = match self.0 {
            Ok(end) => end,
            Err(mut end) => end.wait_for(Option::is_some).await.ok()?.clone()?,
        };
        Some((*end).clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixTime = UnixTime(1);
    const LATE: UnixTime = UnixTime(60_001);

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn first<'a>(used: &'a UsedStates, state: &str) -> FirstUse<'a> {
        match used.show(&secret(state), &secret("code"), LATE, NOW) {
            Redemption::First(attempt) => attempt,
            other => panic!("{state}: {other:?}"),
        }
    }

    fn stale() -> Result<Granted, ConsentError> {
        Err(ConsentError::Stale)
    }

    #[tokio::test]
    async fn a_repeated_state_gets_the_result_of_the_first() {
        let used = UsedStates::default();
        let attempt = first(&used, "s");
        let Redemption::Again(waiting) = used.show(&secret("s"), &secret("code"), LATE, NOW) else {
            panic!("asked twice")
        };
        let (told, _) = tokio::join!(waiting.end(), async { attempt.end(stale()) });
        assert!(matches!(told, Some(Err(ConsentError::Stale))));
        let Redemption::Again(later) = used.show(&secret("s"), &secret("code"), LATE, NOW) else {
            panic!("asked twice")
        };
        assert!(matches!(later.end().await, Some(Err(ConsentError::Stale))));
        let other = used.show(&secret("s"), &secret("another code"), LATE, NOW);
        assert!(matches!(other, Redemption::Spent), "the result of another code: {other:?}");
    }

    #[tokio::test]
    async fn a_state_stays_open_for_three_requests_to_webex_and_after_a_cancelled_one() {
        let used = UsedStates::default();
        for _ in 0..5 {
            let _ = first(&used, "s").put_back(stale());
        }
        for _ in 1..MAX_TRIES {
            let attempt = first(&used, "s");
            assert!(!attempt.is_last());
            let _ = attempt.keep_open(stale());
        }
        assert!(first(&used, "s").is_last());
        let broken = first(&used, "s");
        let Redemption::Again(waiting) = used.show(&secret("s"), &secret("code"), LATE, NOW) else {
            panic!("asked twice")
        };
        drop(broken);
        assert!(waiting.end().await.is_none());
        assert!(first(&used, "s").is_last());
    }

    #[test]
    fn a_flood_of_states_is_bounded_and_locks_out_no_other_state() {
        let used = UsedStates::default();
        for n in 0..2 * MAX_STATES {
            let _ = first(&used, &n.to_string()).end(stale());
        }
        let states = used.states();
        assert_eq!((states.all.len(), states.ended.len()), (MAX_STATES, MAX_RESULTS));
        let whole = states.all.values().filter(|state| matches!(state, UsedState::Ended(..))).count();
        assert!(whole <= MAX_RESULTS, "{whole}");
        drop(states);
        let _ = first(&used, "honest").end(stale());
        assert!(matches!(used.show(&secret("honest"), &secret("code"), LATE, NOW), Redemption::Again(_)));
    }

    #[test]
    fn tokens_in_hand_are_for_their_code_and_bounded() {
        let used = UsedStates::default();
        let tokens = || TokensInHand {
            issued: TokenSet {
                access_token: secret("token"),
                refresh_token: None,
                expires_in: Duration::from_secs(60),
                refresh_token_expires_in: None,
                token_type: None,
                scope: None,
            },
            sent_at: NOW,
            tracking_id: None,
        };
        for n in 0..=MAX_TOKENS_IN_HAND {
            let mut attempt = first(&used, &n.to_string());
            attempt.hold(tokens());
            let _ = attempt.put_back(stale());
        }
        assert!(first(&used, "0").in_hand().is_none(), "the oldest is dropped");
        let last = MAX_TOKENS_IN_HAND.to_string();
        for _ in 0..2 {
            assert!(first(&used, &last).in_hand().is_some(), "also after a cancelled request");
        }
        let Redemption::First(other) = used.show(&secret(&last), &secret("another code"), LATE, NOW) else {
            panic!("another account may be chosen")
        };
        assert!(other.in_hand().is_none(), "the tokens of another code");
        drop(other);
        assert!(first(&used, &last).in_hand().is_some(), "the other code changed nothing");
        let _ = first(&used, &last).end(stale());
        assert_eq!(used.states().in_hand.len(), MAX_TOKENS_IN_HAND - 1);
    }

    #[test]
    fn a_state_is_dropped_after_its_ticket_has_expired() {
        let used = UsedStates::default();
        let _ = first(&used, "old").end(stale());
        let later = LATE + Duration::from_secs(1);
        let Redemption::First(new) = used.show(&secret("new"), &secret("code"), later, later) else {
            panic!("a new one")
        };
        let _ = new.end(stale());
        assert_eq!(used.states().all.len(), 1);
    }
}
