//! What a killed daemon has stored, read as its next start would read it.

use std::collections::HashMap;
use std::path::Path;

use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::list::ListRequest;
use webex_tokend::domain::list::ListSelection;
use webex_tokend::domain::list::SortBy;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::GrantQueries;
use webex_tokend::store::sqlite::SqliteStore;

use crate::process::kills::load::Load;
use crate::process::kills::load::ShownTokens;

/// Asserts that everything that was ever shown is stored, or something newer, and that no token is stored that Webex
/// never issued.
pub(super) async fn holds_everything_shown(state_dir: &Path, load: &Load) {
    let issued = load.sim().with(|webex| webex.secrets_issued());
    let order: HashMap<&str, usize> = issued.iter().map(String::as_str).zip(0..).collect();
    let kept = kept(state_dir, load).await;
    for (person, shown) in load.shown_so_far() {
        let grant = kept.get(&person).unwrap_or_else(|| panic!("person {person} is lost"));
        assert_eq!(grant.status, GrantStatus::Active);
        assert!(
            order.contains_key(grant.tokens.refresh_token.expose()),
            "a refresh token that Webex never issued"
        );
        let rank = |token: &str| {
            let consent =
                load.sim().with(|webex| webex.consent_of(token)).expect("a token that Webex never issued");
            (consent, order[token])
        };
        let mine = rank(grant.tokens.access_token.expose());
        assert!(
            mine.0 >= shown.consent,
            "person {person}: consent {} was confirmed, {} is stored",
            shown.consent,
            mine.0
        );
        for token in &shown.tokens {
            assert!(mine >= rank(token), "person {person}: shown {:?}, stored {mine:?}", rank(token));
        }
        load.set_stored(person, ShownTokens { consent: mine.0, tokens: Vec::new() });
    }
}

/// Stored grants by index of the person. Opens a copy, so that the next start finds the files as the kill left them.
async fn kept(state_dir: &Path, load: &Load) -> HashMap<usize, Grant> {
    let copy = tempfile::tempdir().unwrap();
    for name in ["tokend.db", "tokend.db-wal", "key"] {
        let there = state_dir.join(name);
        if there.exists() {
            std::fs::copy(there, copy.path().join(name)).unwrap();
        }
    }
    let client_id = load.sim().with(|webex| webex.settings().client_id.clone());
    let (db, key) = (copy.path().join("tokend.db"), copy.path().join("key"));
    let (store, _) = SqliteStore::open(&db, &key, &client_id, UnixTime(load.sim().now_ms())).unwrap();
    let page = ListRequest::first_page(ListSelection::All(SortBy::CreatedAt), 1000, UnixTime(0));
    let list = store.list(page).await.unwrap();
    assert_eq!(
        u64::try_from(list.len()).unwrap(),
        store.totals().await.unwrap().people,
        "every record opens"
    );
    let index: HashMap<String, usize> = load
        .sim()
        .with(|webex| webex.settings().people.iter().map(|person| person.id.clone()).zip(0..).collect());
    list.into_iter().map(|(_, grant)| (index[grant.person.id.as_str()], grant)).collect()
}
