//! No token of an active grant expires while Webex works at least once within every survival margin.

use proptest::prelude::*;

use super::*;
use crate::domain::grant::Grant;
use crate::domain::grant::GrantStatus;
use crate::domain::grant::Tokens;
use crate::domain::person::Person;
use crate::domain::secret::Secret;
use crate::domain::verdict::TokenSet;
use crate::domain::verdict::Verdict;

/// The result of one attempt, and how late within its sleep the loop makes it.
#[derive(Clone, Debug)]
struct Luck {
    fault: Option<Fault>,
    lateness: f64,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Transient,
    ClientRefused,
    Busy(Duration),
    TokenLimit,
}

fn any_luck() -> impl Strategy<Value = Luck> {
    let fault = prop_oneof![
        Just(None),
        Just(Some(Fault::Transient)),
        Just(Some(Fault::ClientRefused)),
        Just(Some(Fault::TokenLimit)),
        span(0..=60).prop_map(|wait| Some(Fault::Busy(wait))),
    ];
    (fault, 0.0..=1.0).prop_map(|(fault, lateness)| Luck { fault, lateness })
}

/// A model of one person's grant, Webex and the event loop.
struct World {
    policy: Policy,
    lifetime: Duration,
    grant: Grant,
    now: UnixTime,
    issued: u32,
    refreshed_at: Vec<UnixTime>,
}

impl World {
    fn new(policy: Policy, lifetime: Duration) -> Self {
        let tokens = Tokens::first(issued(0, lifetime), NOW).unwrap();
        let grant = Grant::consented(Person::known_by(ada()), tokens, NOW, &policy, NOW);
        Self { policy, lifetime, grant, now: NOW, issued: 0, refreshed_at: vec![NOW] }
    }

    /// Advances the time until the loop handles the grant: at a regular wake after it is due, or at its early wake.
    fn nap(&mut self, lateness: f64) {
        let regular = self.grant.next.due_at + self.policy.sleep.mul_f64(lateness);
        self.now = regular.min(self.grant.next.wake_at).max(self.now);
    }

    fn in_margin(&self) -> bool {
        self.grant.life_left(self.now) <= Policy::margin(self.lifetime)
    }

    fn answer_properly(&mut self) {
        self.issued += 1;
        self.refreshed_at.push(self.now);
        self.judge(Verdict::Renewed(issued(self.issued, self.lifetime)), None);
    }

    fn fail(&mut self, fault: Fault) {
        let why = "a simulated fault".to_owned();
        match fault {
            Fault::Transient => self.judge(Verdict::Transient(why), None),
            Fault::ClientRefused => self.judge(Verdict::ClientRefused(why), None),
            Fault::Busy(wait) => self.judge(Verdict::Busy(why), Some(wait)),
            Fault::TokenLimit => self.judge(Verdict::TokenLimit, None),
        }
    }

    fn judge(&mut self, verdict: Verdict, retry_after: Option<Duration>) {
        self.grant = self.grant.after(verdict, retry_after, self.now, &self.policy, self.now);
    }
}

fn issued(n: u32, lifetime: Duration) -> TokenSet {
    TokenSet {
        access_token: Secret::new(format!("access-{n}")),
        refresh_token: Some(Secret::new("refresh".to_owned())),
        expires_in: lifetime,
        refresh_token_expires_in: None,
        token_type: None,
        scope: None,
    }
}

proptest! {
    #[test]
    fn a_token_outlives_any_faults_if_webex_answers_once_within_every_margin(
        policy in any_policy(),
        lifetime in prop_oneof![span(600..=86_400), span(86_400..=90 * 86_400)],
        lucks in proptest::collection::vec(any_luck(), 1..300),
        patience in 1_u32..=2,
    ) {
        let mut world = World::new(policy, lifetime);
        let mut tries_in_margin = 0;
        for luck in lucks {
            world.nap(luck.lateness);
            prop_assert!(world.now < world.grant.tokens.expires_at, "no attempt before the token died");
            tries_in_margin += u32::from(world.in_margin());
            match luck.fault {
                Some(fault) if tries_in_margin < patience => world.fail(fault),
                _ => {
                    world.answer_properly();
                    tries_in_margin = 0;
                }
            }
            prop_assert_eq!(world.grant.status, GrantStatus::Active);
        }
    }

    #[test]
    fn refreshes_are_spaced_by_the_floor_or_the_configured_age(
        policy in any_policy(),
        lifetime in any_lifetime(),
        latenesses in proptest::collection::vec(0.0..=1.0, 1..50),
    ) {
        let mut world = World::new(policy, lifetime);
        for lateness in latenesses {
            world.nap(lateness);
            world.answer_properly();
        }
        let least = policy.floor_for(lifetime).min(policy.max_age.max(policy.noop_window)).max(MIN_INTERVAL);
        for pair in world.refreshed_at.windows(2) {
            prop_assert!(pair[1].since(pair[0]) >= least);
        }
    }
}

#[test]
fn a_year_of_twelve_hour_tokens_takes_under_three_refreshes_a_day_and_no_token_gets_near_its_end() {
    let mut world = World::new(default_policy(), 12 * HOUR);
    while world.now < NOW + 365 * DAY {
        world.nap(1.0);
        assert!(world.grant.life_left(world.now) >= minutes(72));
        world.answer_properly();
    }
    assert!((365 * 2..365 * 3).contains(&world.refreshed_at.len()), "{}", world.refreshed_at.len());
}

#[test]
fn a_year_of_two_week_tokens_takes_one_refresh_a_day() {
    let mut world = World::new(default_policy(), 14 * DAY);
    while world.now < NOW + 365 * DAY {
        world.nap(0.0);
        world.answer_properly();
    }
    assert_eq!(world.refreshed_at.len(), 366);
}
