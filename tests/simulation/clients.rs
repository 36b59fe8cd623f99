//! Clients of the daemon: readers, callers that request a refresh, people who consent or leave.

use std::time::Duration;

use tokio::time::sleep;
use tokio::time::timeout;
use webex_sim::Consent;
use webex_tokend::domain::person::PersonId;

use crate::simulation::process::DaemonProcess;
use crate::support::virtual_time::decide_at_webex;

impl DaemonProcess {
    fn id(&self, person: usize) -> PersonId {
        PersonId::parse(&self.env.model().settings().people[person].id).unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "a task of the test")]
    fn spawn(&self, client: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(client));
    }

    /// Reads a token after `delay`, and gives up after `patience`.
    pub(super) fn read(&self, person: usize, min_ttl: Duration, [delay, patience]: [Duration; 2]) {
        let (process, id) = (self.clone(), self.id(person));
        self.spawn(async move {
            sleep(delay).await;
            let question = process.env.checker().question(person);
            let Ok(result) = timeout(patience, process.refresher.token(&id, min_ttl)).await else { return };
            let (model, now) = (process.env.model.clone(), process.env.clock.true_time().0);
            let live = |token: &str| model.lock().unwrap().is_live(token, now);
            process.env.checker().given(question, &result, live);
        });
    }

    pub(super) fn renew(&self, person: usize, force: bool) {
        let (process, id) = (self.clone(), self.id(person));
        self.spawn(async move {
            process.env.checker().asks_to_renew(person, force);
            let result = process.refresher.refresh_now(&id, force).await;
            let word = result.map_or_else(|why| why.to_string(), |report| report.outcome.as_str().to_owned());
            process
                .env
                .checker()
                .record(&format!("the refresh of person {person} that was asked for: {word}"));
        });
    }

    pub(super) fn forget(&self, person: usize) {
        let (process, id) = (self.clone(), self.id(person));
        self.spawn(async move {
            let question = {
                let mut checker = process.env.checker();
                checker.asks_to_forget(person, true);
                checker.question(person)
            };
            let result = process.refresher.forget(&id).await;
            let mut checker = process.env.checker();
            checker.asks_to_forget(person, false);
            checker.removed(question, &result);
        });
    }

    /// A person consents after `delay`, and returns with the code after `pause`. Tries again after a failure.
    pub(super) fn consent(&self, person: usize, delay: Duration, pause: Duration) {
        let process = self.clone();
        self.spawn(async move {
            sleep(delay).await;
            let mut tries = 0;
            while tries < 3 && !process.consent_once(person, pause).await {
                tries += 1;
                sleep(pause + Duration::from_secs(30)).await;
            }
        });
    }

    async fn consent_once(&self, person: usize, pause: Duration) -> bool {
        let begun = self.consents.begin(None).unwrap();
        let back = decide_at_webex(&self.env.model, &self.env.clock, &begun.url, Consent::AcceptAs(person));
        let code = back("code");
        let epoch = {
            let mut checker = self.env.checker();
            checker.record(&format!("person {person} consents"));
            checker.code(code.expose().to_owned(), person);
            checker.seen(person).epoch
        };
        sleep(pause).await;
        let result = self.consents.finish(code.clone(), back("state"), Some(&begun.sealed), None).await;
        self.env.checker().finished(person, code.expose(), epoch, &result);
        result.is_ok()
    }
}
