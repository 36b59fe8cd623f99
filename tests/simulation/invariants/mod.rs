//! The checker sees every request, every change of the store and everything that readers get. It reports when one of
//! the rules in [`crate::simulation`] is violated.

pub(super) mod calls;
mod clock;
mod durability;
mod log;
mod reads;
mod survival;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::time::Duration;

use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::schedule::Policy;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::domain::verdict::Outcome;
use webex_tokend::refresh::RateLimits;
use webex_tokend::store::Fence;

use crate::simulation::invariants::calls::ReplyClass;
pub(super) use crate::simulation::invariants::durability::ClaimedBy;
use crate::simulation::invariants::log::RunLog;
use crate::simulation::scenario::Scenario;
use crate::support::time::MINUTE;

/// Statistics of a run, for the report.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RunStats {
    pub(super) seeds: u64,
    pub(super) person_days: u64,
    pub(super) refreshes: u64,
    pub(super) faults: u64,
    pub(super) store_errors: u64,
    pub(super) crashes: u64,
    pub(super) clock_sets: u64,
    pub(super) suspends: u64,
    pub(super) consents: u64,
    pub(super) forgets: u64,
    pub(super) reads: u64,
    pub(super) renews: u64,
    pub(super) ended: u64,
    /// Access tokens that expired during faults, as they may.
    pub(super) expired: u64,
    /// Commits of refreshes.
    pub(super) commits: u64,
}

/// A token that Webex issued.
#[derive(Clone, Debug)]
pub(super) struct IssuedToken {
    person: usize,
    /// By Webex's clock.
    expires: UnixTime,
    /// Its whole lifetime.
    life: Duration,
    /// How often the clock had been set back when it was issued, unseen by the daemon, or seen by a process that ended
    /// before it could store that.
    era: u32,
}

/// A person's row on disk.
#[derive(Clone, Debug)]
pub(super) struct DurableGrant {
    pub(super) grant: Grant,
    /// The consent that it comes from.
    chain: u64,
}

/// The result of a refresh that is not stored yet.
#[derive(Debug)]
struct UncommittedRefresh {
    access: String,
    refresh: Option<String>,
    since: UnixTime,
    /// The consent whose refresh token was sent.
    chain: u64,
    /// Whether the access token was dead when it came. Then a stored one that is alive may stay.
    is_dead: bool,
}

/// An authorization code that a browser has brought.
#[derive(Debug)]
struct ConsentCode {
    person: usize,
    /// The consent that it was exchanged for.
    chain: Option<u64>,
    /// It was sent, and no answer says whether Webex has taken it.
    unanswered: bool,
}

