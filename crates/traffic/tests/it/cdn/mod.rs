//! Origins of CDNs are switched when a unit's record sets are published, and back.

mod vendors;

use segue_model::event::{Attempt, Phase};
use segue_model::plan::{CdnPlan, CdnVendor, SecretRef};
use segue_model::{EffectLeft, Epoch, RunId, Sides, StepName, UnitName};
use segue_port::{Authority, Call, Effect, NoProgress, Observed};
use segue_traffic::Cdn;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use vendors::{Fault, State, TOKEN, Vendor, start};

const SOURCE: &str = "192.0.2.10";
const TARGET: &str = "2001:db8::20";

fn token(folder: &Path, text: &str) -> SecretRef {
    let path = folder.join("token");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    SecretRef(format!("file:{}", path.display()))
}

fn call(phase: Phase, prepared: Value) -> Call {
    Call {
        progress: Arc::new(NoProgress),
        authority: Authority {
            run: RunId::from("run-1"),
            unit: UnitName("shop".into()),
            step: StepName("publish".into()),
            attempt: Attempt { phase, number: 1 },
            epoch: Epoch(1),
        },
        prepared,
        facts: Arc::default(),
        time_allowed: Duration::from_secs(10),
    }
}

struct Place {
    vendor: Vendor,
    cdn: Arc<Cdn>,
    effect: Arc<dyn Effect>,
    _folder: TempDir,
}

impl Place {
    async fn of(state: State, kind: impl FnOnce(String) -> CdnVendor, key: &str) -> Self {
        let (vendor, url) = start(state).await;
        let folder = TempDir::new().unwrap();
        let (kind, token) = (kind(url), token(folder.path(), key));
        let origin = |address: &str| match &kind {
            CdnVendor::Bunny { .. } => format!("https://{address}"),
            _ => address.to_owned(),
        };
        let origins = Sides { source: origin(SOURCE), target: origin(TARGET) };
        let cdn = Cdn::new(CdnPlan { name: "edge".into(), vendor: kind, token, origins });
        Self { vendor, effect: cdn.publish(), cdn, _folder: folder }
    }

    async fn fastly(state: State) -> Self {
        let kind = |url| CdnVendor::Fastly { url, service: "S1".into(), backend: "origin".into() };
        Self::of(state, kind, TOKEN).await
    }

    async fn prepared(&self) -> Call {
        let call = call(Phase::Cutover, Value::Null);
        let prepared = self.effect.prepare(&call).await.unwrap();
        Call { prepared, ..call }
    }

    async fn applied(&self, call: &Call) -> bool {
        matches!(self.effect.observe(call).await.unwrap(), Observed::Applied(_))
    }
}

fn versions() -> State {
    State {
        versions: [(6, "192.0.2.1".into()), (7, SOURCE.into())].into(),
        active: 7,
        once_active: [6, 7].into(),
        ..State::default()
    }
}

/// What one vendor has in force.
fn in_force(state: &State) -> String {
    match (state.versions.get(&state.active), state.records.first()) {
        (Some(address), _) => address.clone(),
        (None, Some((content, _))) => content.clone(),
        (None, None) => state.origin_url.replace("https://", ""),
    }
}

async fn every_vendor() -> Vec<Place> {
    let bunny = |url| CdnVendor::Bunny { url, pull_zone: 1234 };
    let cloudflare = |url| CdnVendor::Cloudflare {
        url,
        zone_id: "z1".into(),
        record: "www.example.test".into(),
        rtype: "A".into(),
    };
    let pulls = State { origin_url: format!("https://{SOURCE}"), ..State::default() };
    let proxied = State { records: vec![(SOURCE.into(), true)], ..State::default() };
    vec![
        Place::fastly(versions()).await,
        Place::of(pulls, bunny, TOKEN).await,
        Place::of(proxied, cloudflare, TOKEN).await,
    ]
}

