//! What units share: some things have one owner, others join units.
//!
//! A schema, a tree, a host and a record set belong to one unit. Units with a common login
//! or zone are *joined*: fencing a login takes every unit down that uses it, and a zone is
//! published as one set.

use super::{fronts, joined, problem};
use crate::Problem;
use crate::file::JointFile;
use segue_model::fleet::Joint;
use segue_model::plan::{CdnVendor, Plan, UnitPlan};
use segue_model::{Side, UnitName};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// Units after joining.
pub(super) struct Shared {
    pub(super) units: Vec<Arc<Plan>>,
    pub(super) joints: Vec<Joint>,
}

/// Finds what units share and joins those that must switch together.
pub(super) fn join(
    units: Vec<Plan>,
    asked: &[JointFile],
    separate_zones: &[String],
    problems: &mut Vec<Problem>,
) -> Shared {
    // Each looks at every unit, none needs what another finds.
    let (places, ((), (mut sets, mut because))) = std::thread::scope(|scope| {
        let owners = scope.spawn(|| {
            let mut problems = Vec::new();
            let places = places(&units, &mut problems);
            one_owner(&units, &mut problems);
            (places, problems)
        });
        let mut of_fronts = Vec::new();
        let here = (fronts::shared(&units, &mut of_fronts), sets(&units, separate_zones));
        let (places, of_owners) = match owners.join() {
            Ok(found) => found,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        problems.extend(of_owners);
        problems.extend(of_fronts);
        (places, here)
    });
    for joint in asked {
        let members: Vec<usize> =
            joint.units.iter().filter_map(|name| places.get(name.as_str()).copied()).collect();
        if members.len() != joint.units.len() || members.len() < 2 {
            problems.push(problem(
                "SG0743",
                "joint.units",
                format!(
                    "{} is not a list of two units of this plan or more",
                    joint.units.join(", ")
                ),
                "name units as their files do",
            ));
            continue;
        }
        for member in &members[1..] {
            sets.join(members[0], *member);
        }
        because.push((members[0], format!("the plan says so: {}", joint.because)));
    }
    merge(units, &mut sets, because, problems)
}

/// Joins units that have a login or a zone in common, and says which.
fn sets(units: &[Plan], separate_zones: &[String]) -> (Sets, Vec<(usize, String)>) {
    let mut sets = Sets::new(units.len());
    let mut because = Vec::new();
    let mut first: HashMap<Common<'_>, usize> = HashMap::with_capacity(units.len());
    let separate: HashSet<&str> = separate_zones.iter().map(String::as_str).collect();
    for (place, plan) in units.iter().enumerate() {
        for shared in joining(&plan.unit, &separate) {
            match first.entry(shared) {
                Entry::Occupied(other) => {
                    sets.join(*other.get(), place);
                    because.push((place, other.key().to_string()));
                }
                Entry::Vacant(free) => {
                    free.insert(place);
                }
            }
        }
    }
    (sets, because)
}

fn places<'a>(units: &'a [Plan], problems: &mut Vec<Problem>) -> HashMap<&'a str, usize> {
    let mut places = HashMap::with_capacity(units.len());
    for (place, plan) in units.iter().enumerate() {
        let name = plan.unit.name.as_str();
        if places.insert(name, place).is_some() {
            problems.push(problem(
                "SG0741",
                format!("{name}: unit.name"),
                format!("two units have the name `{name}`"),
                "give each its own",
            ));
        }
    }
    places
}

/// Refuses what two units claim although only one can have it.
fn one_owner(units: &[Plan], problems: &mut Vec<Problem>) {
    // A site has a host, a schema and a tree at both sides, and a record.
    let mut owners: HashMap<Owned<'_>, &UnitName> = HashMap::with_capacity(units.len() * 6);
    for plan in units {
        for owned in owned(&plan.unit) {
            match owners.entry(owned) {
                Entry::Occupied(other) => problems.push(problem(
                    "SG0741",
                    plan.unit.name.to_string(),
                    format!("{} belongs to unit `{}` too", other.key(), other.get()),
                    "leave it to one of the two, or make them one unit",
                )),
                Entry::Vacant(free) => {
                    free.insert(&plan.unit.name);
                }
            }
        }
    }
}

