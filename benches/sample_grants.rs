//! Grants to fill a store with.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::Tokens;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::Person as Known;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::schedule::Policy;
use webex_tokend::domain::secret::Secret;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::Store;

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// The default settings.
pub(crate) const POLICY: Policy = Policy {
    sleep: Duration::from_secs(3600),
    max_age: DAY,
    noop_window: DAY,
    floor: Duration::from_secs(300),
};

/// About the length of a Webex token in bytes.
const TOKEN: usize = 101;

/// A grant that only the store knows. It was renewed within the last day, so it is not due for hours.
pub(crate) fn stored(number: usize, now: UnixTime) -> Grant {
    let email = format!("person{number}@example.com");
    let known = Known {
        id: PersonId::parse(&format!("Y2lzY29zcGFyazovL3VzL1BFT1BMRS9{number:048x}")).unwrap(),
        email: Email::parse(&email).ok(),
        display_name: Some(format!("Person {number}")),
        org_id: Some(
            "Y2lzY29zcGFyazovL3VzL09SR0FOSVpBVElPTi8xZWI2NWZkZi05NjQzLTQxN2YtOTk3NC1hZDcyY2FlMGUxMGY"
                .to_owned(),
        ),
    };
    let token = |kind: &str| format!("{kind}{number:0width$}", width = TOKEN - kind.len());
    let hours = u32::try_from(number % 19).unwrap();
    granted(known, token("access"), token("refresh"), now - Duration::from_secs(3600) * hours)
}

/// A grant of these tokens, renewed at this time.
pub(crate) fn granted(person: Known, access: String, refresh: String, renewed_at: UnixTime) -> Grant {
    let tokens = Tokens {
        access_token: Secret::new(access),
        refresh_token: Secret::new(refresh),
        token_type: "Bearer".to_owned(),
        scope: Some("spark:all spark:kms".to_owned()),
        expires_at: renewed_at + 14 * DAY,
        refresh_token_expires_at: Some(renewed_at + 90 * DAY),
    };
    Grant::consented(person, tokens, renewed_at, &POLICY, renewed_at)
}

/// Stores all grants, as fast as the store's group commit allows.
pub(crate) async fn keep<S: Store + 'static>(store: &Arc<S>, grants: impl Iterator<Item = Grant>) -> usize {
    const AT_ONCE: usize = 512;
    let (mut kept, mut tasks) = (0, JoinSet::new());
    for grant in grants {
        while tasks.len() >= AT_ONCE {
            let _: () = tasks.join_next().await.unwrap().unwrap();
        }
        let store = store.clone();
        tasks.spawn(async move {
            store.save_consent(grant).await.unwrap();
        });
        kept += 1;
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    kept
}
