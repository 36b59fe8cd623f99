//! The witness sees every call, every change of the store and everything that readers are given, and says when
//! something that must always be true ("Always true" in the module's head) is not.

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
use webex_tokend::refresh::Pace;
use webex_tokend::store::Fence;

use crate::simulation::invariants::calls::ReplyClass;
pub(super) use crate::simulation::invariants::durability::ClaimedBy;
use crate::simulation::invariants::log::RunLog;
use crate::simulation::scenario::Scenario;
use crate::support::time::MINUTE;

/// What was done and met, for the report.
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
    /// Access tokens that expired in trouble, as they may.
    pub(super) expired: u64,
    /// Expiries of which the premise of rule 3 held or not could be told.
    pub(super) commits: u64,
}

/// What Webex gave.
#[derive(Clone, Debug)]
pub(super) struct IssuedToken {
    person: usize,
    /// By Webex's clock.
    expires: UnixTime,
    /// How long it lives in all.
    life: Duration,
    /// How often the clock had been set back unseen, or seen by a daemon that ended before it could keep that, when it was
    /// given.
    era: u32,
}

/// What a person's row holds, as the store has it on disk.
#[derive(Clone, Debug)]
pub(super) struct DurableGrant {
    pub(super) grant: Grant,
    /// Which consent it comes from.
    chain: u64,
}

/// What a refresh brought.
#[derive(Debug)]
struct UncommittedRefresh {
    access: String,
    refresh: Option<String>,
    since: UnixTime,
    /// The consent whose refresh token was sent.
    chain: u64,
}

