use super::*;
use crate::domain::grant::Tokens;
use crate::domain::person::PersonId;
use crate::domain::refresh_token_end::RefreshTokenEnd;
use crate::domain::secret::Secret;
use crate::domain::verdict::TokenSet;
use crate::domain::verdict::Verdict;

const NOW: UnixTime = UnixTime(1_795_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);

fn policy() -> Policy {
    Policy {
        sleep: Duration::from_secs(3600),
        max_age: DAY,
        noop_window: DAY,
        floor: Duration::from_secs(300),
    }
}

fn issued(number: u64, consent_days: u32) -> TokenSet {
    TokenSet {
        access_token: Secret::new(format!("access {number}")),
        refresh_token: Some(Secret::new("refresh".to_owned())),
        expires_in: 14 * DAY,
        refresh_token_expires_in: Some(DAY * consent_days),
        token_type: None,
        scope: None,
    }
}

fn consented() -> Grant {
    let tokens = Tokens::first(issued(0, 90), NOW).unwrap();
    Grant::consented(Person::known_by(PersonId::parse("ada").unwrap()), tokens, NOW, &policy(), NOW)
}

fn refreshed(grant: &Grant, verdict: Verdict, at: UnixTime) -> Grant {
    after_refresh(grant, grant.after(verdict, None, at, &policy(), at))
}

fn words(grant: &Grant) -> Vec<&'static str> {
    grant.outbox_entries.notices.iter().map(|notice| notice.kind.as_str()).collect()
}

#[test]
fn a_refused_grant_is_told_once_and_so_is_its_return() {
    let refused = || Verdict::ConsentNeeded("no such grant".to_owned());
    let dead = refreshed(&consented(), refused(), NOW + DAY);
    assert_eq!(words(&dead), ["consent.needed"]);
    assert_eq!(dead.outbox_entries.notices[0].data["reason"], "no such grant");
    let again = refreshed(&dead, refused(), NOW + 30 * DAY);
    assert!(again.outbox_entries.notices.is_empty());
    let back = refreshed(&again, Verdict::Renewed(issued(1, 90)), NOW + 60 * DAY);
    assert_eq!(words(&back), ["consent.granted"]);
    let dead_again = refreshed(&back, refused(), NOW + 61 * DAY);
    assert_ne!(dead_again.outbox_entries.notices[0].id, dead.outbox_entries.notices[0].id, "another event");
}

#[test]
fn a_token_in_its_survival_margin_is_at_risk_until_it_is_renewed_or_consented_again() {
    let fails = || Verdict::Transient("503".to_owned());
    let early = refreshed(&consented(), fails(), NOW + 10 * DAY);
    assert_eq!((words(&early), early.outbox_entries.history.len()), (vec![], 1));
    let late = NOW + 13 * DAY + Duration::from_secs(60);
    let at_risk = refreshed(&early, fails(), late);
    assert_eq!(words(&at_risk), ["token.at_risk"]);
    let still = refreshed(&at_risk, fails(), late + Duration::from_secs(60));
    assert_eq!((words(&still), still.outbox_entries.history.len()), (vec![], 0));
    let back = refreshed(&still, Verdict::Renewed(issued(1, 90)), late + Duration::from_secs(120));
    assert_eq!(words(&back), ["token.recovered"]);
    assert!(!back.notice_state.at_risk);
    let replaced = ReplacedGrant { at_risk: true, expires_at: still.tokens.expires_at };
    let outbox_entries = after_consent(&consented(), Some(replaced), Origin::Consent);
    let kinds: Vec<NoticeType> = outbox_entries.notices.iter().map(|notice| notice.kind).collect();
    assert_eq!(kinds, [NoticeType::ConsentGranted, NoticeType::TokenRecovered]);
    assert_eq!(
        outbox_entries.notices[1].id, back.outbox_entries.notices[0].id,
        "a refresh and a consent end the same risk"
    );
}

