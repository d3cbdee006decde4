//! How the anomaly of a trigger is planted: in the room's world where that can be done without
//! another trigger being first, else in the samples of the room's controller.

use super::readings::{Planted, Reading};
use segue_model::gate::{Bound, Reference, Trigger, TriggerAction};
use segue_model::plan::Plan;
use segue_model::{Side, What};
use std::fmt;

/// As whose the fronts' measures are given. Another origin would go on to be waited for by the
/// gates when the fault is over.
const FRONTS: &str = "fronts";

/// An anomaly.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Anomaly {
    /// Every page of the target's application but the probe's is answered so.
    Pages(u16),
    /// Its pages take longer, milliseconds.
    Slow(u64),
    /// Its health path answers 503.
    Unhealthy,
    /// The probe's page lacks its marker.
    NoMarker,
    /// It writes no access log.
    Unlogged,
    /// No visitor comes.
    NobodyComes,
    /// Errors in the application's log at the target.
    LogLines,
    /// Bounces in the mail log.
    Bounces,
    /// The resolvers are stopped.
    ResolversSilent,
    /// The target's database server is stopped.
    DatabaseStopped,
    /// A row is changed at the source alone.
    RowChanged,
    /// A file is changed at the source alone.
    FileChanged,
    /// What is measured is said to be something else, or what nobody measures is given.
    Samples { planted: Vec<Planted>, given: Vec<Reading> },
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Pages(status) => {
                return write!(f, "in the world: the target's pages answer {status}");
            }
            Self::Slow(ms) => {
                return write!(f, "in the world: the target's pages take {ms} ms longer");
            }
            Self::Unhealthy => "in the world: the target's health path answers 503",
            Self::NoMarker => "in the world: the probe's page lacks its marker",
            Self::Unlogged => "in the world: the target writes no access log",
            Self::NobodyComes => "in the world: no visitor comes",
            Self::LogLines => "in the world: errors in the target's application log",
            Self::Bounces => "in the world: bounces in the mail log",
            Self::ResolversSilent => "in the world: the resolvers are stopped (SIGSTOP)",
            Self::DatabaseStopped => "in the world: the target's database is stopped (SIGSTOP)",
            Self::RowChanged => "in the world: a row is changed at the source alone",
            Self::FileChanged => "in the world: a file is changed at the source alone",
            Self::Samples { planted, given } => {
                let values = planted.iter().map(|one| format!("{} = {:.2}", one.what, one.value));
                let given = given.iter().map(|one| format!("{} = {:.2}", one.what, one.value));
                let mut all: Vec<String> = values.chain(given).collect();
                all.dedup();
                return write!(f, "in the samples: {}", all.join(", "));
            }
        };
        f.write_str(text)
    }
}

/// Returns how the anomaly of a trigger is planted.
pub(super) fn anomaly(trigger: &Trigger, plan: &Plan) -> Anomaly {
    let sites = &plan.unit.sites;
    let own_site = !sites.is_empty() && sites.iter().all(|site| site.rehearsal.is_none());
    in_world(trigger, plan, own_site).unwrap_or_else(|| in_samples(trigger, plan))
}

fn in_world(trigger: &Trigger, plan: &Plan, own_site: bool) -> Option<Anomaly> {
    let bound = &trigger.bound;
    let measures = &plan.unit.measures;
    let alone = bound.from.is_none() && first(trigger, plan);
    let absolute = trigger.against.is_none();
    let drops = bound.min.is_some();
    match bound.what {
        What::FailedPerSecond(Side::Target) if own_site && alone && absolute => {
            Some(Anomaly::Pages(500))
        }
        What::ResponseP50Ms(Side::Target) | What::ResponseP95Ms(Side::Target)
            if own_site && alone && absolute =>
        {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Milliseconds.
            let max = bound.max?.clamp(0.0, 4_000.0) as u64;
            Some(Anomaly::Slow(max + max / 10 + 50))
        }
        What::ClientErrorPercent(Side::Target) if own_site => Some(Anomaly::Pages(404)),
        What::BackendHealthy(Side::Target) if own_site => Some(Anomaly::Unhealthy),
        What::ProbeFailed if own_site && alone => Some(Anomaly::NoMarker),
        What::CanarySeen if own_site => Some(Anomaly::Unlogged),
        What::RequestsPerSecond(Side::Target) if drops && !plan.unit.fronts.is_empty() => {
            Some(Anomaly::NobodyComes)
        }
        What::AppErrorsPerSecond(Side::Target) => {
            let mut files =
                measures.application_logs.iter().filter_map(|log| log.files.target.as_ref());
            files.next().map(|_| Anomaly::LogLines)
        }
        What::MailBouncePercent => measures.mail_logs.first().map(|_| Anomaly::Bounces),
        What::ResolversFailing => {
            let resolvers: usize = measures.resolvers.iter().map(|r| r.addresses.len()).sum();
            #[allow(clippy::cast_precision_loss)] // A handful.
            let enough = bound.max.is_some_and(|max| resolvers as f64 > max);
            enough.then_some(Anomaly::ResolversSilent)
        }
        // Asked before anything else notices; what goes back by itself cannot, and must say so.
        What::DatabaseReadable(Side::Target) if trigger.action == TriggerAction::FailBack => {
            Some(Anomaly::DatabaseStopped)
        }
        What::DatabaseDifferences => Some(Anomaly::RowChanged),
        What::FilesDifferences => Some(Anomaly::FileChanged),
        _ => None,
    }
}

