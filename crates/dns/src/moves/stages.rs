//! The stages of a move, in their order, and where it stands: a pure function of what is seen.
//!
//! Why in this order: nobody may be sent to a server that does not serve the zone; no validator
//! may meet data of one provider with keys of the other that do not prove it, whatever it has
//! cached (RFC 8901 section 6, RFC 6781 section 4.3.5.1). So data first, then keys, then DS, then
//! name servers; and what the former provider needs goes last, in the same order.

use super::facts::Fact;
use super::look::OwnSets;
use super::situation::Situation;
use super::tasks;
use segue_model::Sides;
use segue_model::plan::SigningWish;
use serde::Serialize;

/// Who does a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Segue, when it is told to go on.
    Segue,
    /// A person, at the registrar or at a provider.
    Person,
    /// Nobody: caches have to forget.
    Time,
}

/// How far a stage is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It is so.
    Done,
    /// It is to be done now.
    Due,
    /// It is over at this moment, wall clock in milliseconds.
    Waits {
        /// When.
        until_ms: u64,
    },
    /// It could be done now, but for this.
    Blocked {
        /// What stands in the way.
        why: Vec<String>,
    },
    /// Another comes first.
    Later,
}

/// A stage of a move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// Who does it.
    pub who: Who,
    /// How far it is.
    #[serde(flatten)]
    pub state: State,
    /// What it is, in a sentence.
    pub what: String,
    /// What a person has to do, line by line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub task: Vec<String>,
}

/// Name of the stage that brings each provider what it lacks.
const COPY: &str = "copy";

/// The stages while they are collected.
struct Drafts<'s, 'a> {
    situation: &'s Situation<'a>,
    stages: Vec<Stage>,
}

/// Returns the stages.
pub(super) fn stages(situation: &Situation<'_>) -> Vec<Stage> {
    let plan = situation.seen.plan;
    let mut drafts = Drafts { situation, stages: Vec::new() };
    if situation.notes.vouched().is_none() {
        drafts.parent();
        return drafts.ordered();
    }
    let vouched = situation.notes.vouched() == Some(true);
    if plan.dnssec == SigningWish::Unsign && vouched {
        drafts.no_more_ds();
    }
    if plan.moves() {
        drafts.data();
        if situation.keyed() {
            drafts.keys();
        }
        drafts.names();
        if situation.keyed() {
            drafts.former_keys();
        }
        drafts.restore();
    }
    match plan.dnssec {
        SigningWish::Sign if !vouched => drafts.sign(),
        SigningWish::Unsign if !plan.moves() => drafts.stop_signing(),
        _ => {}
    }
    drafts.ordered()
}

impl Drafts<'_, '_> {
    fn holds(&self, fact: Fact) -> bool {
        self.situation.holds(fact)
    }

    /// Somebody who was asked says that it is not so.
    fn denied(&self, fact: Fact) -> bool {
        self.situation.seen.asked(fact) == Some(false)
    }

    /// Both ends of the switch are through: what led to it is not asked for any more.
    fn switched(&self) -> bool {
        self.holds(Fact::Named) && self.holds(Fact::Delegated)
    }

    /// Nobody needs the former provider's keys any more.
    fn left(&self) -> bool {
        self.holds(Fact::Delegated) && self.holds(Fact::FormerDsGone)
    }

    fn add(&mut self, name: &'static str, who: Who, done: bool, what: impl Into<String>) {
        let state = if done { State::Done } else { State::Due };
        self.stages.push(Stage { name, who, state, what: what.into(), task: Vec::new() });
    }

