//! A store with moods: what it is told to do when it is asked for something.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::sleep;
use webex_tokend::domain::person::PersonId;
use webex_tokend::store::Answer;
use webex_tokend::store::Claims;
use webex_tokend::store::Store;
use webex_tokend::store::StoreError;
use webex_tokend::store::memory::MemoryStore;

use crate::support::intercept_store::Behind;
use crate::support::intercept_store::Between;
use crate::support::intercept_store::Verb;

/// Every verb that keeps something.
pub(crate) const WRITES: [Verb; 10] = [
    Verb::SaveConsent,
    Verb::ClaimDue,
    Verb::ClaimOne,
    Verb::Commit,
    Verb::GiveBack,
    Verb::UpdatePerson,
    Verb::Forget,
    Verb::Revise,
    Verb::Settle,
    Verb::Remember,
];

/// The loop's notes.
pub(crate) const NOTES: [Verb; 2] = [Verb::Recall, Verb::Remember];

/// What a store is like in one moment.
#[derive(Clone, Debug)]
pub(crate) enum Mood {
    Well,
    /// It does nothing, and says why.
    Fails(StoreError),
    /// It does it, and the answer is on its way for so long.
    Late(Duration),
    /// It does it after so long.
    Slow(Duration),
    /// What it claims does not open.
    Unreadable,
    /// The program itself is wrong.
    Panics,
}

type Plan = Box<dyn FnMut(Verb, Option<&PersonId>) -> Mood + Send>;

pub(crate) struct Moods {
    plan: Mutex<Plan>,
    asked: Mutex<BTreeMap<Verb, u64>>,
}

/// Well unless told otherwise.
pub(crate) type MoodyStore = Behind<Moods>;

impl MoodyStore {
    /// In memory.
    pub(crate) fn new() -> Arc<Self> {
        Self::on(Arc::new(MemoryStore::new()))
    }

    pub(crate) fn on(store: Arc<dyn Store>) -> Arc<Self> {
        let moods = Moods { plan: Mutex::new(Box::new(|_, _| Mood::Well)), asked: Mutex::default() };
        Arc::new(Self { store, between: moods })
    }

    /// From now on it does what `plan` says, verb for verb.
    pub(crate) fn plans(&self, plan: impl FnMut(Verb, Option<&PersonId>) -> Mood + Send + 'static) {
        *self.between.plan.lock().unwrap() = Box::new(plan);
    }

    /// From now on these verbs fail, and no others.
    pub(crate) fn fails(&self, verbs: &[Verb], why: StoreError) {
        let verbs = verbs.to_vec();
        self.plans(move |verb, _| if verbs.contains(&verb) { Mood::Fails(why.clone()) } else { Mood::Well });
    }

    pub(crate) fn is_well(&self) {
        self.plans(|_, _| Mood::Well);
    }

    /// How often it was asked for any of these, with or without success.
    pub(crate) fn asked(&self, verbs: &[Verb]) -> u64 {
        let asked = self.between.asked.lock().unwrap();
        verbs.iter().filter_map(|verb| asked.get(verb)).sum()
    }
}

impl Between for Moods {
    fn verb<'a, T: Any + Send>(
        &'a self,
        verb: Verb,
        person: Option<&PersonId>,
        work: impl FnOnce() -> Answer<'a, T> + Send + 'a,
    ) -> Answer<'a, T> {
        *self.asked.lock().unwrap().entry(verb).or_default() += 1;
        let mood = (self.plan.lock().unwrap())(verb, person);
        match mood {
            Mood::Well => work(),
            Mood::Fails(why) => Box::pin(std::future::ready(Err(why))),
            Mood::Late(by) => Box::pin(async move {
                let came = work().await;
                sleep(by).await;
                came
            }),
            Mood::Slow(by) => Box::pin(async move {
                sleep(by).await;
                work().await
            }),
            Mood::Unreadable => Box::pin(async move {
                let mut came = work().await?;
                if let Some(claims) = (&mut came as &mut dyn Any).downcast_mut::<Claims>() {
                    let persons = claims.claims.drain(..).map(|claim| claim.grant.person.id);
                    claims.unreadable.extend(persons);
                }
                Ok(came)
            }),
            Mood::Panics => panic!("as the test wants it"),
        }
    }
}
