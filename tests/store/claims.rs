//! Contract: claims and commits.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::schedule::Schedule;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::Claim;
use webex_tokend::store::ClaimOrder;
use webex_tokend::store::ClaimRequest;
use webex_tokend::store::Committed;
use webex_tokend::store::Fence;
use webex_tokend::store::Lease;
use webex_tokend::store::Store;

use crate::store::fixtures::BEGINNING;
use crate::store::fixtures::LEASE;
use crate::store::fixtures::ask;
use crate::store::fixtures::at;
use crate::store::fixtures::claim;
use crate::store::fixtures::claim_names;
use crate::store::fixtures::claim_one;
use crate::store::fixtures::found;
use crate::store::fixtures::grant;
use crate::store::fixtures::keep;
use crate::store::fixtures::lease;
use crate::store::fixtures::living;
use crate::store::fixtures::person;
use crate::store::fixtures::renewed;
use crate::store::fixtures::save_many;
use crate::store::fixtures::unusual;

both_stores!(the_least_life_left_is_claimed_first_and_dead_tokens_last, async |store: Arc<dyn Store>| {
    let lives = [("joe", -20), ("ada", 300), ("eve", 100), ("max", -50), ("kim", 200), ("lea", 0)];
    keep(&*store, lives.map(|(name, seconds)| living(name, seconds))).await;
    let four = ClaimRequest { limit: 4, ..ask(0) };
    assert_eq!(claim_names(&*store, four.clone()).await, ["eve", "kim", "ada", "max"]);
    assert_eq!(claim_names(&*store, four.clone()).await, ["joe", "lea"]);
    assert_eq!(claim_names(&*store, four).await, [""; 0]);
});

both_stores!(equal_lives_are_claimed_in_order_of_arrival, async |store: Arc<dyn Store>| {
    keep(&*store, ["kim", "ada", "joe"].map(grant)).await;
    keep(&*store, [grant("kim")]).await;
    assert_eq!(claim_names(&*store, ask(0)).await, ["kim", "ada", "joe"]);
});

both_stores!(whether_a_token_lives_is_judged_at_each_claim, async |store: Arc<dyn Store>| {
    let next = async |now: i64| {
        let ask = ClaimRequest { due_by: at(20), limit: 1, lease: lease(now), ..ask(0) };
        claim_names(&*store, ask).await.concat()
    };
    let lives = [("lea", -5), ("kim", -1), ("eve", 35), ("joe", 37), ("ada", 60)];
    keep(&*store, lives.map(|(name, seconds)| living(name, seconds))).await;
    assert_eq!(next(90).await, "lea", "all are dead");
    assert_eq!(next(30).await, "eve", "after a clock step back three are live");
    assert_eq!(next(50).await, "ada", "one has expired since");
    assert_eq!([next(50).await, next(50).await, next(50).await], ["kim", "joe", ""]);
});

both_stores!(the_claim_order_holds_over_many_claims_with_changes_between, async |store: Arc<dyn Store>| {
    let lives = [("ada", 50), ("eve", 10), ("joe", 40), ("kim", 20), ("lea", 60)];
    keep(&*store, lives.map(|(name, seconds)| living(name, seconds))).await;
    let next = async || claim_names(&*store, ClaimRequest { limit: 1, ..ask(0) }).await.concat();
    assert_eq!(next().await, "eve");
    keep(&*store, [living("max", 15), living("joe", 17)]).await;
    assert_eq!([next().await, next().await], ["max", "joe"], "new ones, and ones that changed");
    store.forget(person("kim")).await.unwrap();
    assert_eq!(next().await, "ada", "forgotten persons are skipped");
    let claim = store.claim_one(person("lea"), lease(0)).await.unwrap().unwrap();
    assert_eq!(next().await, "");
    store.commit(claim.fence, claim.grant).await.unwrap();
    assert_eq!(next().await, "lea", "due again");
    let make_due: webex_tokend::store::GrantUpdate = Arc::new(|grant| {
        grant.next = Schedule::at(at(-1));
        true
    });
    keep(&*store, [renewed(&grant("pam"), 0)]).await;
    assert_eq!(next().await, "");
    store.update_batch(webex_tokend::store::BatchPosition::default(), 100, make_due).await.unwrap();
    assert_eq!(next().await, "pam", "updated ones");
});

