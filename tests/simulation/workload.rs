//! Events from outside: people, faults, clock steps, kills.

use std::time::Duration;

use tokio::task::JoinHandle;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::time::UnixTime;

use crate::simulation::faults::PersonFault;
use crate::simulation::faults::name;
use crate::simulation::process::DaemonProcess;
use crate::simulation::run::RunEnd;
use crate::simulation::run::SimRun;
use crate::simulation::scenario::EventKind;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

impl SimRun {
    fn random_person(&mut self) -> usize {
        self.rng.index(self.scenario.size.persons)
    }

    pub(super) async fn run_event(
        &mut self,
        process: &DaemonProcess,
        looping: &mut JoinHandle<()>,
    ) -> Option<RunEnd> {
        self.env.checker().allow_calls(60);
        self.consent_if_needed(process);
        if self.scenario.kinds.is_empty() {
            return None;
        }
        let kind = self.rng.pick(&self.scenario.kinds);
        let person = self.random_person();
        let now = self.env.clock.true_time();
        match kind {
            EventKind::Consent => process.consent(person, Duration::ZERO, self.pause()),
            EventKind::TwoConsents => {
                let pause = self.pause();
                process.consent(person, Duration::ZERO, pause);
                process.consent(person, self.pause() / 100, pause);
            }
            EventKind::ConsentDuringRefresh => self.consent_during_refresh(process, person),
            EventKind::Forget => process.forget(person),
            EventKind::Renew => process.renew(person, self.rng.coin()),
            EventKind::Read => self.readers(process, person),
            EventKind::Outage => self.outage(now),
            EventKind::Sickness => self.person_outage(person, now),
            EventKind::BadTenant => self.bad_tenant(now),
            EventKind::Incident => self.false_refusals(now),
            EventKind::OutageInMargin => self.plan_outage(person, now),
            EventKind::StoreTrouble => {
                let until = self.env.faults().store_trouble(now);
                let mut checker = self.env.checker();
                checker.store_trouble(until);
                checker.record(&format!("the store is in trouble until {until}"));
            }
            EventKind::Revoke => {
                self.env.model().revoke_person(person);
                self.env.checker().record(&format!("person {person} revokes"));
            }
            EventKind::ClockSet => self.set_clock(false),
            EventKind::Suspend => {
                let span = self.rng.log_uniform(MINUTE, 10 * DAY);
                self.env.checker().suspended(span);
                self.env.clock.suspend(span);
            }
            EventKind::Crash => {
                self.env.crash.crash_now();
                return Some(self.killed());
            }
            EventKind::CrashAtStep => {
                // Sometimes with an operation that has several steps.
                if self.rng.coin() {
                    process.renew(person, true);
                }
                if self.rng.coin() {
                    process.consent(person, Duration::ZERO, Duration::ZERO);
                }
                self.env.crash.crash_after(1 + self.rng.below(40));
            }
            EventKind::Restart => return Some(self.stop(process, looping).await),
        }
        None
    }

    fn outage(&mut self, now: UnixTime) {
        let (until, kind) = self.env.faults().outage(now);
        let mut checker = self.env.checker();
        checker.trouble_for_all(until);
        checker.record(&format!("an outage until {until}: {}", name(&kind)));
    }

    fn person_outage(&mut self, person: usize, now: UnixTime) {
        let (until, kind) = self.env.faults().person_outage(person, now);
        let mut checker = self.env.checker();
        checker.sick(person, until);
        checker.record(&format!("person {person} is ill until {until}: {}", name(&kind)));
    }

    fn false_refusals(&mut self, now: UnixTime) {
        let until = self.env.faults().false_refusals(now);
        let mut checker = self.env.checker();
        checker.trouble_for_all(until);
        checker.record(&format!("Webex calls every refresh token dead until {until}"));
    }

