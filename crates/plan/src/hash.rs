//! The plan's hash: what was approved is compared with what runs.

use crate::fleet::schedule;
use segue_model::Fleet;
use segue_model::fleet::{People, Schedule};
use segue_model::plan::{Plan, Policy};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Returns the plan as JSON with the keys of every object sorted.
///
/// Every default is spelt out in it, so that a release with another default gives
/// another hash. Secrets stand in it as references only.
pub fn canonical(plan: &Plan) -> Value {
    sorted(serde_json::to_value(plan).expect("a plan consists of texts, numbers and lists"))
}

/// Returns the hash of a plan: 32 hex digits, the first 16 bytes of BLAKE3 over its
/// canonical JSON.
pub fn hash(plan: &Plan) -> String {
    Hashes::default().of(plan)
}

/// Hashes many plans: a policy that they share is put into its canonical form once.
#[derive(Default)]
pub struct Hashes {
    policies: HashMap<*const Policy, (Arc<Policy>, String)>,
}

impl Hashes {
    /// Returns what [`hash`] does.
    pub fn of(&mut self, plan: &Plan) -> String {
        // A policy that is kept alive keeps its address.
        let (_, policy) = self
            .policies
            .entry(Arc::as_ptr(&plan.policy))
            .or_insert_with(|| (Arc::clone(&plan.policy), text(&plan.policy)));
        let mut hasher = blake3::Hasher::new();
        // The parts in the order of their keys, as the whole would have them.
        for part in [
            "{\"name\":",
            &text(&plan.name),
            ",\"policy\":",
            policy,
            ",\"unit\":",
            &text(&plan.unit),
            "}",
        ] {
            hasher.update(part.as_bytes());
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }
}

/// Returns the text of [`canonical`]'s form without building that form.
fn text(part: &impl Serialize) -> String {
    let value = serde_json::to_value(part).expect("a plan consists of texts, numbers and lists");
    let mut text = Vec::with_capacity(2048);
    write(&mut text, &value);
    String::from_utf8(text).expect("JSON is UTF-8")
}

fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                out.extend((at > 0).then_some(b','));
                write(out, item);
            }
            out.push(b']');
        }
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_unstable_by(|a, b| a.0.cmp(b.0));
            out.push(b'{');
            for (at, (key, value)) in entries.into_iter().enumerate() {
                out.extend((at > 0).then_some(b','));
                scalar(out, key);
                out.push(b':');
                write(out, value);
            }
            out.push(b'}');
        }
        other => scalar(out, other),
    }
}

fn scalar(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("memory takes everything");
}

/// Returns the hash of a whole plan, of the form that [`hash`] gives: what its units have in
/// common and, unit by unit, their own hashes. The plan of one unit that says nothing of times,
/// people and rehearsals has that unit's hash.
pub fn fleet_hash(fleet: &Fleet, units: &[String]) -> String {
    let silent = Schedule { rehearsal: schedule::rehearsal(None, None), ..Schedule::default() };
    let silent = fleet.schedule == silent && fleet.people == People::default();
    if let ([only], true) = (units, silent) {
        return only.clone();
    }
    let common = serde_json::json!({
        "name": fleet.name,
        "joints": fleet.joints,
        "waves": fleet.waves,
        "schedule": fleet.schedule,
        "people": fleet.people,
    });
    let mut hasher = blake3::Hasher::new();
    hasher.update(sorted(common).to_string().as_bytes());
    for unit in units {
        hasher.update(unit.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Returns the short form of a hash that people read and type: its first 8 characters.
pub fn short(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(k, v)| (k, sorted(v))).collect::<Map<_, _>>())
        }
        other => other,
    }
}
