//! The settings of the test hook: a person, with tokens that the operator already has.

use crate::config::parse::SettingsReader;
use crate::consent::TestHook;
use crate::domain::person::PersonId;
use crate::domain::secret::Secret;

pub(super) const VARIABLES: [&str; 3] = ["TEST_PERSON_ID", "TEST_ACCESS_TOKEN", "TEST_REFRESH_TOKEN"];

/// The test hook; `None` unless all three settings are valid.
pub(super) fn hook(reader: &mut SettingsReader<'_>) -> Option<TestHook> {
    let [person, access_token, refresh_token] = VARIABLES.map(|name| reader.text(name));
    let (person, access_token, refresh_token) = (person?, access_token?, refresh_token?);
    let Ok(person) = PersonId::parse(person) else {
        reader.wrong("TEST_PERSON_ID", "a Webex person id");
        return None;
    };
    let secret = |text: &str| Secret::new(text.to_owned());
    Some(TestHook { person, access_token: secret(access_token), refresh_token: secret(refresh_token) })
}