/// What is known of one person.
#[derive(Debug, Default)]
pub(super) struct PersonState {
    pub(super) kept: Option<DurableGrant>,
    /// Replaced access tokens, and since when readers may no longer get them.
    gone: VecDeque<(String, Option<UnixTime>)>,
    /// Increases with each change of the row other than a claim.
    pub(super) epoch: u64,
    /// The present claim, and when its lease ends.
    fence: Option<(Fence, UnixTime)>,
    /// Since when, by the daemon's clock, the daemon knows that this person's last claim was released; until then its
    /// claims exclude this person.
    free_since: UnixTime,
    /// A consent came after the last claim.
    overtaken: bool,
    /// The stored consents.
    saves: BTreeSet<u64>,
    /// Consents that arrived at the store after a later one.
    gave_way: BTreeSet<u64>,
    /// Successful refreshes that are not stored yet.
    pending: Vec<UncommittedRefresh>,
    /// Webex's reply to the last refresh.
    last_reply: Option<ReplyClass>,
    /// The client was refused for this person, and accepted for another person since.
    blamed: bool,
    refused: bool,
    /// When Webex first refused the grant, or the client for it, since the last renewal.
    refused_since: Option<UnixTime>,
    /// Since when all were refused, as known at Webex's last reply for this person.
    all_refused_since: Option<UnixTime>,
    /// The schedule was changed by other means than a reply: the checker does not judge what is due now.
    excused: bool,
    /// When an ended grant was last tried on schedule, by the daemon's clock.
    probed_at: Option<UnixTime>,
    forced_at: Option<UnixTime>,
    renewed_at: Option<UnixTime>,
    forgetting: bool,
    /// A code was exchanged, or may have been, and its consent was not stored: the answer was lost, or the process died.
    lost_consent: bool,
    trouble: UnixTime,
    sick: UnixTime,
    starts: VecDeque<UnixTime>,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct InvariantChecker {
    pub(super) log: RunLog,
    pub(super) broken: Option<String>,
    /// When a refresh last succeeded.
    pub(super) last_good: UnixTime,
    pub(super) stats: RunStats,
    policy: Policy,
    pace: RateLimits,
    /// What the pace of urgent refreshes may grow to; zero: it does not grow.
    catch_up: f64,
    survives: bool,
    ack_lost: bool,
    /// A consent may return the present refresh token.
    keeps_chain: bool,
    token_mark: String,
    client_secret: String,
    people: Vec<PersonState>,
    ids: HashMap<PersonId, usize>,
    access: HashMap<String, IssuedToken>,
    refresh: HashMap<String, (usize, u64)>,
    codes: HashMap<String, ConsentCode>,
    chains: u64,
    now: UnixTime,
    wall: UnixTime,
    /// When the clock was last set, or the machine suspended.
    clock_changed: UnixTime,
    pub(super) up_since: Option<UnixTime>,
    trouble: UnixTime,
    store_trouble: UnixTime,
    /// Persons with a `Retry-After` since the last success, each with the end of the wait.
    retry_afters: Vec<(usize, UnixTime)>,
    /// The end of a wait that was confirmed by two persons.
    all_wait_until: UnixTime,
    /// Persons whose grant was first refused since the last success, and when.
    refusals: Vec<(usize, UnixTime)>,
    /// Since when so many grants are refused that none of them is to blame.
    all_refused_since: Option<UnixTime>,
    era: u32,
    /// The clock was set back while the process ran, and the store does not reflect it yet.
    uncorrected: bool,
    expiries: BTreeSet<(UnixTime, usize)>,
    in_flight: BTreeMap<u64, (usize, u64)>,
    visits: u64,
    starts: VecDeque<UnixTime>,
    urgent_starts: VecDeque<UnixTime>,
    /// Store calls in the present hour, and how many are allowed.
    calls: (UnixTime, u64, u64),
    still: (UnixTime, u64),
    /// When anything but an idle sleep was last seen.
    active: UnixTime,
}

impl InvariantChecker {
    pub(super) fn new(seed: u64, scenario: &Scenario, lines: usize, dawn: UnixTime) -> Self {
        let people = &scenario.webex.people;
        let ids = people.iter().enumerate().map(|(i, p)| (PersonId::parse(&p.id).unwrap(), i)).collect();
        let mut checker = Self {
            log: RunLog::with_capacity(lines),
            broken: None,
            last_good: dawn,
            stats: RunStats::default(),
            policy: scenario.policy,
            pace: scenario.pace,
            catch_up: scenario.catch_up,
            survives: scenario.webex.old_token_survives,
            ack_lost: scenario.ack_lost,
            keeps_chain: scenario.webex.reconsent_keeps_refresh_token,
            token_mark: format!("_{}_", scenario.webex.cluster),
            client_secret: scenario.webex.client_secret.clone(),
            people: people.iter().map(|_| PersonState::default()).collect(),
            ids,
            access: HashMap::new(),
            refresh: HashMap::new(),
            codes: HashMap::new(),
            chains: 0,
            now: dawn,
            wall: dawn,
            clock_changed: dawn,
            up_since: None,
            trouble: dawn,
            store_trouble: dawn,
            retry_afters: Vec::new(),
            all_wait_until: dawn,
            refusals: Vec::new(),
            all_refused_since: None,
            era: 0,
            uncorrected: false,
            expiries: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            visits: 0,
            starts: VecDeque::new(),
            urgent_starts: VecDeque::new(),
            calls: (dawn, 0, 5000),
            still: (dawn, 0),
            active: dawn,
        };
        // Not through `record`: the scenario contains the client secret.
        checker.log.add(dawn, dawn, &format!("seed {seed}: {scenario:?}"));
        checker
    }

    /// Adds a line to the log.
    pub(super) fn record(&mut self, text: &str) {
        self.active = self.now;
        self.holds_no_secret(text);
        if self.broken.is_none() {
            self.log.add(self.now, self.wall, text);
        }
    }

    /// An invariant is violated.
    pub(super) fn violate(&mut self, rule: &str, what: &str) {
        if self.broken.is_none() {
            self.record(&format!("BROKEN: {rule}: {what}"));
            self.broken = Some(format!("{rule}: {what}"));
        }
    }

    /// Rule 7, for logs and texts for people: tokens are recognized by their cluster.
    pub(super) fn holds_no_secret(&mut self, text: &str) {
        if text.contains(&self.token_mark) || text.contains(&self.client_secret) {
            self.broken.get_or_insert_with(|| {
                "7 (no secret leaves): a token or the client secret in a text".to_owned()
            });
        }
    }

