use crate::common::{World, Writer, call, differences, run, settings, until, write};
use segue_files::TreeReplica;
use segue_model::event::Phase;
use segue_model::{Severity, Side, What};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_equal_after_continuous_writes_of_every_kind() {
    let world = World::new();
    for n in 0..200 {
        write(world.source(&format!("static/{}/{n}", n % 7)), &format!("file {n}"));
    }
    let writer = Writer::start(world.source(""));
    world.follow().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let writes = writer.stop();
    assert!(writes > 100, "{writes}");
    world.equal().await;
    assert!(!world.target("static/1").join(".segue-claim.site").exists());
    world.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn carries_modes_links_hard_links_and_deletions() {
    let world = World::new();
    write(world.source("a/file"), "one");
    write(world.source("gone/deep/file"), "x");
    fs::hard_link(world.source("a/file"), world.source("a/second name")).unwrap();
    world.follow().await;
    assert_eq!(fs::metadata(world.target("a/file")).unwrap().nlink(), 2);

    // One name is written, and the other must show it at the target, too.
    fs::write(world.source("a/file"), "two").unwrap();
    fs::set_permissions(world.source("a"), fs::Permissions::from_mode(0o750)).unwrap();
    std::os::unix::fs::symlink("/nowhere", world.source("dangling")).unwrap();
    fs::remove_dir_all(world.source("gone")).unwrap();
    write(world.source("odd\nname/ü *?[x]"), "strange");
    world.equal().await;
    assert_eq!(fs::read_to_string(world.target("a/second name")).unwrap(), "two");
    let inode = |p: &str| fs::metadata(world.target(p)).unwrap().ino();
    assert_eq!(inode("a/file"), inode("a/second name"));

    // A link made later joins a file that had one name when following began.
    write(world.source("late"), "l1");
    world.equal().await;
    fs::hard_link(world.source("late"), world.source("a/late too")).unwrap();
    world.equal().await;
    assert_eq!(inode("late"), inode("a/late too"));
    world.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_nothing_through_a_folder_that_became_a_link() {
    let world = World::new();
    let outside = world.dir.path().join("outside");
    write(outside.join("secret"), "not yours");
    write(world.source("d/secret"), "mine");
    world.follow().await;
    fs::write(world.source("d/secret"), "mine 2").unwrap();
    fs::rename(world.source("d"), world.source("d2")).unwrap();
    std::os::unix::fs::symlink(&outside, world.source("d")).unwrap();
    fs::write(world.source("d/secret"), "written outside").unwrap();
    world.equal().await;
    assert_eq!(fs::read_link(world.target("d")).unwrap(), outside);
    assert_eq!(fs::read_to_string(world.target("d2/secret")).unwrap(), "mine 2");
    world.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaves_excluded_paths_alone_on_both_sides() {
    let world = World::with(&["/cache/", "*.log"]);
    write(world.source("cache/a"), "source's");
    write(world.source("page"), "p");
    write(world.target("cache/own"), "target's");
    write(world.target("sub/own.log"), "target's");
    // The seed deletes what is not at the source, but not this.
    world.follow().await;
    write(world.source("cache/b"), "x");
    write(world.source("sub/err.log"), "x");
    write(world.source("sub/page"), "x");
    until("a page arrives", || world.target("sub/page").exists()).await;
    fs::remove_dir_all(world.source("sub")).unwrap();
    until("it is deleted again", || !world.target("sub/page").exists()).await;
    assert!(!world.target("cache/a").exists() && !world.target("cache/b").exists());
    assert!(!world.target("sub/err.log").exists());
    assert_eq!(fs::read_to_string(world.target("cache/own")).unwrap(), "target's");
    assert_eq!(fs::read_to_string(world.target("sub/own.log")).unwrap(), "target's");
    world.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recovers_when_more_changes_come_than_the_queue_holds() {
    let world = World::new();
    write(world.source("d/first"), "x");
    world.follow().await;
    let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    for n in 0..50 {
        write(world.source(&format!("d/f{n}")), "x");
    }
    // Alternating files keep the kernel from merging events; they come faster than they are read.
    let folder = world.source("d");
    let flood = move || {
        for n in 0..limit * 4 {
            let mode = if n % 100 < 50 { 0o600 } else { 0o644 };
            let file = folder.join(format!("f{}", n % 50));
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
        }
        for n in 0..20 {
            write(folder.join(format!("new{n}/x/y")), "late");
        }
    };
    tokio::task::spawn_blocking(flood).await.unwrap();
    world.equal().await;
    write(world.source("d/new7/x/z"), "watched again");
    world.equal().await;
    world.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shows_the_age_of_the_oldest_change_not_carried() {
    let world = World::new();
    write(world.source("a"), "1");
    world.follow().await;
    let samplers = world.replica.samplers();
    let lag = async || {
        let samples = samplers[0].sample(1).await.unwrap();
        samples.into_iter().find(|s| s.what == What::FilesLagMs(Side::Source)).map(|s| s.value)
    };
    until("nothing waits", || world.replica.write_side() == Some(Side::Source)).await;
    let mut at_rest = false;
    for _ in 0..100 {
        at_rest |= lag().await == Some(0.0);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(at_rest, "no lag when nothing changes");
    // The drain stops carrying, so from here on a change only grows older.
    let effects = world.replica.effects();
    let drain = effects.drain.unwrap();
    run(&drain, &call(Phase::Cutover, "drain")).await.unwrap();
    fs::write(world.source("a"), "2").unwrap();
    let mut seen = 0.0;
    for _ in 0..100 {
        seen = f64::max(seen, lag().await.unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
        if seen > 300.0 {
            break;
        }
    }
    assert!(seen > 300.0, "{seen}");
    drain.undo(&call(Phase::Cutover, "drain")).await.unwrap();
    world.equal().await;
    let disk = samplers[1].sample(1).await.unwrap();
    assert!(disk[0].what == What::TargetDiskFreeBytes && disk[0].value > 0.0);
    world.replica.stop().await;
    assert!(samplers[0].sample(1).await.unwrap().is_empty(), "no number when nobody watches");
}

#[tokio::test]
async fn refuses_plans_that_cannot_go_well() {
    let world = World::new();
    write(world.source("a"), "1");
    assert_eq!(world.replica.preflight().await, [], "a plain pair of trees is fine");
    let refused = async |settings| {
        let findings = TreeReplica::new(settings).preflight().await;
        assert!(findings.iter().all(|f| f.severity == Severity::Refuse && !f.remedy.is_empty()));
        findings.into_iter().map(|f| f.code).collect::<Vec<_>>()
    };
    let dir = world.dir.path();
    let with = |change: &dyn Fn(&mut segue_files::TreeSettings)| {
        let mut changed = settings(dir, &[]);
        change(&mut changed);
        changed
    };
    let roots = |s: &str, t: &str| {
        let (s, t) = (s.to_owned(), t.to_owned());
        move |c: &mut segue_files::TreeSettings| {
            c.plan.roots.source = Path::new(&s).to_owned();
            c.plan.roots.target = Path::new(&t).to_owned();
        }
    };
    let (s, t) = (dir.join("source/site"), dir.join("target/site"));
    let (s, t) = (s.to_str().unwrap(), t.to_str().unwrap());
    assert_eq!(refused(with(&roots(s, "/no/such/folder"))).await, ["SG0421"]);
    assert_eq!(refused(with(&roots("/", t))).await, ["SG0423"]);
    assert_eq!(refused(with(&roots(s, s))).await, ["SG0424"]);
    assert_eq!(refused(with(&roots(&format!("{s}/.."), s))).await, ["SG0424"]);
    assert_eq!(refused(with(&|c| c.plan.exclude = vec!["- x".into()])).await, ["SG0428"]);
    write(world.target("theirs"), "precious");
    assert_eq!(refused(settings(dir, &[])).await, ["SG0425"]);
    fs::remove_file(world.target("theirs")).unwrap();
    let other = World::new();
    let mut held = settings(dir, &[]);
    held.run = "another".into();
    let claim = TreeReplica::new(held).effects().claim.unwrap();
    run(&claim, &call(Phase::Sync, "claim")).await.unwrap();
    assert_eq!(refused(settings(dir, &[])).await, ["SG0425", "SG0425"]);
    drop(other);
}

#[tokio::test]
async fn deletes_nothing_in_a_target_that_this_run_does_not_hold() {
    let world = World::new();
    write(world.source("a"), "1");
    write(world.target("theirs"), "precious");
    let seed = world.replica.effects().seed.unwrap();
    let fault = seed.run(&call(Phase::Sync, "seed")).await.unwrap_err();
    assert_eq!(fault.code, "SG0401");
    assert_eq!(differences(&world.target(""), &world.source("")).len(), 2);
}
