//! Grants that lack a scope which consents ask for.

use log::Level;
use webex_sim::Person;
use webex_sim::Settings;

use crate::support::heard_here;
use crate::support::listen_here;
use crate::support::virtual_time::World;

fn told() -> Vec<String> {
    let lines = heard_here().into_iter();
    let lines = lines.filter(|(level, text)| *level == Level::Warn && text.contains("MY_APP_SCOPES"));
    lines.map(|(_, text)| text).collect()
}

#[tokio::test(start_paused = true)]
async fn one_line_tells_how_many_grants_lack_which_scopes() {
    listen_here();
    let world = World::new(Settings { people: Person::some(3), ..Settings::default() });
    world.consents(3).await;
    world.consents.tell_missing_scopes().await.unwrap();
    assert!(told().is_empty(), "each has all of them");
    for person in 0..2 {
        let mut grant = world.grant(person).await;
        grant.tokens.scope = Some("spark:kms".to_owned());
        world.store.save_consent(grant).await.unwrap();
    }
    world.consents.tell_missing_scopes().await.unwrap();
    let [line] = &told()[..] else { panic!("{:?}", told()) };
    assert!(line.starts_with("2 of 3 grants lack a scope of MY_APP_SCOPES (spark:all)"), "{line}");
}
