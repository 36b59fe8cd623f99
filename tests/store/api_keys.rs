//! Contract: API keys.

use std::sync::Arc;

use webex_tokend::domain::api_key::ApiKeyRecord;
use webex_tokend::domain::api_key::Rights;
use webex_tokend::store::KeyStore;

use crate::store::fixtures::StoreDir;
use crate::store::fixtures::at;
use crate::store::fixtures::person;

fn key(name: &str, number: u8) -> ApiKeyRecord {
    let rights = Rights { read: true, ..Rights::default() };
    let (_, record) = ApiKeyRecord::make(&[number; 38], name.to_owned(), rights, None, at(0));
    record
}

both_stores!(every_field_of_a_key_is_stored, async |store: Arc<dyn KeyStore>| {
    assert_eq!(store.keys().await, Ok(Vec::new()));
    let mut limited = key("Zoë's \u{1F511}", 2);
    limited.persons = Some(vec![person("ada"), person("eve")]);
    limited.rights = Rights { read: true, refresh: true, admin: true };
    limited.expires_at = Some(at(9));
    limited.last_used_at = Some(at(8));
    let mut useless = key("", 3);
    useless.persons = Some(Vec::new());
    useless.rights = Rights::default();
    let keys = [key("z", 1), limited, useless];
    for key in keys.clone() {
        assert_eq!(store.add_key(key).await, Ok(true));
    }
    assert_eq!(store.keys().await.unwrap(), keys, "oldest first");
});

both_stores!(a_key_name_is_unique, async |store: Arc<dyn KeyStore>| {
    assert_eq!(store.add_key(key("ci", 1)).await, Ok(true));
    assert_eq!(store.add_key(key("ci", 2)).await, Ok(false));
    assert_eq!(store.keys().await.unwrap(), [key("ci", 1)], "the older one stays");
});

both_stores!(a_revoked_key_is_gone_and_its_name_is_free, async |store: Arc<dyn KeyStore>| {
    store.add_key(key("ci", 1)).await.unwrap();
    store.add_key(key("cd", 2)).await.unwrap();
    assert_eq!(store.revoke_key("CI".to_owned()).await, Ok(false));
    assert_eq!(store.revoke_key("ci".to_owned()).await, Ok(true));
    assert_eq!(store.revoke_key("ci".to_owned()).await, Ok(false));
    assert_eq!(store.add_key(key("ci", 3)).await, Ok(true));
    assert_eq!(store.keys().await.unwrap(), [key("cd", 2), key("ci", 3)]);
});

both_stores!(the_last_use_is_stored_with_its_key, async |store: Arc<dyn KeyStore>| {
    store.add_key(key("ci", 1)).await.unwrap();
    store.add_key(key("cd", 2)).await.unwrap();
    store.touch_key(key("cd", 2).id, at(5)).await.unwrap();
    store.touch_key("unknown".to_owned(), at(6)).await.unwrap();
    let used: Vec<_> = store.keys().await.unwrap().into_iter().map(|key| key.last_used_at).collect();
    assert_eq!(used, [None, Some(at(5))]);
});

#[tokio::test]
async fn a_damaged_key_record_affects_no_other_key() {
    let damages = [
        "UPDATE keys SET rights = 'everything' WHERE name = 'bad'",
        "UPDATE keys SET hash = x'00' WHERE name = 'bad'",
        "UPDATE keys SET persons = x'ff' || char(10) || ' ' WHERE name = 'bad'",
        "UPDATE keys SET name = CAST(x'ff' AS TEXT) WHERE name = 'bad'",
        "UPDATE keys SET mac = NULL WHERE name = 'bad'",
    ];
    for damage in damages {
        let store_dir = StoreDir::new();
        let store = store_dir.open();
        for (name, number) in [("first", 1), ("bad", 2), ("last", 3)] {
            assert_eq!(store.add_key(key(name, number)).await, Ok(true));
        }
        store_dir.other_connection().execute_batch(damage).unwrap();
        assert_eq!(store.keys().await, Ok(vec![key("first", 1), key("last", 3)]), "{damage}");
    }
}

/// Every column that defines what a key may do, with another value for it.
const FORGERIES: [(&str, &str); 8] = [
    ("id", "'AAAAAAAA'"),
    ("name", "'worse'"),
    ("hash", "(SELECT hash FROM keys WHERE name = 'good')"),
    ("persons", "NULL"),
    ("rights", "'admin'"),
    ("created_at", "created_at + 1"),
    ("expires_at", "NULL"),
    ("mac", "(SELECT mac FROM keys WHERE name = 'good')"),
];

#[tokio::test]
async fn a_key_record_changed_by_another_program_is_rejected() {
    for (column, value) in FORGERIES {
        let store_dir = StoreDir::new();
        let store = store_dir.open();
        let mut limited = key("bad", 2);
        (limited.persons, limited.expires_at) = (Some(vec![person("ada")]), Some(at(9)));
        for key in [key("good", 1), limited.clone()] {
            assert_eq!(store.add_key(key).await, Ok(true));
        }
        assert_eq!(store.keys().await, Ok(vec![key("good", 1), limited]));
        // A copy of another row would have the same hash twice, which the table allows.
        let forgery = format!("UPDATE keys SET {column} = {value} WHERE name = 'bad'");
        assert_eq!(store_dir.other_connection().execute(&forgery, []).unwrap(), 1);
        assert_eq!(store.keys().await, Ok(vec![key("good", 1)]), "{forgery}");
    }
}

#[tokio::test]
async fn a_key_record_planted_by_another_program_is_rejected_and_can_be_revoked() {
    let store_dir = StoreDir::new();
    let store = store_dir.open();
    assert_eq!(store.add_key(key("good", 1)).await, Ok(true));
    let (planted, columns) = (key("planted", 2), "id, name, hash, persons, rights, created_at, expires_at");
    for mac in ["NULL", "x'01'", "(SELECT mac FROM keys WHERE name = 'good')"] {
        let plant =
            format!("INSERT INTO keys ({columns}, mac) VALUES (?1, ?2, ?3, NULL, 'admin', 0, NULL, {mac})");
        store_dir
            .other_connection()
            .execute(&plant, rusqlite::params![planted.id, planted.name, planted.hash])
            .unwrap();
        assert_eq!(store.keys().await, Ok(vec![key("good", 1)]), "{mac}");
        assert_eq!(store.revoke_key("planted".to_owned()).await, Ok(true));
    }
    assert_eq!(store.add_key(planted.clone()).await, Ok(true), "its name is free");
    assert_eq!(store.keys().await, Ok(vec![key("good", 1), planted]));
}

#[tokio::test]
async fn recording_the_use_of_a_key_keeps_its_mac_valid() {
    let store_dir = StoreDir::new();
    assert_eq!(store_dir.open().add_key(key("ci", 1)).await, Ok(true));
    store_dir.open().touch_key(key("ci", 1).id, at(5)).await.unwrap();
    assert_eq!(store_dir.open().keys().await.unwrap().len(), 1);
}