/// What only one unit can have.
#[derive(PartialEq, Eq, Hash)]
enum Owned<'a> {
    Host(&'a str),
    Schema(&'a str, SocketAddr),
    Folder(&'a Path, Side),
    RecordSet(&'a str, &'a str),
    Origin(&'a CdnVendor),
}

impl fmt::Display for Owned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => write!(f, "host {host}"),
            Self::Schema(schema, server) => write!(f, "schema {schema} at {server}"),
            Self::Folder(folder, side) => write!(f, "folder {} of the {side}", folder.display()),
            Self::RecordSet(name, rtype) => write!(f, "record set {name} {rtype}"),
            Self::Origin(vendor) => write!(f, "an origin at {}", vendor.as_str()),
        }
    }
}

fn owned(unit: &UnitPlan) -> Vec<Owned<'_>> {
    let hosts = unit.sites.iter().flat_map(|site| &site.hosts);
    let mut owned: Vec<Owned<'_>> = hosts.map(|host| Owned::Host(host)).collect();
    for side in [Side::Source, Side::Target] {
        let databases = unit.databases.iter();
        owned.extend(databases.map(|d| Owned::Schema(&d.schema, d.servers.get(side).address)));
        owned.extend(unit.trees.iter().map(|tree| Owned::Folder(tree.roots.get(side), side)));
    }
    owned.extend(unit.cdns.iter().map(|cdn| Owned::Origin(&cdn.vendor)));
    // Every provider of a zone has the same records.
    let once = |place: &usize| {
        unit.zones[..*place].iter().all(|before| before.zone != unit.zones[*place].zone)
    };
    let sets = (0..unit.zones.len()).filter(once).flat_map(|place| &unit.zones[place].records);
    owned.extend(sets.map(|set| Owned::RecordSet(&set.name, &set.rtype)));
    owned
}

/// What joins the units that have it in common.
#[derive(PartialEq, Eq, Hash)]
enum Common<'a> {
    Zone(&'a str),
    Login(&'a str, SocketAddr),
}

impl fmt::Display for Common<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zone(zone) => write!(f, "zone {zone}"),
            Self::Login(login, at) => write!(f, "login {login} at {at}"),
        }
    }
}

fn joining<'a>(unit: &'a UnitPlan, separate: &HashSet<&str>) -> Vec<Common<'a>> {
    let zones = unit.zones.iter().filter(|zone| !separate.contains(zone.zone.as_str()));
    let mut shared: Vec<_> = zones.map(|zone| Common::Zone(&zone.zone)).collect();
    for database in &unit.databases {
        let at = database.servers.source.address;
        shared.extend(database.logins.iter().map(|login| Common::Login(login, at)));
    }
    shared
}

/// Disjoint sets of units, by their place in the plan.
struct Sets(Vec<usize>);

impl Sets {
    fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    fn of(&mut self, place: usize) -> usize {
        let mut root = place;
        while self.0[root] != root {
            self.0[root] = self.0[self.0[root]];
            root = self.0[root];
        }
        root
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of(one), self.of(other));
        let (low, high) = (one.min(other), one.max(other));
        self.0[high] = low;
    }
}

/// Makes one unit of every set; the first unit of the plan gives it its name.
fn merge(
    units: Vec<Plan>,
    sets: &mut Sets,
    because: Vec<(usize, String)>,
    problems: &mut Vec<Problem>,
) -> Shared {
    let mut reasons: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (place, why) in because {
        let known = reasons.entry(sets.of(place)).or_default();
        if !known.contains(&why) {
            known.push(why);
        }
    }
    // The first unit of a set stands before the others of it, so their order stays.
    let mut places: Vec<usize> = Vec::with_capacity(units.len());
    let mut members: BTreeMap<usize, Vec<UnitName>> = BTreeMap::new();
    let mut shared = Shared { units: Vec::with_capacity(units.len()), joints: Vec::new() };
    for (place, plan) in units.into_iter().enumerate() {
        let root = sets.of(place);
        if root == place {
            places.push(shared.units.len());
            shared.units.push(Arc::new(plan));
            continue;
        }
        let at = places[root];
        places.push(at);
        let into = Arc::make_mut(&mut shared.units[at]);
        let first = into.unit.name.clone();
        members.entry(root).or_insert_with(|| vec![first]).push(plan.unit.name.clone());
        joined::add(into, plan, problems);
    }
    for (root, members) in members {
        let plan = &shared.units[places[root]];
        joined::whole(plan, problems);
        let because = reasons.remove(&root).unwrap_or_default();
        shared.joints.push(Joint { unit: plan.unit.name.clone(), members, because });
    }
    fronts::of_one_unit(&shared.units, problems);
    shared
}
