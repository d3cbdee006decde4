//! Moments in the pause: the fronts hold, the source is fenced or sealed.
//!
//! The controller falls asleep at a named point, something happens, and it wakes up again
//! before its leases end. Whatever comes of it, users are served and nothing is lost.

use super::scene::{Moment, Scene, Sleeping};
use super::sent::Sent;
use super::table::Row;
use crate::admin;
use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use rustix::process::Signal;
use segue_testkit::stage::{Controller, Waiting};
use segue_testkit::world::Side;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const FENCED: &str = "outcome.durable/fence";
const HELD: &str = "outcome.durable/hold";
const SEALED: &str = "outcome.durable/seal";

const MOMENTS: [Moment; 15] = [
    Moment::new(
        "a customer drops a table between fence and seal",
        "DROP TABLE shop.order_lines by the shop's own login",
        "the fence holds; the table stands at both sides",
        drop_by_customer,
    ),
    Moment::new(
        "an administrator drops a table between fence and seal",
        "DROP TABLE shop.order_lines without a default schema",
        "the fence holds; the table stands at both sides",
        drop_by_administrator,
    ),
    Moment::new(
        "a customer drops a table right after the seal",
        "DROP TABLE shop.order_lines by a new session of the shop",
        "the login is locked; the table stands at both sides",
        drop_after_seal,
    ),
    Moment::new(
        "a panel makes a login with rights in the pause",
        "CREATE USER and GRANT ON shop.* between fence and seal",
        "locked by the seal, open again after the way back",
        login_in_the_pause,
    ),
    Moment::new(
        "a panel makes a table in the pause",
        "CREATE TABLE shop.made between fence and seal",
        "SG0224, exit 5: service goes on at the source",
        table_in_the_pause,
    ),
    Moment::new(
        "a long transaction keeps the fence out",
        "START TRANSACTION; UPDATE shop.products; and nothing more",
        "SG0214, exit 5: service goes on at the source",
        long_transaction,
    ),
    Moment::new(
        "requests run longer than the pause may last",
        "every dynamic page takes 4 s at the source",
        "SG0155 or SG0153, exit 5: service goes on at the source",
        slow_requests,
    )
    .with_outage(),
    Moment::new(
        "the source's front is killed while it holds",
        "SIGKILL to the front between hold and fence",
        "exit 5: what it held is cut off; its port is the web server's at once",
        killed_front,
    )
    .with_outage(),
    Moment::new(
        "a front's state file is edited by hand and the front killed",
        "the target's front, its state is garbage",
        "waits at gate fronts_ready, exit 5; goes on once it is whole",
        edited_state,
    ),
    Moment::new(
        "the web server is reloaded in the pause",
        "SIGHUP to the source's nginx between hold and fence",
        "no request fails",
        reloaded_server,
    ),
    Moment::new(
        "the target's database hangs in the pause",
        "SIGSTOP to MariaDB at the target between fence and drain",
        "exit 5: service goes on at the source",
        hanging_target,
    ),
    Moment::new(
        "somebody stops the controller in the pause",
        "segue stop between fence and seal",
        "the pause is over first; users are served",
        stop_in_the_pause,
    ),
    Moment::new(
        "the machine's service manager ends the controller in the pause",
        "SIGTERM between fence and seal",
        "the pause is over first; users are served",
        term_in_the_pause,
    ),
    Moment::new(
        "the terminal is lost in the pause",
        "SIGHUP to the command and to the controller",
        "the cutover ends as asked",
        lost_terminal,
    ),
    Moment::new(
        "an owned record is edited in the pause",
        "the A record is pointed elsewhere between fence and seal",
        "SG0309: publish waits for a person, users are served",
        edited_record,
    )
    .with_outage(),
];

pub(super) fn play() -> Vec<Row> {
    let scene = Scene::with(|plan| {
        let wide = "[policy]\npause_budget_ms = 3000\nlease_ms = 5000\n";
        plan.replacen("gate_wait_s = 6", "gate_wait_s = 15", 1).replacen("[policy]\n", wide, 1)
    });
    scene.ready();
    scene.play(&MOMENTS)
}

const DROP: &str = "DROP TABLE shop.order_lines";
const TABLE: &str = "SELECT COUNT(*) FROM information_schema.tables \
                     WHERE table_schema = 'shop' AND table_name = 'order_lines'";

/// The table must stand at both sides, with all rows of the other.
fn table_stands(scene: &Scene) -> Result<()> {
    for side in Side::BOTH {
        ensure!(scene.number(side, TABLE)? == 1, "the table is gone at the {side}");
    }
    Ok(())
}

fn drop_by_customer(scene: &mut Scene) -> Result<String> {
    let cutover = scene.asleep_at(FENCED)?;
    let sent = Sent::as_customer(scene, DROP);
    sent.waits(scene)?;
    outlived(scene, cutover, sent)
}

fn drop_by_administrator(scene: &mut Scene) -> Result<String> {
    let cutover = scene.asleep_at(FENCED)?;
    let sent = Sent::as_administrator(scene, DROP);
    sent.waits(scene)?;
    outlived(scene, cutover, sent)
}

