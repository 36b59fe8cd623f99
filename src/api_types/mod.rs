//! The JSON that leaves the daemon, shared by the API and the commands. Times are RFC 3339 in UTC; unknown is null.

mod examination;
mod keys;

use serde::Deserialize;
use serde::Serialize;

pub use crate::api_types::examination::Examination;
pub use crate::api_types::examination::Finding;
pub use crate::api_types::examination::Mark;
pub use crate::api_types::keys::Key;
pub use crate::api_types::keys::KeyAsked;
pub use crate::api_types::keys::KeyList;
pub use crate::api_types::keys::KeyMade;

/// A person as the API shows one; no token in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Webex's id.
    pub person_id: String,
    /// In lower case.
    pub email: Option<String>,
    /// As Webex has it.
    pub display_name: Option<String>,
    /// Webex's id of the organization.
    pub org_id: Option<String>,
    /// `fresh`, `due`, `retrying` or `consent_needed`.
    pub state: String,
    /// Scopes granted, separated by spaces.
    pub scope: Option<String>,
    /// Which of the scopes that consents ask for are not among them; the person grants them by a new consent.
    pub missing_scopes: Vec<String>,
    /// When the person consented.
    pub obtained_at: String,
    /// When the access token last changed.
    pub renewed_at: String,
    /// When the access token dies.
    pub expires_at: String,
    /// When the refresh token dies, as last reported by Webex; null once Webex has called it dead.
    pub refresh_token_expires_at: Option<String>,
    /// When a wake will refresh it; null: not again, unless somebody asks.
    pub next_refresh_at: Option<String>,
    /// When it was last refreshed, or tried.
    pub last_attempt_at: String,
    /// What came of that, in a word: `renewed`, `unchanged`, `consent_needed`, `client_refused`, `token_limit`, `busy`,
    /// `transient`.
    pub last_outcome: String,
    /// Failures in a row.
    pub failures: u32,
    /// Where the person consents again.
    pub consent_url: String,
}

/// A part of the list of persons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct People {
    /// In the order in which they first consented; with `state`, in the order of their next refresh.
    pub people: Vec<Person>,
    /// Give it as `after` for the next part; null at the end.
    pub next: Option<String>,
    /// Exactly one person is stored, and is the first one that this store has ever kept: commands may leave the name
    /// out. False in any other list, and for a key that is limited to some persons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sole: Option<bool>,
}

/// A live access token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The whole bearer token.
    pub access_token: String,
    /// `Bearer`.
    pub token_type: String,
    /// Seconds it still lives.
    pub expires_in: u64,
    /// When it dies.
    pub expires_at: String,
    /// Whose it is.
    pub person_id: String,
    /// Whose it is.
    pub email: Option<String>,
    /// Scopes granted, separated by spaces.
    pub scope: Option<String>,
    /// Says that it lives less long than was asked for; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Tokens are never printed by accident.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("person_id", &self.person_id).finish_non_exhaustive()
    }
}

/// A live access token, as the token service sample shows its one record; without the refresh token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Always 1.
    pub id: u32,
    /// The organization, from the end of the token if it is there.
    pub org_id: String,
    /// The cluster, from the end of the token.
    pub cluster_id: Option<String>,
    /// The whole bearer token.
    pub access_token: String,
    /// Seconds it still lives.
    pub expires_in: u64,
    /// Seconds the refresh token still lives.
    pub refresh_token_expires_in: Option<u64>,
    /// `Bearer`.
    pub token_type: String,
    /// When the person consented.
    #[serde(rename = "createdAt")]
    pub created_at: String,
    /// When the access token last changed.
    #[serde(rename = "updatedAt")]
    pub updated_at: String,
}

impl std::fmt::Debug for TokenRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRecord").field("org_id", &self.org_id).finish_non_exhaustive()
    }
}

/// What a refresh is asked with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshAsked {
    /// Inside the no-op window, too.
    #[serde(default)]
    pub force: bool,
}

/// What a refresh came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// `renewed`, `unchanged`, `skipped` or `failed`.
    pub outcome: String,
    /// Why, where there is something to say.
    pub detail: Option<String>,
    /// The person after it.
    pub person: Person,
}

/// One rule's word on a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSays {
    /// `survival`, `age`, `noop_window`, `floor`, `retry`, `breaker` or `standing`.
    pub rule: String,
    /// Whether it asks for a refresh now (`true`), forbids one now (`false`), or has nothing to say (null).
    pub refresh: Option<bool>,
    /// When its word changes by itself.
    pub at: Option<String>,
    /// In a sentence.
    pub says: String,
}

/// Why a person is, or is not, refreshed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// Who.
    pub person: Person,
    /// Every rule's word.
    pub rules: Vec<RuleSays>,
    /// What the last attempt's verdict said beside its word.
    pub last_detail: Option<String>,
    /// When the next refresh is; null: not again, unless somebody asks.
    pub next_refresh_at: Option<String>,
    /// In a sentence.
    pub summary: String,
}