/// Whether no other trigger that moves something would see the anomaly of this one sooner.
fn first(trigger: &Trigger, plan: &Plan) -> bool {
    let moves = |other: &&Trigger| {
        other.name != trigger.name
            && other.action != TriggerAction::Alert
            && other.bound.what == trigger.bound.what
    };
    plan.policy.triggers.iter().filter(moves).all(|other| trigger.for_ms < other.for_ms)
}

fn in_samples(trigger: &Trigger, plan: &Plan) -> Anomaly {
    let bound = &trigger.bound;
    let Some(against) = trigger.against else {
        let (what, value) = (bound.what, beyond(bound));
        let planted = vec![Planted { what, from: bound.from.clone(), value }];
        // After a cutover nothing measures how far the copies at the target are behind.
        let tree = plan.unit.trees.first().map(|tree| format!("files:{}", tree.name));
        let from = match what {
            What::DatabaseLagMs(side) => Some(segue_port::from_side("database-lag", side)),
            What::FilesLagMs(_) => tree,
            _ => None,
        };
        let given = from.map(|from| Reading { what, from, value }).into_iter().collect();
        return Anomaly::Samples { planted, given };
    };
    let most = bound.what.most();
    let one = |what, value| Reading { what, from: FRONTS.to_owned(), value };
    let (planted, mut given) = match (against.with, bound.what.of_other_side()) {
        (Reference::OtherSide, Some(other)) => {
            let (here, there) = if bound.max.is_some() { (900.0, 10.0) } else { (0.0, 900.0) };
            (Vec::new(), vec![one(bound.what, f64::min(here, most)), one(other, there)])
        }
        _ => {
            let value = if bound.max.is_some() { worse(trigger, plan).min(most) } else { 0.0 };
            (vec![Planted { what: bound.what, from: bound.from.clone(), value }], Vec::new())
        }
    };
    // The room's visitors are one client; whoever compares may want more.
    given.extend([Side::Source, Side::Target].map(|side| one(What::ClientsPerSecond(side), 60.0)));
    Anomaly::Samples { planted, given }
}

/// Returns a value that is worse than any level of before, and not so bad that a trigger with a
/// number of its own, which moves something, would be first.
fn worse(trigger: &Trigger, plan: &Plan) -> f64 {
    let others = plan.policy.triggers.iter().filter(|other| {
        other.against.is_none()
            && other.action != TriggerAction::Alert
            && other.bound.what == trigger.bound.what
    });
    others.filter_map(|other| other.bound.max).map(|max| max * 0.9).fold(1e6, f64::min)
}

/// Returns a value just beyond a bound, so that a trigger with a wider one stays quiet.
fn beyond(bound: &Bound) -> f64 {
    match (bound.max, bound.min) {
        (Some(max), _) => (max + max.abs() / 20.0 + 0.5).min(bound.what.most()),
        (None, Some(min)) if bound.what == What::Custom => min - min.abs() / 20.0 - 0.5,
        (None, Some(min)) => (min - min.abs() / 20.0 - 0.5).max(0.0),
        (None, None) => 0.0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        segue_plan::parse(segue_plan::template(), "template.toml").unwrap()
    }

    #[test]
    fn every_default_trigger_has_an_anomaly_beyond_its_bound() {
        let plan = plan();
        assert!(plan.policy.triggers.len() > 20);
        for trigger in &plan.policy.triggers {
            if let Anomaly::Samples { planted, given } = anomaly(trigger, &plan) {
                assert!(!planted.is_empty() || !given.is_empty(), "{}", trigger.name);
                for one in planted.iter().filter(|_| trigger.against.is_none()) {
                    let bound = &trigger.bound;
                    let kept = bound.max.is_none_or(|max| one.value <= max)
                        && bound.min.is_none_or(|min| one.value >= min);
                    assert!(!kept, "{}: {} keeps the bound", trigger.name, one.value);
                }
            }
        }
    }

    #[test]
    fn what_is_worse_than_before_is_not_yet_what_goes_back_by_itself() {
        let plan = plan();
        let named = |name: &str| plan.policy.triggers.iter().find(|t| t.name == name).unwrap();
        let Anomaly::Samples { planted, given } = anomaly(named("slower_than_before"), &plan)
        else {
            panic!("not planted in the samples");
        };
        let slow = named("target_slow").bound.max.unwrap();
        assert!(planted[0].value > slow / 2.0 && planted[0].value < slow, "{}", planted[0].value);
        assert!(!given.is_empty(), "nobody knows of how many clients");
    }

    #[test]
    fn the_slow_twin_is_planted_below_what_the_fast_one_sees() {
        let plan = plan();
        let named = |name: &str| plan.policy.triggers.iter().find(|t| t.name == name).unwrap();
        assert_eq!(anomaly(named("target_failing"), &plan), Anomaly::Pages(500));
        let Anomaly::Samples { planted, .. } = anomaly(named("target_failing_still"), &plan) else {
            panic!("planted in the world: `target_failing` would be first");
        };
        let fast = named("target_failing").bound.max.unwrap();
        assert!(planted[0].value > 0.0 && planted[0].value <= fast, "{}", planted[0].value);
    }
}