#[test]
fn an_answer_with_the_same_token_does_not_end_its_risk() {
    let late = NOW + 13 * DAY + Duration::from_secs(60);
    let at_risk = refreshed(&consented(), Verdict::Transient("503".to_owned()), late);
    assert_eq!(words(&at_risk), ["token.at_risk"]);
    let same = TokenSet { expires_in: DAY - Duration::from_secs(120), ..issued(0, 90) };
    let unchanged = refreshed(&at_risk, Verdict::Unchanged(same), late + Duration::from_secs(60));
    assert_eq!((words(&unchanged), unchanged.notice_state.at_risk), (vec![], true));
    let renewed = refreshed(&unchanged, Verdict::Renewed(issued(1, 90)), late + Duration::from_secs(120));
    assert_eq!(words(&renewed), ["token.recovered"]);
}

/// Daily refreshes, for both ways in which Webex may date refresh tokens (webex-api, open question 3).
#[test]
fn a_consent_that_counts_down_is_told_five_times_and_one_that_is_renewed_never() {
    for (counts_down, told) in [(true, vec![30, 14, 7, 3, 1]), (false, vec![])] {
        let (mut grant, mut steps) = (consented(), Vec::new());
        for day in 1..=(if counts_down { 89 } else { 730 }) {
            let now = NOW + DAY * day + Duration::from_secs(u64::from(day) * 37);
            let left = if counts_down { 90 - day } else { 90 };
            grant = refreshed(&grant, Verdict::Renewed(issued(u64::from(day), left)), now);
            assert!(grant.outbox_entries.notices.is_empty(), "{:?}", grant.outbox_entries.notices);
            if let Some((state, outbox_entries)) = expiring(&grant, now + Duration::from_secs(600)) {
                grant.notice_state = state;
                steps.push(outbox_entries.notices[0].data["days"].as_u64().unwrap());
            }
        }
        assert_eq!(steps, told);
        assert_eq!(grant.notice_state.refresh_token_end == RefreshTokenEnd::Stays, counts_down);
    }
}

#[test]
fn an_end_that_moves_after_all_is_told_as_extended_and_may_come_near_again() {
    let mut grant = consented();
    for day in 1..=80 {
        let now = NOW + DAY * day;
        grant = refreshed(&grant, Verdict::Renewed(issued(u64::from(day), 90 - day)), now);
        if let Some((state, _)) = expiring(&grant, now) {
            grant.notice_state = state;
        }
    }
    assert_eq!(grant.notice_state.last_expiring_step, Some(14));
    let moved = refreshed(&grant, Verdict::Renewed(issued(81, 90)), NOW + 81 * DAY);
    assert_eq!(words(&moved), ["consent.extended"]);
    assert_eq!(moved.notice_state.last_expiring_step, None);
}

#[test]
fn routine_refreshes_are_counted_and_changes_are_history() {
    let first = refreshed(&consented(), Verdict::Renewed(issued(1, 90)), NOW + DAY);
    assert_eq!((first.outbox_entries.history.len(), first.outbox_entries.outcome), (0, Some("renewed")));
    let failed = refreshed(&first, Verdict::Transient("no answer".to_owned()), NOW + 2 * DAY);
    let [entry] = failed.outbox_entries.history.as_slice() else {
        panic!("{:?}", failed.outbox_entries.history)
    };
    let change = "now: refreshes fail and are repeated; before: refreshes succeed; cause: no answer";
    assert_eq!((entry.what.as_str(), entry.detail.as_str()), ("refresh.transient", change));
    let back = refreshed(&failed, Verdict::Renewed(issued(2, 90)), NOW + 2 * DAY);
    assert_eq!(back.outbox_entries.history[0].what, "refresh.renewed");
    let change = "now: refreshes succeed; before: refreshes fail and are repeated";
    assert_eq!(back.outbox_entries.history[0].detail, change);
}

#[test]
fn a_breaker_that_opens_is_told_and_so_is_its_end() {
    let open = |until: i64| format!("open busy {} {} {} 3", NOW.0, NOW.0, NOW.0 + until);
    let paused = breaker_turned(Some("closed"), &open(60_000), NOW).unwrap();
    assert_eq!((paused.kind, paused.at), (NoticeType::AppPaused, NOW));
    assert_eq!(paused.data["cause"], "busy");
    assert_eq!(
        breaker_turned(Some(&open(60_000)), &open(120_000), NOW),
        None,
        "a longer pause for the same cause"
    );
    let resumed = breaker_turned(Some(&open(120_000)), "closed", NOW).unwrap();
    assert_eq!(resumed.kind, NoticeType::AppResumed);
    assert_eq!(breaker_turned(None, "closed", NOW), None);
}