both_stores!(a_probe_claims_the_grants_with_the_fewest_failures_first, async |store: Arc<dyn Store>| {
    // They have the most life left: without failures they would be first.
    let mut failing = living("ada", 990);
    failing.failures = 7;
    let mut failing_less = living("eve", 950);
    failing_less.failures = 1;
    keep(&*store, [failing_less, failing, living("joe", 900), living("kim", 800)]).await;
    let probe = ClaimRequest { order: ClaimOrder::Healthiest, limit: 3, ..ask(0) };
    assert_eq!(claim_names(&*store, probe).await, ["joe", "kim", "eve"], "the most life left first");
    assert_eq!(claim_names(&*store, ask(0)).await, ["ada"]);
});

both_stores!(each_claim_order_puts_its_own_living_grants_first, async |store: Arc<dyn Store>| {
    let failing = |name: &str, lives: i64, due: i64| {
        let mut grant = living(name, lives);
        (grant.failures, grant.next) = (3, Schedule::at(at(due)));
        grant
    };
    let mut ended = failing("max", 15, -9);
    (ended.failures, ended.status) = (0, GrantStatus::ConsentNeeded);
    let all = || {
        let healthy = [living("joe", 40), living("eve", 50), living("kim", -20)];
        let failing = [failing("ada", 10, -1), failing("lea", 60, -5), failing("pam", -10, -99)];
        healthy.into_iter().chain(failing).chain([ended.clone()])
    };
    let orders = [
        (ClaimOrder::LeastLife, "ada max joe eve lea kim pam"),
        (ClaimOrder::NoFailures, "joe eve ada max lea kim pam"),
        (ClaimOrder::LongestFailing, "max lea ada joe eve kim pam"),
    ];
    for (order, expected) in orders {
        keep(&*store, all()).await;
        let mut claimed = Vec::new();
        for limit in [1, 2, 1, 3] {
            claimed.extend(claim_names(&*store, ClaimRequest { limit, order, ..ask(0) }).await);
        }
        assert_eq!(claimed.join(" "), expected, "{order:?}");
    }
});

both_stores!(every_claim_order_judges_at_each_claim_whether_a_token_lives, async |store: Arc<dyn Store>| {
    for order in [ClaimOrder::LeastLife, ClaimOrder::NoFailures, ClaimOrder::LongestFailing] {
        let mut failing = [living("lea", 60), living("max", 20)];
        failing.iter_mut().for_each(|grant| grant.failures = 1);
        keep(&*store, [living("ada", 10), living("eve", 70), living("joe", 30)]).await;
        keep(&*store, failing).await;
        let next = async |now: i64| {
            let ask = ClaimRequest { due_by: at(0), limit: 1, lease: lease(now), order, ..ask(0) };
            claim_names(&*store, ask).await.concat()
        };
        let first = next(0).await;
        let expected = if order == ClaimOrder::LongestFailing { "max" } else { "ada" };
        assert_eq!(first, expected, "{order:?}");
        let rest = [next(40).await, next(40).await, next(40).await, next(40).await];
        let rest_expected = match order {
            ClaimOrder::LeastLife => ["lea", "eve", "max", "joe"],
            ClaimOrder::NoFailures => ["eve", "lea", "max", "joe"],
            _ => ["lea", "eve", "ada", "joe"],
        };
        assert_eq!(rest, rest_expected, "{order:?}: those that expired since come last");
    }
});

