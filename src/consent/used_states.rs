//! States that came back from Webex, and what came of them, until their tickets end by themselves.
//!
//! Browsers bring one state back more than once: by a reload, by a double redirect, after a connection that broke. Its
//! code works once, so all but the first are told what came of the first.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::sync::watch;

use crate::consent::ConsentError;
use crate::consent::Granted;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Issued;

/// Only states of tickets that open get here, so this many within a ticket's life are no honest crowd.
const MOST: usize = 20_000;

/// Ends that are remembered with all that a page tells of them: some kilobytes each.
const MOST_ENDS: usize = 2_000;

/// States whose tokens are kept until it is known whose they are: some kilobytes each.
const MOST_IN_HAND: usize = 1_000;

/// Webex is asked about one state at most so often.
pub(super) const TRIES: u32 = 3;

/// What came of a state.
type SharedResult = Arc<Result<Granted, ConsentError>>;

/// Tells a state that comes back with the same code from one with another code: a person may go back in the browser and
/// choose another account.
type CodeHash = [u8; 32];

/// What Webex gave for a code. The code is spent, so nothing else gives it again.
#[derive(Clone, Debug)]
pub(super) struct TokensInHand {
    pub(super) issued: Issued,
    pub(super) sent_at: UnixTime,
    pub(super) tracking_id: Option<String>,
}

/// The tokens of a state, and the code that they were given for.
type StateTokens = Option<Box<(CodeHash, TokensInHand)>>;

/// A ticket's deadline, soonest first, and its state.
type StateKey = (UnixTime, String);

/// The states of this process. In memory: after a restart, and when there were too many, Webex itself still refuses a
/// used code.
#[derive(Debug, Default)]
pub(super) struct UsedStates(Mutex<StateTable>);

#[derive(Debug, Default)]
struct StateTable {
    all: BTreeMap<StateKey, UsedState>,
    /// Those with a whole end, oldest first.
    ended: VecDeque<StateKey>,
    /// Those that have tokens in hand, oldest first.
    in_hand: VecDeque<StateKey>,
}

#[derive(Debug)]
enum UsedState {
    /// Webex was asked so often, and gave no final answer. There may be tokens that were not kept yet.
    Open(u32, StateTokens),
    /// It is being asked.
    Running(CodeHash, watch::Receiver<Option<SharedResult>>),
    /// It gave its final answer.
    Ended(CodeHash, SharedResult),
    /// The same, and nothing else is remembered.
    Spent,
}

/// What to do with a state that came back.
#[derive(Debug)]
pub(super) enum Redemption<'a> {
    /// Ask Webex.
    First(FirstUse<'a>),
    /// Another request asks Webex; this one waits for it.
    Again(RepeatedUse),
    /// It was used, and nothing is known about it any more.
    Spent,
}

/// The one request that asks Webex about a state. One that is dropped before its end leaves the state open.
#[derive(Debug)]
pub(super) struct FirstUse<'a> {
    used: &'a UsedStates,
    key: StateKey,
    code: CodeHash,
    tries: u32,
    in_hand: StateTokens,
    tell: watch::Sender<Option<SharedResult>>,
}

/// A request for what another one asks Webex about.
#[derive(Debug)]
pub(super) struct RepeatedUse(Result<SharedResult, watch::Receiver<Option<SharedResult>>>);

impl UsedStates {
    /// A state that a ticket admits came back with a code.
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateTable {
    fn forget(&mut self, now: UnixTime) {
        while self.all.len() >= MOST || self.all.first_key_value().is_some_and(|((ends, _), _)| *ends < now) {
            self.all.pop_first();
        }
    }

    /// A state that was forgotten meanwhile stays forgotten.
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
        if self.in_hand.len() > MOST_IN_HAND
            && let Some(oldest) = self.in_hand.pop_front()
            && let Some(UsedState::Open(_, in_hand)) = self.all.get_mut(&oldest)
        {
            *in_hand = None;
        }
    }

