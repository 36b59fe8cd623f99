//! What happens from outside: people, trouble, clocks, kills.

use std::time::Duration;

use tokio::task::JoinHandle;
use webex_tokend::domain::grant::Standing;
use webex_tokend::domain::time::UnixTime;

use crate::simulation::faults::Ailment;
use crate::simulation::faults::name;
use crate::simulation::process::House;
use crate::simulation::run::End;
use crate::simulation::run::Run;
use crate::simulation::scenario::Kind;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

impl Run {
    fn somebody(&mut self) -> usize {
        self.dice.index(self.scenario.size.persons)
    }

    pub(super) async fn happen(&mut self, house: &House, looping: &mut JoinHandle<()>) -> Option<End> {
        self.stage.witness().grant_verbs(60);
        self.needy_consent(house);
        if self.scenario.kinds.is_empty() {
            return None;
        }
        let kind = self.dice.pick(&self.scenario.kinds);
        let person = self.somebody();
        let now = self.stage.clock.true_time();
        match kind {
            Kind::Consent => house.consent(person, Duration::ZERO, self.pause()),
            Kind::TwoConsents => {
                let pause = self.pause();
                house.consent(person, Duration::ZERO, pause);
                house.consent(person, self.pause() / 100, pause);
            }
            Kind::ConsentDuringRefresh => self.consent_during_refresh(house, person),
            Kind::Forget => house.forget(person),
            Kind::Renew => house.renew(person, self.dice.coin()),
            Kind::Read => self.readers(house, person),
            Kind::Outage => self.outage(now),
            Kind::Sickness => self.sickness(person, now),
            Kind::BadTenant => self.bad_tenant(now),
            Kind::Incident => self.incident(now),
            Kind::OutageInMargin => self.plan_outage(person, now),
            Kind::StoreTrouble => {
                let until = self.stage.weather().store_trouble(now);
                let mut witness = self.stage.witness();
                witness.store_trouble(until);
                witness.tell(&format!("the store is in trouble until {until}"));
            }
            Kind::Revoke => {
                self.stage.model().revoke_person(person);
                self.stage.witness().tell(&format!("person {person} revokes"));
            }
            Kind::ClockSet => self.set_clock(false),
            Kind::Suspend => {
                let span = self.dice.spread(MINUTE, 10 * DAY);
                self.stage.witness().suspended(span);
                self.stage.clock.suspend(span);
            }
            Kind::Crash => {
                self.stage.fuse.blow();
                return Some(self.killed());
            }
            Kind::CrashAtStep => {
                // Something that has steps, now and then.
                if self.dice.coin() {
                    house.renew(person, true);
                }
                if self.dice.coin() {
                    house.consent(person, Duration::ZERO, Duration::ZERO);
                }
                self.stage.fuse.set(1 + self.dice.below(40));
            }
            Kind::Restart => return Some(self.stop(house, looping).await),
        }
        None
    }

    fn outage(&mut self, now: UnixTime) {
        let (until, kind) = self.stage.weather().outage(now);
        let mut witness = self.stage.witness();
        witness.trouble_for_all(until);
        witness.tell(&format!("an outage until {until}: {}", name(&kind)));
    }

    fn sickness(&mut self, person: usize, now: UnixTime) {
        let (until, kind) = self.stage.weather().sickness(person, now);
        let mut witness = self.stage.witness();
        witness.sick(person, until);
        witness.tell(&format!("person {person} is ill until {until}: {}", name(&kind)));
    }

    fn incident(&mut self, now: UnixTime) {
        let until = self.stage.weather().incident(now);
        let mut witness = self.stage.witness();
        witness.trouble_for_all(until);
        witness.tell(&format!("Webex calls every refresh token dead until {until}"));
    }

