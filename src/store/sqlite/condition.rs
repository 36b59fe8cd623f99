//! The condition of the store according to its last reads and writes. Errors of the whole store are logged when they begin
//! and when they end, and not for each operation that fails.

use std::mem::Discriminant;
use std::mem::discriminant;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::time::spoken;
use crate::store::StoreError;

/// For how long a successful write proves that the store can be written.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// While writes fail, a check causes another write after this time.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Errors of one kind that come and go are logged at most this often.
const TELL_AGAIN: Duration = Duration::from_secs(600);

/// The condition of one store, shared by its threads and by callers that check it.
pub(super) struct Condition {
    path: PathBuf,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    writing: Side,
    reading: Side,
    /// When the last write succeeded or failed, or when a check last caused one.
    proved: Option<Instant>,
}

/// The condition of either reads or writes.
#[derive(Default)]
struct Side {
    trouble: Option<Trouble>,
    /// The kind of the error that was logged last, and when.
    told: Option<(Discriminant<StoreError>, Instant)>,
}

struct Trouble {
    why: StoreError,
    since: Instant,
    told: bool,
}

impl Condition {
    pub(super) fn of(path: PathBuf) -> Self {
        Self { path, now: Mutex::new(Now::default()) }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a failed write. Only errors of the whole store count.
    pub(super) fn not_written(&self, why: &StoreError) {
        let mut now = self.now();
        now.proved = Some(Instant::now());
        if now.writing.fails(why) {
            log::error!(
                "no refresh is sent, because the store cannot be written; stored tokens are still served: {} (repair the \
                 store before you stop the daemon, because results of refreshes may be only in its memory)",
                why.clone().at(&self.path)
            );
        }
    }

    /// Records a durable write.
    pub(super) fn written(&self) {
        let mut now = self.now();
        now.proved = Some(Instant::now());
        if let Some(after) = now.writing.works() {
            log::info!("the store can be written again, after {}", spoken(after));
        }
    }

    /// Records a failed read. Only errors of the whole store count.
    pub(super) fn not_read(&self, why: &StoreError) {
        if self.now().reading.fails(why) {
            log::error!("the store cannot be read: {}", why.clone().at(&self.path));
        }
    }

    /// Records a successful read.
    pub(super) fn read(&self) {
        if let Some(after) = self.now().reading.works() {
            log::info!("the store can be read again, after {}", spoken(after));
        }
    }

    /// Whether the last write is too old to prove anything. Of concurrent callers only one gets `true`.
    pub(super) fn wants_proof(&self) -> bool {
        let mut now = self.now();
        let step = if now.writing.trouble.is_some() { TRY_AGAIN } else { GOOD_FOR };
        let wants = now.proved.is_none_or(|at| at.elapsed() >= step);
        if wants {
            now.proved = Some(Instant::now());
        }
        wants
    }

    /// The result of the last write.
    pub(super) fn writable(&self) -> Result<(), StoreError> {
        self.now().writing.trouble.as_ref().map_or(Ok(()), |trouble| Err(trouble.why.clone().at(&self.path)))
    }
}

impl Side {
    /// Records an error and answers whether it must be logged.
    fn fails(&mut self, why: &StoreError) -> bool {
        if !why.is_trouble() {
            return false;
        }
        let (now, kind) = (Instant::now(), discriminant(why));
        let before = self.trouble.take();
        let same = before.as_ref().is_some_and(|trouble| discriminant(&trouble.why) == kind);
        let since = before.as_ref().map_or(now, |trouble| trouble.since);
        let known = same && before.is_some_and(|trouble| trouble.told);
        let lately = self.told.is_some_and(|(last, at)| last == kind && at.elapsed() < TELL_AGAIN);
        let tell = !known && !lately;
        if tell {
            self.told = Some((kind, now));
        }
        self.trouble = Some(Trouble { why: why.clone(), since, told: known || tell });
        tell
    }

    /// Records a success. Answers how long the errors lasted, if their end must be logged.
    fn works(&mut self) -> Option<Duration> {
        let over = self.trouble.take()?;
        over.told.then(|| over.since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn trouble_is_told_once_when_it_begins_and_once_when_it_ends() {
        let mut side = Side::default();
        assert_eq!(side.works(), None, "no error came before");
        assert!(side.fails(&StoreError::Full));
        for _ in 0..1000 {
            tokio::time::advance(Duration::from_secs(60)).await;
            assert!(!side.fails(&StoreError::Full));
        }
        assert!(side.fails(&StoreError::ReadOnly), "an error of another kind");
        assert_eq!(side.works(), Some(Duration::from_secs(60_000)));
        assert_eq!(side.works(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_that_comes_and_goes_is_told_now_and_then() {
        let (mut side, mut begun, mut ended) = (Side::default(), 0, 0);
        for _ in 0..3600 {
            begun += usize::from(side.fails(&StoreError::Full));
            ended += usize::from(side.works().is_some());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!((begun, ended), (6, 6));
        assert!(side.fails(&StoreError::Full));
        side.works();
        assert!(!side.fails(&StoreError::Full), "logged a moment ago");
        tokio::time::advance(TELL_AGAIN).await;
        assert!(side.fails(&StoreError::Full), "logged again, because it lasts");
    }

    #[tokio::test(start_paused = true)]
    async fn one_persons_record_is_no_trouble_of_the_store() {
        let person = crate::domain::person::PersonId::parse("ada").unwrap();
        let condition = Condition::of(PathBuf::from("store"));
        condition.not_written(&StoreError::Unreadable(person));
        condition.not_written(&StoreError::Closed);
        assert_eq!(condition.writable(), Ok(()));
        condition.not_written(&StoreError::Full);
        assert_eq!(condition.writable(), Err(StoreError::Full));
        condition.written();
        assert_eq!(condition.writable(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_proof_is_asked_of_one_and_only_when_the_last_is_old() {
        let condition = Condition::of(PathBuf::from("store"));
        let asked = || [condition.wants_proof(), condition.wants_proof()];
        assert_eq!(asked(), [true, false], "no write came before");
        condition.written();
        assert_eq!(asked(), [false, false]);
        tokio::time::advance(GOOD_FOR).await;
        assert_eq!(asked(), [true, false]);
        condition.not_written(&StoreError::Full);
        assert_eq!(asked(), [false, false], "a write a moment ago is recent enough");
        tokio::time::advance(TRY_AGAIN).await;
        assert_eq!(asked(), [true, false]);
    }
}