/// What was seen of one person.
#[derive(Debug, Default)]
pub(super) struct PersonState {
    pub(super) kept: Option<DurableGrant>,
    /// Access tokens that were kept before, and since when readers may no longer be given them.
    gone: VecDeque<(String, Option<UnixTime>)>,
    /// Grows with each change of the row that is not a claim.
    pub(super) epoch: u64,
    /// The claim in force, and when its lease ends.
    fence: Option<(Fence, UnixTime)>,
    /// Since when the daemon knows that this person's last claim was given back, by its clock: until then it asks for others.
    free_since: UnixTime,
    /// A consent came after the last claim.
    overtaken: bool,
    /// The consents that were kept.
    saves: BTreeSet<u64>,
    /// Consents that came to the store after one that was obtained later.
    gave_way: BTreeSet<u64>,
    /// Refreshes that came back well and are not kept yet.
    pending: Vec<UncommittedRefresh>,
    /// What Webex said to the last refresh, and to the one before.
    last_reply: Option<ReplyClass>,
    /// Refusals of the client for this person that were followed by an acceptance of somebody else.
    blamed: bool,
    refused: bool,
    /// When Webex first refused the grant, or our client for it, since it was last renewed.
    refused_since: Option<UnixTime>,
    /// Since when all were refused, as was known when Webex last answered for this person.
    all_refused_since: Option<UnixTime>,
    /// The schedule was changed by other means than an answer: what is due now is not ours to judge.
    excused: bool,
    /// When a grant that has ended was last tried by plan, by the daemon's clock.
    probed_at: Option<UnixTime>,
    forced_at: Option<UnixTime>,
    renewed_at: Option<UnixTime>,
    forgetting: bool,
    /// A code was exchanged, and the process died before it could store the consent.
    lost_consent: bool,
    trouble: UnixTime,
    sick: UnixTime,
    starts: VecDeque<UnixTime>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct InvariantChecker {
    pub(super) log: RunLog,
    pub(super) broken: Option<String>,
    /// When a refresh came back well last.
    pub(super) last_good: UnixTime,
    pub(super) stats: RunStats,
    policy: Policy,
    pace: Pace,
    survives: bool,
    ack_lost: bool,
    /// A consent may bring the refresh token that runs already.
    keeps_chain: bool,
    token_mark: String,
    client_secret: String,
    people: Vec<PersonState>,
    ids: HashMap<PersonId, usize>,
    access: HashMap<String, IssuedToken>,
    refresh: HashMap<String, (usize, u64)>,
    codes: HashMap<String, (usize, Option<u64>)>,
    chains: u64,
    now: UnixTime,
    wall: UnixTime,
    /// When the clock was last set, or the machine suspended.
    clock_changed: UnixTime,
    pub(super) up_since: Option<UnixTime>,
    trouble: UnixTime,
    store_trouble: UnixTime,
    /// Persons whom Webex asked to wait since the last success, each with the end of the wait.
    retry_afters: Vec<(usize, UnixTime)>,
    /// Until when a wait that two persons were asked for lasts.
    all_wait_until: UnixTime,
    /// Persons whose grant was first refused since the last success, and when.
    refusals: Vec<(usize, UnixTime)>,
    /// Since when so many grants are refused that none of them is to blame.
    all_refused_since: Option<UnixTime>,
    era: u32,
    /// The clock was set back before its eyes, and the store has not taken in yet what the daemon knows of it.
    unmended: bool,
    expiries: BTreeSet<(UnixTime, usize)>,
    in_flight: BTreeMap<u64, (usize, u64)>,
    visits: u64,
    starts: VecDeque<UnixTime>,
    /// Verbs of the store in the present hour, and how many there may be.
    calls: (UnixTime, u64, u64),
    still: (UnixTime, u64),
    /// When anything but an idle nap was seen last.
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
            unmended: false,
            expiries: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            visits: 0,
            starts: VecDeque::new(),
            calls: (dawn, 0, 5000),
            still: (dawn, 0),
            active: dawn,
        };
        // Not told: the scenario holds the client secret.
        checker.log.add(dawn, dawn, &format!("seed {seed}: {scenario:?}"));
        checker
    }

    /// One line of the log.
    pub(super) fn record(&mut self, text: &str) {
        self.active = self.now;
        self.holds_no_secret(text);
        if self.broken.is_none() {
            self.log.add(self.now, self.wall, text);
        }
    }

    /// Something that must always be true is not.
    pub(super) fn violate(&mut self, rule: &str, what: &str) {
        if self.broken.is_none() {
            self.record(&format!("BROKEN: {rule}: {what}"));
            self.broken = Some(format!("{rule}: {what}"));
        }
    }

    /// Rule 7, for what the daemon logs and what people are told: tokens are known by their cluster.
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

    // What the driver tells.

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

    /// The process is gone: nothing is in flight, nobody will keep what came back.
    pub(super) fn ended(&mut self, text: &str) {
        self.check_survival();
        self.up_since = None;
        // Nobody knows any more that the clock was set back.
        self.era += u32::from(std::mem::take(&mut self.unmended));
        let now = self.now;
        for (person, chain) in std::mem::take(&mut self.codes).into_values() {
            self.people[person].lost_consent |= chain.is_some();
        }
        for seen in &mut self.people {
            seen.pending.clear();
            seen.free_since = self.wall;
            seen.gone.iter_mut().for_each(|(_, told)| *told = told.or(Some(now)));
            if seen.fence.take().is_some() {
                (seen.excused, seen.probed_at) = (true, None);
            }
            // What was answered and not kept is not known any more, nor who else was accepted.
            let kept = seen.kept.as_ref().map(|kept| kept.grant.last.outcome);
            (seen.refused, seen.blamed) = (kept == Some(Outcome::ClientRefused), false);
        }
        self.record(text);
    }

    /// Other settings are in force from the next start on.
    pub(super) fn max_age(&mut self, max_age: Duration) {
        self.policy.max_age = max_age;
        self.record(&format!("tokens are refreshed at the age of {max_age:?}"));
    }

    pub(super) fn excuse_all(&mut self) {
        self.people.iter_mut().for_each(|seen| (seen.excused, seen.probed_at) = (true, None));
    }

    pub(super) fn clock_set(&mut self, ms: i64, while_down: bool) {
        self.check_survival();
        // By the daemon's clock a day may have passed.
        self.all_refused_since = None;
        self.clock_changed = self.now;
        self.era += u32::from(while_down && ms < 0);
        self.unmended |= !while_down && ms < 0;
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
