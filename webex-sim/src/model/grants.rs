//! Which tokens exist, whose they are and how long they live. Knows no HTTP.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::clock::millis;
use crate::settings::{RefreshLife, RefreshToken, Settings};

/// Dead tokens are forgotten this long after their end; the answer to them stays the same.
const KEPT_AFTER_DEATH_MS: i64 = 86_400_000;
/// Secrets kept for leak searches: the newest, about 30 MB of them.
const SECRETS_KEPT: usize = 200_000;

/// Access and refresh token of one grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: String,
}

/// One consent and what it gave: a refresh token (or a line of them) and access tokens.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) person: usize,
    pub(super) scope: Arc<str>,
    pub(super) access: Arc<str>,
    pub(super) minted_ms: i64,
    pub(super) access_expires_ms: i64,
    pub(super) refresh: Arc<str>,
    pub(super) refresh_expires_ms: i64,
    pub(super) dead: bool,
    retired: VecDeque<(i64, Arc<str>)>,
}

/// A living access token, or one that was alive not long ago.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) grant: usize,
    pub(super) expires_ms: i64,
}

#[derive(Debug)]
struct Refresh {
    grant: usize,
    retired_ms: Option<i64>,
}

#[derive(Debug, Default)]
struct Purse {
    access: VecDeque<(i64, Arc<str>)>,
    grants: Vec<usize>,
}

/// Everything that was granted.
#[derive(Debug, Default)]
pub(super) struct Grants {
    grants: Vec<Grant>,
    access: HashMap<Arc<str>, Access>,
    refresh: HashMap<Arc<str>, Refresh>,
    purses: HashMap<usize, Purse>,
    secrets: VecDeque<Arc<str>>,
}

/// What a refresh token is worth now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It is the newest of its grant and alive.
    Alive(usize),
    /// It was replaced a moment ago; its grant's newest tokens may be shown.
    InGrace(usize),
    Dead,
}

impl Grants {
    pub(super) fn get(&self, grant: usize) -> Option<&Grant> {
        self.grants.get(grant)
    }

    /// The grant a refresh token belongs, or belonged, to.
    pub(super) fn of_refresh_token(&self, token: &str) -> Option<usize> {
        self.refresh.get(token).map(|refresh| refresh.grant)
    }

    pub(super) fn of_access_token(&self, token: &str) -> Option<Access> {
        self.access.get(token).copied()
    }

    /// The grant of an access token that is alive now.
    pub(super) fn alive(&self, token: &str, now_ms: i64) -> Option<(Access, &Grant)> {
        let access = self.of_access_token(token).filter(|access| access.expires_ms > now_ms)?;
        Some((access, self.get(access.grant)?))
    }

    /// Remembers a secret for leak searches.
    pub(super) fn issue(&mut self, secret: &Arc<str>) {
        if self.secrets.len() == SECRETS_KEPT {
            self.secrets.pop_front();
        }
        self.secrets.push_back(Arc::clone(secret));
    }

    pub(super) fn secrets(&self) -> Vec<String> {
        self.secrets.iter().map(|secret| secret.to_string()).collect()
    }

    pub(super) fn worth(&self, refresh_token: &str, now_ms: i64, settings: &Settings) -> Worth {
        let Some(refresh) = self.refresh.get(refresh_token) else { return Worth::Dead };
        let Some(grant) = self.get(refresh.grant) else { return Worth::Dead };
        if grant.dead || grant.refresh_expires_ms <= now_ms {
            return Worth::Dead;
        }
        match (refresh.retired_ms, settings.refresh_token) {
            (None, _) => Worth::Alive(refresh.grant),
            (Some(retired), RefreshToken::RotatingWithGrace(grace)) if now_ms - retired <= millis(grace) => {
                Worth::InGrace(refresh.grant)
            }
            (Some(_), _) => Worth::Dead,
        }
    }

    /// Whether a refresh now would change nothing.
    pub(super) fn is_fresh(&self, grant: usize, now_ms: i64, window_ms: i64) -> bool {
        self.get(grant).is_some_and(|grant| {
            let age = now_ms - grant.minted_ms;
            (0..window_ms).contains(&age) && self.alive(&grant.access, now_ms).is_some()
        })
    }

    /// Whether one more access token is one too many. Throws away what has expired.
    pub(super) fn is_full(&mut self, person: usize, now_ms: i64, limit: usize) -> bool {
        let Some(purse) = self.purses.get_mut(&person) else { return limit == 0 };
        while purse.access.front().is_some_and(|(end, _)| end + KEPT_AFTER_DEATH_MS < now_ms) {
            if let Some((_, token)) = purse.access.pop_front() {
                self.access.remove(&token);
            }
        }
        if purse.access.len() < limit {
            return false;
        }
        let alive = |(end, token): &&(i64, Arc<str>)| *end > now_ms && self.access.contains_key(token);
        purse.access.iter().filter(alive).count() >= limit
    }

