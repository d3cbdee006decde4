//! Moments in which a side's disk is full while the target follows.
//!
//! Databases get a small disk of their own, filled to its last page. For files a limit on
//! the size of a file stands in: to whoever writes, the same failed write.

use super::scene::{Moment, Scene};
use super::table::Row;
use anyhow::{Context, Result, bail, ensure};
use segue_testkit::stage::Controller;
use segue_testkit::world::Side;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

/// MariaDB looks only once a minute whether there is room again (`my_write`).
const ROOM_SEEN: Duration = Duration::from_secs(150);
/// The soft limit of a file, in bytes, and a file beyond it.
const LIMIT: usize = 32 << 20;
const BEYOND: usize = 48;

const MOMENTS: [Moment; 3] = [
    Moment::new(
        "the disk of the target's files is full",
        "a file of 48 MiB at the source, no room for it at the target",
        "SG0403, exit 5: service goes on at the source; with room: 0 differences",
        target_tree,
    ),
    Moment::new(
        "the disk of the target's database is full",
        "its data lies on a small disk, filled; 32 MiB of rows at the source",
        "waits at gate database_lag, exit 5; with room: 0 differences",
        target_database,
    ),
    Moment::new(
        "the disk of the source's database is full",
        "its data lies on a small disk, filled under visitors",
        "waits at gate database_lag, exit 5; with room: 0 differences",
        source_database,
    )
    .with_outage(),
];

pub(super) fn play() -> Vec<Row> {
    let scene = Scene::with(|plan| plan.replacen("gate_wait_s = 6", "gate_wait_s = 15", 1));
    scene.ready();
    scene.play(&MOMENTS)
}

fn target_tree(scene: &mut Scene) -> Result<String> {
    let controller = Controller::of(&scene.run.segue).context("no controller")?;
    let limit = |bytes: &str| {
        let pid = controller.pid().as_raw_nonzero().to_string();
        let done =
            Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status();
        ensure!(done?.success(), "limit the controller's files");
        Ok(())
    };
    limit(&LIMIT.to_string())?;
    let trees = &scene.description().trees;
    let (here, there) = (trees.source.join("backup.bin"), trees.target.join("backup.bin"));
    let mut file = std::fs::File::create(&here)?;
    for number in 0..BEYOND {
        file.write_all(&vec![number as u8; 1 << 20])?;
    }
    drop(file);
    let seen = scene.cutover(5, "SG0403");
    let came = there.exists();
    limit("unlimited")?;
    let seen = seen?;
    ensure!(!came, "the file came in spite of the limit");
    goes_on(scene)?;
    ensure!(std::fs::read(&there)? == std::fs::read(&here)?, "the file is not the same");
    std::fs::remove_file(&here)?;
    scene.until("the copy is gone", || Ok(!there.exists()))?;
    scene.compare(0)?;
    Ok(seen)
}

fn target_database(scene: &mut Scene) -> Result<String> {
    scene.run.world.kill_database(Side::Target)?;
    let disk = scene.run.world.restart_database_on_small_disk(Side::Target)?;
    goes_on(scene)?;
    disk.fill()?;
    let create = "CREATE TABLE ballast (id INT AUTO_INCREMENT PRIMARY KEY, body LONGBLOB)";
    let insert = "INSERT INTO ballast (body) VALUES (REPEAT('x', 1048576))";
    let mut statements = vec!["USE shop", create];
    statements.extend([insert; 32]);
    scene.sql(Side::Source, &statements)?;
    let seen = scene.cutover(5, "database_lag");
    disk.empty()?;
    let seen = seen?;
    goes_on(scene)?;
    let rows = "SELECT COUNT(*) FROM shop.ballast";
    ensure!(scene.number(Side::Target, rows)? == 32, "rows are missing");
    scene.sql(Side::Source, &["USE shop", "DROP TABLE ballast"])?;
    scene.compare(0)?;
    Ok(seen)
}

fn source_database(scene: &mut Scene) -> Result<String> {
    scene.run.world.kill_database(Side::Source)?;
    let disk = scene.run.world.restart_database_on_small_disk(Side::Source)?;
    goes_on(scene)?;
    disk.fill()?;
    let failed = scene.counted().1;
    scene.until("visitors feel it", || Ok(scene.counted().1 > failed))?;
    let seen = scene.cutover(5, "database_lag");
    disk.empty()?;
    let seen = seen?;
    goes_on(scene)?;
    Ok(seen)
}

/// Both sides come into step again, and are equal.
fn goes_on(scene: &Scene) -> Result<()> {
    let began = Instant::now();
    loop {
        match scene.compare(0) {
            Ok(_) => return Ok(()),
            Err(error) if began.elapsed() > ROOM_SEEN => bail!("it does not go on: {error:#}"),
            Err(_) => std::thread::sleep(Duration::from_millis(500)),
        }
    }
}
