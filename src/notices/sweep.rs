//! A periodic task. It looks for events that no change to the store reports: those that depend on the time alone, and failures
//! of the store itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::notice::News;
use crate::domain::notice::Notice;
use crate::domain::notice::NoticeType;
use crate::domain::notice::facts;
use crate::domain::time::UnixTime;
use crate::notices::Notices;
use crate::store::MetaKey;
use crate::store::StoreError;
use crate::store::outbox::SUBSCRIBERS;

/// How often the task checks whether the store can be written.
const STORE_EVERY: Duration = Duration::from_secs(30);

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
        let mut failing = None;
        let mut turn = 0;
        while !stopping.is_cancelled() {
            self.watch_store(&mut failing).await;
            self.write_postponed(&stopping).await;
            if let Err(why) = self.watch_paused_refreshes(&stopping).await {
                log::log!(why.log_level(), "notices: cannot look for tokens at risk: {why}");
            }
            if turn % TURNS == 0
                && let Err(why) = self.look_around(&stopping).await
            {
                log::log!(
                    why.log_level(),
                    "notices: cannot look for consents and certificates that end soon: {why}"
                );
            }
            turn = turn.wrapping_add(1);
            tokio::select! {
                () = stopping.cancelled() => {}
                () = sleep(STORE_EVERY) => {}
            }
        }
    }

    /// Looks for consents that end soon, checks the certificate, and removes old notices and history.
    async fn look_around(&self, stopping: &CancellationToken) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        loop {
            let persons = self.parts.outbox.expiring_candidates(now, STEP).await?;
            let mut told = 0;
            for person in persons.into_iter().take_while(|_| !stopping.is_cancelled()) {
                told += u32::from(self.parts.outbox.tell_expiring(person, now).await?);
            }
            // Candidates that were claimed in the meantime are found in a later turn.
            if told == 0 {
                break;
            }
        }
        self.watch_certificate(now).await?;
        while !stopping.is_cancelled() && self.parts.outbox.prune_outbox(now).await? {}
        while !stopping.is_cancelled() && self.parts.history.prune_history(now).await? {}
        Ok(())
    }

    /// Looks for tokens at risk while the refreshes of all persons pause. At other times, failing refreshes report them.
    async fn watch_paused_refreshes(&self, stopping: &CancellationToken) -> Result<(), StoreError> {
        let breaker = self.parts.grants.get_meta(MetaKey::Breaker).await?;
        let Some(pause) = breaker.as_deref().and_then(facts::stored_pause) else { return Ok(()) };
        let reason = format!("refreshes pause: {}", pause.cause);
        loop {
            let now = self.parts.clock.now();
            let persons = self.parts.outbox.at_risk_candidates(now, AT_RISK_STEP).await?;
            if stopping.is_cancelled()
                || persons.is_empty()
                || self.parts.outbox.tell_at_risk(persons, reason.clone(), now).await? == 0
            {
                return Ok(());
            }
        }
    }

    async fn watch_certificate(&self, now: UnixTime) -> Result<(), StoreError> {
        let Some(ends_at) = self.certificate_end() else { return Ok(()) };
        let left = ends_at.until(now);
        let step = CERTIFICATE_STEPS.into_iter().rev().find(|step| left <= DAY * *step);
        let (topic, before) =
            ("certificate".to_owned(), self.parts.outbox.topic("certificate".to_owned()).await?);
        let (state, notice) = match step {
            Some(step) => {
                let state = format!("{} {step}", ends_at.0);
                let notice = Notice::new(NoticeType::CertificateExpiring, None, &state, now);
                (state, Some(notice.with("days", step)))
            }
            None => {
                let was_told = before.as_ref().is_some_and(|state| state != "well");
                let notice =
                    || Notice::new(NoticeType::CertificateRenewed, None, &ends_at.0.to_string(), now);
                ("well".to_owned(), was_told.then(notice))
            }
        };
        let news = notice.map(|notice| News::of(notice.with("ends_at", ends_at.to_string())));
        if before.is_some() || news.is_some() {
            self.parts.outbox.tell_once(topic, state, news.unwrap_or_default()).await?;
        }
        Ok(())
    }

    /// Writes notices that wait in memory because the outbox is damaged, if it can be written again. The store logs the damage.
    async fn write_postponed(&self, stopping: &CancellationToken) {
        while !stopping.is_cancelled() && self.parts.outbox.outbox_trouble().is_some() {
            match self.parts.outbox.write_postponed().await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
    }

    /// Checks whether the store can be written. If not, the notice of that cannot be stored either, so it is sent to each sink
    /// from memory until the sink accepts it. When the store can be written again, the notices of the failure and of its end
    /// are stored, for the history and for the sinks that have not accepted them yet.
    async fn watch_store(&self, failing: &mut Option<StoreTrouble>) {
        let now = self.parts.clock.now();
        match (self.parts.grants.check_writable().await, failing.take()) {
            (Ok(()), None) => {}
            (Ok(()), Some(trouble)) => {
                if let Err(why) = self.parts.outbox.tell(trouble.ended(now)).await {
                    log::log!(
                        why.log_level(),
                        "notices: cannot store yet that the store failed for a time: {why}"
                    );
                    *failing = Some(trouble);
                }
            }
            (Err(why), before) => {
                let mut trouble = before.unwrap_or_else(|| {
                    let trouble = StoreTrouble::begun(&why, now);
                    self.publish(&trouble.notice);
                    trouble
                });
                self.tell_from_memory(&trouble.notice, &mut trouble.told).await;
                *failing = Some(trouble);
            }
        }
    }
}

/// A period in which the store cannot be written.
struct StoreTrouble {
    notice: Notice,
    /// The sinks that have accepted the notice.
    told: Vec<String>,
}

impl StoreTrouble {
    fn begun(why: &StoreError, now: UnixTime) -> Self {
        let notice = Notice::new(NoticeType::StoreFailing, None, &now.0.to_string(), now);
        Self { notice: notice.with("reason", why.to_string()), told: Vec::new() }
    }

    /// The notices to store when the store can be written again at `now`.
    fn ended(&self, now: UnixTime) -> News {
        let since = self.notice.at;
        let recovered = Notice::new(NoticeType::StoreRecovered, None, &since.0.to_string(), now);
        let recovered = recovered.with("failing_since", since.to_string());
        let takers = self.told.iter().cloned().chain([SUBSCRIBERS.to_owned()]);
        let delivered = takers.map(|taker| (self.notice.id.clone(), taker)).collect();
        let mut news = News { notices: vec![self.notice.clone(), recovered], delivered, ..News::default() };
        news.remember_notices();
        news
    }
}
