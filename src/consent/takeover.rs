//! Taking over grants that another program kept: refreshed once, to learn whose they are and how long they live.
//!
//! What is there stays if it does all that the grant taken over could do; else a grant that Webex has just renewed is as
//! good as a new consent, and takes its place.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use crate::consent::Consents;
use crate::consent::finish::wait_for_all;
use crate::domain::exchanges::asked_wait;
use crate::domain::exchanges::bounded;
use crate::domain::grant::Tokens;
use crate::domain::person::Person;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Issued;
use crate::domain::verdict::Verdict;
use crate::store::Saved;
use crate::webex::Kind;
use crate::webex::Unknown;

/// JWT-shaped tokens have some 2 kB.
const LONGEST: usize = 8 * 1024;

/// Replaced refresh tokens that are remembered until they are kept.
const MOST_HELD: usize = 256;

/// What another program kept of a grant.
#[derive(Clone, Debug, Default)]
pub struct Offered {
    /// What can be kept alive.
    pub refresh_token: Option<Secret>,
    /// Beside a refresh token: asked about before the refresh. Alone: only to say why it cannot be kept.
    pub access_token: Option<Secret>,
    /// Whether it takes the place of what is there in any case.
    pub replace: bool,
}

/// A grant that was taken over.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Whose it is.
    pub person: Person,
    /// Whether the person was known before.
    pub saved: Saved,
}

impl Taken {
    /// What became of it, in a word: `new`, `replaced` (it took an older one's place), `kept` (what is there does all that
    /// it could do, and stays) or `older` (a newer one stays).
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self.saved {
            Saved::New => "new",
            Saved::Replaced => "replaced",
            Saved::Older => "older",
            Saved::Kept => "kept",
        }
    }

    /// Why it gave way to what is there, if it did.
    #[must_use]
    pub fn gave_way(&self) -> Option<&'static str> {
        match self.saved {
            Saved::New | Saved::Replaced => None,
            Saved::Older => Some("a newer grant of this person stays"),
            Saved::Kept => Some(
                "the grant that is there is alive and has every scope of this one; to put this one in its place, import it \
                 with --replace (API: \"replace\": true)",
            ),
        }
    }
}

/// Why a grant was not taken over. Nothing was changed in the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TakeOverError {
    /// It cannot be kept alive. The text says why and what to do.
    #[error("{0}")]
    Refused(String),
    /// It may go better later: the same may be offered again.
    #[error("{0}")]
    Failed(String),
    /// The same, and Webex asks that nothing else be offered before.
    #[error("{why}")]
    Busy {
        /// Fit for people.
        why: String,
        /// For how long, at least a second.
        wait: Duration,
    },
}

impl TakeOverError {
    /// It may go better later; after `wait`, if Webex asks for one.
    fn later(why: String, wait: Option<Duration>) -> Self {
        match wait {
            Some(wait) => Self::Busy { why, wait },
            None => Self::Failed(why),
        }
    }
}

impl Consents {
    /// Takes a grant over. Must run to its end even if the caller leaves: a refresh token may work only once.
    ///
    /// # Errors
    /// [`TakeOverError`] says whether it may be offered again.
    pub async fn take_over(&self, offered: Offered) -> Result<Taken, TakeOverError> {
        let replace = offered.replace;
        let refresh_token = clean(offered.refresh_token, "refresh token")?;
        let access_token = clean(offered.access_token, "access token")?;
        match (refresh_token, access_token) {
            (Some(refresh_token), access_token) => self.take(refresh_token, access_token, replace).await,
            (None, Some(access_token)) => Err(self.not_without_refresh_token(&access_token).await),
            (None, None) => Err(TakeOverError::Refused("there is no token in it".to_owned())),
        }
    }