both_stores!(grants_that_the_caller_excludes_are_not_claimed, async |store: Arc<dyn Store>| {
    let lives = [("ada", 1), ("eve", 2), ("joe", 3), ("kim", 4)];
    let orders = [
        (ClaimOrder::LeastLife, ["eve", "kim"]),
        (ClaimOrder::NoFailures, ["eve", "kim"]),
        (ClaimOrder::LongestFailing, ["eve", "kim"]),
        (ClaimOrder::Healthiest, ["kim", "eve"]),
    ];
    for (order, expected) in orders {
        keep(&*store, lives.map(|(name, seconds)| living(name, seconds))).await;
        let except = ["ada", "joe", "kim", "unknown"].map(person).into();
        let at_work = ClaimRequest { limit: 1, except, order, ..ask(0) };
        assert_eq!(claim_names(&*store, at_work.clone()).await, ["eve"], "they do not use up the limit");
        assert_eq!(claim_names(&*store, at_work).await, [""; 0]);
        keep(&*store, [living("eve", 2)]).await;
        let at_work = ClaimRequest { limit: 2, except: ["ada", "joe"].map(person).into(), order, ..ask(0) };
        assert_eq!(claim_names(&*store, at_work.clone()).await, expected);
        assert_eq!(claim_names(&*store, at_work).await, [""; 0]);
        assert_eq!(claim_names(&*store, ask(0)).await, ["ada", "joe"]);
    }
});

both_stores!(nothing_is_claimed_before_it_is_due, async |store: Arc<dyn Store>| {
    let mut early = grant("ada");
    early.next = Schedule { due_at: at(10), wake_at: at(99) };
    let mut never = grant("eve");
    never.next = Schedule::NEVER;
    keep(&*store, [early, never]).await;
    let just_before = ClaimRequest { due_by: UnixTime(at(10).0 - 1), ..ask(10) };
    assert_eq!(claim_names(&*store, just_before).await, [""; 0]);
    let earlier_than_now = ClaimRequest { due_by: at(9), ..ask(1000) };
    assert_eq!(claim_names(&*store, earlier_than_now).await, [""; 0], "due_by decides, not now");
    assert_eq!(claim_names(&*store, ask(10)).await, ["ada"]);
});

both_stores!(a_clock_step_back_neither_hides_nor_advances_a_due_grant, async |store: Arc<dyn Store>| {
    let due = |name: &str, lives: i64, due: i64| {
        let mut grant = living(name, lives);
        grant.next = Schedule::at(at(due));
        grant
    };
    keep(&*store, [due("ada", 1, 50), due("eve", 90, 0), due("joe", 2, 100), due("kim", 80, -5)]).await;
    let next = async |due_by: i64| {
        let ask = ClaimRequest { due_by: at(due_by), limit: 1, lease: lease(1000), ..ask(0) };
        claim_names(&*store, ask).await.concat()
    };
    assert_eq!(next(60).await, "ada");
    keep(&*store, [due("lea", 3, 30), due("pam", 85, 0)]).await;
    assert_eq!(next(0).await, "kim", "the others are no longer due");
    assert_eq!([next(0).await, next(0).await, next(0).await], ["pam", "eve", ""]);
    assert_eq!([next(100).await, next(100).await, next(100).await], ["joe", "lea", ""]);
});

both_stores!(a_claimed_grant_is_not_claimed_again_until_its_lease_ends, async |store: Arc<dyn Store>| {
    keep(&*store, [grant("ada")]).await;
    let first = claim_one(&*store, 0).await;
    assert_eq!(first.fence.attempt, 1);
    assert_eq!(claim_names(&*store, ask(0)).await, [""; 0]);
    let just_before = ClaimRequest { due_by: UnixTime(at(LEASE).0 - 1), ..ask(LEASE) };
    assert_eq!(claim_names(&*store, just_before).await, [""; 0]);

    let second = claim_one(&*store, LEASE).await;
    assert_eq!(second.fence, Fence { attempt: 2, ..first.fence });
    assert_eq!(second.grant.tokens, first.grant.tokens);
    assert_eq!(claim_names(&*store, ask(LEASE)).await, [""; 0], "the new lease applies");
});

