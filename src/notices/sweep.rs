//! What becomes true by time alone, and what no change of the store can tell: looked for again and again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::notice::News;
use crate::domain::notice::Notice;
use crate::domain::notice::NoticeType;
use crate::domain::time::UnixTime;
use crate::notices::Notices;
use crate::store::StoreError;

/// The store is tried so often.
const STORE_EVERY: Duration = Duration::from_secs(30);

/// Everything else is looked for in every so many of these: ten minutes.
const TURNS: u32 = 20;

/// Candidates looked up in one step.
const STEP: u32 = 500;

/// The steps at which the end of the certificate is told, in days before it.
const CERTIFICATE_STEPS: [u32; 4] = [21, 7, 1, 0];

const DAY: Duration = Duration::from_secs(86_400);

impl Notices {
    /// Runs until the daemon stops.
    pub(super) async fn sweep(self: Arc<Self>, stopping: CancellationToken) {
        let mut failing: Option<(UnixTime, Vec<String>)> = None;
        let mut turn = 0;
        while !stopping.is_cancelled() {
            self.watch_store(&mut failing).await;
            self.write_postponed().await;
            if turn % TURNS == 0
                && let Err(why) = self.look_around().await
            {
                log::log!(why.log_level(), "notices: what is to be told is not known: {why}");
            }
            turn = turn.wrapping_add(1);
            tokio::select! {
                () = stopping.cancelled() => {}
                () = sleep(STORE_EVERY) => {}
            }
        }
    }

    /// Finds whose consent ends soon, looks at the certificate, and removes what is old.
    async fn look_around(&self) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        loop {
            let persons = self.parts.outbox.expiring_candidates(now, STEP).await?;
            let mut told = 0;
            for person in persons {
                told += u32::from(self.parts.outbox.tell_expiring(person, now).await?);
            }
            // Those that are claimed at present are found the next time.
            if told == 0 {
                break;
            }
        }
        self.watch_certificate(now).await?;
        while self.parts.outbox.prune_outbox(now).await? {}
        while self.parts.history.prune_history(now).await? {}
        Ok(())
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

    /// News that a damaged outbox did not take are written when it can be written again. The store logs its damage.
    async fn write_postponed(&self) {
        while self.parts.outbox.outbox_trouble().is_some() {
            match self.parts.outbox.write_postponed().await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
    }

    /// A store that cannot be written keeps no notice of that: it is told from memory, to each sink until it has it or the
    /// store is well again.
    async fn watch_store(&self, failing: &mut Option<(UnixTime, Vec<String>)>) {
        let now = self.parts.clock.now();
        match (self.parts.grants.check_writable().await, failing.take()) {
            (Ok(()), None) => {}
            (Ok(()), Some((since, _))) => {
                let notice = Notice::new(NoticeType::StoreRecovered, None, &since.0.to_string(), now);
                let news = News::of(notice.with("failing_since", since.to_string()));
                if let Err(why) = self.parts.outbox.tell(news).await {
                    log::log!(why.log_level(), "that the store is well again cannot be told yet: {why}");
                    *failing = Some((since, Vec::new()));
                }
            }
            (Err(why), before) => {
                let (since, mut told) = before.unwrap_or((now, Vec::new()));
                let notice = Notice::new(NoticeType::StoreFailing, None, &since.0.to_string(), since);
                self.tell_from_memory(&notice.with("reason", why.to_string()), &mut told).await;
                *failing = Some((since, told));
            }
        }
    }
}