    pub(super) fn set_time(&mut self, now: UnixTime, wall: UnixTime) {
        self.now = now;
        self.wall = wall;
        while let Some((at, person)) = self.expiries.first().copied().filter(|(at, _)| *at <= now) {
            self.expiries.remove(&(at, person));
            self.expired(at, person);
        }
    }

    fn person(&self, id: &PersonId) -> usize {
        self.ids[id]
    }

    pub(super) fn seen(&self, person: usize) -> &PersonState {
        &self.people[person]
    }

    // Events that the driver reports.

    pub(super) fn started(&mut self, text: &str, excuse: bool) {
        self.retry_afters.clear();
        self.refusals.clear();
        self.all_refused_since = None;
        self.up_since = Some(self.now);
        self.starts.clear();
        if excuse {
            self.excuse_all();
        }
        self.record(text);
    }

    /// The process has ended: nothing is in flight, and results that are not stored are lost.
    pub(super) fn ended(&mut self, text: &str) {
        self.check_survival();
        self.up_since = None;
        // The clock step is unknown to the next process.
        self.era += u32::from(std::mem::take(&mut self.uncorrected));
        let now = self.now;
        for code in std::mem::take(&mut self.codes).into_values() {
            self.people[code.person].lost_consent |= code.chain.is_some() || code.unanswered;
        }
        for seen in &mut self.people {
            seen.pending.clear();
            seen.free_since = self.wall;
            seen.gone.iter_mut().for_each(|(_, told)| *told = told.or(Some(now)));
            if seen.fence.take().is_some() {
                (seen.excused, seen.probed_at) = (true, None);
            }
            // Replies that were not stored are forgotten, and so is which other persons were accepted.
            let kept = seen.kept.as_ref().map(|kept| kept.grant.last.outcome);
            (seen.refused, seen.blamed) = (kept == Some(Outcome::ClientRefused), false);
        }
        self.record(text);
    }

    /// Other settings apply from the next start on.
    pub(super) fn max_age(&mut self, max_age: Duration) {
        self.policy.max_age = max_age;
        self.record(&format!("tokens are refreshed at the age of {max_age:?}"));
    }

    pub(super) fn excuse_all(&mut self) {
        self.people.iter_mut().for_each(|seen| (seen.excused, seen.probed_at) = (true, None));
    }

    pub(super) fn clock_set(&mut self, ms: i64, while_down: bool) {
        self.check_survival();
        // A day may have passed by the daemon's clock.
        self.all_refused_since = None;
        self.clock_changed = self.now;
        self.era += u32::from(while_down && ms < 0);
        self.uncorrected |= !while_down && ms < 0;
        self.excuse_all();
        self.stats.clock_sets += 1;
        self.record(&format!("the clock is set by {ms} ms"));
    }

    pub(super) fn suspended(&mut self, span: Duration) {
        self.check_survival();
        self.all_refused_since = None;
        self.clock_changed = self.now + span;
        self.excuse_all();
        self.stats.suspends += 1;
        self.record(&format!("the machine slept for {span:?}"));
    }

    pub(super) fn trouble_for_all(&mut self, until: UnixTime) {
        self.check_survival();
        self.trouble = self.trouble.max(until);
    }

    pub(super) fn sick(&mut self, person: usize, until: UnixTime) {
        self.check_survival_of(person);
        let seen = &mut self.people[person];
        seen.sick = seen.sick.max(until);
        seen.trouble = seen.trouble.max(until);
    }

    pub(super) fn store_trouble(&mut self, until: UnixTime) {
        self.check_survival();
        self.store_trouble = self.store_trouble.max(until);
    }

    pub(super) fn in_store_trouble(&self) -> bool {
        self.store_trouble + MINUTE >= self.now
    }

    /// Nothing happens, and nothing has happened for a while.
    pub(super) fn quiet(&self) -> bool {
        self.in_flight.is_empty() && !self.in_store_trouble() && self.active + 2 * MINUTE < self.now
    }
}

impl RunStats {
    pub(super) fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.person_days += other.person_days;
        self.refreshes += other.refreshes;
        self.commits += other.commits;
        self.faults += other.faults;
        self.store_errors += other.store_errors;
        self.crashes += other.crashes;
        self.clock_sets += other.clock_sets;
        self.suspends += other.suspends;
        self.consents += other.consents;
        self.forgets += other.forgets;
        self.reads += other.reads;
        self.renews += other.renews;
        self.ended += other.ended;
        self.expired += other.expired;
    }
}

impl std::fmt::Display for RunStats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}, {} person-years", self.person_days / 365)
    }
}
