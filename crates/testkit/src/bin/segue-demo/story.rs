//! What happens on stage.

use crate::scene::Scene;
use anyhow::{Result, bail};
use segue_testkit::world::Side;
use serde_json::Value;
use std::time::{Duration, Instant};

/// The application's wait at the target while it is slow: above the trigger's bound, and
/// a visitor waits less than a second longer than usual.
const SLOW_MS: u64 = 300;

/// Today's practice on a small copy, with its measured interruption.
pub(crate) fn practice(scene: &Scene) -> Result<()> {
    scene.say("today's practice on a small copy: stop, dump, copy, start, flip the DNS");
    let interruption_ms = scene.world()?.practice_move()?;
    scene.say(&format!(
        "today's practice: visitors saw {:.1} s of interruption",
        interruption_ms as f64 / 1_000.0
    ));
    Ok(())
}

/// Plan, approval, and everything copied while it is in use.
pub(crate) fn plan_and_sync(scene: &Scene) -> Result<()> {
    let file = scene.segue.plan_file().display().to_string();
    scene
        .say("Segue's way: check the plan and both sides, then copy everything while it is in use");
    scene.segue.must(&["doctor", &file], 0)?;
    let hash = scene.segue.plan()?;
    scene.segue.must(&["sync", &hash], 0)?;
    scene.say_visitors();
    Ok(())
}

/// Fronts before the live port, low TTLs.
pub(crate) fn prepare(scene: &Scene) -> Result<()> {
    scene.say("fronts go before the live port (no connection is dropped) and TTLs are lowered");
    let hash = hash_of_run(scene)?;
    scene.segue.must(&["cutover", &hash, "--prepare-only"], 0)?;
    scene.say_visitors();
    Ok(())
}

fn cut_over(scene: &Scene) -> Result<()> {
    let hash = hash_of_run(scene)?;
    scene.say("cutover: hold, fence, drain, seal, promote, route, publish");
    scene.segue.must(&["cutover", &hash], 0)?;
    let site = &scene.description.site;
    scene.mark("publish", site.source, site.target)?;
    scene.say_visitors();
    Ok(())
}

fn stage(status: &Value) -> &str {
    status["stage"].as_str().unwrap_or("")
}

/// The main story.
pub(crate) fn there_back_and_there_again(scene: &Scene) -> Result<()> {
    cut_over(scene)?;
    scene.let_pass(Duration::from_secs(5));

    scene.say(&format!("the target's application turns slow ({SLOW_MS} ms more on every page)"));
    let slow_since = Instant::now();
    scene.world()?.set_slow_ms(Side::Target, SLOW_MS)?;
    let at_source = |status: &Value| status["write_side"]["at"] == "source";
    let back =
        scene.segue.wait_for("the unit is back at the source", Duration::from_secs(30), at_source);
    let took = slow_since.elapsed();
    scene.world()?.set_slow_ms(Side::Target, 0)?;
    back?;
    // Publishing and the full comparison come after the visitors are served again.
    scene.segue.wait_for("the failback is complete", Duration::from_secs(120), |status| {
        stage(status) == "prepared" && status["open"].is_null()
    })?;
    let site = &scene.description.site;
    scene.mark("failback_published", site.target, site.source)?;
    scene.say(&format!(
        "a trigger noticed and failed the unit back: at the source {:.1} s after the target turned slow",
        took.as_secs_f64()
    ));
    scene.let_pass(Duration::from_secs(3));

    scene.say("the application is mended; the second night needs no new copy");
    cut_over(scene)?;
    scene.let_pass(Duration::from_secs(6));
    scene.say("a person confirms, then settles: former TTLs come back");
    scene.segue.must(&["confirm"], 0)?;
    let hash = hash_of_run(scene)?;
    scene.segue.must(&["settle", &hash], 0)?;
    scene.say_visitors();
    Ok(())
}

fn hash_of_run(scene: &Scene) -> Result<String> {
    let status = scene.segue.status()?;
    Ok(status["plan_hash"].as_str().unwrap_or_default().chars().take(8).collect())
}

/// The target's database dies after the promotion.
pub(crate) fn stuck(scene: &Scene) -> Result<()> {
    cut_over(scene)?;
    scene.let_pass(Duration::from_secs(2));
    scene.say("the target's database is killed: going back now would lose what has not come back");
    scene.world()?.kill_target_database()?;
    let asks = |status: &Value| !status["asks"].is_null();
    scene.segue.wait_for("Segue asks a person", Duration::from_secs(30), asks)?;
    let exit = scene.segue.show(&["status"])?;
    if exit != 6 {
        bail!("`segue status` of a stuck run ended with {exit}, not 6");
    }
    scene.say(
        "the way out: the database comes back, `segue resume` fails the unit back without loss",
    );
    scene.world()?.restart_target_database()?;
    scene.segue.must(&["resume"], 0)?;
    let site = &scene.description.site;
    scene.mark("failback_published", site.target, site.source)?;
    scene.let_pass(Duration::from_secs(3));
    Ok(())
}

/// The target cannot catch up: its replication is blocked while the fronts already hold.
pub(crate) fn withdraw(scene: &Scene) -> Result<()> {
    let hash = hash_of_run(scene)?;
    scene.say("the target's replication will be blocked in the middle of the pause");
    // Slow pages at the source make the hold wait for them: time enough to block the target
    // before the last writes arrive there.
    scene.world()?.set_slow_ms(Side::Source, SLOW_MS)?;
    let mut cutover = scene.segue.in_background(&["cutover", &hash])?;
    scene.segue.wait_for_intent("hold", Duration::from_secs(60))?;
    let block = scene.world()?.block_target_apply()?;
    let exit = cutover.wait()?.code();
    drop(block);
    scene.world()?.set_slow_ms(Side::Source, 0)?;
    if exit != Some(5) {
        bail!("the cutover ended with {exit:?}, not with a withdrawal (5)");
    }
    scene.segue.show(&["journal", "--after", "20"])?;
    scene.say("it withdrew within its budget; service goes on at the source");
    scene.let_pass(Duration::from_secs(3));
    Ok(())
}
