//! Persons of a simulated Webex.

use std::time::Duration;

use webex_sim::Person;
use webex_sim::Settings;
use webex_sim::Sim;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::Person as Known;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::schedule::Schedule;
use webex_tokend::domain::time::UnixTime;

use crate::sample_grants;
use crate::sample_grants::DAY;

/// A simulated Webex that answers after `latency` and issues a new token with every refresh.
pub(crate) async fn sim(people: usize, latency: Duration) -> Sim {
    let people = (0..people).map(Person::numbered).collect();
    let settings = Settings {
        people,
        latency,
        noop_window: Duration::ZERO,
        token_limit: usize::MAX,
        old_token_survives: false,
        ..Settings::default()
    };
    Sim::start(settings).await.unwrap()
}

/// The tokens and the data of a person of `sim`.
pub(crate) fn known(sim: &Sim, person: usize) -> Known {
    let who = sim.with(|webex| webex.settings().people[person].clone());
    Known {
        id: PersonId::parse(&who.id).unwrap(),
        email: Email::parse(&who.email).ok(),
        display_name: Some(who.display_name),
        org_id: Some(who.org_id),
    }
}

/// A grant of a person of `sim`, last renewed two days ago.
pub(crate) fn due(sim: &Sim, person: usize) -> Grant {
    let now = UnixTime(sim.now_ms());
    let tokens = sim.with(|webex| webex.mint(now.0, person));
    let (access, refresh) = (tokens.access_token, tokens.refresh_token);
    let mut grant = sample_grants::granted(known(sim, person), access, refresh, now - 2 * DAY);
    grant.next = Schedule::at(now);
    grant
}
