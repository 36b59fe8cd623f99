//! Imports grants of another program. Each is refreshed once, which shows its owner and its lifetimes.
//!
//! A stored grant stays if it is active and has every scope of the imported one. Otherwise the imported
//! grant, which Webex has just renewed, replaces it as a new consent would.

use std::time::Duration;

use crate::consent::finish::longest_wait;
use crate::consent::rotated_tokens::ImportBlocked;
use crate::consent::service::ConsentService;
use crate::domain::code_exchange_limits::asked_wait;
use crate::domain::code_exchange_limits::bounded;
use crate::domain::grant::GrantStatus;
use crate::domain::grant::Tokens;
use crate::domain::person::Person;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;
use crate::domain::verdict::TokenSet;
use crate::domain::verdict::Verdict;
use crate::store::ImportedToken;
use crate::store::Saved;
use crate::store::StoreError;
use crate::webex::OwnerKind;
use crate::webex::OwnerUnknown;

/// Maximum length of a token in bytes; JWT-shaped tokens have about 2 kB.
const MAX_TOKEN_LEN: usize = 8 * 1024;

/// The tokens of another program's grant.
#[derive(Clone, Debug, Default)]
pub struct ImportRequest {
    /// Required for an import.
    pub refresh_token: Option<Secret>,
    /// With a refresh token: used to check the owner before the refresh. Alone: used to explain why the grant
    /// cannot be imported.
    pub access_token: Option<Secret>,
    /// Whether to replace the stored grant in any case.
    pub replace: bool,
}

/// An imported grant.
#[derive(Clone, Debug)]
pub struct ImportedGrant {
    /// The owner of the grant.
    pub person: Person,
    /// Whether the person was stored before.
    pub saved: Saved,
}

impl ImportedGrant {
    /// The outcome: `new`, `replaced` (it replaced an older grant), `kept` (the stored grant has every scope
    /// of it, and stays) or `older` (the stored grant is newer, and stays).
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self.saved {
            Saved::New => "new",
            Saved::Replaced => "replaced",
            Saved::Older => "older",
            Saved::Kept => "kept",
        }
    }

    fn log(&self) {
        let person = &self.person;
        let event = match self.saved {
            Saved::New | Saved::Replaced => "grant imported",
            Saved::Kept => "the imported grant was not stored, because the stored one has all its scopes",
            Saved::Older => "the imported grant was not stored, because the stored one is newer",
        };
        log::info!(person = person.id.as_str(), outcome = self.as_str(); "{person}: {event}");
    }

    /// Why the stored grant stays, if it does.
    #[must_use]
    pub fn replaced_outcome(&self) -> Option<&'static str> {
        match self.saved {
            Saved::New | Saved::Replaced => None,
            Saved::Older => Some("the stored grant of this person is newer"),
            Saved::Kept => Some(
                "the stored grant is active and has every scope of this one; to replace it, import this one \
                 with --replace (API: \"replace\": true)",
            ),
        }
    }
}

/// Why a grant was not imported. The store was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The grant cannot be imported. The text says why, and what to do.
    #[error("{0}")]
    Refused(String),
    /// A temporary failure: the same grant may be imported later.
    #[error("{0}")]
    Failed(String),
    /// A temporary failure, and Webex asks for no further import before `wait` has passed.
    #[error("{why}")]
    Busy {
        /// An explanation for people.
        why: String,
        /// How long to wait, at least a second.
        wait: Duration,
        /// Whether a call of this import was answered with 429: calls come too fast. Other failures may ask
        /// to wait, too.
        rate_limited: bool,
    },
}

impl ImportError {
    /// A temporary failure after a response with this status; with `wait` if Webex asks to wait.
    fn retry_later(why: String, wait: Option<Duration>, status: Option<u16>) -> Self {
        match wait {
            Some(wait) => Self::Busy { why, wait, rate_limited: status == Some(429) },
            None => Self::Failed(why),
        }
    }
}

impl ConsentService {
    /// Imports a grant. Must run to its end even if the client disconnects, because a refresh token may work
    /// only once.
    ///
    /// # Errors
    /// [`ImportError`] says whether the same grant may be imported again.
    pub async fn import(&self, offered: ImportRequest) -> Result<ImportedGrant, ImportError> {
        let replace = offered.replace;
        let refresh_token = clean_token(offered.refresh_token, "refresh token")?;
        let access_token = clean_token(offered.access_token, "access token")?;
        match (refresh_token, access_token) {
            (Some(refresh_token), access_token) => {
                self.import_tokens(refresh_token, access_token, replace).await
            }
            (None, Some(access_token)) => Err(self.not_without_refresh_token(&access_token).await),
            (None, None) => Err(ImportError::Refused("there is no token".to_owned())),
        }
    }