/// Whatever came of cutover and statement, the table stands at both sides.
fn outlived(scene: &Scene, cutover: Sleeping, sent: Sent) -> Result<String> {
    let said = cutover.wake()?;
    let answer = sent.answer()?;
    table_stands(scene)?;
    ensure!(answer.is_err(), "the statement was carried out");
    ensure!(matches!(said.exit, 0 | 5), "exit {}: {}", said.exit, said.text);
    if said.exit == 0 {
        scene.back()?;
        table_stands(scene)?;
    }
    Ok(format!("exit {}; the statement: {}", said.exit, answer.unwrap_err()))
}

fn drop_after_seal(scene: &mut Scene) -> Result<String> {
    let cutover = scene.asleep_at(SEALED)?;
    let sent = Sent::as_customer(scene, DROP);
    let answer = sent.answer()?;
    let seen = cutover.ends(0, "the unit is at the target")?;
    table_stands(scene)?;
    let refused = answer.err().context("the statement was carried out")?;
    ensure!(refused.contains("locked"), "{refused}");
    scene.back()?;
    Ok(format!("{refused}; {seen}"))
}

fn login_in_the_pause(scene: &mut Scene) -> Result<String> {
    let locked = "SELECT COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) = '1' OR \
                  COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) = 'true' \
                  FROM mysql.global_priv WHERE User = 'panel'";
    let cutover = scene.asleep_at(FENCED)?;
    let make = ["CREATE USER `panel`@`%` IDENTIFIED BY 'x'", "GRANT ALL ON shop.* TO `panel`@`%`"];
    scene.sql(Side::Source, &make)?;
    let seen = cutover.ends(0, "the unit is at the target")?;
    let was_locked = scene.number(Side::Source, locked)?;
    scene.back()?;
    let is_locked = scene.number(Side::Source, locked)?;
    scene.sql(Side::Source, &["DROP USER `panel`@`%`"])?;
    ensure!(was_locked == 1, "the login stood open after the seal");
    ensure!(is_locked == 0, "the login is locked after the way back");
    Ok(format!("{seen}; locked, then open again"))
}

fn table_in_the_pause(scene: &mut Scene) -> Result<String> {
    let cutover = scene.asleep_at(FENCED)?;
    scene.sql(Side::Source, &["CREATE TABLE shop.made (id INT PRIMARY KEY) ENGINE = InnoDB"])?;
    let seen = cutover.ends(5, "SG0224");
    scene.sql(Side::Source, &["DROP TABLE shop.made"])?;
    let seen = seen?;
    scene.compare(0)?;
    Ok(seen)
}

fn long_transaction(scene: &mut Scene) -> Result<String> {
    let mut conn = scene.runtime.block_on(async {
        let mut conn = admin(scene.description(), Side::Source).await;
        conn.query_drop("START TRANSACTION").await?;
        conn.query_drop("UPDATE shop.products SET name = name WHERE id = 3").await?;
        anyhow::Ok(conn)
    })?;
    let seen = scene.cutover(5, "SG0214");
    scene.runtime.block_on(async {
        conn.query_drop("ROLLBACK").await?;
        conn.disconnect().await
    })?;
    seen
}

fn slow_requests(scene: &mut Scene) -> Result<String> {
    // Such a page takes 4 of the 5 s that a visitor waits; with a pause it may be too late.
    let cut_off = |request: &serde_json::Value| request["fail"] != "timeout";
    let before = scene.failed_of(cut_off)?;
    scene.run.world.set_slow_ms(Side::Source, 4_000)?;
    // None of them is old when it begins, or one always is.
    let seen = scene.cutover(5, "SG015");
    scene.run.world.set_slow_ms(Side::Source, 0)?;
    ensure!(scene.failed_of(cut_off)? == before, "a request was cut off");
    seen
}

/// Returns the process of a front.
fn front(scene: &Scene, name: &str) -> Result<rustix::process::Pid> {
    let mark = format!("--name={name}");
    let world = scene.description().dir.display().to_string();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&mark) && line.contains(&world) {
            let pid: i32 = entry.file_name().to_string_lossy().parse()?;
            return rustix::process::Pid::from_raw(pid).context("a process id");
        }
    }
    anyhow::bail!("no front `{name}` runs")
}

fn front_stands(scene: &Scene, name: &str, former: rustix::process::Pid) -> Result<()> {
    scene.until("the front stands again", || Ok(front(scene, name).is_ok_and(|pid| pid != former)))
}

fn killed_front(scene: &mut Scene) -> Result<String> {
    let cutover = scene.asleep_at(HELD)?;
    let pid = front(scene, "source")?;
    rustix::process::kill_process(pid, Signal::KILL)?;
    let killed_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let said = cutover.wake()?;
    front_stands(scene, "source", pid)?;
    ensure!(said.exit == 5, "exit {}: {}", said.exit, said.text);
    // Its connections died with it; nobody who came later noticed.
    let later = scene.failed_of(|request| request["sent_ms"].as_u64() > Some(killed_ms + 20))?;
    ensure!(later == 0, "{later} requests failed that were sent later");
    Ok(format!("exit 5: {}", said.text.lines().last().unwrap_or_default()))
}

