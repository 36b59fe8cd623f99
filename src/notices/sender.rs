//! The sender of one sink: it claims due deliveries, sends them, and stores the outcomes. Each sink has its own sender, so that
//! a sink that does not work delays no other.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use parking_lot::MutexGuard;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::notice::Notice;
use crate::domain::notice::delivery::PROBE_INTERVAL;
use crate::domain::notice::delivery::RETRY_AFTER_MAX;
use crate::domain::notice::delivery::is_over;
use crate::domain::notice::delivery::next_try;
use crate::domain::time::UnixTime;
use crate::notices::links::Links;
use crate::notices::sink::DELIVERY_LIMIT;
use crate::notices::sink::DeliveryResult;
use crate::notices::sink::Sink;
use crate::store::StoreError;
use crate::store::outbox::DELIVERY_LEASE;
use crate::store::outbox::DeliveryClaim;
use crate::store::outbox::DeliveryClaimRequest;
use crate::store::outbox::DeliveryOutcome;
use crate::store::outbox::OutboxStore;
use crate::store::outbox::SettledDelivery;

/// Maximum time between two reads of the outbox.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Minimum time between two reads, if a due delivery cannot be claimed.
const MIN_WAIT: Duration = Duration::from_secs(1);

/// How long the sender waits after an error of the store.
const STORE_RETRY_DELAY: Duration = Duration::from_secs(30);

/// Waits after the first failures of a sink, before the sender probes it with one notice.
const SINK_RETRY_DELAYS: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(300),
    Duration::from_secs(900),
];

/// Sends to one sink.
pub(super) struct Sender {
    pub(super) sink: Arc<dyn Sink>,
    pub(super) outbox: Arc<dyn OutboxStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) links: Links,
    /// Whether the receiver has turned the sink off; `None` until it was read from the store. A test that succeeds turns it on
    /// again.
    pub(super) off: Mutex<Option<bool>>,
}

/// What the sender knows about the state of the sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Condition {
    /// The number of failures in a row.
    failures: u32,
    /// The time of the next probe, after a failure.
    retry_at: Option<UnixTime>,
    /// The wait before the next probe. If the time left until `retry_at` is longer, the clock was set back.
    retry_wait: Duration,
    /// When the sender last made all waiting deliveries due.
    pulled_at: Option<UnixTime>,
}

/// What sending one queue of notices showed about the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SinkObservation {
    Nothing,
    Works,
    /// The sink fails. The duration is its `Retry-After`.
    Fails(Option<Duration>),
    Off,
}

impl Condition {
    /// Whether the sender waits after a failure. A time that is further away than the wait was set by a clock that was ahead.
    fn waits(&self, now: UnixTime) -> bool {
        let left = self.retry_at.map(|at| at.until(now)).unwrap_or_default();
        !left.is_zero() && left <= self.retry_wait
    }
}

impl Sender {
    /// The topic that stores whether the sink is turned off, and the topic's state if it is. The state is the sink's target, so
    /// that a sink with another target is on.
    fn off_state(&self) -> (String, String) {
        (format!("off {}", self.sink.name()), self.sink.target())
    }

    /// Whether the receiver has turned this sink off, and the operator has not set another target since.
    pub(super) async fn is_off(&self) -> bool {
        if let Some(off) = *self.off() {
            return off;
        }
        let (topic, state) = self.off_state();
        let Ok(stored) = self.outbox.topic(topic).await else { return false };
        *self.off().get_or_insert(stored.as_ref() == Some(&state))
    }

