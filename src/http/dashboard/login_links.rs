//! One-time login links to the dashboard, for users of the control socket. The URL alone gives no access,
//! because it appears in browser histories, in logs of proxies and in the list of processes. A code that only
//! the terminal shows is required as well.

use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use parking_lot::MutexGuard;

use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;

/// Time for a browser to start and for six digits to be typed.
const LINK_TTL: Duration = Duration::from_secs(60);

/// Maximum number of pending links. More indicate a runaway script.
const MAX_LINKS: usize = 16;

/// Attempts at a link's code, of 1,000,000 possible codes.
const MAX_TRIES: u32 = 3;

/// A SHA-256 hash. It is stored instead of a secret that must only be recognized.
pub(in crate::http) type Hash = [u8; 32];

/// Links that have not been used yet.
#[derive(Default)]
pub(in crate::http) struct LoginLinks(Mutex<Vec<LinkEntry>>);

struct LinkEntry {
    id: Hash,
    code: Secret,
    ends: UnixTime,
    tries: u32,
}

/// A new link, with the only copy of its secrets.
pub(in crate::http) struct LoginLink {
    /// Part of the URL.
    pub(in crate::http) id: Secret,
    /// Shown in the terminal.
    pub(in crate::http) code: Secret,
    /// From then on it is invalid.
    pub(in crate::http) ends: UnixTime,
}

/// Why no link was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum LinkError {
    /// Too many links are pending.
    Crowded,
    /// The system gives no random bytes.
    NoRandom,
}

/// The result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Redeem {
    /// The code is right, and the link is used up.
    Right,
    /// The code is wrong, and may be typed again.
    Wrong,
    /// The link does not exist, or no longer.
    Gone,
}

impl LoginLinks {
    /// Creates a link.
    pub(in crate::http) fn create(&self, now: UnixTime) -> Result<LoginLink, LinkError> {
        let mut kept = self.alive(now);
        if kept.len() >= MAX_LINKS {
            return Err(LinkError::Crowded);
        }
        let id = random_token().ok_or(LinkError::NoRandom)?;
        let mut number = [0; 8];
        rand::fill(&mut number).map_err(|_| LinkError::NoRandom)?;
        let code = Secret::new(format!("{:06}", u64::from_be_bytes(number) % 1_000_000));
        let ends = now + LINK_TTL;
        kept.push(LinkEntry { id: sha256(id.expose()), code: code.clone(), ends, tries: MAX_TRIES });
        Ok(LoginLink { id, code, ends })
    }

    /// Whether the link exists, so that a code would be checked.
    pub(in crate::http) fn contains(&self, id: &str, now: UnixTime) -> bool {
        let id = sha256(id);
        self.alive(now).iter().any(|link| link.id == id)
    }

    /// Uses the link up, if `code` is its own.
    pub(in crate::http) fn redeem(&self, id: &str, code: &Secret, now: UnixTime) -> Redeem {
        let (id, mut kept) = (sha256(id), self.alive(now));
        let Some(at) = kept.iter().position(|link| link.id == id) else { return Redeem::Gone };
        let Some(link) = kept.get_mut(at) else { return Redeem::Gone };
        if link.code == *code {
            kept.swap_remove(at);
            return Redeem::Right;
        }
        link.tries -= 1;
        if link.tries > 0 {
            return Redeem::Wrong;
        }
        kept.swap_remove(at);
        Redeem::Gone
    }

    /// Removes expired links. A clock that was set back must not extend a link's life, so a link from the
    /// future is removed as well.
    fn alive(&self, now: UnixTime) -> MutexGuard<'_, Vec<LinkEntry>> {
        let mut kept = self.0.lock();
        kept.retain(|link| now < link.ends && link.ends.until(now) <= LINK_TTL);
        kept
    }
}

/// 256 random bits in base64url. `None` if the system gives no random bytes.
pub(in crate::http) fn random_token() -> Option<Secret> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).ok()?;
    Some(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

pub(in crate::http) fn sha256(text: &str) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_000_000_000);

    fn code(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn wrong(link: &LoginLink) -> Secret {
        code(if link.code.expose() == "000000" { "000001" } else { "000000" })
    }

    #[test]
    fn a_link_works_once_and_with_its_code_only() {
        let links = LoginLinks::default();
        let (link, other) = (links.create(NOW).ok().unwrap(), links.create(NOW).ok().unwrap());
        assert_eq!(link.code.expose().len(), 6);
        assert_eq!(links.redeem(link.id.expose(), &wrong(&link), NOW), Redeem::Wrong);
        assert_eq!(links.redeem(link.id.expose(), &link.code, NOW), Redeem::Right);
        assert_eq!(links.redeem(link.id.expose(), &link.code, NOW), Redeem::Gone);
        assert!(links.contains(other.id.expose(), NOW));
        assert!(!links.contains("", NOW));
    }

    #[test]
    fn the_third_wrong_code_ends_a_link() {
        let links = LoginLinks::default();
        let link = links.create(NOW).ok().unwrap();
        for expected in [Redeem::Wrong, Redeem::Wrong, Redeem::Gone] {
            assert_eq!(links.redeem(link.id.expose(), &wrong(&link), NOW), expected);
        }
        assert_eq!(links.redeem(link.id.expose(), &link.code, NOW), Redeem::Gone);
    }

    #[test]
    fn a_link_lives_for_a_minute_whatever_the_clock_does() {
        let links = LoginLinks::default();
        let link = links.create(NOW).ok().unwrap();
        assert!(links.contains(link.id.expose(), link.ends - Duration::from_millis(1)));
        assert!(!links.contains(link.id.expose(), link.ends));
        let link = links.create(NOW).ok().unwrap();
        assert!(!links.contains(link.id.expose(), NOW - Duration::from_secs(1)));
    }

    #[test]
    fn the_number_of_pending_links_is_limited() {
        let links = LoginLinks::default();
        for _ in 0..MAX_LINKS {
            assert!(links.create(NOW).is_ok());
        }
        assert_eq!(links.create(NOW).err(), Some(LinkError::Crowded));
        assert!(links.create(NOW + LINK_TTL).is_ok());
    }
}
