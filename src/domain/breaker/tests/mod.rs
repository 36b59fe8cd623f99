//! When refreshes pause, for how long, and which refusals are final.

mod clock;
mod on_demand;
mod probes;
mod refusals;
mod waits;

use proptest::prelude::*;

use std::time::Duration;

use crate::domain::breaker::Admission;
use crate::domain::breaker::Breaker;
use crate::domain::breaker::Cause;
use crate::domain::breaker::DueSummary;
use crate::domain::breaker::Pause;
use crate::domain::breaker::Role;
use crate::domain::breaker::SentRefresh;
use crate::domain::breaker::Transition;
use crate::domain::breaker::decisions::ON_DEMAND_PAUSE;
use crate::domain::breaker::outage::HEALTHY_PAUSE;
use crate::domain::breaker::outage::MAX_PAUSE;
use crate::domain::breaker::outage::MIN_PAUSE;
use crate::domain::breaker::outage::PROBE_TIMEOUT;
use crate::domain::person::PersonId;
use crate::domain::schedule::Policy;
use crate::domain::schedule::RETRY_AFTER_CAP;
use crate::domain::schedule::TokenTimes;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;
use crate::domain::verdict::TokenSet;
use crate::domain::verdict::Verdict;

pub(super) const NOW: UnixTime = UnixTime(1_795_000_000_000);
const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

fn person(n: usize) -> PersonId {
    PersonId::parse(&format!("person-{n}")).unwrap()
}

fn success() -> Verdict {
    Verdict::Renewed(TokenSet {
        access_token: Secret::new("access".to_owned()),
        refresh_token: None,
        expires_in: HOUR,
        refresh_token_expires_in: None,
        token_type: None,
        scope: None,
    })
}

fn unauthorized() -> Verdict {
    Verdict::ClientRefused("HTTP 401".to_owned())
}

fn transient() -> Verdict {
    Verdict::Transient("HTTP 500".to_owned())
}

fn busy() -> Verdict {
    Verdict::Busy("HTTP 429".to_owned())
}

fn locked() -> Verdict {
    Verdict::Locked("HTTP 423".to_owned())
}

fn refusal() -> Verdict {
    Verdict::ConsentNeeded("HTTP 400".to_owned())
}

/// A refresh of a grant that was healthy before, sent while the breaker was closed.
fn sent(n: usize) -> SentRefresh {
    SentRefresh {
        person: person(n),
        role: Role::Ordinary,
        on_demand: false,
        previous: Outcome::Renewed,
        previous_at: NOW - HOUR,
        refused_since: None,
        ended: false,
        token_dead: false,
        confirm_after: 10 * MINUTE,
        only_person: false,
    }
}

fn probe(n: usize) -> SentRefresh {
    SentRefresh { role: Role::Probe, ..sent(n) }
}

fn record(breaker: &mut Breaker, sent: &SentRefresh, verdict: Verdict, now: UnixTime) -> Option<Transition> {
    breaker.record(verdict, sent, None, now).1
}

/// Records a request to wait for this person.
fn record_wait(
    breaker: &mut Breaker,
    sent: &SentRefresh,
    wait: Duration,
    now: UnixTime,
) -> Option<Transition> {
    breaker.record(busy(), sent, Some(wait), now).1
}

fn opened(cause: Cause, until: UnixTime) -> Option<Transition> {
    Some(Transition::Opened { until, cause, again: false })
}

/// A failed grant is due, whose token lives long.
fn waiting() -> DueSummary {
    DueSummary { due: true, healthy: false, next_to_die: Some((person(0), dates(NOW, 300 * HOUR))) }
}

/// A token of 12 hours that has `left` to live at `now`.
fn dates(now: UnixTime, left: Duration) -> TokenTimes {
    let expires_at = now + left;
    let renewed_at = expires_at - (12 * HOUR).max(left);
    TokenTimes { renewed_at, answered_at: renewed_at, expires_at }
}

