//! The second half of a consent: a code becomes a kept grant.

use std::time::Duration;

use tokio::time::sleep;

use crate::consent::ConsentError;
use crate::consent::Consents;
use crate::consent::Granted;
use crate::consent::used_states::Redemption;
use crate::consent::used_states::TokensInHand;
use crate::domain::exchanges::ClientNetwork;
use crate::domain::exchanges::ExchangeEnd;
use crate::domain::exchanges::asked_wait;
use crate::domain::grant::Grant;
use crate::domain::grant::Tokens;
use crate::domain::person::Person;
use crate::domain::secret::Secret;
use crate::domain::ticket::Ticket;
use crate::domain::time::UnixTime;
use crate::domain::verdict::ClientVerdict;
use crate::domain::verdict::Fact;
use crate::domain::verdict::Verdict;
use crate::store::Answer;
use crate::store::Saved;
use crate::store::StoreError;
use crate::webex::Owner;
use crate::webex::Unknown;

/// A short hiccup where Webex is asked whose tokens are costs the person no second try.
const ASK_AGAIN: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_millis(1500), Duration::from_secs(4)];

/// Nor must a hiccup of the store.
const KEEP_AGAIN: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(5)];

type Finished = Result<Granted, ConsentError>;

impl Consents {
    /// Finishes a consent with what the browser at `network` brought back. The same state again is told what came of
    /// it. Must run to its end even if the browser leaves: a code works once.
    ///
    /// # Errors
    /// [`ConsentError`] says what stood in the way; nothing is kept then.
    pub async fn finish(
        &self,
        code: Secret,
        state: Secret,
        sealed: Option<&str>,
        network: ClientNetwork,
    ) -> Result<Granted, ConsentError> {
        let ticket = self.ticket_of(&state, sealed).ok_or(ConsentError::Stale)?;
        let mut attempt = match self.used_states.show(&state, &code, ticket.deadline(), self.clock.now()) {
            Redemption::First(attempt) => attempt,
            Redemption::Again(first) => {
                let end = first.end().await.unwrap_or(Err(ConsentError::Stale));
                return end.map(|granted| Granted { is_repeated: true, ..granted });
            }
            Redemption::Spent => return Err(ConsentError::Stale),
        };
        let under_way = match self.exchanges.begin(network).await {
            Ok(under_way) => under_way,
            Err(hold) => return attempt.put_back(Err(hold.into())),
        };
        let exchanged = match attempt.in_hand().cloned() {
            Some(in_hand) => Ok(in_hand),
            None => self.exchange(&code, &ticket).await,
        };
        let is_issued = exchanged.is_ok();
        let finished = match exchanged {
            Ok(in_hand) => {
                attempt.hold(in_hand.clone());
                self.keep(in_hand).await
            }
            Err(error) => Err(error),
        };
        under_way.end(end_of(&finished));
        let finished = match finished {
            Err(
                ConsentError::Unreachable { why, tracking_id } | ConsentError::Busy { why, tracking_id, .. },
            ) if !is_issued && attempt.is_last() => Err(ConsentError::GivenUp { why, tracking_id }),
            finished => finished,
        };
        if let Some(login) = ticket.login() {
            self.tell(login, &finished);
        }
        match finished {
            Err(ConsentError::Unreachable { .. } | ConsentError::Busy { .. } | ConsentError::Store(_))
                if is_issued =>
            {
                attempt.put_back(finished)
            }
            Err(ConsentError::Unreachable { .. } | ConsentError::Busy { .. }) => attempt.keep_open(finished),
            finished => attempt.end(finished),
        }
    }

    /// Whether the browser has the ticket of this state. Webex is not asked.
    #[must_use]
    pub fn admits(&self, state: &Secret, sealed: Option<&str>) -> bool {
        self.ticket_of(state, sealed).is_some()
    }

    /// The ticket that admits this state, if the browser has it.
    pub(super) fn ticket_of(&self, state: &Secret, sealed: Option<&str>) -> Option<Ticket> {
        let now = self.clock.now();
        sealed.and_then(|text| self.open(text)).filter(|ticket| ticket.admits(state, now))
    }

    async fn exchange(&self, code: &Secret, ticket: &Ticket) -> Result<TokensInHand, ConsentError> {
        let reply = self.webex.exchange(code, ticket.verifier()).await;
        let (tracking_id, asked) = (reply.tracking_id, reply.retry_after);
        Err(match reply.fact {
            Fact::Granted(issued) => {
                return Ok(TokensInHand { issued, sent_at: reply.sent_at, tracking_id });
            }
            Fact::Refused { status: status @ (408 | 423 | 429 | 500..), shown: why, .. } => {
                no_answer(Some(status), asked, why, tracking_id)
            }
            Fact::Unreadable(why) | Fact::Unreachable(why) => no_answer(None, asked, why, tracking_id),
            // Webex's own no has words. A portal's or a proxy's page says nothing of the code, which Webex has not seen.
            Fact::Refused { text, shown: why, .. } if text.is_empty() => {
                ConsentError::Unreachable { why, tracking_id }
            }
            Fact::Refused { status, text, shown: why } => {
                match Verdict::of_client(Fact::Refused { status, text, shown: why.clone() }) {
                    ClientVerdict::Refused(_) => ConsentError::ClientRefused { why, tracking_id },
                    ClientVerdict::Known | ClientVerdict::Unclear(_) => {
                        ConsentError::Refused { why, tracking_id }
                    }
                }
            }
        })
    }

