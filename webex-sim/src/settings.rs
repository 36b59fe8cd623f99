//! Every way in which this simulated Webex may differ from another one.

use std::time::Duration;

use crate::people::Person;

const DAY: Duration = Duration::from_secs(86_400);

/// How the simulated Webex behaves. Start from [`Settings::default`] and change fields.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The integration's client id.
    pub client_id: String,
    /// The integration's client secret.
    pub client_secret: String,
    /// Registered redirect URIs, compared as text. Empty: any `http` or `https` URI on loopback.
    pub redirect_uris: Vec<String>,
    /// Life of an access token.
    pub access_lifetime: Duration,
    /// Life of a refresh token.
    pub refresh_lifetime: Duration,
    /// Within this time after the last mint for a refresh token, a refresh answers with the same access token
    /// (if it still lives) and what is left of its life. Zero: off.
    pub noop_window: Duration,
    /// Whether a refresh changes the refresh token.
    pub refresh_token: RefreshToken,
    /// Whether a refresh renews the life of the refresh token.
    pub refresh_life: RefreshLife,
    /// How much shorter than `refresh_lifetime` the first refresh life after a consent is.
    pub first_refresh_life_short_by: Duration,
    /// A person who consents again gets the refresh token that already runs, under a new access token.
    pub reconsent_keeps_refresh_token: bool,
    /// Leave `scope` out of token answers.
    pub omit_scope: bool,
    /// Leave `refresh_token` and its life out of answers to a refresh.
    pub omit_refresh_token: bool,
    /// The shape of JSON errors at the OAuth endpoints. `/people/me` and its like always speak [`ErrorBody::Webexapis`].
    pub error_body: ErrorBody,
    /// What access tokens look like. Refresh tokens and codes are always opaque.
    pub token_shape: TokenShape,
    /// The middle part of an opaque token.
    pub cluster: String,
    /// Whether the older access tokens of a refresh token outlive a refresh, until their own expiry.
    pub old_token_survives: bool,
    /// Life of an authorization code. Webex's own is not known; 5 minutes is our guess.
    pub code_lifetime: Duration,
    /// Living access tokens one person may have; the next one is refused with `tokenlimit_reached`.
    pub token_limit: usize,
    /// Time between a call and its answer, at every endpoint below `/v1`.
    pub latency: Duration,
    /// What happens at `/authorize`.
    pub consent: Consent,
    /// Life of a device code.
    pub device_lifetime: Duration,
    /// Polls of a device code that come faster than this are told `slow_down`.
    pub device_interval: Duration,
    /// What `people/me` says of people's pictures.
    pub avatar: Avatar,
    /// The token of the bot that may add people to the space.
    pub bot_token: String,
    /// The one space there is.
    pub space_id: String,
    /// Who can consent. Called by index everywhere.
    pub people: Vec<Person>,
    /// Tokens are a function of this and of how many were made before.
    pub seed: u64,
    /// Where the device grant sends people; empty: filled in by [`Sim`](crate::Sim) at start.
    pub base_url: String,
}

/// Whether a refresh changes the refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshToken {
    /// It stays the same: what Webex was seen to do.
    Stable,
    /// A new one at every mint; the old one dies at once.
    Rotating,
    /// A new one at every mint; for this long the old one is answered with the newest tokens.
    RotatingWithGrace(Duration),
}

/// Whether a refresh renews the life of the refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshLife {
    /// Every mint starts it anew.
    Renewed,
    /// It runs from the consent on.
    CountsDown,
}

/// The two JSON shapes of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorBody {
    /// `{"message", "errors": [{"description"}], "trackingId"}`
    Webexapis,
    /// `{"error", "error_description", "trackingID"}`
    Idbroker,
}

/// What access tokens look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenShape {
    /// 64 characters, `_`, the cluster, `_`, the id of the organization.
    Opaque,
    /// `eyJ…`, longer than 2 kB. The signature is noise.
    Jwt,
}

/// What `people/me` says of people's pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Avatar {
    /// The simulator's own picture.
    Here,
    /// This address, whosever it is.
    At(String),
    /// Nothing.
    None,
}

/// What happens at `/authorize`. Numbers are indices into [`Settings::people`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// A page asks.
    Ask,
    /// This person accepts at once, whatever `login_hint` says.
    AcceptAs(usize),
    /// The person named by `login_hint` accepts at once; without one, this person.
    AcceptHinted(usize),
    /// The person named by `login_hint` accepts at once; without one, the next person in turn: for load.
    AcceptInTurn,
    /// Redirects back at once with `access_denied`.
    Decline,
    /// Redirects back at once with this `error`.
    Refuse(String),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            client_id: "C5115c0de00000000000000000000000000000000000000000000000000051155".to_owned(),
            client_secret: "51155ec2e7000000000000000000000000000000000000000000000000511555".to_owned(),
            redirect_uris: Vec::new(),
            access_lifetime: 14 * DAY,
            refresh_lifetime: 90 * DAY,
            noop_window: DAY,
            refresh_token: RefreshToken::Stable,
            refresh_life: RefreshLife::Renewed,
            first_refresh_life_short_by: Duration::ZERO,
            reconsent_keeps_refresh_token: false,
            omit_scope: false,
            omit_refresh_token: false,
            error_body: ErrorBody::Webexapis,
            token_shape: TokenShape::Opaque,
            cluster: "PF84".to_owned(),
            old_token_survives: true,
            code_lifetime: Duration::from_secs(300),
            token_limit: 750,
            latency: Duration::ZERO,
            consent: Consent::Ask,
            device_lifetime: Duration::from_secs(300),
            device_interval: Duration::from_secs(2),
            avatar: Avatar::Here,
            bot_token: "b07c0de51155000000000000000000000000000000000000000000000000b07_PF84".to_owned(),
            space_id: "Y2lzY29zcGFyazovL3VzL1JPT00vNTExNTVmZGYtOTY0My00MTdmLTk5NzQtYWQ3MmNhZTBlMTBm"
                .to_owned(),
            people: Person::some(6),
            seed: 0,
            base_url: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    #[test]
    fn the_client_id_is_shaped_like_a_real_one() {
        let id = Settings::default().client_id;
        assert_eq!(id.len(), 65);
        assert!(id.starts_with('C') && id.chars().skip(1).all(|c| c.is_ascii_hexdigit()));
    }
}
