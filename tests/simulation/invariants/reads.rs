//! What readers and people get.

use webex_tokend::consent::ConsentError;
use webex_tokend::consent::Granted;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::refresh::LiveToken;
use webex_tokend::refresh::TokenError;
use webex_tokend::store::StoreError;

use crate::simulation::invariants::InvariantChecker;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;

/// When a call was made, and the state of the row at that time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadStart {
    person: usize,
    at: UnixTime,
    epoch: u64,
}

impl InvariantChecker {
    /// A caller requests a token, a refresh, or a removal.
    pub(crate) fn question(&mut self, person: usize) -> ReadStart {
        self.allow_calls(12);
        ReadStart { person, at: self.now, epoch: self.people[person].epoch }
    }

    pub(crate) fn asks_to_renew(&mut self, person: usize, force: bool) -> ReadStart {
        self.stats.renews += 1;
        let now = self.now;
        let seen = &mut self.people[person];
        seen.renewed_at = Some(now);
        if force {
            seen.forced_at = Some(now);
        }
        self.record(&format!("a caller requests a refresh of person {person}, force: {force}"));
        self.question(person)
    }

    pub(crate) fn asks_to_forget(&mut self, person: usize, does: bool) {
        self.stats.forgets += u64::from(does);
        self.allow_calls(12);
        self.people[person].forgetting = does;
    }

    /// Rule 2, and the promises to a reader.
    pub(crate) fn given(
        &mut self,
        question: ReadStart,
        result: &Result<LiveToken, TokenError>,
        model_says_live: impl Fn(&str) -> bool,
    ) {
        self.stats.reads += 1;
        let ReadStart { person, at, epoch } = question;
        let waited = self.now.since(at);
        if waited > 45 * SECOND && !self.in_store_trouble() && self.clock_changed < at {
            self.violate("9 (bounds)", &format!("a reader waited {waited:?}"));
        }
        let seen = &self.people[person];
        let kept = seen.kept.as_ref().map(|kept| &kept.grant);
        let changed = seen.epoch != epoch;
        let unsettled = seen.gone.iter().any(|(_, told)| told.is_none_or(|told| told >= at));
        let word = match result {
            Ok(_) => "a token".to_owned(),
            Err(why) => why.to_string(),
        };
        let wrong = match result {
            Ok(given) => {
                let token = given.grant.tokens.access_token.expose();
                let current = kept.is_some_and(|kept| kept.tokens.access_token.expose() == token);
                let gone = seen.gone.iter().find(|(gone, _)| gone == token);
                match gone {
                    _ if current => None,
                    Some((_, told)) if told.is_none_or(|told| told >= at) => None,
                    Some((_, told)) => Some(format!("a token that gave way at {told:?}")),
                    None => Some("a token that was never durable".to_owned()),
                }
            }
            Err(TokenError::UnknownPerson) => (kept.is_some() && !changed && !unsettled)
                .then(|| "an unknown person, who is stored".to_owned()),
            Err(TokenError::ConsentNeeded(_)) => {
                let alive = kept.is_some_and(|kept| kept.status == GrantStatus::Active);
                (alive && !changed && !unsettled)
                    .then(|| "consent needed, for a grant that is alive".to_owned())
            }
            Err(TokenError::Unavailable { .. }) => {
                let lives = kept.is_some_and(|kept| {
                    kept.life_left(self.wall) > MINUTE && kept.last.at + MINUTE < self.wall
                });
                let steady = self.clock_changed + MINUTE < at;
                (lives && steady && !changed && !unsettled).then(|| "no token, though one lives".to_owned())
            }
            Err(TokenError::Store(_)) => {
                (!self.in_store_trouble()).then(|| "a store in trouble, which is well".to_owned())
            }
        };
        self.record(&format!("a reader of person {person} is given {word}, after {waited:?}"));
        if let Some(wrong) = wrong {
            self.violate(
                "2 (durable before shown)",
                &format!("a reader of person {person} was given {wrong}"),
            );
        }
        if let Ok(given) = result {
            self.alive_as_said(person, given, model_says_live);
        }
    }

    /// Rule 3 for readers: a token shown as live is live, as long as the clock can be trusted.
    fn alive_as_said(&mut self, person: usize, given: &LiveToken, model_says_live: impl Fn(&str) -> bool) {
        let token = given.grant.tokens.access_token.expose();
        let Some(minted) = self.access.get(token) else { return };
        let trusted = minted.era == self.era && self.clock_changed + 2 * MINUTE < self.now;
        if trusted && self.survives && !model_says_live(token) {
            let what = format!(
                "a reader of person {person} was given a token that died at {}; {:?}",
                minted.expires, given.grant
            );
            self.violate("3 (shown as live, but dead)", &what);
        }
    }

    /// Rule 6 for the browser.
    pub(crate) fn finished(
        &mut self,
        person: usize,
        code: &str,
        epoch: u64,
        result: &Result<Granted, ConsentError>,
    ) {
        let word = match result {
            Ok(granted) => format!("kept, {:?}", granted.saved),
            Err(why) => why.to_string(),
        };
        self.record(&format!("a consent of person {person} ends: {word}"));
        let code = self.codes.remove(code);
        self.people[person].lost_consent |= code.as_ref().is_some_and(|code| code.unanswered);
        let chain = code.and_then(|code| code.chain);
        let seen = &self.people[person];
        let saved = chain.is_some_and(|chain| seen.saves.contains(&chain) || seen.gave_way.contains(&chain));
        let forgotten = seen.kept.is_none() && seen.epoch > epoch;
        match result {
            Ok(_) if !saved && !forgotten => {
                self.violate(
                    "6 (a consent wins)",
                    &format!("the consent of person {person} was answered and is not kept"),
                );
            }
            Err(ConsentError::Store(_)) if saved && !self.ack_lost && !self.keeps_chain => {
                self.violate("6", &format!("the consent of person {person} was refused and is kept"));
            }
            _ => {}
        }
    }

    pub(crate) fn removed(&mut self, question: ReadStart, result: &Result<bool, StoreError>) {
        let ReadStart { person, epoch, .. } = question;
        let seen = &self.people[person];
        if result.is_ok() && seen.kept.is_some() && seen.epoch == epoch {
            self.violate("4", &format!("person {person} was to be forgotten and is still there"));
        }
    }
}