#[tokio::test]
async fn an_origin_goes_to_the_target_and_comes_back_by_value() {
    for place in every_vendor().await {
        assert!(place.cdn.preflight().await.is_empty());
        let call = place.prepared().await;
        assert!(!place.applied(&call).await);
        let output = place.effect.run(&call).await.unwrap();
        assert_eq!(output["changed"], true);
        assert_eq!(in_force(&place.vendor.lock().unwrap()), TARGET);
        assert!(place.applied(&call).await);
        let again = place.effect.run(&call).await.unwrap();
        assert_eq!(again["changed"], false, "done twice, nothing is written");
        for _ in 0..2 {
            place.effect.undo(&call).await.unwrap();
            assert_eq!(in_force(&place.vendor.lock().unwrap()), SOURCE);
        }
        assert!(!place.applied(&call).await);
        place.effect.run(&call).await.unwrap();
        // A failback publishes the source's.
        let back = self::call(Phase::Failback, Value::Null);
        assert!(!place.applied(&back).await);
        place.effect.run(&back).await.unwrap();
        assert_eq!(in_force(&place.vendor.lock().unwrap()), SOURCE);
    }
}

#[tokio::test]
async fn what_is_neither_sides_stays_as_it_is() {
    for place in every_vendor().await {
        let call = place.prepared().await;
        {
            let mut state = place.vendor.lock().unwrap();
            let active = state.active;
            if let Some(address) = state.versions.get_mut(&active) {
                *address = "198.51.100.9".into();
            }
            state.origin_url = "https://198.51.100.9".into();
            state.records.iter_mut().for_each(|record| record.0 = "198.51.100.9".into());
        }
        for fault in [
            place.effect.prepare(&call).await.unwrap_err(),
            place.effect.run(&call).await.unwrap_err(),
            place.effect.undo(&call).await.unwrap_err(),
        ] {
            assert!(fault.code == "SG0174" && fault.cause.contains("198.51.100.9"), "{fault}");
        }
        assert!(matches!(place.effect.observe(&call).await.unwrap(), Observed::Unknown(_)));
        assert_eq!(place.cdn.preflight().await[0].code, "SG0174");
        assert_eq!(in_force(&place.vendor.lock().unwrap()), "198.51.100.9");
    }
}

#[tokio::test]
async fn refusals_and_lost_answers_leave_no_doubt() {
    for place in every_vendor().await {
        let call = place.prepared().await;
        // Too many requests are asked again; a refusal says so and changes nothing.
        let many = |status| Fault::Status(status, json!({ "msg": "no" }));
        place.vendor.lock().unwrap().faults.extend([many(429), many(400)]);
        let fault = place.effect.run(&call).await.unwrap_err();
        assert!(fault.code == "SG0173" && fault.cause.contains("400"), "{fault}");
        assert_eq!(fault.effect, EffectLeft::None);
        assert_eq!(in_force(&place.vendor.lock().unwrap()), SOURCE);
        place.vendor.lock().unwrap().faults.push_back(Fault::LosesRequest);
        let lost = place.effect.run(&call).await;
        let came = in_force(&place.vendor.lock().unwrap()) == TARGET;
        assert_eq!(lost.is_ok(), came, "a step that says it is done is");
        place.effect.run(&call).await.unwrap();
        assert_eq!(in_force(&place.vendor.lock().unwrap()), TARGET);
    }
    // Of one request that writes, the answer alone is lost.
    for place in every_vendor().await.into_iter().skip(1) {
        let call = place.prepared().await;
        place.vendor.lock().unwrap().faults.push_back(Fault::LosesAnswer);
        assert_eq!(place.effect.run(&call).await.unwrap()["changed"], true);
        assert_eq!(in_force(&place.vendor.lock().unwrap()), TARGET);
    }
}

