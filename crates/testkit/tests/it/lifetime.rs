//! A world leaves nothing behind.

use crate::{shop_program, small_world, wait_for};
use segue_testkit::world::{self, Description, World, WorldOptions};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Returns the processes whose command line names `dir`.
fn processes_of(dir: &Path) -> Vec<String> {
    let dir = dir.display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&dir) {
            found.push(line);
        }
    }
    found
}

#[test]
fn leaves_no_process_behind_when_it_is_dropped() {
    let (world, dir) = small_world();
    assert_eq!(world.description().pids.len(), 11);
    // A process has no command line for a moment while it becomes another program.
    wait_for("all are there", || processes_of(dir.path()).len() >= 11);
    drop(world);
    assert_eq!(processes_of(dir.path()), Vec::<String>::new());
}

#[test]
fn leaves_no_process_behind_when_its_holder_panics() {
    let place = std::sync::Mutex::new(None);
    let panicked = std::panic::catch_unwind(|| {
        let (world, dir) = small_world();
        *place.lock().unwrap() = Some(dir);
        assert!(world.description().pids.is_empty(), "this panic is part of the test");
    });
    assert!(panicked.is_err());
    let dir = place.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).unwrap();
    assert_eq!(processes_of(dir.path()), Vec::<String>::new());
}

#[test]
fn leaves_no_process_behind_when_its_holder_is_killed() {
    let dir = tempfile::Builder::new().prefix("w").tempdir().unwrap();
    let mut holder = Command::new(env!("CARGO_BIN_EXE_segue-world"))
        .args(["start", "--small", "--dir"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(Path::new(line.trim()), dir.path().join("world.json"));
    // `setpriv` asks the kernel for the signal, and only then becomes the daemon.
    wait_for("all are there", || {
        let all = processes_of(dir.path());
        all.len() >= 11 && !all.iter().any(|line| line.contains("--pdeathsig"))
    });
    holder.kill().unwrap();
    holder.wait().unwrap();
    wait_for("the kernel ended them", || processes_of(dir.path()).is_empty());
}

#[test]
fn a_detached_world_outlives_its_starter_and_is_stopped_by_its_folder() {
    let dir = tempfile::Builder::new().prefix("w").tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_segue-world");
    let run = |args: &[&str]| {
        let done = Command::new(program).args(args).arg("--dir").arg(dir.path()).output().unwrap();
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    assert!(run(&["start", "--small", "--detach"]).0);
    let (again, why) = run(&["start", "--small", "--detach"]);
    assert!(!again && why.contains("one runs there already"), "{why}");
    let description = Description::load(&dir.path().join("world.json")).unwrap();
    assert_eq!(crate::http::get(description.site.source, "/healthz", None).status, 200);
    assert!(run(&["stop"]).0);
    assert_eq!(processes_of(dir.path()), Vec::<String>::new());
    assert_eq!(world::stop(dir.path()).unwrap(), Vec::<String>::new(), "nothing left to stop");
}

#[test]
fn refuses_a_folder_with_foreign_content_and_leaves_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.txt"), "years").unwrap();
    let options =
        WorldOptions { shop_program: Some(shop_program()), ..WorldOptions::small(dir.path()) };
    let refused = World::start(options).err().unwrap();
    assert!(format!("{refused:#}").contains("thesis.txt"), "{refused:#}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