both_stores!(a_released_claim_leaves_the_grant_unchanged, async |store: Arc<dyn Store>| {
    keep(&*store, [grant("ada")]).await;
    let before = found(&*store, "ada").await;
    let first = claim_one(&*store, 0).await;
    let give_back = async |claim: &Claim| {
        store.release(claim.grant.person.id.clone(), claim.fence, claim.grant.next).await
    };
    assert_eq!(give_back(&first).await, Ok(Committed::Kept));
    assert_eq!(found(&*store, "ada").await, before);
    assert_eq!(give_back(&first).await, Ok(Committed::Superseded), "once");
    let late = store.commit(first.fence, renewed(&first.grant, 1)).await;
    assert_eq!(late, Ok(Committed::Superseded), "the claim is over");
    let second = claim_one(&*store, 0).await;
    assert_eq!(second.fence, Fence { attempt: 2, ..first.fence }, "it is due again at once");
    assert_eq!(give_back(&first).await, Ok(Committed::Superseded), "the other claim stays");
    assert_eq!(claim_names(&*store, ask(0)).await, [""; 0]);
    assert_eq!(store.commit(second.fence, renewed(&second.grant, 1)).await, Ok(Committed::Kept));
});

both_stores!(claiming_an_unknown_person_returns_nothing, async |store: Arc<dyn Store>| {
    assert_eq!(claim_names(&*store, ask(0)).await, [""; 0]);
    keep(&*store, [grant("ada")]).await;
    assert_eq!(claim_names(&*store, ClaimRequest { limit: 0, ..ask(0) }).await, [""; 0]);
    assert_eq!(claim_names(&*store, ask(0)).await, ["ada"]);
});

both_stores!(a_claim_returns_the_grant_as_stored, async |store: Arc<dyn Store>| {
    for mut grant in unusual("ada") {
        grant.next.due_at = at(-1);
        keep(&*store, [grant.clone()]).await;
        let claim = claim_one(&*store, 0).await;
        assert_eq!(claim.grant, grant);
        let leased = found(&*store, "ada").await;
        assert_eq!(leased.next, Schedule::at(at(LEASE)), "readers see the time of the next try");
        grant.next = leased.next;
        assert_eq!(leased, grant);
    }
});

both_stores!(one_person_is_claimed_whether_due_or_not, async |store: Arc<dyn Store>| {
    assert!(store.claim_one(person("ada"), lease(0)).await.unwrap().is_none(), "an unknown person");
    let mut never = grant("ada");
    never.next = Schedule::NEVER;
    keep(&*store, [never.clone(), grant("eve")]).await;
    let first = store.claim_one(person("ada"), lease(5)).await.unwrap().unwrap();
    assert_eq!(first.grant, never);
    assert_eq!(found(&*store, "ada").await.next, Schedule::at(at(5 + LEASE)));
    assert_eq!(store.last_write_at().await, Ok(Some(at(5))));
    let outcome = renewed(&first.grant, 6);
    assert_eq!(store.commit(first.fence, outcome.clone()).await, Ok(Committed::Kept));
    assert_eq!(found(&*store, "ada").await, outcome);
    assert_eq!(claim_names(&*store, ask(0)).await, ["eve"], "no other grant was claimed");
});

both_stores!(one_person_is_not_claimed_before_a_lease_has_ended, async |store: Arc<dyn Store>| {
    keep(&*store, [grant("ada")]).await;
    let older = claim_one(&*store, 0).await;
    assert!(store.claim_one(person("ada"), lease(LEASE - 1)).await.unwrap().is_none());
    let newer = store.claim_one(person("ada"), lease(LEASE)).await.unwrap().unwrap();
    assert_eq!(newer.fence, Fence { attempt: 2, ..older.fence });
    assert_eq!(claim_names(&*store, ask(LEASE)).await, [""; 0], "claims of both kinds exclude each other");
    let late = renewed(&older.grant, 1);
    assert_eq!(store.commit(older.fence, late).await, Ok(Committed::Superseded));
    assert_eq!(store.commit(newer.fence, renewed(&newer.grant, 2)).await, Ok(Committed::Kept));
});

both_stores!(a_commit_long_after_its_lease_has_ended_counts, async |store: Arc<dyn Store>| {
    keep(&*store, [grant("ada")]).await;
    let claim = claim_one(&*store, 0).await;
    // Other grants can be claimed meanwhile, but not this one.
    keep(&*store, [grant("eve")]).await;
    assert!(store.claim_one(person("eve"), lease(100 * LEASE)).await.unwrap().is_some());
    let outcome = renewed(&claim.grant, 100 * LEASE);
    assert_eq!(store.commit(claim.fence, outcome.clone()).await, Ok(Committed::Kept));
    assert_eq!(found(&*store, "ada").await, outcome);
});