#[tokio::test]
async fn a_version_of_fastly_is_activated_whole_or_not_at_all() {
    let place = Place::fastly(versions()).await;
    let call = place.prepared().await;
    place.vendor.lock().unwrap().invalid = Some("Syntax error: Unexpected token".into());
    let fault = place.effect.run(&call).await.unwrap_err();
    assert!(fault.code == "SG0176" && fault.cause.contains("Syntax error"), "{fault}");
    {
        let mut state = place.vendor.lock().unwrap();
        assert_eq!((state.active, state.invalid.take().is_some()), (7, true));
        // Somebody else's deployment is not undone by ours.
        state.deployed_meanwhile = Some(SOURCE.into());
    }
    let fault = place.effect.run(&call).await.unwrap_err();
    assert!(fault.code == "SG0176" && fault.cause.contains("was activated while"), "{fault}");
    let deployed = place.vendor.lock().unwrap().active;
    assert_eq!(in_force(&place.vendor.lock().unwrap()), SOURCE);
    place.vendor.lock().unwrap().asked.clear();
    place.effect.run(&call).await.unwrap();
    let state = place.vendor.lock().unwrap();
    assert_eq!((state.active, in_force(&state)), (deployed + 1, TARGET.into()));
    let written: Vec<_> = state.asked.iter().filter(|one| !one.starts_with("GET")).collect();
    let version = |rest: &str| format!("PUT /service/S1/version/{rest}");
    let next = deployed + 1;
    assert_eq!(
        written,
        [
            &version(&format!("{deployed}/clone")),
            &version(&next.to_string()),
            &version(&format!("{next}/backend/origin")),
            &version(&format!("{next}/activate")),
        ]
    );
    assert!(state.asked.contains(&format!("GET /service/S1/version/{next}/validate")));
}

#[tokio::test]
async fn tries_of_one_run_share_a_draft_of_fastly() {
    let place = Place::fastly(versions()).await;
    let call = place.prepared().await;
    let drafts = || {
        let state = place.vendor.lock().unwrap();
        let open = state.versions.keys().filter(|n| !state.once_active.contains(n)).copied();
        open.collect::<Vec<_>>()
    };
    place.vendor.lock().unwrap().invalid = Some("Syntax error".into());
    for _ in 0..3 {
        assert_eq!(place.effect.run(&call).await.unwrap_err().code, "SG0176");
        assert_eq!(drafts(), [8]);
    }
    // Another run's stays what it is; so does one that says nothing.
    let mut other = place.prepared().await;
    other.authority.run = RunId::from("run-2");
    assert_eq!(place.effect.run(&other).await.unwrap_err().code, "SG0176");
    assert_eq!(drafts(), [8, 9]);
    let refused = Fault::Status(400, json!({ "msg": "no" }));
    let mut third = place.prepared().await;
    third.authority.run = RunId::from("run-3");
    {
        // The clone is made, and its comment is refused.
        let mut state = place.vendor.lock().unwrap();
        state.invalid = None;
        state.faults.extend([Fault::None, refused]);
    }
    assert_eq!(place.effect.run(&third).await.unwrap_err().code, "SG0173");
    assert_eq!(drafts(), [8, 9, 10]);
    {
        let mut state = place.vendor.lock().unwrap();
        state.versions.insert(10, "198.51.100.9".into());
        state.asked.clear();
    }
    place.effect.run(&call).await.unwrap();
    {
        let state = place.vendor.lock().unwrap();
        assert_eq!((state.active, in_force(&state)), (8, TARGET.into()));
        assert!(!state.asked.iter().any(|one| one.ends_with("/clone")), "{:?}", state.asked);
        assert_eq!(state.comments[&8], "Segue, run run-1: draft of version 7, backend origin");
    }
    // The way back begins with what is in force now, whose comment its clone may have.
    place.effect.undo(&call).await.unwrap();
    let state = place.vendor.lock().unwrap();
    assert_eq!((state.active, in_force(&state)), (11, SOURCE.into()));
    assert_eq!(state.comments[&11], "Segue, run run-1: draft of version 8, backend origin");
}

#[tokio::test]
async fn a_wrong_token_and_a_record_that_is_not_proxied_are_found_before() {
    let bunny = |url| CdnVendor::Bunny { url, pull_zone: 1234 };
    let pulls = State { origin_url: format!("https://{SOURCE}"), ..State::default() };
    let place = Place::of(pulls, bunny, "wrong-token").await;
    let findings = place.cdn.preflight().await;
    assert!(findings[0].code == "SG0173" && findings[0].text.contains("401"), "{findings:?}");
    assert!(!format!("{findings:?}").contains("wrong-token"));
    for records in [vec![(SOURCE.to_owned(), false)], vec![], vec![(SOURCE.to_owned(), true); 2]] {
        let state = State { records, ..State::default() };
        let kind = |url| CdnVendor::Cloudflare {
            url,
            zone_id: "z1".into(),
            record: "www.example.test".into(),
            rtype: "A".into(),
        };
        let place = Place::of(state, kind, TOKEN).await;
        assert_eq!(place.cdn.preflight().await[0].code, "SG0173");
    }
}