    async fn take(
        &self,
        offered: Secret,
        access_token: Option<Secret>,
        replace: bool,
    ) -> Result<Taken, TakeOverError> {
        if let Some(access_token) = access_token {
            self.ask_before(&access_token).await?;
        }
        // A try that broke off after its refresh may have left us with the successor.
        let refresh_token = self.held.successor_of(&offered).unwrap_or_else(|| offered.clone());
        let (mut issued, sent_at) = self.refreshed(&refresh_token).await?;
        let newest = issued.refresh_token.get_or_insert_with(|| refresh_token.clone()).clone();
        let replaced = newest != offered;
        if replaced {
            self.held.hold(&offered, newest);
        }
        let owner = self.whose(&issued.access_token).await.map_err(|unknown| nobody(&unknown, replaced))?;
        let person = owner.person;
        let tokens = Tokens::first(issued, sent_at)
            .ok_or_else(|| TakeOverError::Failed("the answer has no refresh token".to_owned()))?;
        // The stored grant may be the offered one, whose refresh token Webex has just replaced.
        let stored = self.store.find(person.id.clone()).await.ok().flatten();
        let is_stored = replaced && stored.is_some_and(|stored| stored.tokens.refresh_token == offered);
        let save = |grant| {
            if replace || is_stored { self.store.save_consent(grant) } else { self.store.save_import(grant) }
        };
        let saved = self.save_by(person.clone(), tokens, sent_at, save).await.map_err(|error| {
            log::error!("{person}: a grant to take over could not be kept: {error}");
            TakeOverError::Failed("the grant could not be kept; the daemon's log says why".to_owned())
        })?;
        // One that gave way may be offered again, to replace what is there.
        if saved != Saved::Kept {
            self.held.release(&offered);
        }
        match saved {
            Saved::Kept => {
                log::info!("{person}: the imported grant was put aside, the stored one can do as much")
            }
            Saved::New | Saved::Replaced | Saved::Older => {
                log::info!("{person}: grant taken over ({saved:?})")
            }
        }
        Ok(Taken { person, saved })
    }

    /// Where refresh tokens are replaced, a refresh whose owner cannot be learned would cost the grant. So what can be
    /// known before is asked before; an access token that is dead already says nothing.
    async fn ask_before(&self, access_token: &Secret) -> Result<(), TakeOverError> {
        match self.whose(access_token).await {
            Ok(_) => Ok(()),
            Err(unknown) if unknown.is_dead() => Ok(()),
            Err(unknown) => Err(nobody(&unknown, false)),
        }
    }

    async fn refreshed(&self, refresh_token: &Secret) -> Result<(Issued, UnixTime), TakeOverError> {
        let reply = self.webex.refresh(refresh_token).await;
        let asked = reply.retry_after;
        let held = Tokens {
            access_token: Secret::new(String::new()),
            refresh_token: refresh_token.clone(),
            token_type: "Bearer".to_owned(),
            scope: None,
            expires_at: reply.sent_at,
            refresh_token_expires_at: None,
        };
        let verdict = Verdict::of(reply.fact, &held);
        let detail = verdict.detail();
        let error = match &verdict {
            Verdict::Renewed(issued) | Verdict::Unchanged(issued) => {
                return Ok((issued.clone(), reply.sent_at));
            }
            Verdict::ConsentNeeded(_) | Verdict::Refused(_) => TakeOverError::Refused(format!(
                "Webex does not renew this refresh token: it has ended, or was issued to another client id ({detail}); \
                 let the person consent here"
            )),
            Verdict::ClientRefused(_) => TakeOverError::Refused(format!(
                "Webex does not accept this integration for it ({detail}): it was issued to another client id, or \
                 MY_APP_CLIENT_ID and MY_APP_SECRET_ID do not fit together"
            )),
            Verdict::TokenLimit => TakeOverError::Failed(detail.to_owned()),
            // 423 is about one account.
            Verdict::Locked(_) => TakeOverError::Failed(not_now(detail)),
            Verdict::Busy(_) => TakeOverError::later(not_now(detail), asked_wait(429, asked)),
            Verdict::Transient(_) => TakeOverError::later(not_now(detail), asked.map(bounded)),
        };
        Err(error)
    }

    async fn not_without_refresh_token(&self, access_token: &Secret) -> TakeOverError {
        let text = match self.whose(access_token).await {
            Ok(owner) => match owner.kind {
                Kind::Bot => "a bot's token never expires and cannot be refreshed: use it as it is",
                Kind::Guest => {
                    "a guest's token cannot be refreshed: the application that made it must make another"
                }
                Kind::Person => {
                    "an access token alone cannot be refreshed (a personal access token ends after 12 hours): let the \
                     person consent here, or offer the refresh token"
                }
            },
            Err(unknown) if unknown.is_dead() => {
                "Webex does not accept this access token any more, and there is no refresh token: let the person \
                 consent here"
            }
            Err(unknown) => return nobody(&unknown, false),
        };
        TakeOverError::Refused(text.to_owned())
    }
}