/// A failed grant is due, whose token of 12 hours has this much life left.
fn dying(now: UnixTime, left: Duration) -> DueSummary {
    DueSummary { next_to_die: Some((person(0), dates(now, left))), ..waiting() }
}

const PROBE: Admission = Admission::Probe { next_to_die: false };
const URGENT_PROBE: Admission = Admission::Probe { next_to_die: true };

/// A breaker that two refusals of the client opened at [`NOW`]. No probe has been sent.
fn suspected() -> Breaker {
    let mut breaker = Breaker::default();
    assert_eq!(
        record(&mut breaker, &sent(1), unauthorized(), NOW),
        None,
        "the first 401 concerns the person only"
    );
    assert_eq!(record(&mut breaker, &sent(2), unauthorized(), NOW), None, "nothing is logged before a probe");
    assert!(breaker.is_open());
    breaker
}

/// As [`suspected`], but confirmed by a probe at [`NOW`] plus a second.
fn refused() -> Breaker {
    let mut breaker = suspected();
    let later = NOW + SECOND;
    assert_eq!(breaker.admit(&waiting(), later), PROBE);
    let turn = record(&mut breaker, &probe(3), unauthorized(), later);
    assert_eq!(turn, opened(Cause::ClientRefused, later + 5 * SECOND));
    breaker
}

/// A breaker with a request to wait that was confirmed at [`NOW`].
fn asked_to_wait(wait: Duration) -> Breaker {
    let mut breaker = Breaker::default();
    record_wait(&mut breaker, &sent(1), wait, NOW);
    record_wait(&mut breaker, &sent(2), wait, NOW);
    let at = NOW + SECOND;
    assert_eq!(breaker.admit(&waiting(), at), PROBE);
    assert!(record_wait(&mut breaker, &probe(3), wait - SECOND, at).is_some());
    breaker
}

#[test]
fn a_new_breaker_lets_every_refresh_through() {
    let mut breaker = Breaker::default();
    assert_eq!(breaker.admit(&waiting(), NOW), Admission::Go);
    assert_eq!((breaker.trouble(), breaker.is_open()), (None, false));
    assert_eq!(record(&mut breaker, &sent(1), success(), NOW), None);
}

#[test]
fn one_person_opens_nothing_whatever_webex_answers_and_however_often() {
    for verdict in [unauthorized(), busy(), locked(), transient(), refusal()] {
        let mut breaker = Breaker::default();
        for hours in 0..100 {
            let now = NOW + hours * HOUR;
            record_wait_or(&mut breaker, &sent(1), &verdict, now);
            assert_eq!(breaker.admit(&waiting(), now), Admission::Go, "{verdict:?}");
        }
    }
}

fn record_wait_or(breaker: &mut Breaker, sent: &SentRefresh, verdict: &Verdict, now: UnixTime) {
    breaker.record(verdict.clone(), sent, Some(6 * HOUR), now);
}

#[test]
fn two_persons_with_no_success_between_them_are_evidence_for_a_401_or_429_and_never_for_a_423() {
    for (verdict, opens) in [(unauthorized(), true), (busy(), true), (locked(), false), (transient(), false)]
    {
        let mut breaker = Breaker::default();
        for n in [1, 2] {
            breaker.record(verdict.clone(), &sent(n), Some(HOUR), NOW);
        }
        assert_eq!(breaker.is_open(), opens, "{verdict:?}");
        let mut mixed = Breaker::default();
        for n in 0..100 {
            let verdict = if n % 2 == 0 { verdict.clone() } else { success() };
            mixed.record(verdict, &sent(n), Some(HOUR), NOW);
            assert!(!mixed.is_open(), "a success came between");
        }
    }
}

#[test]
fn five_persons_with_transient_failures_are_evidence() {
    let mut breaker = Breaker::default();
    for n in 1..=5 {
        assert!(!breaker.is_open());
        record(&mut breaker, &sent(n), transient(), NOW);
    }
    assert!(breaker.is_open());
}

