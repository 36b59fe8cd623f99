//! How fast refreshes start while tokens are dead or within their survival margin, for instance after an outage.
//!
//! The pace begins at the configured rate. It grows by half of that rate for each second of clean answers, up to a limit. If Webex
//! answers 429, it is halved. If Webex becomes slower, or many calls fail, a quarter is taken off. It is never below the configured
//! rate, and returns to it when no such token waits any more.
//!
//! Times are read from the monotonic clock, since the start.

use std::time::Duration;

/// Minimum number of answers in a step. Fewer do not show whether Webex keeps up.
const MIN_ANSWERS_PER_STEP: usize = 8;

/// Maximum number of answers of a step whose times are kept: enough for a median.
const MAX_TIMES: usize = 256;

/// Without an answer about an urgent token for this long, the pace returns to the configured rate.
const LULL: Duration = Duration::from_secs(30);

/// No growth for this long after a 429. If another one comes within this time, no growth for as long as Webex asks to wait: one
/// alone may concern its person only.
const HOLD_AFTER_429: Duration = Duration::from_secs(30);
const MAX_HOLD: Duration = Duration::from_secs(600);

/// No growth for this long after Webex became slow.
const HOLD_AFTER_SLOWNESS: Duration = Duration::from_secs(10);

/// Answers to calls that began before a fallback say nothing about the pace after it.
const REACTION: Duration = Duration::from_secs(1);

/// For this long the pace stays below three quarters of the one at which Webex answered 429.
const CEILING_TIME: Duration = Duration::from_secs(600);

/// Webex is slow if a call takes more than twice the usual time, and this much longer. Differences of a few milliseconds are noise.
const NOISE: Duration = Duration::from_millis(50);

/// What an answer of Webex says about the pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaceEvidence {
    /// Webex has answered properly after this time.
    Clean(Duration),
    /// The answer concerns only the person.
    Personal,
    /// 429, and how long Webex asks to wait.
    Limited(Option<Duration>),
    /// There was no proper answer.
    Failed,
}

/// The pace of refreshes while urgent tokens wait.
#[derive(Clone, Debug)]
pub struct CatchUp {
    /// The configured rate.
    base: f64,
    max_per_second: f64,
    pace: f64,
    /// The highest pace until this time.
    ceiling: Option<(f64, Duration)>,
    hold_until: Duration,
    fell_at: Option<Duration>,
    /// The last 429.
    limited_at: Option<Duration>,
    /// The last answer about an urgent token.
    urgent_at: Option<Duration>,
    /// The usual time of a call.
    usual: Option<Duration>,
    step: Step,
}

/// The answers since the pace last changed or stayed.
#[derive(Clone, Debug, Default)]
struct Step {
    begun: Duration,
    times: Vec<Duration>,
    answers: usize,
    failed: usize,
}

impl CatchUp {
    /// Begins at `base` refreshes a second, which may grow to `max_per_second`. If that is not above `base`, the pace never changes.
    #[must_use]
    pub fn new(base: f64, max_per_second: f64) -> Self {
        Self {
            base,
            max_per_second: max_per_second.max(base),
            pace: base,
            ceiling: None,
            hold_until: Duration::ZERO,
            fell_at: None,
            limited_at: None,
            urgent_at: None,
            usual: None,
            step: Step::default(),
        }
    }

