use crate::common::{World, Writer, write};
use segue_files::Kind;
use segue_model::{Side, What};
use segue_port::NoProgress;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finds_every_kind_of_difference_and_nothing_else_under_writes() {
    let world = World::with(&["*.log"]);
    for n in 0..500 {
        write(world.source(&format!("static/{}/{n}", n % 9)), &format!("file {n}"));
    }
    std::os::unix::fs::symlink("one", world.source("link")).unwrap();
    world.follow().await;
    let writer = Writer::start(world.source(""));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let clean = world.replica.compare_live(Arc::new(NoProgress)).await.unwrap();
    assert_eq!(clean.differences, [], "writes under way are no differences");
    assert!(clean.files >= 500 && clean.folders >= 10 && clean.bytes > 0, "{clean:?}");

    // Same size, same time: only the content tells.
    let victim = world.target("static/3/30");
    let time = fs::metadata(&victim).unwrap().modified().unwrap();
    fs::write(&victim, "file 31").unwrap();
    fs::File::options().write(true).open(&victim).unwrap().set_modified(time).unwrap();
    fs::set_permissions(world.target("static/1/1"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(world.target("static/2/2")).unwrap();
    fs::write(world.target("surplus"), "x").unwrap();
    fs::write(world.target("excluded.log"), "x").unwrap();
    fs::remove_file(world.target("link")).unwrap();
    std::os::unix::fs::symlink("two", world.target("link")).unwrap();
    let found = world.replica.compare_live(Arc::new(NoProgress)).await.unwrap();
    writer.stop();
    let found: Vec<(String, Kind)> =
        found.differences.into_iter().map(|d| (d.path.display().to_string(), d.kind)).collect();
    let expected = [
        ("link", Kind::LinkTarget),
        ("static/1/1", Kind::Mode),
        ("static/2/2", Kind::OnlyAt(Side::Source)),
        ("static/3/30", Kind::Content),
        ("surplus", Kind::OnlyAt(Side::Target)),
    ];
    assert_eq!(found, expected.map(|(path, kind)| (path.to_owned(), kind)));
    let samples = world.replica.samplers()[0].sample(7).await.unwrap();
    let differing = samples.iter().find(|s| s.what == What::FilesDifferences).unwrap();
    assert!((differing.value - 5.0).abs() < f64::EPSILON, "{differing:?}");
    // It holds until the next comparison, so it is read now.
    assert_eq!(differing.taken_at_ms, 7);
    // What is free at the target and what the copy takes, against the source.
    let samplers = world.replica.samplers();
    let room = samplers.iter().find(|s| s.name().starts_with("room:")).unwrap();
    let began = std::time::Instant::now();
    let ratio = loop {
        if let Some(sample) = room.sample(8).await.unwrap().first() {
            break sample.value;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "the trees are never counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(ratio > 1.0, "{ratio}");
    world.replica.stop().await;
}
