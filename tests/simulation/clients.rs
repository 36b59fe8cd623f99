//! Those who come to the daemon: readers, people who want a refresh, people who consent or leave.

use std::time::Duration;

use tokio::time::sleep;
use tokio::time::timeout;
use webex_sim::Consent;
use webex_tokend::domain::person::PersonId;

use crate::simulation::process::House;
use crate::support::virtual_time::browse;

impl House {
    fn id(&self, person: usize) -> PersonId {
        PersonId::parse(&self.stage.model().settings().people[person].id).unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own task")]
    fn welcome(&self, guest: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(guest));
    }

    /// A reader who comes after `delay` and leaves when it takes longer than `patience`.
    pub(super) fn read(&self, person: usize, min_ttl: Duration, [delay, patience]: [Duration; 2]) {
        let (house, id) = (self.clone(), self.id(person));
        self.welcome(async move {
            sleep(delay).await;
            let question = house.stage.witness().question(person);
            let Ok(came) = timeout(patience, house.refresher.token(&id, min_ttl)).await else { return };
            let (model, now) = (house.stage.model.clone(), house.stage.clock.true_time().0);
            let live = |token: &str| model.lock().unwrap().is_live(token, now);
            house.stage.witness().given(question, &came, live);
        });
    }

    pub(super) fn renew(&self, person: usize, force: bool) {
        let (house, id) = (self.clone(), self.id(person));
        self.welcome(async move {
            house.stage.witness().asks_to_renew(person, force);
            let came = house.refresher.renew(&id, force).await;
            let word = came.map_or_else(|why| why.to_string(), |report| report.came.word().to_owned());
            house.stage.witness().tell(&format!("the refresh of person {person} that was asked for: {word}"));
        });
    }

    pub(super) fn forget(&self, person: usize) {
        let (house, id) = (self.clone(), self.id(person));
        self.welcome(async move {
            let question = {
                let mut witness = house.stage.witness();
                witness.asks_to_forget(person, true);
                witness.question(person)
            };
            let came = house.refresher.forget(&id).await;
            let mut witness = house.stage.witness();
            witness.asks_to_forget(person, false);
            witness.removed(question, &came);
        });
    }

    /// A person consents after `delay`, and brings the code back after `pause`. Tries again where it failed.
    pub(super) fn consent(&self, person: usize, delay: Duration, pause: Duration) {
        let house = self.clone();
        self.welcome(async move {
            sleep(delay).await;
            let mut tries = 0;
            while tries < 3 && !house.consent_once(person, pause).await {
                tries += 1;
                sleep(pause + Duration::from_secs(30)).await;
            }
        });
    }

    async fn consent_once(&self, person: usize, pause: Duration) -> bool {
        let begun = self.consents.begin(None).unwrap();
        let back = browse(&self.stage.model, &self.stage.clock, &begun.url, Consent::AcceptAs(person));
        let code = back("code");
        let epoch = {
            let mut witness = self.stage.witness();
            witness.tell(&format!("person {person} consents"));
            witness.code(code.expose().to_owned(), person);
            witness.seen(person).epoch
        };
        sleep(pause).await;
        let came = self.consents.finish(code.clone(), back("state"), Some(&begun.sealed), None).await;
        self.stage.witness().finished(person, code.expose(), epoch, &came);
        came.is_ok()
    }
}