    fn announce(&self, granted: &Granted) {
        let (person, id, until) = (&granted.person, &granted.person.id, granted.expires_at);
        let what = match granted.saved {
            Saved::New => "consent kept, a new person",
            Saved::Replaced => "consent kept, in the place of an older one",
            Saved::Older | Saved::Kept => "consent put aside, a newer one stays",
        };
        log::info!("{person}: {what}, id {id}, expires {until}");
        let missing: Vec<&str> = self
            .scopes()
            .iter()
            .filter(|scope| !granted.scopes.contains(scope))
            .map(String::as_str)
            .collect();
        if !missing.is_empty() {
            log::warn!("{person}: asked for but not granted: {}", missing.join(" "));
        }
    }

    /// The code is spent: from here on only a definite no ends it. After any other trouble the same tokens may be offered
    /// again.
    pub(super) async fn keep(&self, in_hand: TokensInHand) -> Result<Granted, ConsentError> {
        let TokensInHand { issued, sent_at, tracking_id } = in_hand;
        let owner = self.whose(&issued.access_token).await.map_err(not_told)?;
        let Owner { person, picture, .. } = owner;
        if self.allow.as_ref().is_some_and(|allow| !allow.admits(&person)) {
            return Err(ConsentError::NotAllowed(person));
        }
        let no_refresh_token =
            || ConsentError::Refused { why: "the answer has no refresh token".to_owned(), tracking_id };
        let tokens = Tokens::first(issued, sent_at).ok_or_else(no_refresh_token)?;
        let expires_at = tokens.expires_at;
        let lasts_until = tokens.refresh_token_expires_at.unwrap_or(expires_at).max(expires_at);
        let granted =
            tokens.scope.as_deref().map(|scope| scope.split_whitespace().map(str::to_owned).collect());
        let saved = self.save(person.clone(), tokens, sent_at).await?;
        let scopes = granted.unwrap_or_else(|| self.scopes().to_vec());
        let granted = Granted {
            person,
            scopes,
            obtained_at: sent_at,
            expires_at,
            lasts_until,
            picture,
            saved,
            is_repeated: false,
        };
        self.announce(&granted);
        Ok(granted)
    }

    /// The newest grant of a person wins, as the store decides.
    pub(super) async fn save(
        &self,
        person: Person,
        tokens: Tokens,
        sent_at: UnixTime,
    ) -> Result<Saved, StoreError> {
        self.save_by(person, tokens, sent_at, |grant| self.store.save_consent(grant)).await
    }

    pub(super) async fn save_by<'a>(
        &'a self,
        person: Person,
        tokens: Tokens,
        sent_at: UnixTime,
        save: impl Fn(Grant) -> Answer<'a, Saved>,
    ) -> Result<Saved, StoreError> {
        let id = person.id.clone();
        let grant = Grant::consented(person, tokens, sent_at, &self.policy, self.clock.now());
        let mut saved = save(grant.clone()).await;
        for pause in KEEP_AGAIN {
            let Err(why) = &saved else { break };
            log::log!(why.level(), "{id}: the consent cannot be kept yet: {why}");
            sleep(pause).await;
            saved = save(grant.clone()).await;
        }
        // What changed nothing is no news: a claim of the person's that waits is given up for it.
        if let Ok(Saved::New | Saved::Replaced) = saved {
            self.view.publish(&id);
            self.view.warn_if_shared(&grant.person).await;
        }
        self.wake.nudge();
        saved
    }

    /// A Webex that asks to wait for longer than the next pause is not asked again here.
    pub(super) async fn whose(&self, access_token: &Secret) -> Result<Owner, Unknown> {
        for pause in ASK_AGAIN {
            match self.webex.me(access_token).await {
                Err(unknown) if unknown.transient && wait_of(&unknown).is_none_or(|wait| wait <= pause) => {
                    sleep(pause).await;
                }
                answer => return answer,
            }
        }
        self.webex.me(access_token).await
    }
}

fn wait_of(unknown: &Unknown) -> Option<Duration> {
    asked_wait(unknown.status.unwrap_or_default(), unknown.retry_after)
}

/// The same, where it is not about one account (423).
pub(super) fn wait_for_all(status: Option<u16>, retry_after: Option<Duration>) -> Option<Duration> {
    let status = status.filter(|status| *status != 423)?;
    asked_wait(status, retry_after)
}

/// Webex did not say whose the tokens are.
fn not_told(unknown: Unknown) -> ConsentError {
    let (why, tracking_id) = (format!("people/me: {}", unknown.why), unknown.tracking_id);
    if unknown.transient {
        no_answer(unknown.status, unknown.retry_after, why, tracking_id)
    } else {
        ConsentError::Refused { why, tracking_id }
    }
}

/// Webex gave no answer, or asks to wait.
fn no_answer(
    status: Option<u16>,
    retry_after: Option<Duration>,
    why: String,
    tracking_id: Option<String>,
) -> ConsentError {
    match wait_for_all(status, retry_after) {
        Some(wait) => ConsentError::Busy { wait, why, tracking_id },
        None => ConsentError::Unreachable { why, tracking_id },
    }
}

/// What an exchange costs. Where only the store failed, Webex gave tokens.
fn end_of(finished: &Finished) -> ExchangeEnd {
    match finished {
        Ok(_) | Err(ConsentError::Store(_)) => ExchangeEnd::Succeeded,
        Err(ConsentError::Busy { wait, .. }) => ExchangeEnd::AskedToWait(*wait),
        Err(_) => ExchangeEnd::Failed,
    }
}
