//! Moments in which somebody edits the zone between lowered TTLs and publish.

use super::scene::Scene;
use anyhow::{Result, ensure};

pub(super) fn edited_record(scene: &mut Scene) -> Result<String> {
    let before = held(scene)?;
    let world = scene.description();
    // At the target's address a front serves, so no visitor is misled.
    world.point(&world.host, 2, [127, 0, 0, 12].into())?;
    let seen = scene.cutover(5, "SG0309");
    world.point(&world.host, 2, [127, 0, 0, 11].into())?;
    let seen = seen?;
    ensure!(held(scene)? == before, "something was held");
    Ok(seen)
}

/// How often the journal tells of an intent to hold.
pub(super) fn held(scene: &Scene) -> Result<usize> {
    let records = scene.run.journal();
    let intent = |record: &&serde_json::Value| {
        record["event"]["event"] == "step_intended" && record["event"]["step"] == "hold"
    };
    Ok(records.iter().filter(intent).count())
}

pub(super) fn raised_ttl(scene: &mut Scene) -> Result<String> {
    let before = held(scene)?;
    let world = scene.description();
    world.point(&world.host, 30, [127, 0, 0, 11].into())?;
    let seen = scene.cutover(5, "raised a TTL");
    world.point(&world.host, 2, [127, 0, 0, 11].into())?;
    let seen = seen?;
    ensure!(held(scene)? == before, "something was held");
    Ok(seen)
}

pub(super) fn edited_neighbour(scene: &mut Scene) -> Result<String> {
    let world = scene.description();
    let tenant = format!("tenant.{}", world.zone.name);
    world.point(&tenant, 300, [127, 0, 0, 44].into())?;
    let seen = scene.cutover(0, "the unit is at the target")?;
    let kept = world.address_at(world.zone.primary, &tenant)?;
    ensure!(kept == [std::net::Ipv4Addr::new(127, 0, 0, 44)], "the neighbour's record: {kept:?}");
    scene.back()?;
    world.point(&tenant, 300, [127, 0, 0, 41].into())?;
    Ok(seen)
}