    fn off(&self) -> MutexGuard<'_, Option<bool>> {
        self.off.lock()
    }

    pub(super) async fn set_off(&self, off: bool) -> Result<(), StoreError> {
        let (topic, state) = self.off_state();
        let state = if off { state } else { "on".to_owned() };
        *self.off() = Some(off);
        self.outbox.add_once(topic, state, Default::default()).await.map(drop)
    }

    /// Runs until the daemon stops. Notices that are being sent by then are finished.
    pub(super) async fn run(self: Arc<Self>, stopping: CancellationToken) {
        let mut condition = Condition::default();
        // The operator may have restarted the daemon to repair the sink, so all waiting deliveries are tried now.
        self.make_all_waiting_due(&stopping).await;
        let mut changes = self.outbox.outbox_changes();
        let mut running = JoinSet::new();
        while !stopping.is_cancelled() {
            changes.borrow_and_update();
            let wait = match self.step(&mut running, condition, &stopping).await {
                Ok(wait) => wait,
                Err(why) => {
                    log::log!(
                        why.log_level(),
                        "notices: the store fails, so those for {} wait: {why}",
                        self.sink.name()
                    );
                    STORE_RETRY_DELAY
                }
            };
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                Some(observed) = running.join_next() => self.observe(&mut condition, observed.ok(), &stopping).await,
                _ = changes.changed() => {}
                () = sleep(wait) => {}
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// Releases held notices and starts due deliveries. Returns how long to wait until the next step.
    async fn step(
        self: &Arc<Self>,
        running: &mut JoinSet<SinkObservation>,
        condition: Condition,
        stopping: &CancellationToken,
    ) -> Result<Duration, StoreError> {
        let now = self.clock.now();
        while !stopping.is_cancelled() && self.outbox.release_held(now).await? {}
        let most = if condition.retry_at.is_some() { 1 } else { self.sink.at_once() };
        let free = most.saturating_sub(running.len());
        if free == 0 {
            return Ok(MAX_WAIT);
        }
        if let Some(at) = condition.retry_at.filter(|_| condition.waits(now)) {
            return Ok(at.until(now).clamp(MIN_WAIT, MAX_WAIT));
        }
        let is_probe = condition.retry_at.is_some();
        let ask = DeliveryClaimRequest {
            sink: self.sink.name().to_owned(),
            now,
            due_by: if is_probe { UnixTime::NEVER } else { now },
            queues: free,
            lease_end: now + DELIVERY_LEASE,
        };
        let claims = self.outbox.claim_deliveries(ask).await?;
        let found = !claims.is_empty();
        for queue in by_queue(claims) {
            let (sender, stopping) = (self.clone(), stopping.clone());
            running.spawn(async move { sender.send_queue(queue, &stopping).await });
        }
        if found {
            return Ok(MAX_WAIT);
        }
        let next = self.outbox.next_delivery(self.sink.name().to_owned()).await?;
        Ok(next.map_or(MAX_WAIT, |at| at.until(now).clamp(MIN_WAIT, MAX_WAIT)))
    }

    async fn observe(
        &self,
        condition: &mut Condition,
        observed: Option<SinkObservation>,
        stopping: &CancellationToken,
    ) {
        let name = self.sink.name();
        match observed {
            // Sent before the failure that the sender waits after.
            Some(SinkObservation::Works) if condition.waits(self.clock.now()) => {}
            Some(SinkObservation::Works) => {
                if condition.retry_at.take().is_some() {
                    condition.failures = 0;
                    condition.pulled_at = None;
                    log::info!("notices: {name} accepts notices again; all waiting ones are sent now");
                }
                self.make_all_due(condition, stopping).await;
            }
            Some(SinkObservation::Nothing) => {}
            Some(SinkObservation::Fails(retry_after)) => {
                // Deliveries that ran at the same time fail together. They are one failure.
                if condition.waits(self.clock.now()) {
                    condition.failures = condition.failures.saturating_sub(1);
                }
                let index = usize::try_from(condition.failures).unwrap_or(usize::MAX);
                let step = SINK_RETRY_DELAYS.get(index).copied().unwrap_or(PROBE_INTERVAL);
                condition.failures = condition.failures.saturating_add(1);
                let wait = step.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX));
                (condition.retry_at, condition.retry_wait) = (Some(self.clock.now() + wait), wait);
            }
            Some(SinkObservation::Off) => {}
            None => log::error!("notices: a delivery to {name} panicked; it is repeated when its lease ends"),
        }
    }

    /// Makes all waiting deliveries due now, because the sink accepts notices. Does so at most once per [`PROBE_INTERVAL`].
    async fn make_all_due(&self, condition: &mut Condition, stopping: &CancellationToken) {
        let now = self.clock.now();
        if condition.pulled_at.is_some_and(|at| at <= now && now < at + PROBE_INTERVAL) {
            return;
        }
        condition.pulled_at = Some(now);
        self.make_all_waiting_due(stopping).await;
    }

    async fn make_all_waiting_due(&self, stopping: &CancellationToken) {
        let name = self.sink.name();
        while !stopping.is_cancelled() {
            match self.outbox.make_all_due(name.to_owned(), self.clock.now()).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(why) => {
                    log::log!(why.log_level(), "notices: cannot make those for {name} due now: {why}");
                    break;
                }
            }
        }
    }

    /// Sends the notices of one queue, one after the other. If the sink itself fails, the rest of the queue fails without being
    /// sent. If the daemon stops, the rest is released.
    async fn send_queue(&self, queue: Vec<DeliveryClaim>, stopping: &CancellationToken) -> SinkObservation {
        let is_off = self.is_off().await;
        let mut observed = SinkObservation::Nothing;
        let mut blocked: Option<(String, Option<Duration>)> = None;
        let mut queue = queue.into_iter();
        while let Some(claim) = queue.next() {
            let answer = match &blocked {
                _ if is_off || observed == SinkObservation::Off => DeliveryResult::TurnedOff {
                    why: "the receiver has turned this sink off (410)".to_owned(),
                },
                Some((why, retry_after)) => {
                    DeliveryResult::Failed { why: why.clone(), retry_after: *retry_after, sink_failed: true }
                }
                None => self.send(&claim.notice).await,
            };
            match &answer {
                DeliveryResult::Failed { why, retry_after, sink_failed: true } if blocked.is_none() => {
                    log::warn!("notices: {} did not accept {}: {why}", self.sink.name(), claim.notice.id);
                    (blocked, observed) =
                        (Some((why.clone(), *retry_after)), SinkObservation::Fails(*retry_after));
                }
                DeliveryResult::TurnedOff { why } if !is_off && observed != SinkObservation::Off => {
                    self.record_turned_off(why).await;
                    observed = SinkObservation::Off;
                }
                DeliveryResult::Taken => observed = SinkObservation::Works,
                _ => {}
            }
            self.settle(&claim, answer, stopping).await;
            if stopping.is_cancelled() {
                self.release(queue).await;
                break;
            }
        }
        observed
    }

    /// Releases claimed deliveries that are not sent because the daemon stops. If the store fails, the next start releases them.
    async fn release(&self, claims: impl Iterator<Item = DeliveryClaim>) {
        let released = claims.map(|claim| SettledDelivery {
            number: claim.number,
            attempt: claim.attempt,
            outcome: DeliveryOutcome::Released,
        });
        let released: Vec<_> = released.collect();
        let name = self.sink.name().to_owned();
        if !released.is_empty()
            && let Err(why) = self.outbox.settle_deliveries(name, self.clock.now(), released).await
        {
            log::log!(why.log_level(), "notices: cannot release those for {}: {why}", self.sink.name());
        }
    }

    async fn record_turned_off(&self, why: &str) {
        let name = self.sink.name();
        log::error!(
            "notices: {name} is turned off: {why}; to turn it on, run `notices test` when the receiver works, or set another \
             address"
        );
        let stored = self.set_off(true).await;
        let _ = stored.inspect_err(|why| {
            log::log!(why.log_level(), "notices: cannot store that {name} is turned off: {why}");
        });
    }

    /// Sends one notice once. Fails after [`DELIVERY_LIMIT`].
    pub(super) async fn send(&self, notice: &Notice) -> DeliveryResult {
        let outgoing = self.links.outgoing(notice, self.clock.now());
        let answer = timeout(DELIVERY_LIMIT, self.sink.deliver(&outgoing)).await;
        answer.unwrap_or_else(|_| DeliveryResult::sink_failed("no answer in time".to_owned()))
    }

    /// Stores the outcome of a delivery. Tries until the store takes it or the daemon stops, because a notice that was accepted
    /// should not be sent again.
    async fn settle(&self, claim: &DeliveryClaim, answer: DeliveryResult, stopping: &CancellationToken) {
        let now = self.clock.now();
        let outcome = self.outcome(claim, answer, now);
        let (name, id) = (self.sink.name(), &claim.notice.id);
        match &outcome {
            DeliveryOutcome::Sent => {
                log::info!("notices: {name} accepted {id} ({})", claim.notice.kind.as_str())
            }
            DeliveryOutcome::GivenUp { why } => log::error!("notices: giving up {id} for {name}: {why}"),
            DeliveryOutcome::Again { at, why, .. } => {
                log::debug!("notices: {id} is sent to {name} again at {at}: {why}")
            }
            DeliveryOutcome::Postponed { until, why } => {
                log::debug!("notices: {id} must not be sent to {name} before {until}: {why}")
            }
            DeliveryOutcome::Released => {}
            DeliveryOutcome::Outdated => log::debug!("notices: {id} for {name} no longer applies"),
        }
        let settled = SettledDelivery { number: claim.number, attempt: claim.attempt, outcome };
        let mut pauses = [1, 5, 15].into_iter();
        loop {
            let stored = self.outbox.settle_deliveries(name.to_owned(), now, vec![settled.clone()]).await;
            match stored {
                Ok(()) => return,
                Err(why) => {
                    log::log!(why.log_level(), "notices: cannot store the outcome of {id} yet: {why}")
                }
            }
            let pause = pauses.next().map_or(STORE_RETRY_DELAY, Duration::from_secs);
            tokio::select! {
                () = stopping.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    fn outcome(&self, claim: &DeliveryClaim, answer: DeliveryResult, now: UnixTime) -> DeliveryOutcome {
        match answer {
            DeliveryResult::Taken => DeliveryOutcome::Sent,
            DeliveryResult::Outdated => DeliveryOutcome::Outdated,
            DeliveryResult::TurnedOff { why } => DeliveryOutcome::GivenUp { why },
            DeliveryResult::Postponed { until, why } => DeliveryOutcome::Postponed { until, why },
            DeliveryResult::Failed { why, retry_after, .. } => {
                let tries = claim.tries + u32::from(claim.in_turn);
                if is_over(claim.notice.at, tries, now) {
                    return DeliveryOutcome::GivenUp {
                        why: format!("all tries failed for three days: {why}"),
                    };
                }
                // A try that does not count moves no planned time, so that a later one counts.
                let asked = now + retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
                let at = match claim.in_turn {
                    true => next_try(&claim.notice.id, self.sink.name(), tries, retry_after, now),
                    false => claim.planned_at.max(asked),
                };
                DeliveryOutcome::Again { at, tries, why }
            }
        }
    }
}

/// Groups claims by queue. The claims of one queue are consecutive and in order.
fn by_queue(claims: Vec<DeliveryClaim>) -> Vec<Vec<DeliveryClaim>> {
    let mut queues: Vec<Vec<DeliveryClaim>> = Vec::new();
    for claim in claims {
        let queue = claim.notice.queue();
        match queues.last_mut().filter(|last| last.first().is_some_and(|one| one.notice.queue() == queue)) {
            Some(last) => last.push(claim),
            None => queues.push(vec![claim]),
        }
    }
    queues
}
