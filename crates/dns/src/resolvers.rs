//! What the users' resolvers answer: which of them fail, which name the target already, and,
//! once something is published, how far it has come.
//!
//! **Invariant.** Each resolver is asked for at most [`SETS_A_TURN`] sets a turn; of more, some
//! wait for the next.

use crate::change::now_ms;
use crate::exchange::ask;
use crate::message::{self, Answer};
use crate::sets::{self, SetKey};
use crate::watch::{Published, Spread, SpreadTold};
use async_trait::async_trait;
use domain::base::Rtype;
use futures_util::future::join_all;
use segue_model::plan::{OwnedSet, ResolversPlan, UnitPlan, ZonePlan, labelled};
use segue_model::{Fault, FaultKind, Sample, What};
use segue_port::{Outcome, Sampler};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for the answers of one sample.
const ANSWERS_MAX: Duration = Duration::from_millis(900);
/// Most sets that one resolver is asked for in one turn.
const SETS_A_TURN: usize = 8;

/// Asks every resolver of the plan for owned names, at the plan's rate.
pub struct ResolverSampler {
    plan: ResolversPlan,
    /// The sets of addresses that samples are about, with the target's addresses.
    addresses: BTreeMap<SetKey, BTreeSet<IpAddr>>,
    /// What tells it from others of its unit.
    label: Option<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Where the next turn begins among the sets that take turns.
    next: usize,
    /// Whether a resolver names the target, by its newest answer; none if it fails.
    names_target: BTreeMap<(SocketAddr, SetKey), Option<bool>>,
    spread: Option<Spread>,
}

/// What a resolver said to one question, or why it did not.
struct Said {
    resolver: SocketAddr,
    key: SetKey,
    answer: Result<Answer, String>,
}

impl ResolverSampler {
    /// Builds a sampler of `ResolversFailing` and `ResolversAtTargetPercent` for every group of
    /// resolvers of the plan.
    pub fn of(unit: &UnitPlan) -> Vec<Arc<Self>> {
        Self::over(&unit.measures.resolvers, &unit.zones)
    }

    /// The same over groups of resolvers and the zones whose owned sets they are asked for.
    pub fn over(all: &[ResolversPlan], zones: &[ZonePlan]) -> Vec<Arc<Self>> {
        let label = |plan: &ResolversPlan| {
            let first = plan.addresses.first().map(ToString::to_string);
            (all.len() > 1).then(|| plan.name.clone().or(first)).flatten()
        };
        all.iter().map(|plan| Self::one(zones, plan.clone(), label(plan))).collect()
    }

    fn one(zones: &[ZonePlan], plan: ResolversPlan, label: Option<String>) -> Arc<Self> {
        let owned = zones.iter().flat_map(|zone| &zone.records);
        let meant = |set: &&OwnedSet| match &plan.name {
            Some(name) => set.name == *name,
            None => set.moves(),
        };
        let addresses = owned.filter(meant).filter_map(|set| {
            let rtype = match set.rtype.as_str() {
                "A" => Rtype::A,
                "AAAA" => Rtype::AAAA,
                _ => return None,
            };
            let target = set.data.target.iter().filter_map(|text| text.parse().ok());
            let name = sets::owner(&set.name).ok()?;
            Some((SetKey { name, rtype }, target.collect()))
        });
        let addresses = addresses.collect();
        Arc::new(Self { plan, addresses, label, state: Mutex::default() })
    }

    /// Watches a published change from now on; none if nothing is published any more.
    pub fn watch(&self, published: Option<&Published>) {
        self.state().spread = published.map(Spread::new);
    }