    fn end(&mut self, key: &StateKey, code: CodeHash, end: SharedResult) {
        self.set(key, UsedState::Ended(code, end));
        self.ended.push_back(key.clone());
        if self.ended.len() > MOST_ENDS
            && let Some(oldest) = self.ended.pop_front()
        {
            self.set(&oldest, UsedState::Spent);
        }
    }
}

impl FirstUse<'_> {
    /// Whether Webex has been asked too often after this.
    pub(super) fn is_last(&self) -> bool {
        self.tries + 1 >= TRIES
    }

    /// What Webex gave for this code before.
    pub(super) fn in_hand(&self) -> Option<&TokensInHand> {
        self.in_hand.as_deref().filter(|(code, _)| *code == self.code).map(|(_, tokens)| tokens)
    }

    /// Webex gave this for the code: it stays in hand until the end of the state.
    pub(super) fn hold(&mut self, tokens: TokensInHand) {
        self.in_hand = Some(Box::new((self.code, tokens)));
    }

    /// Webex was not asked about the code.
    pub(super) fn put_back(self, end: Result<Granted, ConsentError>) -> Result<Granted, ConsentError> {
        self.leave_open(0, end)
    }

    /// Webex was asked about the code, and gave no final answer.
    pub(super) fn keep_open(self, end: Result<Granted, ConsentError>) -> Result<Granted, ConsentError> {
        self.leave_open(1, end)
    }

    fn leave_open(mut self, asked: u32, end: Result<Granted, ConsentError>) -> Result<Granted, ConsentError> {
        // What is left is the drop's work.
        self.tries += asked;
        self.tell.send_replace(Some(Arc::new(end.clone())));
        end
    }

    /// Webex gave its final answer.
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
    /// What came of the first request; `None` if that broke off.
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
    async fn a_state_that_is_shown_again_is_told_what_came_of_it() {
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
        assert!(matches!(other, Redemption::Spent), "the end of another code: {other:?}");
    }

    #[tokio::test]
    async fn a_state_is_open_until_webex_was_asked_three_times_and_where_its_request_broke_off() {
        let used = UsedStates::default();
        for _ in 0..5 {
            let _ = first(&used, "s").put_back(stale());
        }
        for _ in 1..TRIES {
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
    fn a_flood_of_states_is_bounded_and_shuts_no_other_state_out() {
        let used = UsedStates::default();
        for n in 0..2 * MOST {
            let _ = first(&used, &n.to_string()).end(stale());
        }
        let states = used.states();
        assert_eq!((states.all.len(), states.ended.len()), (MOST, MOST_ENDS));
        let whole = states.all.values().filter(|state| matches!(state, UsedState::Ended(..))).count();
        assert!(whole <= MOST_ENDS, "{whole}");
        drop(states);
        let _ = first(&used, "honest").end(stale());
        assert!(matches!(used.show(&secret("honest"), &secret("code"), LATE, NOW), Redemption::Again(_)));
    }

    #[test]
    fn tokens_in_hand_are_for_their_code_and_bounded() {
        let used = UsedStates::default();
        let tokens = || TokensInHand {
            issued: Issued {
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
        for n in 0..=MOST_IN_HAND {
            let mut attempt = first(&used, &n.to_string());
            attempt.hold(tokens());
            let _ = attempt.put_back(stale());
        }
        assert!(first(&used, "0").in_hand().is_none(), "the oldest makes room");
        let last = MOST_IN_HAND.to_string();
        for _ in 0..2 {
            assert!(first(&used, &last).in_hand().is_some(), "also after a request that broke off");
        }
        let Redemption::First(other) = used.show(&secret(&last), &secret("another code"), LATE, NOW) else {
            panic!("another account may be chosen")
        };
        assert!(other.in_hand().is_none(), "the tokens of another code");
        drop(other);
        assert!(first(&used, &last).in_hand().is_some(), "the other code changed nothing");
        let _ = first(&used, &last).end(stale());
        assert_eq!(used.states().in_hand.len(), MOST_IN_HAND - 1);
    }

    #[test]
    fn a_state_is_forgotten_after_its_ticket_has_ended() {
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
