//! A periodic task. It looks for events that no change to the store reports: those that depend on the time alone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::notice::Notice;
use crate::domain::notice::NoticeType;
use crate::domain::notice::OutboxEntries;
use crate::domain::notice::facts;
use crate::domain::time::UnixTime;
use crate::notices::Notices;
use crate::store::MetaKey;
use crate::store::StoreError;

/// How often the task looks for tokens at risk while refreshes pause.
const TURN: Duration = Duration::from_secs(30);

/// The other checks run once in this many turns, which is every ten minutes.
const TURNS: u32 = 20;

/// Maximum number of candidates that are read in one step.
const STEP: u32 = 500;

/// Maximum number of persons that get a `token.at_risk` in one transaction.
const AT_RISK_STEP: u32 = 100;

/// The days before the end of the certificate on which a notice is sent.
const CERTIFICATE_STEPS: [u32; 4] = [21, 7, 1, 0];

const DAY: Duration = Duration::from_secs(86_400);

impl Notices {
    /// Runs until the daemon stops.
    pub(super) async fn sweep(self: Arc<Self>, stopping: CancellationToken) {
        let mut turn = 0;
        while !stopping.is_cancelled() {
            self.write_postponed(&stopping).await;
            if let Err(why) = self.watch_paused_refreshes(&stopping).await {
                log::log!(why.log_level(), "notices: cannot look for tokens at risk: {why}");
            }
            if turn % TURNS == 0
                && let Err(why) = self.run_slow_checks(&stopping).await
            {
                log::log!(
                    why.log_level(),
                    "notices: cannot look for consents and certificates that end soon: {why}"
                );
            }
            turn = turn.wrapping_add(1);
            tokio::select! {
                () = stopping.cancelled() => {}
                () = sleep(TURN) => {}
            }
        }
    }

    /// Looks for consents that end soon, checks the certificate, and removes old notices and history.
    async fn run_slow_checks(&self, stopping: &CancellationToken) -> Result<(), StoreError> {
        let now = self.context.clock.now();
        while !stopping.is_cancelled() {
            let persons = self.outbox.expiring_candidates(now, STEP).await?;
            let mut added = 0;
            for person in persons.into_iter().take_while(|_| !stopping.is_cancelled()) {
                added += u32::from(self.outbox.add_expiring_notice(person, now).await?);
            }
            // Candidates that were claimed in the meantime are found in a later turn.
            if added == 0 {
                break;
            }
        }
        self.watch_certificate(now).await?;
        while !stopping.is_cancelled() && self.outbox.prune_outbox(now).await? {}
        while !stopping.is_cancelled() && self.history.prune_history(now).await? {}
        Ok(())
    }

    /// Looks for tokens at risk while the refreshes of all persons pause. At other times, failing refreshes report them.
    async fn watch_paused_refreshes(&self, stopping: &CancellationToken) -> Result<(), StoreError> {
        let breaker = self.context.store.get_meta(MetaKey::Breaker).await?;
        let Some(pause) = breaker.as_deref().and_then(facts::stored_pause) else { return Ok(()) };
        let reason = format!("refreshes pause: {}", pause.cause);
        loop {
            let now = self.context.clock.now();
            let persons = self.outbox.at_risk_candidates(now, AT_RISK_STEP).await?;
            if stopping.is_cancelled()
                || persons.is_empty()
                || self.outbox.add_at_risk_notices(persons, reason.clone(), now).await? == 0
            {
                return Ok(());
            }
        }
    }

    async fn watch_certificate(&self, now: UnixTime) -> Result<(), StoreError> {
        let Some(ends_at) = self.certificate_end() else { return Ok(()) };
        let left = ends_at.until(now);
        let step = CERTIFICATE_STEPS.into_iter().rev().find(|step| left <= DAY * *step);
        let (topic, before) = ("certificate".to_owned(), self.outbox.topic("certificate".to_owned()).await?);
        let (state, notice) = match step {
            Some(step) => {
                let state = format!("{} {step}", ends_at.0);
                let notice = Notice::new(NoticeType::CertificateExpiring, None, &state, now);
                (state, Some(notice.with("days", step)))
            }
            None => {
                let was_reported = before.as_ref().is_some_and(|state| state != "well");
                let notice =
                    || Notice::new(NoticeType::CertificateRenewed, None, &ends_at.0.to_string(), now);
                ("well".to_owned(), was_reported.then(notice))
            }
        };
        let outbox_entries =
            notice.map(|notice| OutboxEntries::of(notice.with("ends_at", ends_at.to_string())));
        if before.is_some() || outbox_entries.is_some() {
            self.outbox.add_once(topic, state, outbox_entries.unwrap_or_default()).await?;
        }
        Ok(())
    }

    /// Writes notices that wait in memory because the outbox is damaged, if it can be written again. The store logs the damage.
    async fn write_postponed(&self, stopping: &CancellationToken) {
        while !stopping.is_cancelled() && self.outbox.outbox_error().is_some() {
            match self.outbox.write_postponed().await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
    }
}