both_stores!(a_commit_stores_every_field_except_the_person, async |store: Arc<dyn Store>| {
    keep(&*store, [grant("ada"), living("eve", 9999)]).await;
    for (turn, mut outcome) in (0..).zip(unusual("ada")) {
        let claim = store.claim_one(person("ada"), lease(0)).await.unwrap().unwrap();
        assert_eq!(claim.fence.version, 1 + turn);
        outcome.next.due_at = at(-turn);
        outcome.tokens.expires_at = at(turn);
        assert_eq!(store.commit(claim.fence, outcome.clone()).await, Ok(Committed::Kept));
        outcome.person = grant("ada").person;
        assert_eq!(found(&*store, "ada").await, outcome);
    }
    assert_eq!(found(&*store, "eve").await, living("eve", 9999));
});

both_stores!(a_commit_succeeds_only_once, async |store: Arc<dyn Store>| {
    keep(&*store, [grant("ada")]).await;
    let claim = claim_one(&*store, 0).await;
    let outcome = renewed(&claim.grant, 1);
    assert_eq!(store.commit(claim.fence, outcome.clone()).await, Ok(Committed::Kept));
    assert_eq!(store.commit(claim.fence, renewed(&claim.grant, 2)).await, Ok(Committed::Superseded));
    assert_eq!(found(&*store, "ada").await, outcome);
});

both_stores!(a_commit_needs_a_claim, async |store: Arc<dyn Store>| {
    keep(&*store, [grant("ada")]).await;
    let claim = claim_one(&*store, 0).await;
    let outcome = renewed(&claim.grant, 1);
    store.commit(claim.fence, outcome.clone()).await.unwrap();
    let guessed = Fence { version: claim.fence.version + 1, ..claim.fence };
    assert_eq!(store.commit(guessed, renewed(&outcome, 2)).await, Ok(Committed::Superseded));
    assert_eq!(found(&*store, "ada").await, outcome);
    assert_eq!(store.commit(claim.fence, grant("unknown")).await, Ok(Committed::Superseded));
    assert_eq!(store.find(person("unknown")).await, Ok(None), "a commit creates no person");
});

both_stores!(a_late_commit_of_an_older_attempt_changes_nothing, async |store: Arc<dyn Store>| {
    keep(&*store, [grant("ada")]).await;
    let older = claim_one(&*store, 0).await;
    let newer = claim_one(&*store, LEASE).await;
    let late = renewed(&older.grant, 3);
    assert_eq!(store.commit(older.fence, late.clone()).await, Ok(Committed::Superseded));
    assert_eq!(found(&*store, "ada").await.tokens, grant("ada").tokens);
    assert_eq!(claim_names(&*store, ask(LEASE)).await, [""; 0], "nor does it end the newer claim");

    let outcome = renewed(&newer.grant, 4);
    assert_eq!(store.commit(newer.fence, outcome.clone()).await, Ok(Committed::Kept));
    assert_eq!(store.commit(older.fence, late).await, Ok(Committed::Superseded));
    assert_eq!(found(&*store, "ada").await, outcome);
});

both_stores!(a_fence_that_differs_in_any_part_changes_nothing, async |store: Arc<dyn Store>| {
    keep(&*store, [living("ada", 1), living("eve", 2)]).await;
    let claims = claim(&*store, ask(0)).await;
    let (ada, eve) = (&claims[0], &claims[1]);
    assert_ne!(ada.fence.serial, eve.fence.serial);
    let Fence { serial, version, attempt } = ada.fence;
    let wrong = [
        eve.fence,
        Fence { serial: serial + 100, ..ada.fence },
        Fence { version: version - 1, ..ada.fence },
        Fence { version: version + 1, ..ada.fence },
        Fence { attempt: attempt - 1, ..ada.fence },
        Fence { attempt: attempt + 1, ..ada.fence },
    ];
    for fence in wrong {
        let outcome = store.commit(fence, renewed(&ada.grant, 1)).await;
        assert_eq!(outcome, Ok(Committed::Superseded), "{fence:?}");
    }
    assert_eq!(found(&*store, "ada").await.tokens, ada.grant.tokens);
    assert_eq!(store.commit(ada.fence, renewed(&ada.grant, 1)).await, Ok(Committed::Kept));
    assert_eq!(store.commit(eve.fence, renewed(&eve.grant, 1)).await, Ok(Committed::Kept));
});

