//! A consent by the device grant: asked for here, given in a browser anywhere, and kept as any other.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::consent::ConsentError;
use crate::consent::Consents;
use crate::consent::Granted;
use crate::consent::logins::LoginState;
use crate::consent::not_listed;
use crate::consent::used_states::TokensInHand;
use crate::tasks::Tasks;
use crate::webex::DeviceCode;
use crate::webex::Polled;

/// Device logins under way at once; each polls Webex every few seconds.
pub(super) const DEVICES: usize = 32;

/// Added to the interval, since packets do not travel evenly and Webex refuses who asks a moment too soon.
const MARGIN: Duration = Duration::from_secs(1);

/// Added for good whenever Webex says that it is asked too often (RFC 8628, 3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// While Webex gives no answer the pauses double up to this, or the interval if that is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// A login outlives its code by this: the last poll, and the question whose the tokens are, take their time.
const LAST_ANSWERS: Duration = Duration::from_secs(180);

/// A device login that has begun.
#[derive(Clone, Debug)]
pub struct DeviceLogin {
    /// To ask for its state with, as for any login.
    pub id: String,
    /// What the person types.
    pub user_code: String,
    /// Where the person types it.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
    /// How long the person may take.
    pub expires_in: Duration,
}

impl Consents {
    /// Begins a device grant, and polls for its end in a task of `tasks`.
    ///
    /// # Errors
    /// [`ConsentError::Crowded`] when too many are under way; else what Webex has against it.
    pub async fn begin_device(self: &Arc<Self>, tasks: &Tasks) -> Result<DeviceLogin, ConsentError> {
        let place = self.devices.clone().try_acquire_owned().map_err(|_| ConsentError::Crowded)?;
        let begun = Instant::now();
        let code = self.webex.device_authorize().await.map_err(|unknown| {
            let (why, tracking_id) = (unknown.why, unknown.tracking_id);
            if unknown.transient {
                ConsentError::Unreachable { why, tracking_id }
            } else {
                ConsentError::Refused { why, tracking_id }
            }
        })?;
        let id = self.logins.begin(code.expires_in + LAST_ANSWERS)?;
        let login = DeviceLogin {
            id: id.as_str().to_owned(),
            user_code: code.user_code.clone(),
            verification_uri: code.verification_uri.clone(),
            verification_uri_complete: code.verification_uri_complete.clone(),
            expires_in: code.expires_in,
        };
        let (consents, stopping) = (self.clone(), tasks.stopping());
        tasks.spawn("device login", async move {
            let _place = place;
            match consents.poll(&code, begun + code.expires_in, &stopping).await {
                Ok(finished) => consents.tell(&id, &finished),
                Err(why) => {
                    log::info!("a device login came to nothing: {why}");
                    consents.logins.tell(&id, LoginState::Failed(why));
                }
            }
        });
        Ok(login)
    }

    /// Polls until Webex has decided, the code has expired, or the daemon ends: `Err` says why nothing came of it.
    /// A poll that was sent is waited for, shutdown or not: its answer may be the only one with the tokens.
    async fn poll(
        &self,
        code: &DeviceCode,
        deadline: Instant,
        stopping: &CancellationToken,
    ) -> Result<Result<Granted, ConsentError>, String> {
        let mut interval = code.interval + MARGIN;
        let mut pause = interval;
        loop {
            let next = Instant::now() + pause;
            if next >= deadline {
                return Err(Polled::expired());
            }
            tokio::select! {
                biased;
                () = stopping.cancelled() => return Err("the daemon ends; begin again".to_owned()),
                () = sleep_until(next) => {}
            }
            let answer = self.webex.device_token(&code.device_code).await;
            let asked = answer.retry_after.unwrap_or_default();
            pause = match answer.polled {
                Polled::Issued(issued) => {
                    let (sent_at, tracking_id) = (answer.sent_at, answer.tracking_id);
                    let in_hand = TokensInHand { issued, sent_at, tracking_id };
                    let kept = self.keep_until(deadline + LAST_ANSWERS, in_hand, stopping).await;
                    return Ok(kept.inspect_err(tell));
                }
                Polled::Ended(why) => return Err(why),
                Polled::Pending => interval,
                Polled::SlowDown => {
                    interval += SLOWER;
                    interval.max(asked)
                }
                Polled::Trouble(why) => {
                    log::debug!("a device login goes on: {why}");
                    (pause * 2).min(LONGEST_PAUSE).max(interval).max(asked)
                }
            };
        }
    }

    /// Webex gives the tokens of a code once: trouble that may pass is waited for, but not beyond `end`.
    async fn keep_until(
        &self,
        end: Instant,
        in_hand: TokensInHand,
        stopping: &CancellationToken,
    ) -> Result<Granted, ConsentError> {
        loop {
            let kept = self.keep(in_hand.clone()).await;
            let pause = match &kept {
                Err(ConsentError::Busy { wait, .. }) => LONGEST_PAUSE.max(*wait),
                Err(ConsentError::Unreachable { .. } | ConsentError::Store(_)) => LONGEST_PAUSE,
                Ok(_) | Err(_) => return kept,
            };
            let next = Instant::now() + pause;
            if next >= end {
                return kept;
            }
            log::debug!("a device login goes on when it can be kept, in {pause:?}");
            tokio::select! {
                biased;
                () = stopping.cancelled() => return kept,
                () = sleep_until(next) => {}
            }
        }
    }
}

fn tell(error: &ConsentError) {
    match error {
        ConsentError::NotAllowed(person) => log::warn!("{}", not_listed(person)),
        _ => log::warn!("a device login was not kept: {error}"),
    }
}