/// What people paste: with `Bearer ` before it, with white space around it. An empty text is none.
fn clean(offered: Option<Secret>, name: &str) -> Result<Option<Secret>, TakeOverError> {
    let Some(offered) = offered else { return Ok(None) };
    let text = offered.expose().trim();
    let token = match text.split_once(char::is_whitespace) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_start(),
        _ => text,
    };
    if token.is_empty() || token.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let refuse = |why: &str| Err(TakeOverError::Refused(format!("the {name} {why}")));
    if token.len() > LONGEST {
        return refuse("is longer than 8 KiB: this is no token of Webex's");
    }
    if token.contains(char::is_whitespace) {
        return refuse("has white space inside: it was copied with something else, or broken into lines");
    }
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return refuse("has characters that no token has: it was not copied as it is");
    }
    Ok(Some(Secret::new(token.to_owned())))
}

fn not_now(detail: &str) -> String {
    format!("Webex did not renew it now: {detail}")
}

/// `people/me` gave nobody.
fn nobody(unknown: &Unknown, replaced: bool) -> TakeOverError {
    let why = &unknown.why;
    let lost = if replaced {
        "; Webex has replaced the refresh token meanwhile: offer it again before the daemon ends"
    } else {
        ""
    };
    if unknown.transient {
        let why = format!("Webex does not say now whose it is: {why}{lost}");
        return TakeOverError::later(why, wait_for_all(unknown.status, unknown.retry_after));
    }
    TakeOverError::Refused(format!(
        "Webex does not say whose it is: {why}; the grant needs the scope spark:people_read or spark:all{lost}"
    ))
}

/// Refresh tokens that Webex has replaced, by the ones that were offered, until they are kept. In memory: they are
/// nobody's yet.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<VecDeque<(Secret, Secret)>>);

impl Held {
    fn successor_of(&self, offered: &Secret) -> Option<Secret> {
        self.all().iter().find(|(key, _)| key == offered).map(|(_, successor)| successor.clone())
    }

    fn hold(&self, offered: &Secret, successor: Secret) {
        self.release(offered);
        let mut all = self.all();
        if all.len() >= MOST_HELD {
            all.pop_front();
        }
        all.push_back((offered.clone(), successor));
    }

    fn release(&self, offered: &Secret) {
        self.all().retain(|(key, _)| key != offered);
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<(Secret, Secret)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &str) -> Result<Option<String>, TakeOverError> {
        let token = clean(Some(Secret::new(text.to_owned())), "refresh token")?;
        Ok(token.map(|token| token.expose().to_owned()))
    }

    #[test]
    fn what_people_paste_is_cleaned() {
        for text in ["abc", " abc\n", "Bearer abc", "\tbearer   abc ", "BEARER\nabc"] {
            assert_eq!(cleaned(text), Ok(Some("abc".to_owned())), "{text:?}");
        }
        for text in ["", "  ", "Bearer", "Bearer  \n"] {
            assert_eq!(cleaned(text), Ok(None), "{text:?}");
        }
        for text in ["a b", "Bearer a b", "a\nb", "caf\u{e9}", "a\u{0}b", &"a".repeat(LONGEST + 1)] {
            let error = cleaned(text).unwrap_err();
            assert!(matches!(&error, TakeOverError::Refused(_)), "{text:?}");
            assert!(!error.to_string().contains("a b"), "no part of it is told");
        }
    }

    #[test]
    fn held_tokens_are_bounded() {
        let (held, secret) = (Held::default(), |n: usize| Secret::new(n.to_string()));
        for n in 0..=MOST_HELD {
            held.hold(&secret(n), secret(n + 1));
        }
        assert_eq!(held.successor_of(&secret(0)), None);
        assert_eq!(held.successor_of(&secret(MOST_HELD)), Some(secret(MOST_HELD + 1)));
    }
}