both_stores!(many_tasks_never_claim_one_grant_twice, async |store: Arc<dyn Store>| {
    const PERSONS: usize = 300;
    save_many(&store, PERSONS).await;

    let mut tasks = JoinSet::new();
    for task in 0..16 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut held = Vec::new();
            loop {
                let mine = Lease { owner: format!("task {task}"), ..lease(0) };
                let mine = ClaimRequest { limit: 7, lease: mine, ..ask(0) };
                match claim_names(&*store, mine).await {
                    names if names.is_empty() => return held,
                    names => held.extend(names),
                }
            }
        });
    }
    let mut holders: HashMap<String, usize> = HashMap::new();
    for name in tasks.join_all().await.into_iter().flatten() {
        *holders.entry(name).or_default() += 1;
    }
    assert_eq!(holders.len(), PERSONS);
    assert!(holders.values().all(|held| *held == 1));
});

both_stores!(only_one_of_many_commits_of_a_claim_is_stored, async |store: Arc<dyn Store>| {
    keep(&*store, [grant("ada")]).await;
    let claim = claim_one(&*store, 0).await;
    let mut tasks = JoinSet::new();
    for second in 1..=16 {
        let (store, outcome) = (store.clone(), renewed(&claim.grant, second));
        tasks.spawn(async move { (store.commit(claim.fence, outcome.clone()).await.unwrap(), outcome) });
    }
    let answers = tasks.join_all().await;
    let kept: Vec<_> = answers.iter().filter(|(answer, _)| *answer == Committed::Kept).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(found(&*store, "ada").await, kept[0].1);
});

both_stores!(clamping_times_bounds_leases_but_ends_no_claim, async |store: Arc<dyn Store>| {
    keep(&*store, [grant("ada")]).await;
    let years_ahead = claim_one(&*store, 1_000_000_000).await;
    assert_eq!(claim_names(&*store, ask(0)).await, [""; 0]);
    store.clamp_times(at(0), at(LEASE)).await.unwrap();
    assert_eq!(found(&*store, "ada").await.next, Schedule::at(at(LEASE)));
    assert_eq!(claim_names(&*store, ask(LEASE - 1)).await, [""; 0], "the grant cannot be claimed again yet");
    let next = renewed(&years_ahead.grant, 1);
    assert_eq!(store.commit(years_ahead.fence, next).await, Ok(Committed::Kept), "the claim holds");
});

both_stores!(
    clamping_times_moves_nothing_later_and_changes_unclaimed_grants_not_at_all,
    async |store: Arc<dyn Store>| {
        let mut planned = grant("eve");
        planned.next = Schedule { due_at: at(10_000), wake_at: at(20_000) };
        keep(&*store, [grant("ada"), planned.clone()]).await;
        let running = claim_one(&*store, 0).await;
        store.clamp_times(at(5), at(5 + LEASE)).await.unwrap();
        assert_eq!(store.last_write_at().await, Ok(Some(at(0))), "it was not later");
        assert_eq!(found(&*store, "ada").await.next, Schedule::at(at(LEASE)), "nor was the lease's end");
        assert_eq!(found(&*store, "eve").await, planned);
        assert_eq!(store.next_wake(BEGINNING).await, Ok(Some(at(LEASE))));
        store.clamp_times(at(-5), at(LEASE - 5)).await.unwrap();
        assert_eq!(store.last_write_at().await, Ok(Some(at(-5))));
        assert_eq!(store.next_wake(BEGINNING).await, Ok(Some(at(LEASE - 5))));
        assert_eq!(store.commit(running.fence, renewed(&running.grant, 1)).await, Ok(Committed::Kept));
    }
);
