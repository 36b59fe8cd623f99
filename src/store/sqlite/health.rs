//! The condition of the store according to its last reads and writes. Errors of the whole store are logged when they begin
//! and when they end, and not for each operation that fails.

use std::mem::Discriminant;
use std::mem::discriminant;
use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;
use parking_lot::MutexGuard;
use tokio::time::Instant;

use crate::domain::time::human_duration;
use crate::store::StoreError;

/// For how long a successful write proves that the store can be written.
const PROOF_LIFE: Duration = Duration::from_secs(60);

/// While writes fail, a check causes another write after this time.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Errors of one kind that come and go are logged at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(600);

/// The condition of one store, shared by its threads and by callers that check it.
pub(super) struct StoreHealth {
    path: PathBuf,
    state: Mutex<HealthState>,
}

#[derive(Default)]
struct HealthState {
    writing: DirectionHealth,
    reading: DirectionHealth,
    /// When the last write succeeded or failed, or when a check last caused one.
    proved: Option<Instant>,
}

/// The condition of either reads or writes.
#[derive(Default)]
struct DirectionHealth {
    trouble: Option<OngoingFailure>,
    /// The kind of the error that was logged last, and when.
    told: Option<(Discriminant<StoreError>, Instant)>,
}

struct OngoingFailure {
    why: StoreError,
    since: Instant,
    told: bool,
}

impl StoreHealth {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, state: Mutex::new(HealthState::default()) }
    }

    fn now(&self) -> MutexGuard<'_, HealthState> {
        self.state.lock()
    }

    /// Records a failed write. Only errors of the whole store count.
    pub(super) fn write_failed(&self, why: &StoreError) {
        let mut now = self.now();
        now.proved = Some(Instant::now());
        if now.writing.record_failure(why) {
            log::error!(
                "no refresh is sent, because the store cannot be written; stored tokens are still served: {} (repair the \
                 store before you stop the daemon, because results of refreshes may be only in its memory)",
                why.clone().with_path(&self.path)
            );
        }
    }

    /// Records a durable write.
    pub(super) fn write_succeeded(&self) {
        let mut now = self.now();
        now.proved = Some(Instant::now());
        if let Some(after) = now.writing.record_success() {
            log::info!("the store can be written again, after {}", human_duration(after));
        }
    }

    /// Records a failed read. Only errors of the whole store count.
    pub(super) fn read_failed(&self, why: &StoreError) {
        if self.now().reading.record_failure(why) {
            log::error!("the store cannot be read: {}", why.clone().with_path(&self.path));
        }
    }

    /// Records a successful read.
    pub(super) fn read_succeeded(&self) {
        if let Some(after) = self.now().reading.record_success() {
            log::info!("the store can be read again, after {}", human_duration(after));
        }
    }

    /// Whether the last write is too old to prove anything. Of concurrent callers only one gets `true`.
    pub(super) fn needs_proof(&self) -> bool {
        let mut now = self.now();
        let step = if now.writing.trouble.is_some() { RETRY_PAUSE } else { PROOF_LIFE };
        let wants = now.proved.is_none_or(|at| at.elapsed() >= step);
        if wants {
            now.proved = Some(Instant::now());
        }
        wants
    }

    /// The result of the last write.
    pub(super) fn writable(&self) -> Result<(), StoreError> {
        self.now()
            .writing
            .trouble
            .as_ref()
            .map_or(Ok(()), |trouble| Err(trouble.why.clone().with_path(&self.path)))
    }
}

impl DirectionHealth {
    /// Records an error and answers whether it must be logged.
    fn record_failure(&mut self, why: &StoreError) -> bool {
        if !why.affects_whole_store() {
            return false;
        }
        let (now, kind) = (Instant::now(), discriminant(why));
        let before = self.trouble.take();
        let same = before.as_ref().is_some_and(|trouble| discriminant(&trouble.why) == kind);
        let since = before.as_ref().map_or(now, |trouble| trouble.since);
        let known = same && before.is_some_and(|trouble| trouble.told);
        let lately = self.told.is_some_and(|(last, at)| last == kind && at.elapsed() < LOG_INTERVAL);
        let tell = !known && !lately;
        if tell {
            self.told = Some((kind, now));
        }
        self.trouble = Some(OngoingFailure { why: why.clone(), since, told: known || tell });
        tell
    }

    /// Records a success. Answers how long the errors lasted, if their end must be logged.
    fn record_success(&mut self) -> Option<Duration> {
        let over = self.trouble.take()?;
        over.told.then(|| over.since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_logged_once_when_it_begins_and_once_when_it_ends() {
        let mut side = DirectionHealth::default();
        assert_eq!(side.record_success(), None, "no error came before");
        assert!(side.record_failure(&StoreError::Full));
        for _ in 0..1000 {
            tokio::time::advance(Duration::from_secs(60)).await;
            assert!(!side.record_failure(&StoreError::Full));
        }
        assert!(side.record_failure(&StoreError::ReadOnly), "an error of another kind");
        assert_eq!(side.record_success(), Some(Duration::from_secs(60_000)));
        assert_eq!(side.record_success(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_intermittent_failure_is_logged_at_most_every_ten_minutes() {
        let (mut side, mut begun, mut ended) = (DirectionHealth::default(), 0, 0);
        for _ in 0..3600 {
            begun += usize::from(side.record_failure(&StoreError::Full));
            ended += usize::from(side.record_success().is_some());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!((begun, ended), (6, 6));
        assert!(side.record_failure(&StoreError::Full));
        side.record_success();
        assert!(!side.record_failure(&StoreError::Full), "logged a moment ago");
        tokio::time::advance(LOG_INTERVAL).await;
        assert!(side.record_failure(&StoreError::Full), "logged again, because it lasts");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unreadable_record_is_no_failure_of_the_store() {
        let person = crate::domain::person::PersonId::parse("ada").unwrap();
        let condition = StoreHealth::new(PathBuf::from("store"));
        condition.write_failed(&StoreError::Unreadable(person));
        condition.write_failed(&StoreError::Closed);
        assert_eq!(condition.writable(), Ok(()));
        condition.write_failed(&StoreError::Full);
        assert_eq!(condition.writable(), Err(StoreError::Full));
        condition.write_succeeded();
        assert_eq!(condition.writable(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn one_caller_is_asked_for_a_proof_when_the_last_one_is_old() {
        let condition = StoreHealth::new(PathBuf::from("store"));
        let asked = || [condition.needs_proof(), condition.needs_proof()];
        assert_eq!(asked(), [true, false], "no write came before");
        condition.write_succeeded();
        assert_eq!(asked(), [false, false]);
        tokio::time::advance(PROOF_LIFE).await;
        assert_eq!(asked(), [true, false]);
        condition.write_failed(&StoreError::Full);
        assert_eq!(asked(), [false, false], "a write a moment ago is recent enough");
        tokio::time::advance(RETRY_PAUSE).await;
        assert_eq!(asked(), [true, false]);
    }
}
