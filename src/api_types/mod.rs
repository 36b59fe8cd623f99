//! The JSON of the API, shared by the server and the commands. Times are RFC 3339 in UTC; an unknown value is
//! null.

mod api_keys;
mod attention;
mod doctor;
mod notices;
mod status;

use serde::Deserialize;
use serde::Serialize;

pub use crate::api_types::api_keys::CreateKeyRequest;
pub use crate::api_types::api_keys::CreatedKey;
pub use crate::api_types::api_keys::KeyList;
pub use crate::api_types::api_keys::KeyView;
pub use crate::api_types::attention::Attention;
pub use crate::api_types::attention::Topic;
pub use crate::api_types::attention::attention;
pub use crate::api_types::doctor::DoctorReport;
pub use crate::api_types::doctor::Finding;
pub use crate::api_types::doctor::FindingStatus;
pub use crate::api_types::notices::DailyRefreshes;
pub use crate::api_types::notices::HistoryItem;
pub use crate::api_types::notices::HistoryList;
pub use crate::api_types::notices::NoticeCounts;
pub use crate::api_types::notices::NoticeDelivery;
pub use crate::api_types::notices::NoticeItem;
pub use crate::api_types::notices::NoticeList;
pub use crate::api_types::notices::NoticePerson;
pub use crate::api_types::notices::NoticeResent;
pub use crate::api_types::notices::NoticeSink;
pub use crate::api_types::notices::NoticeTest;
pub use crate::api_types::notices::NoticeTestRequest;
pub use crate::api_types::notices::NoticeTests;
pub use crate::api_types::status::BacklogView;
pub use crate::api_types::status::BreakerView;
pub use crate::api_types::status::CertificateView;
pub use crate::api_types::status::RefreshLimitsView;
pub use crate::api_types::status::StateTally;
pub use crate::api_types::status::Status;

/// A person and the state of the grant, without tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonView {
    /// Webex's id of the person.
    pub person_id: String,
    /// The e-mail address, in lower case.
    pub email: Option<String>,
    /// The name that Webex reports.
    pub display_name: Option<String>,
    /// Webex's id of the organization.
    pub org_id: Option<String>,
    /// `fresh`, `due`, `retrying` or `consent_needed`.
    pub state: String,
    /// The granted scopes, separated by spaces.
    pub scope: Option<String>,
    /// The configured scopes that this grant lacks; the person grants them by a new consent.
    pub missing_scopes: Vec<String>,
    /// When the person consented.
    pub obtained_at: String,
    /// When the access token last changed.
    pub renewed_at: String,
    /// When the access token expires.
    pub expires_at: String,
    /// When the refresh token expires, as last reported by Webex; null once Webex has rejected it.
    pub refresh_token_expires_at: Option<String>,
    /// Whether refreshes move that date: false where it comes nearer with every day; null where no refresh has shown it yet.
    #[serde(default)]
    pub refresh_token_end_moves: Option<bool>,
    /// When the event loop will next refresh it; null: only on request.
    pub next_refresh_at: Option<String>,
    /// When it was last refreshed, or a refresh was tried.
    pub last_attempt_at: String,
    /// The outcome of that attempt: `renewed`, `unchanged`, `consent_needed`, `client_refused`,
    /// `token_limit`, `busy`, `transient`.
    pub last_outcome: String,
    /// The number of consecutive failures.
    pub failures: u32,
    /// Where the person consents again.
    pub consent_url: String,
}

/// A page of the list of persons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct People {
    /// Ordered by first consent; with `state`, ordered by next refresh.
    pub people: Vec<PersonView>,
    /// Pass it as `after` for the next page; null on the last page.
    pub next: Option<String>,
    /// True if exactly one person is stored and it is the first one that this store has ever held: then
    /// commands may omit the person. False in any other list, and for a key that is limited to some persons.
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
    /// Remaining lifetime in seconds.
    pub expires_in: u64,
    /// When the token expires.
    pub expires_at: String,
    /// Webex's id of the token's owner.
    pub person_id: String,
    /// The e-mail address of the token's owner.
    pub email: Option<String>,
    /// The granted scopes, separated by spaces.
    pub scope: Option<String>,
    /// A warning that the token lives less long than requested; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Hides the token, so that it cannot be logged by accident.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("person_id", &self.person_id).finish_non_exhaustive()
    }
}

/// A live access token in the format of the token service sample, without the refresh token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Always 1.
    pub id: u32,
    /// The organization's id, taken from the end of the token if it is there.
    pub org_id: String,
    /// The cluster's id, taken from the end of the token.
    pub cluster_id: Option<String>,
    /// The whole bearer token.
    pub access_token: String,
    /// Remaining lifetime of the access token in seconds.
    pub expires_in: u64,
    /// Remaining lifetime of the refresh token in seconds.
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

/// The request for a refresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// Refresh even if the token was renewed within the no-op window.
    #[serde(default)]
    pub force: bool,
    /// Set this if a program refreshes many persons: refreshes that readers wait for then go first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bulk: bool,
}

/// The result of a refresh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// `renewed`, `unchanged`, `skipped` or `failed`.
    pub outcome: String,
    /// An explanation, if there is one.
    pub detail: Option<String>,
    /// The person after the refresh.
    pub person: PersonView,
}

/// What one rule says about a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleReport {
    /// `survival`, `age`, `noop_window`, `floor`, `retry`, `breaker` or `standing`.
    pub rule: String,
    /// Whether the rule requires a refresh now (`true`), forbids one now (`false`), or does not apply (null).
    pub refresh: Option<bool>,
    /// When this changes without further events.
    pub at: Option<String>,
    /// The explanation, as a sentence.
    pub says: String,
}