    /// The grant that an earlier import of the same refresh token has stored, if it is still there and alive. Nothing is asked of
    /// Webex. `None` if the grant must be imported, or the store cannot tell.
    pub async fn imported_before(&self, offered: &ImportRequest) -> Option<ImportedGrant> {
        let refresh_token = clean_token(offered.refresh_token.clone(), "refresh token").ok().flatten()?;
        if offered.replace {
            return None;
        }
        let person = self.context.store.find_import(refresh_token.sha256()).await.ok().flatten()?;
        let grant = self.context.store.find(person).await.ok().flatten()?;
        (grant.status == GrantStatus::Active)
            .then_some(ImportedGrant { person: grant.person, saved: Saved::Kept })
    }

    async fn import_tokens(
        &self,
        offered: Secret,
        access_token: Option<Secret>,
        replace: bool,
    ) -> Result<ImportedGrant, ImportError> {
        let _under_way = self.held.begin(&offered).map_err(|blocked| match blocked {
            ImportBlocked::UnderWay => ImportError::Failed(
                "the same refresh token is being imported already; try again when that import has ended".to_owned(),
            ),
            ImportBlocked::Full => ImportError::Failed(
                "too many imported grants wait to be stored, because their owners could not be learned from Webex; import \
                 those again first"
                    .to_owned(),
            ),
        })?;
        // Before the refresh: where Webex rotates refresh tokens, a result that cannot be stored would lose the grant.
        if let Err(why) = self.context.store.check_writable().await {
            log::log!(why.log_level(), "a grant is not imported: {why}");
            return Err(ImportError::Failed(
                "the store cannot be written; the daemon's log says why".to_owned(),
            ));
        }
        if let Some(access_token) = access_token {
            self.check_owner_first(&access_token).await?;
        }
        // An earlier import that failed after its refresh may have left the rotated token here.
        let refresh_token = self.held.successor(&offered).unwrap_or_else(|| offered.clone());
        let (mut issued, sent_at) = self.refresh_offered(&refresh_token).await?;
        let newest = issued.refresh_token.get_or_insert_with(|| refresh_token.clone()).clone();
        let replaced = newest != offered;
        if replaced {
            self.held.hold(&offered, newest);
        }
        let owner = self
            .fetch_owner(&issued.access_token)
            .await
            .map_err(|unknown| owner_unknown(&unknown, replaced))?;
        let person = owner.person;
        let tokens = Tokens::first(issued, sent_at)
            .ok_or_else(|| ImportError::Failed("Webex's response has no refresh token".to_owned()))?;
        // The stored grant may be the imported one, whose refresh token Webex has just rotated.
        let stored = match self.context.store.find(person.id.clone()).await {
            Ok(stored) => stored,
            // A record that does not open is replaced.
            Err(StoreError::Unreadable(_)) => None,
            Err(why) => {
                log::log!(why.log_level(), "{person}: cannot store the imported grant: {why}");
                return Err(ImportError::Failed(
                    "the store cannot be read; the daemon's log says why".to_owned(),
                ));
            }
        };
        let is_stored = replaced && stored.is_some_and(|stored| stored.tokens.refresh_token == offered);
        let token = ImportedToken {
            sha256: offered.sha256(),
            is_rotated: replaced,
            replaces_even_if_covered: replace || is_stored,
        };
        let save = |grant| self.context.store.save_import(grant, token);
        let saved = self.save_by(person.clone(), tokens, sent_at, save).await.map_err(|error| {
            log::error!(person = person.id.as_str(); "{person}: cannot store the imported grant: {error}");
            ImportError::Failed("the grant could not be stored; the daemon's log says why".to_owned())
        })?;
        // A grant that did not replace the stored one may be imported again with `replace`.
        if saved == Saved::Kept {
            self.held.mark_spare(&offered);
        } else {
            self.held.release(&offered);
        }
        let taken = ImportedGrant { person, saved };
        taken.log();
        Ok(taken)
    }

    /// Checks the owner before the refresh. Where Webex rotates refresh tokens, a refresh whose owner stays
    /// unknown would lose the grant. An expired access token proves nothing, so it is accepted.
    async fn check_owner_first(&self, access_token: &Secret) -> Result<(), ImportError> {
        match self.fetch_owner(access_token).await {
            Ok(_) => Ok(()),
            Err(unknown) if unknown.is_dead() => Ok(()),
            Err(unknown) => Err(owner_unknown(&unknown, false)),
        }
    }

