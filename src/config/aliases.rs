//! The names that other samples use for the same settings. The names of this program take precedence.

/// Pairs of a setting and its name in another sample. If several of them are set, the first counts.
pub const ALIASES: [(&str, &str); 10] = [
    ("MY_APP_CLIENT_ID", "CLIENT_ID"),
    ("MY_APP_CLIENT_ID", "WEBEX_CLIENTID"),
    ("MY_APP_SECRET_ID", "CLIENT_SECRET"),
    ("MY_APP_SECRET_ID", "WEBEX_SECRET"),
    ("MY_APP_REDIRECT_URI", "REDIRECT_URI"),
    ("MY_APP_REDIRECT_URI", "REDIRECT_URL"),
    ("MY_APP_SCOPES", "SCOPES"),
    ("MY_APP_SCOPES", "WEBEX_SCOPES"),
    ("MY_APP_PORT", "PORT"),
    ("MY_APP_PORT", "WEBEX_REDIRECTPORT"),
];

/// The other names of `variable`, in order of precedence.
pub(super) fn others(variable: &str) -> impl Iterator<Item = &'static str> {
    ALIASES.iter().filter(move |(ours, _)| *ours == variable).map(|(_, other)| *other)
}

/// The setting that another sample calls `other`.
pub(super) fn ours(other: &str) -> Option<&'static str> {
    ALIASES.iter().find(|(_, theirs)| *theirs == other).map(|(ours, _)| *ours)
}
