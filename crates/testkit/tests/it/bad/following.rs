//! Moments while the target follows the source, before anything is held.

use super::certificate::TlsServer;
use super::change::Said;
use super::directories::edit_plan;
use super::records::{edited_neighbour, edited_record, held, raised_ttl};
use super::scene::{Moment, Scene};
use super::table::Row;
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use segue_testkit::world::{Description, Side};
use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

/// Longest time for which the gates believe a sample.
const FRESH: Duration = Duration::from_millis(2_500);

const MOMENTS: [Moment; 22] = [
    Moment::new(
        "another journal's controller wants the same unit",
        "a second run directory syncs the approved plan",
        "SG0812, SG0207",
        second_journal,
    ),
    Moment::new(
        "the approved plan is edited while the run goes on",
        "the stored plan is changed, the controller started again",
        "SG0807; goes on once it is restored",
        edited_plan,
    ),
    Moment::new(
        "another plan is approved while the run goes on",
        "segue cutover with the other plan's hash",
        "SG0814",
        another_plan,
    ),
    Moment::new(
        "a customer alters a table while it is followed",
        "USE shop; ALTER TABLE products ADD remark",
        "followed: 0 differences",
        altered,
    ),
    Moment::new(
        "a customer drops a table while it is followed",
        "USE shop; CREATE, INSERT, DROP TABLE scratch",
        "followed: gone at both sides, 0 differences",
        dropped,
    ),
    Moment::new(
        "somebody stops the stream at the target",
        "STOP ALL SLAVES at the target",
        "waits at the gate, exit 5; goes on with it",
        stopped_stream,
    ),
    Moment::new(
        "an administrator alters a table from another schema",
        "ALTER TABLE shop.customers without USE shop: no stream passes it on",
        "exit 3: differences; the cutover is refused",
        altered_from_elsewhere,
    ),
    Moment::new(
        "a stranger writes into the copy",
        "UPDATE shop.customers at the target",
        "exit 3: differences; the cutover is refused",
        rogue_row,
    ),
    Moment::new(
        "a stranger edits a file of the copy",
        "a file of the target's tree is overwritten",
        "exit 3: differences; the cutover is refused",
        rogue_file,
    ),
    Moment::new(
        "the target's application hangs",
        "SIGSTOP to the shop's server at the target",
        "waits at gate target_up, exit 5",
        hanging_target,
    ),
    Moment::new(
        "the target's database hangs",
        "SIGSTOP to MariaDB at the target",
        "waits at a gate, exit 5",
        hanging_database,
    ),
    Moment::new(
        "the name server hangs before the cutover",
        "SIGSTOP to the primary name server",
        "waits at gate zone_untouched, exit 5",
        hanging_names,
    )
    .with_outage(),
    Moment::new(
        "an owned record is edited after TTLs were lowered",
        "the A record is pointed elsewhere by hand",
        "SG0309, exit 5; nothing is held",
        edited_record,
    ),
    Moment::new(
        "an owned record's TTL is raised by hand",
        "the A record gets a TTL of 30 s again",
        "SG0309: waits at gate zone_untouched, exit 5",
        raised_ttl,
    ),
    Moment::new(
        "a neighbour's record is edited meanwhile",
        "another customer's A record is changed by hand",
        "rebased: cutover and way back succeed",
        edited_neighbour,
    ),
    Moment::new(
        "the target is made read-only meanwhile",
        "SET GLOBAL read_only = 1 at the target",
        "SG0237 at arm, exit 5; nothing is held",
        read_only_target,
    ),
    Moment::new(
        "the administrator's password is changed at the server",
        "ALTER USER at the target, then a new controller",
        "SG0202; goes on with the new secret",
        rotated_secret,
    ),
    Moment::new(
        "a certificate that expires tonight",
        "the TLS server in front presents one of a day, the plan wants 30",
        "waits at gate certificate_lasts, exit 5",
        short_certificate,
    ),
    Moment::new(
        "a worker cannot be stopped",
        "the stop command's world is not readable",
        "SG05, exit 5; nothing is held",
        stubborn_worker,
    ),
    Moment::new(
        "the terminal is lost while both sides are compared",
        "SIGHUP to the command",
        "the run goes on",
        lost_terminal,
    ),
    Moment::new(
        "the source's database is killed while it is followed",
        "SIGKILL to MariaDB at the source, then a start",
        "follows again: 0 differences",
        restarted_source,
    )
    .with_outage(),
    Moment::new(
        "the source's binary log is purged while it is read",
        "no controller, stream stopped, FLUSH and PURGE BINARY LOGS",
        "waits at the gate, exit 5, with the cause",
        purged_log,
    ),
];

