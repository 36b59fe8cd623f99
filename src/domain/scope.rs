//! Descriptions of scopes, for the persons who are asked to consent.

/// Describes what this Webex scope allows, for persons who do not know scopes. `None`: the page shows only the name.
#[must_use]
pub fn in_words(scope: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(name, _)| *name == scope).map(|(_, words)| *words)
}

/// The scopes that integrations request most often, and those that allow most.
const KNOWN: &[(&str, &str)] = &[
    ("spark:all", "Do in Webex whatever you can do"),
    ("spark:kms", "Read and write encrypted content"),
    ("spark:people_read", "See your profile and look up people"),
    ("spark:people_write", "Change people’s profiles"),
    ("spark:rooms_read", "See your spaces"),
    ("spark:rooms_write", "Create and change spaces"),
    ("spark:memberships_read", "See who is in your spaces"),
    ("spark:memberships_write", "Add people to spaces and remove them"),
    ("spark:messages_read", "Read the messages in your spaces"),
    ("spark:messages_write", "Write and delete messages for you"),
    ("spark:teams_read", "See your teams"),
    ("spark:teams_write", "Create and change teams"),
    ("spark:team_memberships_read", "See who is in your teams"),
    ("spark:team_memberships_write", "Add people to teams and remove them"),
    ("spark:calls_read", "See your calls"),
    ("spark:calls_write", "Make and end calls for you"),
    ("spark:devices_read", "See your devices"),
    ("spark:devices_write", "Change your devices"),
    ("spark:xapi_statuses", "See the state of your devices"),
    ("spark:xapi_commands", "Control your devices"),
    ("spark:places_read", "See places and their devices"),
    ("spark:places_write", "Change places and their devices"),
    ("spark:webhooks_read", "See the notifications that were set up"),
    ("spark:webhooks_write", "Set up notifications of what happens"),
    ("spark:organizations_read", "See your organization"),
    ("spark:applications_token", "Get tokens of service apps"),
    ("spark-admin:people_read", "See the people of the organization"),
    ("spark-admin:people_write", "Add, change and remove people of the organization"),
    ("spark-admin:organizations_read", "See the organization’s settings"),
    ("spark-admin:licenses_read", "See the organization’s licenses"),
    ("spark-admin:roles_read", "See the organization’s roles"),
    ("spark-admin:devices_read", "See the organization’s devices"),
    ("spark-admin:devices_write", "Change the organization’s devices"),
    ("spark-admin:telephony_config_read", "See how calling is set up"),
    ("spark-admin:telephony_config_write", "Change how calling is set up"),
    ("meeting:schedules_read", "See your meetings"),
    ("meeting:schedules_write", "Plan, change and cancel your meetings"),
    ("meeting:participants_read", "See who takes part in your meetings"),
    ("meeting:participants_write", "Admit and remove participants of your meetings"),
    ("meeting:recordings_read", "See and play your meetings’ recordings"),
    ("meeting:recordings_write", "Change and delete your meetings’ recordings"),
    ("meeting:transcripts_read", "Read your meetings’ transcripts"),
    ("meeting:preferences_read", "See your meeting preferences"),
    ("meeting:preferences_write", "Change your meeting preferences"),
    ("meeting:controls_read", "See the state of your running meetings"),
    ("meeting:controls_write", "Control your running meetings"),
    ("cjp:config_read", "See how the contact center is set up"),
    ("cjp:config_write", "Change how the contact center is set up"),
    ("cjp:user", "Work in the contact center as you"),
    ("identity:people_read", "See people in the directory"),
    ("identity:people_rw", "Change people in the directory"),
    ("identity:tokens_read", "See who gave which program access"),
    ("identity:tokens_write", "Take programs’ access away"),
    ("openid", "Confirm who you are"),
    ("email", "See your e-mail address"),
    ("profile", "See your name"),
    ("phone", "See your phone number"),
    ("address", "See your postal address"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_scopes_have_descriptions_and_others_do_not() {
        assert_eq!(in_words("spark:rooms_read"), Some("See your spaces"));
        for other in ["", "spark:rooms", "SPARK:ALL", "spark:all ", "something:new"] {
            assert_eq!(in_words(other), None, "{other:?}");
        }
    }

    #[test]
    fn each_scope_is_listed_once_with_its_own_description() {
        for (at, (scope, words)) in KNOWN.iter().enumerate() {
            assert!(words.len() > 8 && !words.ends_with('.') && !words.contains(':'), "{scope}");
            let later = KNOWN.get(at + 1..).unwrap_or_default();
            assert!(later.iter().all(|(other, text)| other != scope && text != words), "{scope}");
        }
    }
}