    /// Gives the last stage its task.
    fn task(&mut self, task: impl FnOnce(&Situation<'_>) -> Vec<String>) {
        let situation = self.situation;
        if let Some(stage) = self.stages.last_mut().filter(|stage| stage.state != State::Done) {
            stage.task = task(situation);
        }
    }

    /// Says what stands in the way of the last stage.
    fn blocked(&mut self, why: impl FnOnce(&Situation<'_>) -> Vec<String>) {
        let situation = self.situation;
        if let Some(stage) = self.stages.last_mut().filter(|stage| stage.state == State::Due) {
            let why = why(situation);
            if !why.is_empty() {
                stage.state = State::Blocked { why };
            }
        }
    }

    /// A wait for so many seconds since a fact is so.
    fn wait(
        &mut self,
        name: &'static str,
        over: bool,
        waits: &[(Fact, u32)],
        what: impl Into<String>,
    ) {
        let now = self.situation.seen.look.at_ms;
        let end = |(fact, ttl_s): &(Fact, u32)| {
            let since = self.situation.notes.since(*fact).unwrap_or(now);
            since + u64::from(*ttl_s) * 1000
        };
        let until_ms = waits.iter().map(end).max().unwrap_or(now);
        let held = !waits.iter().any(|(fact, _)| self.denied(*fact));
        let done = over || (held && now >= until_ms);
        self.add(name, Who::Time, done, what);
        if let Some(stage) = self.stages.last_mut().filter(|_| !done) {
            stage.state = State::Waits { until_ms };
        }
    }

    fn provider(&self, to: bool) -> &str {
        let side = if to { self.situation.seen.to } else { self.situation.seen.to.other() };
        &self.situation.seen.plan.providers.get(side).name
    }

    /// Without a word of the parent it is not known whether the zone is validated.
    fn parent(&mut self) {
        self.add("parent", Who::Person, false, "the parent says what it has of the zone");
        self.blocked(|situation| {
            let mut why = situation.seen.look.unknown.clone();
            why.push(
                "see to it that a server of the parent can be asked; `parents` names some".into(),
            );
            why
        });
    }

    fn no_more_ds(&mut self) {
        let zone = &self.situation.seen.plan.zone;
        let done = self.holds(Fact::NoDs);
        self.add("no_ds", Who::Person, done, "the parent names no key of the zone any more");
        self.task(|_| tasks::no_ds(zone));
        // Who asked for the keys in the DS's last moment goes by them for their TTL.
        let ttls = self.situation.notes.ttls();
        let ttl_s = ttls.ds + ttls.keys;
        let what = format!("no resolver goes by the DS any more (TTLs of DS and keys: {ttl_s} s)");
        self.wait("no_ds_known", false, &[(Fact::NoDs, ttl_s)], what);
    }

    fn data(&mut self) {
        let merge = &self.situation.merge;
        let Sides { source, target } = &merge.changes;
        let (count, to) = (source.len() + target.len(), self.provider(true).to_owned());
        let what = match count {
            0 => "both providers serve the same records".to_owned(),
            _ => format!("bring {count} record sets to the provider that lacks them"),
        };
        let lost = self.situation.not_copied();
        let written = self.situation.not_as_written().is_empty();
        self.add(COPY, Who::Segue, merge.is_empty() && lost.is_empty() && written, what);
        let crossed = self.holds(Fact::Crossed) || self.left();
        self.blocked(|situation| {
            // Nothing is begun that cannot be ended.
            if situation.keyed() && !crossed {
                let why = situation.unkeyed();
                if !why.is_empty() {
                    return why;
                }
            }
            let written = situation.not_as_written();
            if !written.is_empty() {
                return written;
            }
            if !lost.is_empty() {
                return lost;
            }
            let extra = situation.merge.extra.iter();
            let mut why: Vec<String> =
                extra.take(EXTRA_MAX).map(|e| format!("`{to}`: {e}")).collect();
            let more = situation.merge.extra.len().saturating_sub(EXTRA_MAX);
            if more > 0 {
                why.push(format!("and {more} more"));
            }
            if !why.is_empty() && situation.sent() {
                why.push("users are asked to ask there already: put these right by hand".into());
            } else if !why.is_empty() {
                why.push(
                    "if that may be replaced by what is there now, write `replace = true`"
                        .to_owned(),
                );
            }
            why
        });
        // A server that does not answer is told where somebody would be sent to it.
        let done = !self.denied(Fact::Lowered) || self.switched();
        let low = self.situation.seen.plan.lowered_ttl_s;
        self.add("lower", Who::Segue, done, format!("lower the TTL of its NS set to {low} s"));
    }

    fn shows_foreign(&self) -> bool {
        let seen = &self.situation.seen;
        self.situation.keyed()
            && (seen.shows_foreign(seen.to) || seen.shows_foreign(seen.to.other()))
    }

    fn keys(&mut self) {
        let (from, to) = (self.provider(false), self.provider(true));
        let over = self.left();
        let done = self.holds(Fact::Crossed) || over;
        let what = format!(
            "show the keys of `{from}` at `{to}` and the other way round; until the end, let nobody \
             roll a key"
        );
        let named = format!("the parent names the key of `{to}` beside that of `{from}`");
        self.add("keys", Who::Segue, done, what);
        self.blocked(|situation| situation.unkeyed());
        let ttls = self.situation.notes.ttls();
        let what = format!("every resolver knows the keys of both (TTL {} s)", ttls.keys);
        self.wait("keys_known", over, &[(Fact::Crossed, ttls.keys)], what);
        self.add("ds", Who::Person, self.holds(Fact::Vouched), named);
        self.blocked(unproved);
        self.task(tasks::new_ds);
        let what = format!("every resolver knows it (TTL {} s)", ttls.ds);
        self.wait("ds_known", over, &[(Fact::Vouched, ttls.ds)], what);
    }

    fn names(&mut self) {
        let (ttls, low) = (self.situation.notes.ttls(), self.situation.seen.plan.lowered_ttl_s);
        let over = self.switched();
        let what = format!("no resolver holds its NS set with the former TTL ({} s)", ttls.ns);
        self.wait("lowered_known", over, &[(Fact::Lowered, ttls.ns)], what);
        let to = self.provider(true).to_owned();
        let what = format!("let both providers name the name servers of `{to}`");
        self.add("names", Who::Segue, self.holds(Fact::Named), what);
        self.blocked(|situation| situation.not_ready());
        let what = format!("the parent names the name servers of `{to}`");
        self.add("delegation", Who::Person, self.holds(Fact::Delegated), what);
        self.blocked(|situation| situation.not_ready());
        self.task(tasks::delegation);
        // Who asked the former servers in the last moment holds what they said.
        let held = if self.situation.keyed() { ttls.zone.max(ttls.keys) } else { 0 };
        // A provider that keeps its own NS set says so to who asks it in the last moment.
        let seen = &self.situation.seen;
        let stuck = if seen.own_ns(seen.to.other()) { 0 } else { ttls.ns };
        let child = if seen.lowered_all() { low } else { ttls.ns };
        let waits = [(Fact::Delegated, ttls.parent_ns + stuck + held), (Fact::Named, child + held)];
        let what = format!("no resolver is led to `{}` any more", self.provider(false));
        self.wait("spread", false, &waits, what);
    }

    fn former_keys(&mut self) {
        let from = self.provider(false).to_owned();
        let what = format!("the parent names no key of `{from}` any more");
        self.add("former_ds", Who::Person, self.holds(Fact::FormerDsGone), what);
        self.blocked(|situation| situation.not_ready());
        self.task(tasks::former_ds);
        let ttl_s = self.situation.notes.ttls().ds;
        let what = format!("no resolver knows it any more (TTL {ttl_s} s)");
        self.wait("former_ds_known", false, &[(Fact::FormerDsGone, ttl_s)], what);
        let what = "take each provider's keys away from the other";
        self.add("former_keys", Who::Segue, !self.shows_foreign(), what);
    }

    fn restore(&mut self) {
        let seen = &self.situation.seen;
        let former = self.situation.notes.former_ns_ttl();
        let is = |ttl: u32| {
            seen.servers(seen.to)
                .iter()
                .all(|server| server.own.ns.ttl == ttl || server.own.ns.data.len() == 1)
        };
        let done = !seen.own_ns(seen.to) || former.is_none_or(is);
        let former = former.unwrap_or(0);
        self.add(
            "restore",
            Who::Segue,
            done,
            format!("give its NS set its TTL of {former} s back"),
        );
    }

    fn sign(&mut self) {
        let to = self.situation.seen.to;
        self.add("signed", Who::Person, self.holds(Fact::Signed), "the provider signs the zone");
        self.task(|situation| tasks::signing(situation, to, true));
        let ttls = self.situation.notes.ttls();
        let over = self.holds(Fact::Vouched);
        let what = format!("no resolver holds data without signature (TTL {} s)", ttls.zone);
        self.wait("signed_known", over, &[(Fact::Signed, ttls.zone)], what);
        self.add("ds", Who::Person, over, "the parent names the key of the zone");
        self.blocked(unproved);
        self.task(tasks::new_ds);
        let what = format!("every resolver knows it (TTL {} s)", ttls.ds);
        self.wait("ds_known", false, &[(Fact::Vouched, ttls.ds)], what);
    }

    fn stop_signing(&mut self) {
        let seen = &self.situation.seen;
        let to = seen.to;
        let signs = |own: &OwnSets| own.keys.exists() || own.soa_signatures.exists();
        let shows = seen.servers(to).iter().any(|server| signs(&server.own));
        self.add("unsigned", Who::Person, !shows, "the provider does not sign the zone any more");
        self.task(|situation| tasks::signing(situation, to, false));
    }

    /// Only the first that is not done stands; the others come later. Where all others are done
    /// the providers go their own ways.
    fn ordered(mut self) -> Vec<Stage> {
        let others = |stage: &Stage| stage.name == COPY || stage.state == State::Done;
        if self.stages.iter().all(others) {
            self.stages.iter_mut().for_each(|stage| stage.state = State::Done);
        }
        let alarms = self.situation.alarms();
        let first = self.stages.iter_mut().find(|stage| stage.state != State::Done);
        // Nothing is asked of anybody while something is wrong.
        if let Some(stage) = first.filter(|s| s.who == Who::Person && s.state == State::Due)
            && !alarms.is_empty()
        {
            stage.state = State::Blocked { why: alarms };
        }
        let open = |stage: &&mut Stage| stage.state != State::Done;
        for stage in self.stages.iter_mut().filter(open).skip(1) {
            stage.state = State::Later;
        }
        self.stages
    }
}

/// Says why a key must not be named by the parent yet.
fn unproved(situation: &Situation<'_>) -> Vec<String> {
    super::chain::unproved(&situation.seen, situation.seen.to)
}

/// Sets that are told, at most, which a provider had of its own.
const EXTRA_MAX: usize = 10;
