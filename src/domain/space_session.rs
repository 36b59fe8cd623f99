//! The sealed session of a browser that may see the space widget with a person's token.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::person::PersonId;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;

/// How long a browser may see the space after a consent in it.
pub const SPACE_SESSION_TTL: Duration = Duration::from_secs(3600);

/// A session for the space. The browser stores it sealed in a cookie after a consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceSession {
    person: PersonId,
    /// When the person consented. It identifies the consent.
    consented_at: UnixTime,
    deadline: UnixTime,
    /// The part of the path that a request needs besides the cookie. Browsers send a cookie to all ports of a host, so the
    /// cookie alone grants no access.
    part: Secret,
}

impl SpaceSession {
    /// A session of `person` after the consent at `consented_at`. Its path ends in 32 random bytes. It is valid for
    /// [`SPACE_SESSION_TTL`].
    #[must_use]
    pub fn new(person: PersonId, consented_at: UnixTime, part: [u8; 32], now: UnixTime) -> Self {
        let part = Secret::new(URL_SAFE_NO_PAD.encode(part));
        Self { person, consented_at, deadline: now + SPACE_SESSION_TTL, part }
    }

    /// The random part of the path: 43 characters.
    #[must_use]
    pub fn part(&self) -> &Secret {
        &self.part
    }

    /// The person whose token the page uses.
    #[must_use]
    pub fn person(&self) -> &PersonId {
        &self.person
    }

    /// Whether the session is valid at `now`. `obtained_at` is when the stored grant was obtained: a newer consent ends the
    /// sessions of an older one.
    #[must_use]
    pub fn holds(&self, obtained_at: UnixTime, now: UnixTime) -> bool {
        self.consented_at == obtained_at && now <= self.deadline && self.deadline <= now + SPACE_SESSION_TTL
    }

    /// Encodes the session as one line of text, to be sealed.
    #[must_use]
    pub fn to_text(&self) -> Secret {
        let (consented_at, deadline) = (self.consented_at.0, self.deadline.0);
        Secret::new(format!("{} {consented_at} {deadline} {}", self.person, self.part.expose()))
    }

    /// Decodes the output of [`SpaceSession::to_text`]. Returns `None` for anything else.
    #[must_use]
    pub fn from_text(text: &Secret) -> Option<Self> {
        let mut parts = text.expose().split(' ');
        let person = PersonId::parse(parts.next()?).ok()?;
        let consented_at = UnixTime(parts.next()?.parse().ok()?);
        let deadline = UnixTime(parts.next()?.parse().ok()?);
        let part = Secret::new(parts.next()?.to_owned());
        parts.next().is_none().then_some(Self { person, consented_at, deadline, part })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_700_000_000_000);
    const THEN: UnixTime = UnixTime(1_699_999_999_000);
    const MOMENT: Duration = Duration::from_millis(1);

    fn visit() -> SpaceSession {
        SpaceSession::new(PersonId::parse("Y2lz1").unwrap(), THEN, [7; 32], NOW)
    }

    #[test]
    fn a_space_session_is_valid_for_its_consent_until_its_deadline() {
        assert!(visit().holds(THEN, NOW) && visit().holds(THEN, NOW + SPACE_SESSION_TTL));
        assert!(!visit().holds(THEN, NOW + SPACE_SESSION_TTL + MOMENT));
        assert!(!visit().holds(THEN + MOMENT, NOW), "a newer consent");
        assert!(!visit().holds(THEN, NOW - MOMENT), "made while the clock was ahead");
    }

    #[test]
    fn a_space_session_round_trips_through_its_text() {
        assert_eq!(SpaceSession::from_text(&visit().to_text()), Some(visit()));
        for bad in ["", "a", "a 1", "a b 1", "a 1 b", "a 1 2", "a 1 2 x y", " 1 2 x"] {
            assert_eq!(SpaceSession::from_text(&Secret::new(bad.to_owned())), None, "{bad:?}");
        }
    }
}