fn edited_state(scene: &mut Scene) -> Result<String> {
    let state = scene.description().dir.join("run/front-target.json");
    let kept = std::fs::read(&state)?;
    let pid = front(scene, "target")?;
    std::fs::write(&state, "somebody's notes")?;
    rustix::process::kill_process(pid, Signal::KILL)?;
    let seen = scene.cutover(5, "fronts_ready");
    std::fs::write(&state, kept)?;
    front_stands(scene, "target", pid)?;
    seen
}

fn reloaded_server(scene: &mut Scene) -> Result<String> {
    let cutover = scene.asleep_at(HELD)?;
    scene.signal("nginx-source", Signal::HUP)?;
    let said = cutover.wake()?;
    ensure!(matches!(said.exit, 0 | 5), "exit {}: {}", said.exit, said.text);
    if said.exit == 0 {
        scene.back()?;
    }
    Ok(format!("exit {}, no request failed", said.exit))
}

fn hanging_target(scene: &mut Scene) -> Result<String> {
    let cutover = scene.asleep_at(FENCED)?;
    scene.signal("mariadbd-target", Signal::STOP)?;
    let said = cutover.wake();
    scene.signal("mariadbd-target", Signal::CONT)?;
    let said = said?;
    ensure!(said.exit == 5, "exit {}: {}", said.exit, said.text);
    Ok(format!("exit 5: {}", said.text.lines().last().unwrap_or_default()))
}

/// The controller ends, but not before users are served.
fn pause_ends_first(scene: &mut Scene, cutover: Sleeping) -> Result<String> {
    let said = cutover.wake()?;
    scene.until("the controller is gone", || Ok(Controller::of(&scene.run.segue).is_none()))?;
    let sent = scene.counted().0;
    // Nobody drives now: fronts alone must serve.
    scene.until("visitors are served", || Ok(scene.counted().0 > sent + 30))?;
    let resumed = scene.say(&["resume"]);
    ensure!(matches!(resumed.exit, 0 | 5), "{}", resumed.text);
    scene.back()?;
    Ok(format!("the cutover's view ended with {}; {}", said.exit, resumed.text.trim()))
}

fn stop_in_the_pause(scene: &mut Scene) -> Result<String> {
    let cutover = scene.asleep_at(FENCED)?;
    let stop = Waiting::stop(scene.run.segue.dir(), Duration::from_secs(30))?;
    let seen = pause_ends_first(scene, cutover)?;
    ensure!(stop.answer()? == 0, "the stop was refused");
    Ok(seen)
}

fn term_in_the_pause(scene: &mut Scene) -> Result<String> {
    let cutover = scene.asleep_at(FENCED)?;
    rustix::process::kill_process(cutover.controller.pid(), Signal::TERM)?;
    pause_ends_first(scene, cutover)
}

fn lost_terminal(scene: &mut Scene) -> Result<String> {
    let cutover = scene.asleep_at(FENCED)?;
    let view = cutover.view().context("the command's process")?;
    rustix::process::kill_process(cutover.controller.pid(), Signal::HUP)?;
    rustix::process::kill_process(view, Signal::HUP)?;
    let said = cutover.wake()?;
    let at_target = |status: &serde_json::Value| {
        status["open"].is_null() && status["write_side"]["at"] == "target"
    };
    scene.run.segue.wait_for("the cutover ends", super::scene::PATIENCE, at_target)?;
    scene.back()?;
    Ok(format!("the view ended with {}, the unit is at the target", said.exit))
}

fn edited_record(scene: &mut Scene) -> Result<String> {
    let world = scene.description().clone();
    let cutover = scene.asleep_at(FENCED)?;
    world.point(&world.host, 2, [127, 0, 0, 66].into())?;
    cutover.controller.wake()?;
    let waits = |status: &serde_json::Value| {
        status["write_side"]["at"] == "target" && !status["open"].is_null()
    };
    scene.run.segue.wait_for("the fronts route to the target", super::scene::PATIENCE, waits)?;
    scene.until("the journal names the conflict", || {
        let records = scene.run.journal();
        Ok(records.iter().any(|record| record.to_string().contains("SG0309")))
    })?;
    let sent = scene.counted().0;
    scene.until("visitors are served", || Ok(scene.counted().0 > sent + 30))?;
    // The person puts it right, and the publish goes on by itself.
    world.point(&world.host, 2, [127, 0, 0, 11].into())?;
    let seen = cutover.ends(0, "the unit is at the target")?;
    ensure!(
        world.address_at(world.zone.primary, &world.host)?
            == [std::net::Ipv4Addr::new(127, 0, 0, 12)]
    );
    scene.back()?;
    Ok(format!("waited with SG0309; {seen}"))
}