/// The explanation of when and why a person is refreshed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The person.
    pub person: PersonView,
    /// What each rule says.
    pub rules: Vec<RuleReport>,
    /// The details of the last attempt's outcome.
    pub last_detail: Option<String>,
    /// When the next refresh is due; null: only on request.
    pub next_refresh_at: Option<String>,
    /// How many due refreshes are sent before it, as an estimate; null if it is not due, or if there is no backlog.
    #[serde(default)]
    pub place: Option<u64>,
    /// When it is sent, as an estimate; null where `place` is, or while the rate is unknown.
    #[serde(default)]
    pub turn_at: Option<String>,
    /// The conclusion, as a sentence.
    pub summary: String,
}

/// The forecast for one person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Webex's id of the person.
    pub person_id: String,
    /// The e-mail address, in lower case.
    pub email: Option<String>,
    /// See [`PersonView::state`].
    pub state: String,
    /// When the next refresh is due; null: not within the period.
    pub next_refresh_at: Option<String>,
    /// The estimated number of refreshes within the period.
    pub refreshes: u32,
    /// The estimated seconds between two of them; null: there is at most one.
    #[serde(default)]
    pub interval_seconds: Option<u64>,
    /// When the person must consent again; null: not within the period, or refreshes extend the consent. If Webex has not answered
    /// for a week, a consent that refreshes extend has a date, too.
    pub consent_by: Option<String>,
}

/// A forecast of refreshes and consents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The length of the period in days, from now.
    pub days: u32,
    /// Ordered by first consent.
    pub people: Vec<Planned>,
    /// Pass it as `after` for the next page; null on the last page.
    pub next: Option<String>,
}

/// The request to start a login.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// Preselects this account at Webex.
    #[serde(default)]
    pub email: Option<String>,
    /// Use the device grant (RFC 8628) instead of a browser on this machine.
    #[serde(default)]
    pub device: bool,
}

/// A started login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartedLogin {
    /// The login's id.
    pub id: String,
    /// The URL that the person opens.
    pub url: String,
    /// The code that the person enters there, with the device grant.
    pub user_code: Option<String>,
    /// The same URL with the code in it, for a QR code.
    pub complete_url: Option<String>,
    /// Seconds until the login expires.
    pub expires_in: u64,
}

/// The state of a login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginStatus {
    /// `pending`, `granted` or `failed`.
    pub state: String,
    /// Why it failed.
    pub detail: Option<String>,
    /// The person who consented.
    pub person: Option<PersonView>,
}

/// The request to import a grant of another program.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportBody {
    /// The grant's refresh token. A grant without one cannot be imported.
    #[serde(default)]
    pub refresh_token: Option<String>,
    /// The grant's access token. Without a refresh token, it only serves to explain what kind of token it is.
    #[serde(default)]
    pub access_token: Option<String>,
    /// Replace the stored grant even if that is active and has every scope of this one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
}

impl std::fmt::Debug for ImportBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ImportAsked([redacted])")
    }
}

/// The result of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// `new`, `replaced`, `kept` (the stored grant is active and has every scope of this one, so it stays),
    /// `older` (the stored grant is newer, so it stays), `refused` (it cannot be refreshed) or `failed` (it
    /// may be tried again).
    pub outcome: String,
    /// An explanation, if there is one.
    pub detail: Option<String>,
    /// The owner of the grant.
    pub person: Option<PersonView>,
    /// Seconds for which Webex asks for no further import.
    pub retry_after: Option<u64>,
}

/// A person whose grant was removed, in the event stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Webex's id of the person.
    pub person_id: String,
}

/// The request to remove the grants of many persons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemovalRequest {
    /// Person ids or e-mail addresses, 1 to 200.
    pub persons: Vec<String>,
    /// Remove only grants in this state, as [`PersonView::state`]. Omitted or null: in any state.
    #[serde(default)]
    pub state: Option<String>,
}

/// What came of the removal of one person's grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovalResult {
    /// The person as in the request.
    pub person: String,
    /// `forgotten`, `kept` (the grant is in another state), `unknown` (no grant is stored) or `ambiguous` (several persons
    /// share the address).
    pub outcome: String,
}

/// What came of a removal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovalResults {
    /// In the order of the request.
    pub results: Vec<RemovalResult>,
}

/// A one-time link to the dashboard.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DashboardLink {
    /// The URL to open in a browser; it is useless without the code.
    pub url: String,
    /// Six digits, to be entered there.
    pub code: String,
    /// When the link expires.
    pub expires_at: String,
}

impl std::fmt::Debug for DashboardLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DashboardLink").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// An error response (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemDetails {
    /// Always `about:blank`: the title is sufficient.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short summary.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was found, what was expected, and the remedy.
    pub detail: String,
    /// A code for programs: `unauthorized`, `forbidden`, `unknown_person`, `ambiguous_person`,
    /// `consent_needed`, `bad_request`, `too_many_requests`, `webex_unavailable`, `webex_refused`,
    /// `not_found`, `method_not_allowed`, `taken`, `store_unavailable`, `internal`.
    pub code: String,
    /// Where the person consents again; only with `consent_needed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent_url: Option<String>,
    /// The ids of the persons who share the address; only with `ambiguous_person`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persons: Option<Vec<String>>,
}