pub(super) fn play() -> Vec<Row> {
    let folder = tempfile::tempdir().unwrap();
    let server = TlsServer::start(folder.path(), 90).unwrap();
    let lines = server.plan_lines();
    let mut scene = Scene::with(|plan| plan + &lines);
    scene.tls = Some(server);
    scene.play(&MOMENTS)
}

fn short_certificate(scene: &mut Scene) -> Result<String> {
    scene.present(1)?;
    let seen = scene.cutover(5, "certificate_lasts");
    scene.present(90)?;
    seen
}

fn second_journal(scene: &mut Scene) -> Result<String> {
    let other = scene.run.segue.beside(&scene.description().dir.join("run/other"));
    let file = other.plan_file().display().to_string();
    ensure!(Said::by(&mut other.command(&["plan", "--offline", &file])).exit == 0);
    let said = Said::by(&mut other.command(&["sync", &scene.run.hash]));
    let _ = Said::by(&mut other.command(&["stop"]));
    ensure!(said.text.contains("SG0812"), "{}", said.text);
    said.refuses(1, "SG0207").map_err(anyhow::Error::msg)
}

fn edited_plan(scene: &mut Scene) -> Result<String> {
    let plans = scene.run.segue.dir().join("plans");
    let mut kept = Vec::new();
    for plan in std::fs::read_dir(&plans)?.flatten() {
        kept.push((plan.path(), std::fs::read(plan.path())?));
    }
    scene.says(&["stop"], 0, "")?;
    edit_plan(scene.run.segue.dir());
    let said = scene.say(&["resume"]);
    for (path, text) in kept {
        std::fs::write(path, text)?;
    }
    let seen = said.refuses(1, "SG0807").map_err(anyhow::Error::msg)?;
    scene.says(&["resume"], 0, "")?;
    Ok(seen)
}

fn another_plan(scene: &mut Scene) -> Result<String> {
    let sound = std::fs::read_to_string(scene.run.segue.plan_file())?;
    let other = sound.replacen("stable_for_s = 3", "stable_for_s = 5", 1);
    std::fs::write(scene.run.segue.plan_file(), other)?;
    let file = scene.run.segue.plan_file().display().to_string();
    let approved = scene.say(&["--json", "plan", "--offline", &file]);
    std::fs::write(scene.run.segue.plan_file(), sound)?;
    let place = approved.text.find("\"hash\":\"").map(|place| place + 8);
    let hash = place.and_then(|place| approved.text.get(place..place + 12)).unwrap_or_default();
    ensure!(hash.len() == 12 && !hash.starts_with(&scene.run.hash), "{}", approved.text);
    scene.says(&["cutover", hash], 1, "SG0814")
}

fn altered(scene: &mut Scene) -> Result<String> {
    let add = "ALTER TABLE products ADD remark VARCHAR(20) DEFAULT 'x'";
    scene.sql(Side::Source, &["USE shop", add])?;
    let there = "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = 'shop' AND column_name = 'remark'";
    scene.until("the column is there", || Ok(scene.number(Side::Target, there)? == 1))?;
    let seen = scene.compare(0)?;
    scene.sql(Side::Source, &["USE shop", "ALTER TABLE products DROP remark"])?;
    scene.until("the column is gone", || Ok(scene.number(Side::Target, there)? == 0))?;
    Ok(seen)
}

