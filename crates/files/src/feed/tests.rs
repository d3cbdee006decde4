//! At the queue itself, without a mover.

use super::{Feed, Mode};
use crate::dirty::{Age, Load};
use crate::exclude::Excludes;
use segue_model::Side;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

/// A feed that is watched but read by nobody else.
fn feed(root: &Path, mode: Mode) -> Arc<Feed> {
    let feed = Feed::new(Side::Source, root.to_owned(), Arc::new(Excludes::default()));
    feed.open(mode).unwrap();
    Arc::new(feed)
}

fn read(feed: &Feed) {
    feed.read(&mut |_| {}).unwrap();
}

#[test]
fn wants_the_whole_tree_when_events_were_lost() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a", "b"].map(|n| folder.path().join(n));
    names.iter().for_each(|n| fs::write(n, "x").unwrap());
    let feed = feed(folder.path(), Mode::Active);
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    for n in 0..limit.trim().parse::<usize>().unwrap() + 10 {
        fs::set_permissions(&names[n % 2], Permissions::from_mode(0o600)).unwrap();
    }
    fs::create_dir_all(folder.path().join("unseen/deep")).unwrap();
    read(&feed);
    assert!(feed.wants_whole());
    assert!(matches!(feed.age(), Ok(Age::Since(_))), "the age has a bound: {:?}", feed.age());
    let taken = feed.take();
    assert!(matches!(taken.load, Load::Tree(_)));
    taken.arrived();
    assert!(!feed.wants_whole());
    fs::write(folder.path().join("unseen/deep/file"), "x").unwrap();
    read(&feed);
    assert!(feed.is_dirty(Path::new("unseen/deep/file")), "a folder missed is watched since");
}

#[test]
fn follows_folders_that_move_into_out_of_and_within_the_tree() {
    let world = tempfile::tempdir().unwrap();
    let root = world.path().join("root");
    let make = |path: &str| fs::create_dir_all(world.path().join(path)).unwrap();
    let mv = |a: &str, b: &str| fs::rename(world.path().join(a), world.path().join(b)).unwrap();
    let write = |path: &str| fs::write(world.path().join(path), "x").unwrap();
    make("root/a/sub");
    make("outside/c/sub");
    let feed = feed(&root, Mode::Active);
    mv("root/a", "root/b");
    make("root/a/sub");
    mv("outside/c", "root/c");
    read(&feed);
    feed.take().arrived();
    write("root/b/sub/1");
    write("root/a/sub/2");
    write("root/c/sub/3");
    mv("root/c", "outside/gone");
    write("outside/gone/sub/4");
    read(&feed);
    let paths = feed.dirty_paths();
    assert_eq!(paths, ["a/sub/2", "b/sub/1", "c", "c/sub/3"].map(Path::new));
}

#[test]
fn drops_changes_of_the_side_that_is_only_watched() {
    let folder = tempfile::tempdir().unwrap();
    let feed = feed(folder.path(), Mode::Standby);
    fs::create_dir(folder.path().join("copied")).unwrap();
    read(&feed);
    assert_eq!(feed.age().unwrap(), Age::None);
    feed.open(Mode::Active).unwrap();
    fs::write(folder.path().join("copied/file"), "x").unwrap();
    read(&feed);
    assert_eq!(feed.dirty_paths(), [Path::new("copied/file")]);
}

#[test]
fn says_so_when_the_root_is_gone() {
    let world = tempfile::tempdir().unwrap();
    let root = world.path().join("root");
    fs::create_dir(&root).unwrap();
    let feed = feed(&root, Mode::Active);
    fs::rename(&root, world.path().join("elsewhere")).unwrap();
    assert_eq!(feed.read(&mut |_| {}).unwrap_err().code, "SG0407");
    assert_eq!(feed.age().unwrap_err().code, "SG0407", "the lag is unknown from then on");
}