#[test]
fn a_failure_that_is_not_new_for_its_person_is_no_evidence() {
    let known = [
        (unauthorized(), Outcome::ClientRefused),
        (busy(), Outcome::Busy),
        (transient(), Outcome::Transient),
    ];
    for (verdict, previous) in known {
        let mut breaker = Breaker::default();
        for n in 0..100 {
            breaker.record(verdict.clone(), &SentRefresh { previous, ..sent(n) }, Some(HOUR), NOW);
            assert!(!breaker.is_open(), "{verdict:?}");
        }
    }
}

#[test]
fn the_only_person_there_is_is_evidence_enough() {
    let only = |n| SentRefresh { only_person: true, ..sent(n) };
    let mut breaker = Breaker::default();
    let turn = record(&mut breaker, &only(1), unauthorized(), NOW);
    assert_eq!(turn, opened(Cause::ClientRefused, NOW + SECOND));
    let mut breaker = Breaker::default();
    let turn = record_wait(&mut breaker, &only(1), HOUR, NOW);
    assert_eq!(turn, opened(Cause::Busy, NOW + HOUR));
}

#[test]
fn stragglers_change_nothing() {
    let mut breaker = refused();
    let before = breaker.to_text();
    for n in 10..40 {
        assert_eq!(record(&mut breaker, &sent(n), unauthorized(), NOW + 2 * SECOND), None);
        assert_eq!(record(&mut breaker, &sent(n), transient(), NOW + 2 * SECOND), None);
    }
    assert_eq!(breaker.to_text(), before);
}

#[test]
fn a_probe_without_an_answer_is_not_waited_for_and_its_answer_still_counts() {
    let mut breaker = refused();
    let out = NOW + MINUTE;
    assert_eq!(breaker.admit(&waiting(), out), PROBE);
    assert_eq!(breaker.admit(&waiting(), out), Admission::Hold(out + PROBE_TIMEOUT));
    assert_eq!(breaker.admit(&waiting(), out + PROBE_TIMEOUT), PROBE);
    assert_eq!(record(&mut breaker, &probe(3), success(), out + MINUTE), Some(Transition::Closed));
}

#[test]
fn a_probe_that_was_not_sent_leaves_the_next_one_free() {
    let mut breaker = refused();
    breaker.admit(&waiting(), NOW + MINUTE);
    breaker.cancel_probe();
    assert_eq!(breaker.trouble(), Some(Cause::ClientRefused));
    assert_eq!(breaker.admit(&waiting(), NOW + MINUTE), PROBE);
}

#[test]
fn a_claim_of_before_is_not_sent_while_the_breaker_is_open() {
    let mut breaker = Breaker::default();
    assert!(breaker.may_send(Role::Ordinary) && breaker.may_send(Role::Probe));
    breaker = refused();
    assert!(!breaker.may_send(Role::Ordinary) && !breaker.may_send(Role::Probe));
    breaker.admit(&waiting(), NOW + MINUTE);
    assert!(breaker.may_send(Role::Probe) && breaker.may_send(Role::Doubtful));
}

#[test]
fn what_is_shown_of_a_trouble_has_its_beginning_whatever_it_turns_into() {
    let mut breaker = refused();
    let later = NOW + MINUTE;
    breaker.admit(&waiting(), later);
    let until = later + PROBE_TIMEOUT;
    let shown = Pause { cause: Cause::ClientRefused, since: NOW, until, probing: true };
    assert_eq!(breaker.pause(), Some(shown));
    let turn = record_wait(&mut breaker, &probe(4), 6 * HOUR, later);
    assert!(
        matches!(turn, Some(Transition::Opened { cause: Cause::ClientRefused, again: true, .. })),
        "{turn:?}"
    );
    assert!(
        breaker.next_probe(&waiting(), later).unwrap() < later + MINUTE,
        "a wait of one person delays no other person"
    );
    breaker.admit(&waiting(), later);
    let turn = record_wait(&mut breaker, &probe(5), HOUR, later);
    assert_eq!(
        turn,
        opened(Cause::Busy, later + HOUR),
        "another cause is logged when a second person meets it"
    );
    let shown = Pause { cause: Cause::Busy, since: NOW, until: later + HOUR, probing: false };
    assert_eq!(breaker.pause(), Some(shown));
}