/// What is ahead of one person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Webex's id.
    pub person_id: String,
    /// In lower case.
    pub email: Option<String>,
    /// See [`Person::state`].
    pub state: String,
    /// The next refresh; null: none is planned in this time.
    pub next_refresh_at: Option<String>,
    /// About how many refreshes there will be in this time.
    pub refreshes: u32,
    /// When the person must consent again, if Webex does not renew the refresh token's life by then; null: not in this
    /// time.
    pub consent_by: Option<String>,
}

/// What is ahead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// For so many days from now.
    pub days: u32,
    /// In the order in which they first consented.
    pub people: Vec<Planned>,
    /// Give it as `after` for the next part; null at the end.
    pub next: Option<String>,
}

/// How the daemon is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// Null while the store cannot say.
    pub people: Option<Tally>,
    /// Whether refreshes of everybody pause.
    pub breaker: Breaker,
    /// `ok` or `failing`.
    pub store: String,
    /// As `/readyz` says.
    pub ready: bool,
    /// When this process began.
    pub started_at: String,
    /// The certificate that new connections get; null where the port speaks plain HTTP.
    #[serde(default)]
    pub certificate: Option<Certificate>,
}

/// A certificate that is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// DNS names and addresses that it is for.
    pub names: Vec<String>,
    /// Null where the certificate cannot be read.
    pub begins_at: Option<String>,
    /// Likewise.
    pub ends_at: Option<String>,
    /// Of its key.
    pub fingerprint: String,
    /// Whether the daemon made it.
    pub self_signed: bool,
    /// What is wrong with it, or will be soon, and what to do.
    pub trouble: Option<String>,
}

/// Persons by [`Person::state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the states' own words")]
pub struct Tally {
    pub fresh: u64,
    pub due: u64,
    pub retrying: u64,
    pub consent_needed: u64,
    /// Of `fresh` and `due` there are more than these numbers.
    pub or_more: bool,
}

/// Whether refreshes of everybody pause, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// `closed`, `open` or `probing`.
    pub state: String,
    /// `client_refused`, `busy`, `many_failing` or `many_refused`.
    pub cause: Option<String>,
    /// The cause in a sentence, and what to do.
    pub says: Option<String>,
    /// When the trouble began.
    pub since: Option<String>,
    /// When the next one may be sent; in the past when it only waits for somebody to be due.
    pub until: Option<String>,
}

/// What a login is begun with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginAsked {
    /// Preselects the account at Webex.
    #[serde(default)]
    pub email: Option<String>,
    /// By the device grant (RFC 8628) instead of a browser on this machine.
    #[serde(default)]
    pub device: bool,
}

/// A login that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginBegun {
    /// Names it.
    pub id: String,
    /// Where the person goes.
    pub url: String,
    /// What the person types there, with the device grant.
    pub user_code: Option<String>,
    /// The same address with the code in it, for a QR code.
    pub complete_url: Option<String>,
    /// Seconds until it ends by itself.
    pub expires_in: u64,
}

/// How a login is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginStatus {
    /// `pending`, `granted` or `failed`.
    pub state: String,
    /// Why it failed.
    pub detail: Option<String>,
    /// Who consented.
    pub person: Option<Person>,
}

/// A grant to take over.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportAsked {
    /// What the refresh is done with; without one nothing can be kept alive.
    #[serde(default)]
    pub refresh_token: Option<String>,
    /// Only to tell what kind of token it is when there is no refresh token.
    #[serde(default)]
    pub access_token: Option<String>,
    /// Takes the place of what is there, even if that is alive and has every scope of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
}

impl std::fmt::Debug for ImportAsked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ImportAsked([redacted])")
    }
}

/// What became of a grant to take over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// `new`, `replaced`, `kept` (what is there is alive, has every scope of it, and stays), `older` (a newer one stays),
    /// `refused` (it cannot be kept alive) or `failed` (it may be tried again).
    pub outcome: String,
    /// Why, where there is something to say.
    pub detail: Option<String>,
    /// Whose it is.
    pub person: Option<Person>,
    /// Webex asks that nothing be imported for so many seconds.
    pub retry_after: Option<u64>,
}

/// Somebody whose grant is kept no more, in the stream of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Webex's id.
    pub person_id: String,
}

/// A one-time link to the dashboard.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DashboardLink {
    /// To be opened in a browser; opens nothing without the code.
    pub url: String,
    /// Six digits, to be typed there.
    pub code: String,
    /// From when on it opens nothing.
    pub expires_at: String,
}

impl std::fmt::Debug for DashboardLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DashboardLink").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// An error (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `about:blank`: the title says it all.
    #[serde(rename = "type")]
    pub kind: String,
    /// In a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was found, what was expected, what to do.
    pub detail: String,
    /// For programs: `unauthorized`, `forbidden`, `unknown_person`, `ambiguous_person`, `consent_needed`, `bad_request`,
    /// `too_many_requests`, `webex_unavailable`, `webex_refused`, `not_found`, `method_not_allowed`, `taken`,
    /// `store_unavailable`, `internal`.
    pub code: String,
    /// Where the person consents again, with `consent_needed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent_url: Option<String>,
    /// The ids of the persons who share the address, with `ambiguous_person`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persons: Option<Vec<String>>,
}
