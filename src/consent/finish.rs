//! The second half of a consent: it exchanges the code, and stores the grant.

use std::time::Duration;

use tokio::time::sleep;

use crate::consent::service::ConsentService;
use crate::consent::types::ConsentError;
use crate::consent::types::Granted;
use crate::consent::used_states::Redemption;
use crate::consent::used_states::TokensInHand;
use crate::domain::code_exchange_limits::ClientNetwork;
use crate::domain::code_exchange_limits::ExchangeEnd;
use crate::domain::code_exchange_limits::asked_wait;
use crate::domain::grant::Grant;
use crate::domain::grant::Tokens;
use crate::domain::person::Person;
use crate::domain::secret::Secret;
use crate::domain::ticket::Ticket;
use crate::domain::time::UnixTime;
use crate::domain::verdict::ClientVerdict;
use crate::domain::verdict::TokenResponse;
use crate::domain::verdict::Verdict;
use crate::store::Saved;
use crate::store::StoreError;
use crate::store::StoreFuture;
use crate::webex::OwnerUnknown;
use crate::webex::TokenOwner;

/// Pauses between requests for the owner of the tokens, so that a short failure does not cost the person
/// another try.
const EXCHANGE_RETRIES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_millis(1500), Duration::from_secs(4)];

/// Pauses between attempts to store the grant.
const SAVE_RETRIES: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(5)];

type Finished = Result<Granted, ConsentError>;

impl ConsentService {
    /// Finishes a consent with the code and state that the browser at `network` brought back. A repeated
    /// state gets the result of the first request. Must run to its end even if the browser disconnects,
    /// because a code works only once.
    ///
    /// # Errors
    /// [`ConsentError`] says why; nothing is stored then.
    pub async fn finish(
        &self,
        code: Secret,
        state: Secret,
        sealed: Option<&str>,
        network: ClientNetwork,
    ) -> Result<Granted, ConsentError> {
        let ticket = self.ticket_of(&state, sealed).ok_or(ConsentError::Stale)?;
        let now = self.context.clock.now();
        let mut attempt = match self.used_states.show(&state, &code, ticket.deadline(), now) {
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
                self.save_grant(in_hand).await
            }
            Err(error) => Err(error),
        };
        under_way.end(to_result(&finished));
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

    /// Whether the browser has the ticket of this state. Sends nothing to Webex.
    #[must_use]
    pub fn admits(&self, state: &Secret, sealed: Option<&str>) -> bool {
        self.ticket_of(state, sealed).is_some()
    }

    /// The ticket for this state, if the browser has it.
    pub(super) fn ticket_of(&self, state: &Secret, sealed: Option<&str>) -> Option<Ticket> {
        let now = self.context.clock.now();
        sealed.and_then(|text| self.open(text)).filter(|ticket| ticket.admits(state, now))
    }

    async fn exchange(&self, code: &Secret, ticket: &Ticket) -> Result<TokensInHand, ConsentError> {
        let reply = self.context.webex.exchange(code, ticket.verifier()).await;
        let (tracking_id, asked) = (reply.tracking_id, reply.retry_after);
        Err(match reply.fact {
            TokenResponse::Granted(issued) => {
                return Ok(TokensInHand { issued, sent_at: reply.sent_at, tracking_id });
            }
            TokenResponse::Refused { status: status @ (408 | 423 | 429 | 500..), shown: why, .. } => {
                no_answer(Some(status), asked, why, tracking_id)
            }
            TokenResponse::Unreadable(why) | TokenResponse::Unreachable(why) => {
                no_answer(None, asked, why, tracking_id)
            }
            // Webex explains its rejections in JSON. The page of a portal or a proxy says nothing about the
            // code, because Webex has not seen it.
            TokenResponse::Refused { text, shown: why, .. } if text.is_empty() => {
                ConsentError::Unreachable { why, tracking_id }
            }
            TokenResponse::Refused { status, text, shown: why } => {
                match Verdict::client_verdict(TokenResponse::Refused { status, text, shown: why.clone() }) {
                    ClientVerdict::Refused(_) => ConsentError::ClientRefused { why, tracking_id },
                    ClientVerdict::Known | ClientVerdict::Unclear(_) => {
                        ConsentError::Refused { why, tracking_id }
                    }
                }
            }
        })
    }

    fn log_granted(&self, granted: &Granted, token_hash: &str, tracking_id: Option<&str>) {
        let (person, id) = (&granted.person, granted.person.id.as_str());
        let (event, outcome) = match granted.saved {
            Saved::New => ("consent stored", "new"),
            Saved::Replaced => ("consent stored, it replaces the older grant", "replaced"),
            Saved::Older | Saved::Kept => ("consent not stored, because the stored grant is newer", "older"),
        };
        log::info!(
            person = id,
            outcome,
            expires_at:% = granted.expires_at,
            token_hash,
            tracking_id;
            "{person}: {event}"
        );
        let missing: Vec<&str> = self
            .scopes()
            .iter()
            .filter(|scope| !granted.scopes.contains(scope))
            .map(String::as_str)
            .collect();
        if !missing.is_empty() {
            log::warn!(person = id; "{person}: these requested scopes were not granted: {}", missing.join(" "));
        }
    }