#[test]
fn a_cause_explains_what_repeats_it_and_nothing_else() {
    use Outcome::Busy;
    use Outcome::ClientRefused;
    use Outcome::ConsentNeeded;
    use Outcome::Refused;
    use Outcome::Transient;
    let all = [ClientRefused, Busy, Transient, Refused, ConsentNeeded];
    let causes = [Cause::ClientRefused, Cause::Busy, Cause::ManyFailing, Cause::ManyRefused];
    for (nth, cause) in causes.into_iter().enumerate() {
        let explained = all.map(|outcome| cause.explains(outcome));
        let expected = [0, 1, 2, 3, 4].map(|outcome| outcome == nth);
        assert_eq!(explained, expected, "{cause:?}");
        assert_eq!(Cause::parse(cause.as_str()), Some(cause));
    }
}

#[test]
fn causes_tell_the_operator_what_to_do() {
    let told = Cause::ClientRefused.to_string();
    assert!(told.contains("MY_APP_CLIENT_ID") && told.contains("MY_APP_SECRET_ID"));
    assert!(Cause::ManyRefused.to_string().contains("WEBEX_API_BASE_URL"));
}

#[test]
fn a_refused_client_of_the_last_run_is_tried_once() {
    let mut left = Breaker::from_text(&refused().to_text(), NOW).unwrap();
    assert!(left.is_untried());
    assert_eq!(left.admit(&DueSummary::default(), NOW), PROBE);
    record(&mut left, &probe(1), unauthorized(), NOW);
    assert!(!left.is_untried(), "the present one is known now");
}

#[test]
fn tokens_issued_after_the_last_run_was_refused_close_its_breaker_without_a_probe() {
    let mut left = Breaker::from_text(&refused().to_text(), NOW + HOUR).unwrap();
    assert_eq!(left.accept_client(NOW - HOUR), None, "issued before");
    assert_eq!(left.accept_client(NOW + MINUTE), Some(Transition::Closed));
    assert!(!left.is_open() && !left.is_untried());
    let mut present = refused();
    assert_eq!(present.accept_client(NOW + HOUR), None, "in this run a probe decides");
}

proptest! {
    #[test]
    fn whatever_happens_a_probe_is_never_further_away_than_a_wait_and_every_turn_is_written(
        steps in prop::collection::vec((0..12_usize, 0..6_u8, 0..3_u8, prop::option::of(0..40_000_u64), 0..900_u64), 0..60)
    ) {
        let (mut breaker, mut now) = (Breaker::default(), NOW);
        for (n, kind, role, wait, later) in steps {
            now = now + Duration::from_secs(later);
            let held = breaker.admit(&waiting(), now);
            if let Admission::Hold(until) = held {
                let most = if breaker.trouble() == Some(Cause::Busy) { RETRY_AFTER_CAP } else { MAX_PAUSE };
                prop_assert!(until > now && until <= now + most);
            }
            let before = breaker.to_text();
            let verdict = [success(), unauthorized(), busy(), locked(), transient(), refusal()][usize::from(kind)].clone();
            let role = [Role::Ordinary, Role::Probe, Role::Doubtful][usize::from(role)];
            let sent = SentRefresh { role, ..sent(n) };
            let (_, turn) = breaker.record(verdict, &sent, wait.map(Duration::from_secs), now);
            prop_assert!(turn.is_none() || breaker.to_text() != before);
            prop_assert_eq!(turn.is_none() || turn == Some(Transition::Closed), turn.is_none() || breaker.pause().is_none());
            let reread = Breaker::from_text(&breaker.to_text(), now).unwrap();
            prop_assert_eq!(reread.trouble(), breaker.trouble());
        }
    }
}