    /// Whether the pace may grow at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.base > 0.0 && self.max_per_second > self.base
    }

    /// Maximum refreshes per second.
    #[must_use]
    pub fn max_per_second(&self) -> f64 {
        self.max_per_second
    }

    /// The refreshes a second at present, at least the configured rate.
    pub fn pace(&mut self, now: Duration) -> f64 {
        if self.urgent_at.is_none_or(|at| now.saturating_sub(at) > LULL) {
            self.return_to_base(now);
        }
        self.pace
    }

    /// Returns to the configured rate, because refreshes pause or nothing urgent waits.
    pub fn return_to_base(&mut self, now: Duration) {
        self.pace = self.base;
        self.urgent_at = None;
        self.begin_step(now);
    }

    /// Takes an answer. `urgent`: the token was dead or within its survival margin.
    pub fn answered(&mut self, evidence: PaceEvidence, urgent: bool, now: Duration) {
        if !self.is_on() {
            return;
        }
        if urgent {
            self.urgent_at = Some(now);
        }
        self.step.answers += 1;
        match evidence {
            PaceEvidence::Clean(time) if self.step.times.len() < MAX_TIMES => self.step.times.push(time),
            PaceEvidence::Clean(_) | PaceEvidence::Personal => {}
            PaceEvidence::Failed => self.step.failed += 1,
            PaceEvidence::Limited(wait) => return self.limited(wait, now),
        }
        if self.step.answers >= self.step_size() {
            self.end_step(now);
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; never negative")]
    fn step_size(&self) -> usize {
        (self.pace.ceil() as usize).max(MIN_ANSWERS_PER_STEP)
    }

    fn begin_step(&mut self, now: Duration) {
        self.step = Step { begun: now, ..Step::default() };
    }

    fn limited(&mut self, wait: Option<Duration>, now: Duration) {
        let repeated = self.limited_at.is_some_and(|at| now.saturating_sub(at) <= HOLD_AFTER_429);
        self.limited_at = Some(now);
        let hold = wait.filter(|_| repeated).unwrap_or_default().clamp(HOLD_AFTER_429, MAX_HOLD);
        self.hold_until = self.hold_until.max(now + hold);
        if self.pace > self.base && !self.fell_recently(now) {
            let ceiling = (self.pace * 0.75).max(self.base);
            self.ceiling = Some((ceiling, now + CEILING_TIME));
        }
        self.fall(0.5, now);
    }

    fn fell_recently(&self, now: Duration) -> bool {
        let reaction = REACTION.max(self.usual.unwrap_or_default() * 2);
        self.fell_at.is_some_and(|at| now.saturating_sub(at) < reaction)
    }

    fn fall(&mut self, factor: f64, now: Duration) {
        if !self.fell_recently(now) {
            self.pace = (self.pace * factor).max(self.base);
            self.fell_at = Some(now);
        }
        self.begin_step(now);
    }

    /// As many answers have come as start in a second, or a few at a low pace.
    fn end_step(&mut self, now: Duration) {
        let step = std::mem::take(&mut self.step);
        let median = median(step.times);
        let slow = median.zip(self.usual).is_some_and(|(median, usual)| median > usual * 2 + NOISE);
        self.learn(median);
        if slow || step.failed * 10 > step.answers {
            self.hold_until = self.hold_until.max(now + HOLD_AFTER_SLOWNESS);
            return self.fall(0.75, now);
        }
        let took = now.saturating_sub(step.begun);
        // Otherwise something else than the pace is the limit, and a higher pace would only be a burst later.
        let paced = took <= seconds(2.0 * float(step.answers) / self.pace);
        if paced && now >= self.hold_until && self.urgent_at.is_some() {
            self.pace = (self.pace + self.base / 2.0).min(self.limit(now));
        }
        self.begin_step(now);
    }

    fn limit(&self, now: Duration) -> f64 {
        let ceiling = self.ceiling.filter(|(_, until)| now < *until).map(|(ceiling, _)| ceiling);
        ceiling.map_or(self.max_per_second, |ceiling| ceiling.min(self.max_per_second)).max(self.pace)
    }

    /// The usual time is the lowest median. It rises slowly, in case Webex has become slower for good.
    fn learn(&mut self, median: Option<Duration>) {
        let Some(median) = median else { return };
        let usual = self.usual.map_or(median, |usual| median.min(usual + usual / 500));
        self.usual = Some(usual);
    }
}

fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "numbers of answers are far below 2^52")]
fn float(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FAST: PaceEvidence = PaceEvidence::Clean(Duration::from_millis(50));

    /// Refreshes that start as fast as the pace allows.
    struct Load {
        catch_up: CatchUp,
        now: Duration,
    }

    impl Load {
        fn new(base: f64, most: f64) -> Self {
            Self { catch_up: CatchUp::new(base, most), now: Duration::ZERO }
        }

        fn answer(&mut self, evidence: PaceEvidence, urgent: bool) -> f64 {
            self.now += seconds(1.0 / self.catch_up.pace(self.now));
            self.catch_up.answered(evidence, urgent, self.now);
            self.catch_up.pace(self.now)
        }

        fn run(&mut self, time: Duration, evidence: PaceEvidence) -> f64 {
            let end = self.now + time;
            let mut pace = self.catch_up.pace(self.now);
            while self.now < end {
                pace = self.answer(evidence, true);
            }
            pace
        }
    }

    fn close(pace: f64, expected: f64) -> bool {
        (pace - expected).abs() < 0.01
    }

    #[test]
    fn the_pace_grows_by_half_of_the_configured_rate_each_second_up_to_the_limit() {
        let mut load = Load::new(20.0, 200.0);
        let after = load.run(Duration::from_millis(5500), FAST);
        assert!(close(after, 70.0), "{after}");
        assert!(close(load.run(Duration::from_secs(60), FAST), 200.0));
        let mut off = Load::new(20.0, 0.0);
        assert!(close(off.run(Duration::from_secs(60), FAST), 20.0), "0 turns the growth off");
    }

    #[test]
    fn the_pace_is_the_configured_rate_unless_urgent_tokens_wait() {
        let mut load = Load::new(20.0, 200.0);
        for _ in 0..1000 {
            assert!(close(load.answer(FAST, false), 20.0));
        }
        assert!(load.run(Duration::from_secs(10), FAST) > 100.0);
        load.now += LULL + Duration::from_millis(1);
        assert!(close(load.catch_up.pace(load.now), 20.0));
    }

    #[test]
    fn a_429_halves_the_pace_once_and_limits_it_for_ten_minutes() {
        let mut load = Load::new(20.0, 200.0);
        load.run(Duration::from_secs(60), FAST);
        for _ in 0..20 {
            assert!(close(load.answer(PaceEvidence::Limited(None), true), 100.0), "of one moment");
        }
        assert!(close(load.run(Duration::from_secs(29), FAST), 100.0));
        assert!(close(load.run(Duration::from_secs(500), FAST), 150.0), "three quarters of 200");
        assert!(close(load.run(Duration::from_secs(100), FAST), 200.0));
        for _ in 0..2 {
            load.answer(PaceEvidence::Limited(Some(Duration::from_secs(3000))), true);
        }
        assert!(close(load.run(Duration::from_secs(599), FAST), 100.0), "no growth while Webex asks to wait");
    }

    #[test]
    fn a_wait_that_webex_requests_for_one_person_stops_the_growth_for_half_a_minute() {
        let mut load = Load::new(20.0, 200.0);
        load.answer(PaceEvidence::Limited(Some(Duration::from_secs(21_600))), true);
        assert!(close(load.run(Duration::from_secs(29), FAST), 20.0));
        assert!(close(load.run(Duration::from_secs(31), FAST), 200.0));
    }

    #[test]
    fn slowness_and_failures_of_many_take_a_quarter_off() {
        let slow = PaceEvidence::Clean(Duration::from_millis(200));
        for trouble in [slow, PaceEvidence::Failed] {
            let mut load = Load::new(20.0, 200.0);
            load.run(Duration::from_secs(60), FAST);
            for _ in 0..200 {
                load.answer(trouble, true);
            }
            assert!(close(load.catch_up.pace(load.now), 150.0), "{trouble:?}");
            assert!(
                close(load.run(Duration::from_secs(60), trouble), 20.0),
                "never below the configured rate"
            );
        }
        let mut load = Load::new(20.0, 200.0);
        load.run(Duration::from_secs(60), FAST);
        for number in 0..10_000 {
            let hangs = PaceEvidence::Clean(Duration::from_secs(40));
            load.answer(if number % 10 == 0 { PaceEvidence::Failed } else { FAST }, true);
            load.answer(if number % 10 == 5 { hangs } else { FAST }, true);
        }
        assert!(close(load.catch_up.pace(load.now), 200.0), "failures of a few do not count");
    }

    #[test]
    fn the_pace_does_not_grow_if_something_else_is_the_limit() {
        let mut catch_up = CatchUp::new(20.0, 200.0);
        for answer in 0..1000 {
            catch_up.answered(FAST, true, Duration::from_millis(120) * answer);
        }
        assert!(close(catch_up.pace(Duration::from_secs(120)), 20.0));
    }

    fn evidence() -> impl Strategy<Value = PaceEvidence> {
        prop_oneof![
            8 => (1_u64..5000).prop_map(|ms| PaceEvidence::Clean(Duration::from_millis(ms))),
            1 => Just(PaceEvidence::Personal),
            1 => proptest::option::of(0_u64..100_000)
                .prop_map(|wait| PaceEvidence::Limited(wait.map(Duration::from_secs))),
            1 => Just(PaceEvidence::Failed),
        ]
    }

    proptest! {
        #[test]
        fn the_pace_stays_between_its_bounds(
            base in 0.01_f64..1000.0,
            most in 0.0_f64..1000.0,
            answers in proptest::collection::vec((evidence(), any::<bool>(), 0_u64..5000), 0..500),
        ) {
            let (mut catch_up, mut now) = (CatchUp::new(base, most), Duration::ZERO);
            for (evidence, urgent, passed) in answers {
                now += Duration::from_millis(passed);
                let before = catch_up.pace(now);
                catch_up.answered(evidence, urgent, now);
                let after = catch_up.pace(now);
                prop_assert!(after >= base && after <= most.max(base));
                prop_assert!(after >= before * 0.5 - 0.001, "one answer costs half at most");
                prop_assert!(after <= before + base, "and grows it by one step at most");
                if matches!(evidence, PaceEvidence::Limited(_)) {
                    prop_assert!(after <= before);
                }
            }
        }
    }
}