    /// Stores the grant. The code is spent, so only a definite rejection is final. After any other failure
    /// the same tokens may be stored later.
    pub(super) async fn save_grant(&self, in_hand: TokensInHand) -> Result<Granted, ConsentError> {
        let TokensInHand { issued, sent_at, tracking_id } = in_hand;
        let owner = self.fetch_owner(&issued.access_token).await.map_err(owner_unknown)?;
        let TokenOwner { person, picture, .. } = owner;
        if self.allow.as_ref().is_some_and(|allow| !allow.admits(&person)) {
            return Err(ConsentError::NotAllowed(person));
        }
        let Some(tokens) = Tokens::first(issued, sent_at) else {
            let why = "Webex's response has no refresh token".to_owned();
            return Err(ConsentError::Refused { why, tracking_id });
        };
        let token_hash = tokens.access_token.fingerprint();
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
        self.log_granted(&granted, &token_hash, tracking_id.as_deref());
        Ok(granted)
    }

    /// Stores the grant unless the store has a newer one of the same person.
    pub(super) async fn save(
        &self,
        person: Person,
        tokens: Tokens,
        sent_at: UnixTime,
    ) -> Result<Saved, StoreError> {
        self.save_by(person, tokens, sent_at, |grant| self.context.store.save_consent(grant)).await
    }

    pub(super) async fn save_by<'a>(
        &'a self,
        person: Person,
        tokens: Tokens,
        sent_at: UnixTime,
        save: impl Fn(Grant) -> StoreFuture<'a, Saved>,
    ) -> Result<Saved, StoreError> {
        let id = person.id.clone();
        let grant = Grant::consented(person, tokens, sent_at, &self.context.policy, self.context.clock.now());
        let mut saved = save(grant.clone()).await;
        for pause in SAVE_RETRIES {
            let Err(why) = &saved else { break };
            log::log!(why.log_level(), person = id.as_str(); "{}: cannot store the consent yet: {why}", grant.person);
            sleep(pause).await;
            saved = save(grant.clone()).await;
        }
        // Subscribers are notified only of changes. The event loop is always woken, because a waiting claim
        // of this person is abandoned for the consent.
        if let Ok(Saved::New | Saved::Replaced) = saved {
            self.context.cache.invalidate(&id);
            self.context.cache.warn_if_address_is_shared(&grant.person).await;
        }
        self.context.wake.notify();
        saved
    }

    /// The owner of the token. Temporary failures are retried, unless Webex asks to wait for longer than the
    /// next pause.
    pub(super) async fn fetch_owner(&self, access_token: &Secret) -> Result<TokenOwner, OwnerUnknown> {
        for pause in EXCHANGE_RETRIES {
            match self.context.webex.people_me(access_token).await {
                Err(unknown) if unknown.transient && wait_of(&unknown).is_none_or(|wait| wait <= pause) => {
                    sleep(pause).await;
                }
                answer => return answer,
            }
        }
        self.context.webex.people_me(access_token).await
    }
}

fn wait_of(unknown: &OwnerUnknown) -> Option<Duration> {
    asked_wait(unknown.status.unwrap_or_default(), unknown.retry_after)
}

/// How long Webex asks all requests to wait; `None` if it concerns only one account (423).
pub(super) fn longest_wait(status: Option<u16>, retry_after: Option<Duration>) -> Option<Duration> {
    let status = status.filter(|status| *status != 423)?;
    asked_wait(status, retry_after)
}

/// The error for an owner that Webex did not report.
fn owner_unknown(unknown: OwnerUnknown) -> ConsentError {
    let (why, tracking_id) = (format!("people/me: {}", unknown.why), unknown.tracking_id);
    if unknown.transient {
        no_answer(unknown.status, unknown.retry_after, why, tracking_id)
    } else {
        ConsentError::Refused { why, tracking_id }
    }
}

/// The error for a missing response, or for one that asks to wait.
fn no_answer(
    status: Option<u16>,
    retry_after: Option<Duration>,
    why: String,
    tracking_id: Option<String>,
) -> ConsentError {
    match longest_wait(status, retry_after) {
        Some(wait) => ConsentError::Busy { wait, why, tracking_id },
        None => ConsentError::Unreachable { why, tracking_id },
    }
}

/// How the exchange counts for the limits. If only the store failed, Webex has issued tokens.
fn to_result(finished: &Finished) -> ExchangeEnd {
    match finished {
        Ok(_) | Err(ConsentError::Store(_)) => ExchangeEnd::Succeeded,
        Err(ConsentError::Busy { wait, .. }) => ExchangeEnd::AskedToWait(*wait),
        Err(_) => ExchangeEnd::Failed,
    }
}