    async fn refresh_offered(&self, refresh_token: &Secret) -> Result<(TokenSet, UnixTime), ImportError> {
        let reply = self.context.webex.refresh(refresh_token).await;
        let asked = reply.retry_after;
        // No access token is held that the new one could equal.
        let held = Secret::new(String::new());
        let verdict = Verdict::from_response(reply.fact, &held);
        let detail = verdict.detail();
        let error = match &verdict {
            Verdict::Renewed(issued) | Verdict::Unchanged(issued) => {
                return Ok((issued.clone(), reply.sent_at));
            }
            Verdict::ConsentNeeded(_) | Verdict::Refused(_) => ImportError::Refused(format!(
                "Webex rejects this refresh token: it has expired, or was issued to another client id ({detail}); \
                 let the person consent here"
            )),
            Verdict::ClientRefused(_) => ImportError::Refused(format!(
                "Webex rejects this integration for the refresh token ({detail}): the token was issued to another client id, or \
                 MY_APP_CLIENT_ID and MY_APP_SECRET_ID do not belong together"
            )),
            Verdict::TokenLimit => ImportError::Failed(detail.to_owned()),
            // 423 concerns only one account.
            Verdict::Locked(_) => ImportError::Failed(retry_detail(detail)),
            Verdict::Busy(_) => {
                ImportError::retry_later(retry_detail(detail), asked_wait(429, asked), Some(429))
            }
            Verdict::Transient(_) => ImportError::retry_later(retry_detail(detail), asked.map(bounded), None),
        };
        Err(error)
    }

    async fn not_without_refresh_token(&self, access_token: &Secret) -> ImportError {
        let text = match self.fetch_owner(access_token).await {
            Ok(owner) => match owner.kind {
                OwnerKind::Bot => "a bot's token never expires and cannot be refreshed: use it as it is",
                OwnerKind::Guest => {
                    "a guest's token cannot be refreshed: the application that created it must create another"
                }
                OwnerKind::Person => {
                    "an access token alone cannot be refreshed (a personal access token ends after 12 hours): let the \
                     person consent here, or offer the refresh token"
                }
            },
            Err(unknown) if unknown.is_dead() => {
                "Webex does not accept this access token any more, and there is no refresh token: let the person \
                 consent here"
            }
            Err(unknown) => return owner_unknown(&unknown, false),
        };
        ImportError::Refused(text.to_owned())
    }
}

/// Trims what a person pasted, such as `Bearer ` and white space around the token. An empty text counts as no
/// token.
fn clean_token(offered: Option<Secret>, name: &str) -> Result<Option<Secret>, ImportError> {
    let Some(offered) = offered else { return Ok(None) };
    let text = offered.expose().trim();
    let token = match text.split_once(char::is_whitespace) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_start(),
        _ => text,
    };
    if token.is_empty() || token.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let refuse = |why: &str| Err(ImportError::Refused(format!("the {name} {why}")));
    if token.len() > MAX_TOKEN_LEN {
        return refuse("is longer than 8 KiB, so it is not a token of Webex");
    }
    if token.contains(char::is_whitespace) {
        return refuse("contains white space: it was copied with other text, or broken into lines");
    }
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return refuse("contains characters that no token has: it was not copied exactly");
    }
    Ok(Some(Secret::new(token.to_owned())))
}

fn retry_detail(detail: &str) -> String {
    format!("Webex did not refresh the grant: {detail}")
}

/// Webex did not report the owner of the token.
fn owner_unknown(unknown: &OwnerUnknown, replaced: bool) -> ImportError {
    let why = &unknown.why;
    let lost = if replaced {
        "; Webex has already rotated the refresh token: import it again before the daemon stops"
    } else {
        ""
    };
    if unknown.transient {
        let why = format!("Webex cannot report the owner at the moment: {why}{lost}");
        return ImportError::retry_later(
            why,
            longest_wait(unknown.status, unknown.retry_after),
            unknown.status,
        );
    }
    ImportError::Refused(format!(
        "Webex does not report the owner: {why}; the grant needs the scope spark:people_read or spark:all{lost}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &str) -> Result<Option<String>, ImportError> {
        let token = clean_token(Some(Secret::new(text.to_owned())), "refresh token")?;
        Ok(token.map(|token| token.expose().to_owned()))
    }

    #[test]
    fn pasted_tokens_are_trimmed_and_validated() {
        for text in ["abc", " abc\n", "Bearer abc", "\tbearer   abc ", "BEARER\nabc"] {
            assert_eq!(cleaned(text), Ok(Some("abc".to_owned())), "{text:?}");
        }
        for text in ["", "  ", "Bearer", "Bearer  \n"] {
            assert_eq!(cleaned(text), Ok(None), "{text:?}");
        }
        for text in ["a b", "Bearer a b", "a\nb", "caf\u{e9}", "a\u{0}b", &"a".repeat(MAX_TOKEN_LEN + 1)] {
            let error = cleaned(text).unwrap_err();
            assert!(matches!(&error, ImportError::Refused(_)), "{text:?}");
            assert!(!error.to_string().contains("a b"), "the error contains no part of the token");
        }
    }
}
