//! What the journal keeps of visitors besides counts: who stays logged in, what copies of their
//! requests showed, and who still comes to the address that the unit has left.

use super::Unit;
use crate::active::Active;
use segue_model::Side;
use segue_model::event::WriteSide;
use segue_model::state::Stage;
use segue_probe::LoginsOf;
use segue_traffic::{FrontMirrored, FrontStragglers};
use serde_json::{Value, json};

/// So many clients of each front are written down, the latest; all of them are counted.
const LATEST_MAX: usize = 20;

/// So many kinds of differences between answers are written down, the most frequent.
const DIFFERENCES_MAX: usize = 10;

impl Unit {
    /// Puts what is known of logins, copies and stragglers into the journal.
    pub(super) async fn note_visitors(&self, active: &Active) {
        if self.plan.unit.sites.is_empty() || self.state().stage < Stage::Prepared {
            return;
        }
        let unit = self.plan.unit.clone();
        match tokio::task::spawn_blocking(move || segue_probe::logins(&unit)).await {
            Ok(verdicts) => self.note_measured("sessions", sessions(&verdicts, active)).await,
            Err(error) => tracing::warn!(%error, "what becomes of logins is unknown"),
        }
        if self.plan.unit.measures.mirror.is_some() {
            let found = mirror(&active.mirrored().await, self.clock.wall_ms());
            self.note_measured("mirror", found).await;
        }
        if self.state().write_side != WriteSide::At(Side::Source) {
            let fronts = active.late_comers().await;
            let at_ms = self.clock.wall_ms();
            self.note_measured("stragglers", stragglers(&fronts, at_ms)).await;
        }
    }
}

fn sessions(verdicts: &[LoginsOf], active: &Active) -> Value {
    let site = |verdict: &LoginsOf| {
        let tried = active.logins.iter().find(|login| login.site() == verdict.site);
        json!({
            "site": verdict.site,
            "verdict": verdict.logins.as_str(),
            "because": verdict.because,
            "fronts": tried.map(|login| login.met()),
        })
    };
    json!({
        "since": active.since_ms(),
        "sites": verdicts.iter().map(site).collect::<Vec<_>>(),
    })
}

/// What copies showed by front, and which fronts do not answer; without a front nothing was
/// measured.
fn mirror(fronts: &[FrontMirrored], at_ms: u64) -> Value {
    let front = |one: &FrontMirrored| {
        let mut told = json!(one);
        let differences = told.pointer_mut("/compared/differences");
        if let Some(all) = differences.and_then(Value::as_array_mut) {
            all.truncate(DIFFERENCES_MAX);
        }
        told
    };
    json!({ "at_ms": at_ms, "fronts": fronts.iter().map(front).collect::<Vec<_>>() })
}

/// Who came, with the boot clock turned into the time of day. Of a front that does not answer it is
/// not known.
fn stragglers(fronts: &[(String, Option<FrontStragglers>)], at_ms: u64) -> Value {
    let front = |(name, known): &(String, Option<FrontStragglers>)| {
        let Some(front) = known else { return json!({ "front": name, "clients": null }) };
        let clients = front.latest.iter().take(LATEST_MAX).map(|late| {
            json!({
                "client": late.client,
                "count": late.sides.source + late.sides.target,
                "last_at_ms": at_ms.saturating_sub(front.boot_ms.saturating_sub(late.last_ms)),
            })
        });
        json!({
            "front": front.front,
            "clients": front.count,
            "latest": clients.collect::<Vec<_>>(),
        })
    };
    json!({ "at_ms": at_ms, "fronts": fronts.iter().map(front).collect::<Vec<_>>() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use segue_front::control::Straggler;
    use segue_model::Sides;

    #[test]
    fn what_differs_most_often_is_written_down() {
        use segue_model::compare::{Compared, Difference, Kind};
        let difference = |count: usize| Difference {
            kind: Kind::Body,
            text: format!("body {count}"),
            count,
            examples: vec!["/a".into()],
        };
        let differences = (1..=64).rev().map(difference).collect();
        let compared = Compared { asked: 90, same: 7, differences, ..Compared::default() };
        let mirrored = segue_front::control::Mirrored { dropped: 3, ended: 1, compared };
        let front = |name: &str, mirrored: Option<_>| FrontMirrored {
            front: name.into(),
            silent: mirrored.is_none(),
            mirrored,
        };
        let told = mirror(&[front("source", Some(mirrored)), front("target", None)], 77);
        assert_eq!(told["at_ms"], 77);
        assert_eq!(told["fronts"][1], json!({ "front": "target", "silent": true }));
        assert_eq!(told["fronts"][0].get("silent"), None);
        let front = &told["fronts"][0];
        assert_eq!((&front["front"], &front["dropped"]), (&json!("source"), &json!(3)));
        let differences = front["compared"]["differences"].as_array().unwrap();
        assert_eq!((differences.len(), &differences[0]["count"]), (10, &json!(64)));
        assert_eq!(mirror(&[], 1), json!({ "at_ms": 1, "fronts": [] }), "nothing was measured");
    }

    #[test]
    fn few_of_many_are_written_down_with_the_time_of_day() {
        let late = |number: u64| Straggler {
            unit: "shop".into(),
            client: std::net::Ipv4Addr::from_bits(number as u32).into(),
            sides: Sides { source: 1, target: number },
            last_ms: 5_000 - number,
        };
        let latest: Vec<_> = (0..100).map(late).collect();
        let front = FrontStragglers {
            front: "source".into(),
            count: 321,
            boot_ms: 6_000,
            since_ms: None,
            uncounted: None,
            open: 0,
            dropped_ms: None,
            latest,
        };
        let fronts = [("source".to_owned(), Some(front)), ("target".to_owned(), None)];
        let told = stragglers(&fronts, 1_000_000);
        assert_eq!(told["fronts"][1], json!({ "front": "target", "clients": null }));
        let front = &told["fronts"][0];
        assert_eq!(
            (&front["clients"], front["latest"].as_array().unwrap().len()),
            (&json!(321), 20)
        );
        let third = json!({ "client": "0.0.0.2", "count": 3, "last_at_ms": 998_998 });
        assert_eq!(front["latest"][2], third);
    }
}
