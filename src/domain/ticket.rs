//! A consent in progress: the values that the browser must return unchanged, and their deadline.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;

/// How long a person may take to sign in and consent at Webex.
pub const TICKET_TTL: Duration = Duration::from_secs(15 * 60);

/// Identifies a login that a client waits for. A person who knows the id can complete the login, so it is unguessable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoginId(String);

impl LoginId {
    /// Makes an id from 16 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Parses an id made by [`LoginId::new`]. Returns `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == 16).then(|| Self(text.to_owned()))
    }

    /// The id as 22 characters that are safe in a URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LoginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The `state` (RFC 6749, 10.12) and the PKCE verifier (RFC 7636) of one consent, its deadline, and the login that
/// waits for it, if any.
#[derive(Clone, Debug)]
pub struct Ticket {
    state: Secret,
    verifier: Secret,
    deadline: UnixTime,
    login: Option<LoginId>,
}

impl Ticket {
    /// Makes a ticket from 32 random bytes for each of its two secrets. It is valid for [`TICKET_TTL`].
    #[must_use]
    pub fn new(state: [u8; 32], verifier: [u8; 32], now: UnixTime) -> Self {
        let text = |bytes: [u8; 32]| Secret::new(URL_SAFE_NO_PAD.encode(bytes));
        Self { state: text(state), verifier: text(verifier), deadline: now + TICKET_TTL, login: None }
    }

    /// The same ticket, with the login that waits for it.
    #[must_use]
    pub fn for_login(self, login: LoginId) -> Self {
        Self { login: Some(login), ..self }
    }

    /// The login that waits for this consent.
    #[must_use]
    pub fn login(&self) -> Option<&LoginId> {
        self.login.as_ref()
    }

    /// The `state` parameter: 43 characters.
    #[must_use]
    pub fn state(&self) -> &Secret {
        &self.state
    }

    /// The verifier for the exchange: 43 characters, the minimum of RFC 7636.
    #[must_use]
    pub fn verifier(&self) -> &Secret {
        &self.verifier
    }

    /// The `code_challenge` for the method `S256`.
    #[must_use]
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, self.verifier.expose().as_bytes()))
    }

    /// Whether `state` belongs to this ticket and its deadline has not passed. Compares in constant time. A deadline further
    /// away than [`TICKET_TTL`] was set while the clock was ahead, and is rejected.
    #[must_use]
    pub fn admits(&self, state: &Secret, now: UnixTime) -> bool {
        *state == self.state && now <= self.deadline && self.deadline <= now + TICKET_TTL
    }

    /// The time after which the ticket is rejected.
    #[must_use]
    pub fn deadline(&self) -> UnixTime {
        self.deadline
    }

    /// Encodes the ticket as one line of text, to be sealed.
    #[must_use]
    pub fn to_text(&self) -> Secret {
        let (state, verifier) = (self.state.expose(), self.verifier.expose());
        let login = self.login.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
        Secret::new(format!("{state} {verifier} {}{login}", self.deadline.0))
    }

    /// Decodes the output of [`Ticket::to_text`]. Returns `None` for anything else.
    #[must_use]
    pub fn from_text(text: &Secret) -> Option<Self> {
        let mut parts = text.expose().split(' ');
        let mut part = || parts.next().map(|p| Secret::new(p.to_owned()));
        let (state, verifier) = (part()?, part()?);
        let deadline = UnixTime(parts.next()?.parse().ok()?);
        let login = match parts.next() {
            Some(text) => Some(LoginId::parse(text)?),
            None => None,
        };
        parts.next().is_none().then_some(Self { state, verifier, deadline, login })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_700_000_000_000);

    #[test]
    fn the_challenge_matches_the_example_of_rfc_7636() {
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned());
        let ticket = Ticket { state: verifier.clone(), verifier, deadline: NOW, login: None };
        assert_eq!(ticket.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_ticket_admits_its_own_state_until_its_deadline() {
        let ticket = Ticket::new([1; 32], [2; 32], NOW);
        let other = Ticket::new([3; 32], [2; 32], NOW);
        assert!(ticket.admits(ticket.state(), NOW));
        assert!(ticket.admits(ticket.state(), NOW + TICKET_TTL));
        assert!(!ticket.admits(ticket.state(), NOW + TICKET_TTL + Duration::from_millis(1)));
        assert!(!ticket.admits(other.state(), NOW));
        assert!(
            !ticket.admits(ticket.state(), NOW - Duration::from_secs(60)),
            "made while the clock was ahead"
        );
    }

    #[test]
    fn a_ticket_round_trips_through_its_text() {
        let ticket = Ticket::new([1; 32], [2; 32], NOW);
        let back = Ticket::from_text(&ticket.to_text()).unwrap();
        assert_eq!(back.to_text(), ticket.to_text());
        let login = LoginId::new([4; 16]);
        let for_login = Ticket::new([1; 32], [2; 32], NOW).for_login(login.clone());
        assert_eq!(Ticket::from_text(&for_login.to_text()).unwrap().login(), Some(&login));
        let twice = format!("a b 1 {login} {login}");
        for bad in ["", "a b", "a b c", "a b 1 2", "a b 1 ", "a b 1 BAQEBAQEBAQEBAQEBAQEBAQ", &twice] {
            assert!(Ticket::from_text(&Secret::new(bad.to_owned())).is_none(), "{bad:?}");
        }
    }
}