    /// Up to a third of all persons belong to an organization whose refreshes fail, each in its own way or all alike.
    fn bad_tenant(&mut self, now: UnixTime) {
        let persons = self.scenario.size.persons;
        let (first, count) = (self.random_person(), 1 + self.rng.index(persons.div_ceil(3)));
        let person_faults = [
            PersonFault::Unauthorized,
            PersonFault::TooMany,
            PersonFault::Locked,
            PersonFault::Refused,
            PersonFault::Broken,
            PersonFault::Hanging,
        ];
        let (alike, stride) = (self.rng.coin(), self.rng.pick(&[1, 1, 7, 16]));
        let mut person_fault = self.rng.pick(&person_faults);
        let until = now + self.rng.log_uniform(HOUR, 5 * DAY);
        for nth in 0..count {
            if !alike {
                person_fault = self.rng.pick(&person_faults);
            }
            let person = (first + nth * stride) % persons;
            self.env.faults().fail_person(person, until, person_fault);
            let mut checker = self.env.checker();
            checker.sick(person, until);
            checker.record(&format!("person {person} of a bad tenant is {person_fault:?} until {until}"));
        }
    }

    /// Plans an outage of Webex that ends within the survival margin of this person's token.
    fn plan_outage(&mut self, person: usize, now: UnixTime) {
        let Some((begins, ends)) = self.env.checker().margin_of(person) else { return };
        let ends = begins + self.rng.between(Duration::ZERO, ends.since(begins));
        let from = begins - self.rng.log_uniform(MINUTE, 2 * HOUR);
        if ends > now && from < now + 2 * DAY {
            self.planned = Some((from.max(now), ends));
        }
    }

    /// Starts the planned outage.
    pub(super) fn planned_outage(&mut self, until: UnixTime) {
        let kind = self.env.faults().outage_until(until);
        let mut checker = self.env.checker();
        checker.trouble_for_all(until);
        checker.record(&format!("a planned outage until {until}: {}", name(&kind)));
    }

    fn pause(&mut self) -> Duration {
        self.rng.log_uniform(Duration::from_millis(1), 4 * MINUTE)
    }

    /// People who must consent do so sooner or later.
    fn consent_if_needed(&mut self, process: &DaemonProcess) {
        let first = self.random_person();
        let needs = |person: &usize| {
            let checker = self.env.checker();
            let kept = checker.seen(*person).kept.as_ref();
            kept.is_none_or(|kept| kept.grant.status == GrantStatus::ConsentNeeded)
        };
        let persons = self.scenario.size.persons;
        let needy = (0..persons).map(|n| (first + n) % persons).find(needs);
        if let Some(person) = needy
            && self.rng.per_mille(300)
        {
            process.consent(person, Duration::ZERO, SECOND);
        }
    }

    fn consent_during_refresh(&mut self, process: &DaemonProcess, person: usize) {
        let by = self.rng.between(SECOND, 30 * SECOND);
        let now = self.env.clock.true_time();
        self.env.faults().slow(person, by, now);
        self.env.checker().sick(person, now + 3 * MINUTE);
        process.renew(person, true);
        let delay = self.rng.between(Duration::ZERO, by);
        process.consent(person, delay, Duration::ZERO);
        if self.rng.coin() {
            process.forget(person);
        }
    }

    fn readers(&mut self, process: &DaemonProcess, person: usize) {
        let long = self.rng.coin();
        for _ in 0..1 + self.rng.below(5) {
            // All at once, or one after another.
            let delay = if long { self.rng.between(Duration::ZERO, 10 * MINUTE) } else { Duration::ZERO };
            let min_ttl = self.rng.log_uniform(Duration::ZERO, 15 * DAY);
            let patience = self.rng.pick(&[SECOND / 20, SECOND, 5 * MINUTE, 5 * MINUTE]);
            let other = if self.rng.coin() { person } else { self.random_person() };
            process.read(other, min_ttl, [delay, patience]);
        }
    }

    pub(super) fn set_clock(&mut self, while_down: bool) {
        let span = self.rng.log_uniform(SECOND, 3 * YEAR);
        let ms = i64::try_from(span.as_millis()).unwrap();
        // The clock returns to the true time half of the time, and is never off by more than some years.
        let shift = self.env.clock.shift_ms();
        let ms = if shift != 0 && (self.rng.coin() || shift.abs() > 2 * ms) {
            -shift
        } else if self.rng.coin() {
            -ms
        } else {
            ms
        };
        self.env.clock.step(ms);
        self.env.checker.lock().unwrap().clock_set(ms, while_down);
    }
}