    /// A new grant with these tokens.
    pub(super) fn open(&mut self, person: usize, scope: &str, tokens: &Tokens, lives: Lives) -> usize {
        let now_ms = lives.from_ms;
        let index = self.grants.len();
        let refresh: Arc<str> = tokens.refresh_token.as_str().into();
        self.issue(&refresh);
        self.refresh.insert(Arc::clone(&refresh), Refresh { grant: index, retired_ms: None });
        self.grants.push(Grant {
            person,
            scope: scope.into(),
            access: "".into(),
            minted_ms: now_ms,
            access_expires_ms: now_ms,
            refresh,
            refresh_expires_ms: now_ms + lives.refresh_ms,
            dead: false,
            retired: VecDeque::new(),
        });
        self.purses.entry(person).or_default().grants.push(index);
        self.put_access(now_ms, index, &tokens.access_token, lives.access_ms);
        index
    }

    /// A running grant gets a newer access token, and whatever else the settings say.
    pub(super) fn renew(&mut self, now_ms: i64, grant: usize, tokens: Tokens, settings: &Settings) {
        let Some(old) = self.grants.get(grant) else { return };
        if !settings.old_token_survives {
            self.drop_access_of(old.person, grant);
        }
        self.put_access(now_ms, grant, &tokens.access_token, millis(settings.access_lifetime));
        let Some(running) = self.grants.get_mut(grant) else { return };
        if settings.refresh_life == RefreshLife::Renewed {
            running.refresh_expires_ms = now_ms + millis(settings.refresh_lifetime);
        }
        if settings.refresh_token != RefreshToken::Stable {
            self.rotate(now_ms, grant, tokens.refresh_token.into(), settings.refresh_token);
        }
    }

    fn rotate(&mut self, now_ms: i64, grant: usize, newest: Arc<str>, rule: RefreshToken) {
        self.issue(&newest);
        let Some(running) = self.grants.get_mut(grant) else { return };
        let oldest = std::mem::replace(&mut running.refresh, Arc::clone(&newest));
        if let Some(refresh) = self.refresh.get_mut(&oldest) {
            refresh.retired_ms = Some(now_ms);
        }
        self.refresh.insert(newest, Refresh { grant, retired_ms: None });
        running.retired.push_back((now_ms, oldest));
        let grace = if let RefreshToken::RotatingWithGrace(grace) = rule { millis(grace) } else { 0 };
        while running.retired.front().is_some_and(|(at, _)| at + grace + KEPT_AFTER_DEATH_MS < now_ms) {
            if let Some((_, forgotten)) = running.retired.pop_front() {
                self.refresh.remove(&forgotten);
            }
        }
    }

    fn put_access(&mut self, now_ms: i64, grant: usize, token: &str, life_ms: i64) {
        let token: Arc<str> = token.into();
        let expires_ms = now_ms + life_ms;
        self.issue(&token);
        self.access.insert(Arc::clone(&token), Access { grant, expires_ms });
        if let Some(running) = self.grants.get_mut(grant) {
            running.access = Arc::clone(&token);
            running.minted_ms = now_ms;
            running.access_expires_ms = expires_ms;
            self.purses.entry(running.person).or_default().access.push_back((expires_ms, token));
        }
    }

    fn drop_access_of(&mut self, person: usize, grant: usize) {
        let Some(purse) = self.purses.get_mut(&person) else { return };
        let access = &mut self.access;
        purse.access.retain(|(_, token)| {
            let goes = access.get(token).is_none_or(|known| known.grant == grant);
            if goes {
                access.remove(token);
            }
            !goes
        });
    }

    /// A living grant of this person for this scope.
    pub(super) fn running(&self, person: usize, scope: &str, now_ms: i64) -> Option<usize> {
        let runs = |index: &usize| {
            self.get(*index).is_some_and(|g| !g.dead && g.refresh_expires_ms > now_ms && *g.scope == *scope)
        };
        self.purses.get(&person)?.grants.iter().rev().copied().find(runs)
    }

    /// The refresh tokens of this person die, and, if asked, the access tokens with them.
    pub(super) fn revoke(&mut self, person: usize, access_too: bool) {
        let Some(purse) = self.purses.get_mut(&person) else { return };
        for grant in std::mem::take(&mut purse.grants) {
            if let Some(grant) = self.grants.get_mut(grant) {
                grant.dead = true;
            }
        }
        if access_too {
            for (_, token) in std::mem::take(&mut purse.access) {
                self.access.remove(&token);
            }
        }
    }

    /// This refresh token and its successors die.
    pub(super) fn kill(&mut self, refresh_token: &str) -> bool {
        let grant = self.of_refresh_token(refresh_token).and_then(|grant| self.grants.get_mut(grant));
        grant.is_some_and(|grant| !std::mem::replace(&mut grant.dead, true))
    }

    /// This access token dies before its time.
    pub(super) fn kill_access(&mut self, access_token: &str) -> bool {
        self.access.remove(access_token).is_some()
    }
}

/// When a new grant starts, and how long its two tokens live.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lives {
    pub(super) from_ms: i64,
    pub(super) access_ms: i64,
    pub(super) refresh_ms: i64,
}