/// A stream passes a statement by its default schema: this one does not come along.
fn altered_from_elsewhere(scene: &mut Scene) -> Result<String> {
    let add = "ALTER TABLE shop.customers ADD remark VARCHAR(20) DEFAULT 'x'";
    scene.sql(Side::Source, &[add])?;
    let seen = scene.says(&["sync", &scene.run.hash], 3, "compared again");
    let refused = scene.cutover(5, "verified");
    // A person does the same at the target.
    scene.sql(Side::Target, &[add])?;
    let (seen, refused) = (seen?, refused?);
    scene.compare(0)?;
    Ok(format!("{seen}; cutover {refused}"))
}

fn dropped(scene: &mut Scene) -> Result<String> {
    let create = "CREATE TABLE scratch (id INT PRIMARY KEY) ENGINE = InnoDB";
    scene.sql(Side::Source, &["USE shop", create, "INSERT INTO scratch VALUES (1), (2)"])?;
    let there = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'shop' AND table_name = 'scratch'";
    scene.until("the table is there", || Ok(scene.number(Side::Target, there)? == 1))?;
    scene.sql(Side::Source, &["USE shop", "DROP TABLE scratch"])?;
    scene.until("the table is gone", || Ok(scene.number(Side::Target, there)? == 0))?;
    scene.compare(0)
}

fn stopped_stream(scene: &mut Scene) -> Result<String> {
    // Fronts stand from here on: the first cutover prepares.
    scene.says(&["cutover", &scene.run.hash, "--prepare-only"], 0, "")?;
    scene.sql(Side::Target, &["STOP ALL SLAVES"])?;
    let seen = scene.cutover(5, "database_lag");
    scene.sql(Side::Target, &["START ALL SLAVES"])?;
    let seen = seen?;
    scene.compare(0)?;
    Ok(seen)
}

fn rogue_row(scene: &mut Scene) -> Result<String> {
    // Out of the binary log: through it the way back would carry the row to the source.
    let quietly = "SET sql_log_bin = 0";
    let change = "UPDATE shop.customers SET name = CONCAT(name, '!') \
                  WHERE id = 7";
    scene.sql(Side::Target, &[quietly, change])?;
    let seen = scene.compare(3)?;
    let refused = scene.cutover(5, "verified")?;
    scene.sql(
        Side::Target,
        &[quietly, "UPDATE shop.customers SET name = TRIM(TRAILING '!' FROM name) WHERE id = 7"],
    )?;
    scene.compare(0)?;
    Ok(format!("{seen}; cutover {refused}"))
}

fn rogue_file(scene: &mut Scene) -> Result<String> {
    let path = segue_testkit::world::static_path(11);
    let path = path.trim_start_matches('/');
    let trees = &scene.description().trees;
    let (source, target) = (trees.source.join(path), trees.target.join(path));
    ensure!(target.is_file(), "{}", target.display());
    std::fs::write(&target, "defaced")?;
    let seen = scene.compare(3)?;
    let refused = scene.cutover(5, "verified")?;
    // A write at the source brings the copy up again.
    let text = std::fs::read(&source)?;
    std::fs::write(&source, &text)?;
    scene.until("the copy is whole", || Ok(std::fs::read(&target)? == text))?;
    scene.compare(0)?;
    Ok(format!("{seen}; cutover {refused}"))
}

fn asleep(scene: &Scene, name: &str, words: &str) -> Result<String> {
    scene.signal(name, Signal::STOP)?;
    // Until the last sample of before is too old to count.
    std::thread::sleep(FRESH);
    let seen = scene.cutover(5, words);
    scene.signal(name, Signal::CONT)?;
    seen
}

fn hanging_target(scene: &mut Scene) -> Result<String> {
    asleep(scene, "shop-target", "target_up")
}

fn hanging_database(scene: &mut Scene) -> Result<String> {
    let seen = asleep(scene, "mariadbd-target", "waited")?;
    scene.compare(0)?;
    Ok(seen)
}

fn hanging_names(scene: &mut Scene) -> Result<String> {
    asleep(scene, "named-primary", "zone_untouched")
}