    /// Returns how far the published change has come; none if none is watched.
    pub fn spread(&self) -> Option<SpreadTold> {
        self.state().spread.as_ref().map(Spread::told)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whom to ask for what in this turn: the name of the plan always, the rest as its
    /// turn comes.
    fn turn(&self) -> Vec<SetKey> {
        let mut state = self.state();
        let named = self.plan.name.is_some();
        let always: Vec<SetKey> =
            self.addresses.keys().filter(|_| named).take(SETS_A_TURN).cloned().collect();
        let watched = state.spread.iter().flat_map(Spread::keys);
        let rest: BTreeSet<&SetKey> =
            self.addresses.keys().chain(watched).filter(|key| !always.contains(key)).collect();
        let room = (SETS_A_TURN - always.len()).min(rest.len());
        let from = if rest.is_empty() { 0 } else { state.next % rest.len() };
        let turn = rest.iter().cycle().skip(from).take(room).map(|key| (*key).clone());
        let turn = always.iter().cloned().chain(turn).collect();
        state.next = from + room;
        turn
    }

    /// Counts the resolvers whose newest answers name the target for every set, and those that
    /// answer at all.
    fn count(&self, state: &State) -> (usize, usize) {
        let (mut answered, mut there) = (0, 0);
        for resolver in &self.plan.addresses {
            let newest = self.addresses.keys().map(|key| {
                let newest = state.names_target.get(&(*resolver, key.clone()));
                // Nobody knows yet what was not asked: it is not there.
                newest.copied().unwrap_or(Some(false))
            });
            if let Some(all) = newest.collect::<Option<Vec<bool>>>() {
                answered += 1;
                there += usize::from(all.iter().all(|there| *there));
            }
        }
        (answered, there)
    }
}

/// Asks a resolver as a client does.
async fn one(resolver: SocketAddr, key: SetKey, until: Instant) -> Said {
    let question = message::query(&key.name, key.rtype).map(|mut draft| {
        // It shall find the answer, not know it.
        draft.header_mut().set_rd(true);
        draft
    });
    let answer = match question {
        Err(trouble) => Err(trouble.to_string()),
        Ok(draft) => match ask(resolver, vec![draft], until).await {
            Ok(answers) => answers.into_iter().next().ok_or_else(|| "no answer".to_owned()),
            Err(trouble) => Err(trouble.fault("ask", resolver).cause),
        },
    };
    Said { resolver, key, answer }
}

#[async_trait]
impl Sampler for ResolverSampler {
    fn name(&self) -> String {
        labelled("resolvers", self.label.as_deref())
    }

    fn every(&self) -> Duration {
        Duration::from_secs(self.plan.every_s)
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        if self.addresses.is_empty() {
            let op = "find the names that resolvers are asked for";
            let cause = "the unit owns no such set of addresses";
            return Err(Fault::new(crate::codes::PLAN, FaultKind::Invalid, op, cause)
                .hint("correct the plan file"));
        }
        let until = Instant::now() + ANSWERS_MAX;
        let keys = self.turn();
        let asked =
            self.plan.addresses.iter().flat_map(|resolver| {
                keys.iter().map(move |key| one(*resolver, key.clone(), until))
            });
        let said = join_all(asked).await;
        let (wall_ms, _) = now_ms();
        let mut state = self.state();
        for Said { resolver, key, answer } in said {
            if let Some(spread) = &mut state.spread {
                let answer = answer.as_ref().map_err(String::as_str);
                spread.take(resolver, &key, answer, wall_ms);
            }
            if let Some(target) = self.addresses.get(&key) {
                let found = answer.ok().and_then(|answer| message::read_addresses(&answer));
                let there = found.map(|found| found == *target);
                state.names_target.insert((resolver, key), there);
            }
        }
        let (answered, there) = self.count(&state);
        let sample = |what, value: f64, count: usize| Sample {
            what,
            value,
            count: count as u64,
            taken_at_ms: now_boot_ms,
            from: self.name(),
        };
        let all = self.plan.addresses.len();
        let mut samples = vec![sample(What::ResolversFailing, (all - answered) as f64, all)];
        // Of no answers there is no share.
        if answered > 0 {
            let percent = there as f64 * 100.0 / answered as f64;
            samples.push(sample(What::ResolversAtTargetPercent, percent, answered));
        }
        Ok(samples)
    }
}
