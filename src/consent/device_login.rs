//! Consents by the device grant: requested here, given in a browser on any device, and stored as any other.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::consent::login_table::LoginState;
use crate::consent::service::ConsentService;
use crate::consent::types::ConsentError;
use crate::consent::types::Granted;
use crate::consent::types::not_listed;
use crate::consent::used_states::TokensInHand;
use crate::tasks::Tasks;
use crate::webex::DeviceCode;
use crate::webex::DevicePollResult;

/// Added to the interval: network delays vary, and Webex rejects a poll that comes a moment too early.
const MARGIN: Duration = Duration::from_secs(1);

/// Added permanently whenever Webex answers that the polls come too often (RFC 8628, 3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// While Webex does not answer, the pauses double up to this, or up to the interval if that is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// A login outlives its code by this, because the last poll and the request for the owner take time.
const LAST_ANSWERS: Duration = Duration::from_secs(180);

/// A started device login.
#[derive(Clone, Debug)]
pub struct DeviceLogin {
    /// The login's id, with which its state is read.
    pub id: String,
    /// The code that the person enters.
    pub user_code: String,
    /// Where the person enters the code.
    pub verification_uri: String,
    /// The same URL with the code in it.
    pub verification_uri_complete: Option<String>,
    /// How long the code is valid.
    pub expires_in: Duration,
}

impl ConsentService {
    /// Starts a device grant, and polls Webex for its result in a task of `tasks`.
    ///
    /// # Errors
    /// [`ConsentError::Crowded`] when the limit of logins is reached; otherwise when Webex rejects the
    /// request or cannot be reached.
    pub async fn begin_device(self: &Arc<Self>, tasks: &Tasks) -> Result<DeviceLogin, ConsentError> {
        let place = self.devices.clone().try_acquire_owned().map_err(|_| ConsentError::Crowded)?;
        let begun = Instant::now();
        let code = self.context.webex.device_authorize().await.map_err(|unknown| {
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
                    log::info!("device login failed: {why}");
                    consents.logins.tell(&id, LoginState::Failed(why));
                }
            }
        });
        Ok(login)
    }

    /// Polls until Webex has decided, the code has expired, or the daemon stops. `Err` explains why there is
    /// no result. A sent poll is always waited for, even during the shutdown, because its response may be the
    /// only one with the tokens.
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
                return Err(DevicePollResult::expired());
            }
            tokio::select! {
                biased;
                () = stopping.cancelled() => return Err("the daemon stops; start the login again".to_owned()),
                () = sleep_until(next) => {}
            }
            let answer = self.context.webex.device_token(&code.device_code).await;
            let asked = answer.retry_after.unwrap_or_default();
            pause = match answer.polled {
                DevicePollResult::Issued(issued) => {
                    let (sent_at, tracking_id) = (answer.sent_at, answer.tracking_id);
                    let in_hand = TokensInHand { issued, sent_at, tracking_id };
                    let kept = self.save_until(deadline + LAST_ANSWERS, in_hand, stopping).await;
                    return Ok(kept.inspect_err(report));
                }
                DevicePollResult::Ended(why) => return Err(why),
                DevicePollResult::Pending => interval,
                DevicePollResult::SlowDown => {
                    interval += SLOWER;
                    interval.max(asked)
                }
                DevicePollResult::Trouble(why) => {
                    log::debug!("device login: Webex gave no answer, polling continues: {why}");
                    (pause * 2).min(LONGEST_PAUSE).max(interval).max(asked)
                }
            };
        }
    }

    /// Webex issues the tokens of a code only once, so temporary failures are retried, but not beyond `end`.
    async fn save_until(
        &self,
        end: Instant,
        in_hand: TokensInHand,
        stopping: &CancellationToken,
    ) -> Result<Granted, ConsentError> {
        loop {
            let kept = self.save_grant(in_hand.clone()).await;
            let pause = match &kept {
                Err(ConsentError::Busy { wait, .. }) => LONGEST_PAUSE.max(*wait),
                Err(ConsentError::Unreachable { .. } | ConsentError::Store(_)) => LONGEST_PAUSE,
                Ok(_) | Err(_) => return kept,
            };
            let next = Instant::now() + pause;
            if next >= end {
                return kept;
            }
            log::debug!("device login: the grant is stored later, next try in {pause:?}");
            tokio::select! {
                biased;
                () = stopping.cancelled() => return kept,
                () = sleep_until(next) => {}
            }
        }
    }
}

fn report(error: &ConsentError) {
    match error {
        ConsentError::NotAllowed(person) => log::warn!("{}", not_listed(person)),
        _ => log::warn!("device login: the consent was not stored: {error}"),
    }
}