    /// Up to a third of all persons belong to a tenant whose refreshes fail, each in a way of its own or all alike.
    fn bad_tenant(&mut self, now: UnixTime) {
        let persons = self.scenario.size.persons;
        let (first, count) = (self.somebody(), 1 + self.dice.index(persons.div_ceil(3)));
        let ailments = [
            Ailment::Unauthorized,
            Ailment::TooMany,
            Ailment::Locked,
            Ailment::Refused,
            Ailment::Broken,
            Ailment::Hanging,
        ];
        let (alike, stride) = (self.dice.coin(), self.dice.pick(&[1, 1, 7, 16]));
        let mut ailment = self.dice.pick(&ailments);
        let until = now + self.dice.spread(HOUR, 5 * DAY);
        for nth in 0..count {
            if !alike {
                ailment = self.dice.pick(&ailments);
            }
            let person = (first + nth * stride) % persons;
            self.stage.weather().ail(person, until, ailment);
            let mut witness = self.stage.witness();
            witness.sick(person, until);
            witness.tell(&format!("person {person} of a bad tenant is {ailment:?} until {until}"));
        }
    }

    /// Webex is going to be down until some moment within the survival margin of this person's token.
    fn plan_outage(&mut self, person: usize, now: UnixTime) {
        let Some((begins, ends)) = self.stage.witness().margin_of(person) else { return };
        let ends = begins + self.dice.between(Duration::ZERO, ends.since(begins));
        let from = begins - self.dice.spread(MINUTE, 2 * HOUR);
        if ends > now && from < now + 2 * DAY {
            self.planned = Some((from.max(now), ends));
        }
    }

    /// The outage that was planned begins.
    pub(super) fn planned_outage(&mut self, until: UnixTime) {
        let kind = self.stage.weather().outage_until(until);
        let mut witness = self.stage.witness();
        witness.trouble_for_all(until);
        witness.tell(&format!("a planned outage until {until}: {}", name(&kind)));
    }

    fn pause(&mut self) -> Duration {
        self.dice.spread(Duration::from_millis(1), 4 * MINUTE)
    }

    /// People who must consent do so, sooner or later.
    fn needy_consent(&mut self, house: &House) {
        let first = self.somebody();
        let needs = |person: &usize| {
            let witness = self.stage.witness();
            let kept = witness.seen(*person).kept.as_ref();
            kept.is_none_or(|kept| kept.grant.standing == Standing::ConsentNeeded)
        };
        let persons = self.scenario.size.persons;
        let needy = (0..persons).map(|n| (first + n) % persons).find(needs);
        if let Some(person) = needy
            && self.dice.thousandths(300)
        {
            house.consent(person, Duration::ZERO, SECOND);
        }
    }

    fn consent_during_refresh(&mut self, house: &House, person: usize) {
        let by = self.dice.between(SECOND, 30 * SECOND);
        let now = self.stage.clock.true_time();
        self.stage.weather().slow(person, by, now);
        self.stage.witness().sick(person, now + 3 * MINUTE);
        house.renew(person, true);
        let delay = self.dice.between(Duration::ZERO, by);
        house.consent(person, delay, Duration::ZERO);
        if self.dice.coin() {
            house.forget(person);
        }
    }

    fn readers(&mut self, house: &House, person: usize) {
        let long = self.dice.coin();
        for _ in 0..1 + self.dice.below(5) {
            // All at once, or one after the other.
            let delay = if long { self.dice.between(Duration::ZERO, 10 * MINUTE) } else { Duration::ZERO };
            let min_ttl = self.dice.spread(Duration::ZERO, 15 * DAY);
            let patience = self.dice.pick(&[SECOND / 20, SECOND, 5 * MINUTE, 5 * MINUTE]);
            let other = if self.dice.coin() { person } else { self.somebody() };
            house.read(other, min_ttl, [delay, patience]);
        }
    }

    pub(super) fn set_clock(&mut self, while_down: bool) {
        let span = self.dice.spread(SECOND, 3 * YEAR);
        let ms = i64::try_from(span.as_millis()).unwrap();
        // It comes back to the truth half of the time, and never goes further off than some years.
        let shift = self.stage.clock.shift_ms();
        let ms = if shift != 0 && (self.dice.coin() || shift.abs() > 2 * ms) {
            -shift
        } else if self.dice.coin() {
            -ms
        } else {
            ms
        };
        self.stage.clock.set_by(ms);
        self.stage.witness.lock().unwrap().clock_set(ms, while_down);
    }
}