fn read_only_target(scene: &mut Scene) -> Result<String> {
    let before = held(scene)?;
    scene.sql(Side::Target, &["SET GLOBAL read_only = 1"])?;
    let seen = scene.cutover(5, "SG0237");
    scene.sql(Side::Target, &["SET GLOBAL read_only = 0"])?;
    let seen = seen?;
    ensure!(held(scene)? == before, "something was held");
    Ok(seen)
}

fn rotated_secret(scene: &mut Scene) -> Result<String> {
    let server = scene.description().database.target.clone();
    let login = format!("`{}`@`%`", server.admin);
    let former = Description::secret(&server.admin_password_file)?;
    let (set, back) = (
        format!("ALTER USER {login} IDENTIFIED BY 'changed-tonight'"),
        format!("ALTER USER {login} IDENTIFIED BY '{former}'"),
    );
    scene.says(&["stop"], 0, "")?;
    scene.sql(Side::Target, &[&set])?;
    let said = scene.say(&["resume"]);
    // The operator learns the new secret, and later changes it back.
    std::fs::write(&server.admin_password_file, "changed-tonight")?;
    let goes_on = scene.says(&["resume"], 0, "");
    scene.sql(Side::Target, &[&back])?;
    std::fs::write(&server.admin_password_file, &former)?;
    goes_on?;
    said.refuses(1, "SG0202").map_err(anyhow::Error::msg)
}

fn stubborn_worker(scene: &mut Scene) -> Result<String> {
    let before = held(scene)?;
    let (path, aside) = (scene.run.world.path(), scene.description().dir.join("aside.json"));
    std::fs::rename(&path, &aside)?;
    let seen = scene.cutover(5, "SG05");
    std::fs::rename(&aside, &path)?;
    let seen = seen?;
    ensure!(held(scene)? == before, "something was held");
    Ok(seen)
}

fn lost_terminal(scene: &mut Scene) -> Result<String> {
    let before = scene.run.compared("database");
    let mut command = scene.run.segue.command(&["--json", "sync", &scene.run.hash]);
    let mut view = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let pid = i32::try_from(view.id()).ok().and_then(rustix::process::Pid::from_raw);
    // Its first line shows that the controller is at work.
    let mut first = [0];
    view.stdout.take().context("its output")?.read_exact(&mut first)?;
    rustix::process::kill_process(pid.context("its process")?, Signal::HUP)?;
    let ended = view.wait()?;
    scene.until("the comparison ends all the same", || {
        Ok(scene.run.compared("database") > before)
    })?;
    Ok(format!("the view ended with {ended}, the comparison went on"))
}

fn restarted_source(scene: &mut Scene) -> Result<String> {
    scene.run.world.kill_database(Side::Source)?;
    scene.run.world.restart_database(Side::Source)?;
    scene.compare(0)
}

fn purged_log(scene: &mut Scene) -> Result<String> {
    // A controller would start the stream again before the log is gone.
    scene.says(&["stop"], 0, "")?;
    scene.sql(Side::Target, &["STOP ALL SLAVES"])?;
    // The server notices late that nobody reads, and purges nothing that is read.
    let reader = "SELECT COALESCE(MIN(ID), 0) FROM information_schema.PROCESSLIST \
                  WHERE COMMAND = 'Binlog Dump'";
    scene.until("nobody reads the log", || {
        let reader = scene.number(Side::Source, reader)?;
        // It may be gone by now.
        let _ = scene.sql(Side::Source, &[&format!("KILL {reader}")]);
        Ok(reader == 0)
    })?;
    scene.sql(Side::Source, &["FLUSH BINARY LOGS"])?;
    let sent = scene.counted().0;
    scene.until("there is more in the log", || Ok(scene.counted().0 > sent + 30))?;
    scene.sql(
        Side::Source,
        &["FLUSH BINARY LOGS", "PURGE BINARY LOGS BEFORE DATE_ADD(NOW(), INTERVAL 1 HOUR)"],
    )?;
    scene.sql(Side::Target, &["START ALL SLAVES"])?;
    scene.cutover(5, "database_lag")
}
