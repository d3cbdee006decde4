//! A verification by itself: it goes on where it stopped, disturbs nobody, and says what it saw.

use crate::find::{following, named, vandal};
use crate::servers::Turn;
use crate::shop::Run;
use segue_database::verification::{self, Verified, Wish};
use segue_doors::sql::Session;
use segue_model::Side::{self, Source, Target};
use segue_model::plan::DatabasePlan;
use segue_model::{Fault, UnitName};
use segue_port::{NoProgress, Progress, ProgressSink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Where notes are kept, for a plan.
struct Place {
    dir: tempfile::TempDir,
    plan: DatabasePlan,
    bound: &'static str,
}

impl Place {
    fn new(turn: &Turn) -> Self {
        let servers = &turn.pair.servers;
        let plan = turn.pair.plan(servers.source.address, servers.target.address);
        Self { dir: tempfile::tempdir().unwrap(), plan, bound: "plan-1" }
    }

    fn notes(&self) -> PathBuf {
        verification::file(self.dir.path(), &UnitName::from("shop"), &self.plan)
    }

    async fn verify(&self, wish: &Wish) -> Result<Verified, Fault> {
        self.tell(wish, &NoProgress).await
    }

    async fn tell(&self, wish: &Wish, progress: &dyn ProgressSink) -> Result<Verified, Fault> {
        let unit = UnitName::from("shop");
        let notes = self.notes();
        verification::verify(&self.plan, &unit, wish, (&notes, self.bound), progress).await
    }
}

/// Keeps every report, and wakes whoever waits for one that holds a text.
#[derive(Default)]
struct Reports {
    all: Mutex<Vec<Progress>>,
    wake: &'static str,
    woken: tokio::sync::Notify,
}

impl ProgressSink for Reports {
    fn report(&self, progress: Progress) {
        if !self.wake.is_empty() && progress.what.contains(self.wake) {
            self.woken.notify_one();
        }
        self.all.lock().unwrap().push(progress);
    }
}

fn waking(wake: &'static str) -> Reports {
    Reports { wake, ..Reports::default() }
}

/// A wish whose pieces leave time to interfere.
fn slowly() -> Wish {
    Wish { load: 5, ..Wish::default() }
}

/// Makes a server note every statement.
async fn listen(root: &mut Session) {
    root.run(
        "SET GLOBAL log_output = 'TABLE'; TRUNCATE mysql.general_log; SET GLOBAL general_log = 1",
    )
    .await
    .unwrap();
}

/// Returns the conditions under which rows of `big` were digested since then.
async fn heard(root: &mut Session) -> Vec<String> {
    root.run("SET GLOBAL general_log = 0").await.unwrap();
    let all: Vec<String> = root
        .rows(
            "SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log \
             WHERE argument LIKE '%COUNT(*) FROM `shop`.`big`%' ORDER BY event_time",
        )
        .await
        .unwrap();
    let condition = |text: &String| text.split("`shop`.`big`").nth(1).unwrap().to_owned();
    all.iter().map(condition).collect()
}

/// Begins a verification and drops it in the midst of `big`, as the end of its process does.
async fn broken_off(place: &Place) {
    let wish = slowly();
    let noted = async {
        while noted(&place.notes()).is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        done = place.verify(&wish) => panic!("too quick: {done:?}"),
        () = noted => {}
    }
}

const BIG: &str = "INSERT INTO big SELECT seq, MD5(seq) FROM seq_3001_to_200000";

/// Returns the key up to which the notes say that `big` was compared.
fn noted(notes: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(notes).ok()?;
    let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
    let parts = kept["tables"]["big"]["parts"].as_array()?;
    parts.last()?["to"][0].as_str()?.parse().ok()
}

#[tokio::test]
async fn goes_on_behind_what_was_compared() {
    let turn = Turn::take().await;
    let _run = following(&turn, &[BIG]).await;
    let place = Place::new(&turn);
    broken_off(&place).await;
    let noted = noted(&place.notes()).unwrap();
    assert!((20_000..200_000).contains(&noted), "{noted}");

    let mut root = turn.root(Target).await;
    listen(&mut root).await;
    vandal(&turn, Target)
        .await
        .run("UPDATE big SET v = 'x' WHERE id IN (5, 199999)")
        .await
        .unwrap();
    let told = place.verify(&Wish::default()).await.unwrap();
    let heard = heard(&mut root).await;
    assert!(heard[0].starts_with(&format!(" WHERE `id` > {noted}")), "{heard:?}");
    assert!(!heard.iter().any(|condition| !condition.contains("`id` > ")), "{heard:?}");
    assert!(told.resumed && told.one_moment, "{told:?}");
    assert_eq!((told.tables, told.rows), (5, 200_012));
    let of_big = |seen: &verification::Seen| seen.parts.iter().any(|part| part.contains("`big`"));
    let moments: Vec<bool> = told.moments.iter().map(of_big).collect();
    assert_eq!(moments, [true, true], "{:?}", told.moments);
    assert!(told.moments[0].parts.contains(&format!("`big` up to {noted}")), "{told:?}");
    // What was changed in the part that was done is not seen; the rest is.
    assert_eq!(named(&told.differences[0]), [vec![], vec![], vec!["199999".to_owned()]]);
    assert!(!place.notes().exists(), "it came to its end");

    let told = place.verify(&Wish::default()).await.unwrap();
    assert!(!told.resumed);
    assert_eq!(named(&told.differences[0])[2], ["5", "199999"]);
}

#[tokio::test]
async fn goes_on_by_itself_when_its_sessions_are_ended() {
    let turn = Turn::take().await;
    let _run = following(&turn, &[BIG]).await;
    let place = Place::new(&turn);
    let (mut source, mut target) = (turn.root(Source).await, turn.root(Target).await);
    listen(&mut target).await;
    let reports = waking("`big`");
    let wish = slowly();
    let ending = async {
        reports.woken.notified().await;
        let ids: Vec<u64> = source
            .rows("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'segue_admin'")
            .await
            .unwrap();
        for id in ids {
            source.run(format!("KILL HARD CONNECTION {id}")).await.unwrap();
        }
    };
    let (told, ()) = tokio::join!(place.tell(&wish, &reports), ending);
    let told = told.unwrap();
    assert_eq!((told.differences.len(), told.rows, told.resumed), (0, 200_012, false));
    let heard = heard(&mut target).await;
    let begun: Vec<&str> = heard.iter().filter_map(|c| c.split(" AND ").next()).collect();
    let mut once = begun.clone();
    once.sort_unstable();
    once.dedup();
    assert!(begun.len() - once.len() <= 1, "the piece that broke, and no other: {heard:?}");
    assert_eq!(told.moments.len(), 2, "{:?}", told.moments);
}

#[tokio::test]
async fn keeps_nobody_from_changing_a_table() {
    let turn = Turn::take().await;
    let _run = following(&turn, &[BIG]).await;
    let place = Place::new(&turn);
    let mut source = turn.root(Source).await;
    let reports = waking("`big`");
    let wish = Wish { load: 20, ..Wish::default() };
    let changing = async {
        let begun = reports.woken.notified();
        tokio::time::timeout(Duration::from_secs(10), begun).await.expect("it began");
        // One was read already, the other one is still to be read.
        source
            .run(
                "USE shop; SET lock_wait_timeout = 1; ALTER TABLE audit ADD COLUMN w INT; \
                 ALTER TABLE orders FORCE",
            )
            .await
            .unwrap();
    };
    let (told, ()) = tokio::join!(place.tell(&wish, &reports), changing);
    let told = told.unwrap();
    assert_eq!((told.differences.len(), told.rows), (0, 200_012), "{told:?}");
    assert_eq!(told.moments.len(), 2, "the first one was no longer of use: {:?}", told.moments);
}

/// Writes at a side until it is told to stop; returns how often.
async fn write(
    pair: &crate::servers::Pair,
    side: Side,
    stop: &AtomicBool,
    also: Option<(Side, Duration)>,
) -> u64 {
    let mut here = pair.servers.get(side).login("root", "").await.unwrap();
    let mut there = match also {
        Some((side, _)) => Some(pair.servers.get(side).login("root", "").await.unwrap()),
        None => None,
    };
    let mut written = 0;
    while !stop.load(Ordering::SeqCst) {
        written += 1;
        let change = format!(
            "USE shop; BEGIN; UPDATE big SET v = '{written}' WHERE id = 1000; \
             UPDATE big SET v = '{written}' WHERE id = 50000 + {written} % 1000; \
             INSERT INTO audit VALUES ('w', {written}); COMMIT"
        );
        here.run(&change).await.unwrap();
        if let (Some(there), Some((_, late))) = (&mut there, also) {
            tokio::time::sleep(late).await;
            there.run(&change).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    written
}

#[tokio::test]
async fn a_writer_and_its_stream_are_no_difference_and_a_wrong_row_is() {
    let turn = Turn::take().await;
    let _run: Run = following(&turn, &[BIG]).await;
    let place = Place::new(&turn);
    let stop = Arc::new(AtomicBool::new(false));
    let (pair, ends) = (Arc::clone(&turn.pair), Arc::clone(&stop));
    let writing = tokio::spawn(async move { write(&pair, Source, &ends, None).await });
    // Several moments, so that each must be met.
    let wish = Wish { load: 50, sitting: Duration::from_millis(50), ..Wish::default() };
    let told = place.verify(&wish).await.unwrap();
    vandal(&turn, Target).await.run("UPDATE big SET v = 'x' WHERE id = 77777").await.unwrap();
    let wrong = place.verify(&wish).await.unwrap();
    stop.store(true, Ordering::SeqCst);
    let written = writing.await.unwrap();
    assert!(written > 100, "{written}");
    assert_eq!((told.differences, told.undecided), (vec![], vec![]));
    assert!(told.one_moment && told.moments.len() > 2, "{:?}", told.moments);
    assert!(told.moments.iter().all(|seen| seen.place.contains("1-1-")), "{:?}", told.moments);
    assert_eq!(wrong.differences.len(), 1, "{:?}", wrong.differences);
    assert_eq!(named(&wrong.differences[0])[2], ["77777"]);
}

#[tokio::test]
async fn somebody_elses_copy_is_looked_at_again_and_not_called_one_moment() {
    let turn = Turn::take().await;
    let mut roots = [turn.root(Source).await, turn.root(Target).await];
    for root in &mut roots {
        root.run(
            "CREATE SCHEMA shop; USE shop; \
             CREATE TABLE big (id INT PRIMARY KEY, v VARCHAR(60) NOT NULL); \
             CREATE TABLE audit (what VARCHAR(40), n INT); \
             INSERT INTO big SELECT seq, MD5(seq) FROM seq_1_to_60000; \
             CREATE USER shop@'%' IDENTIFIED BY 'shop-secret'; GRANT INSERT ON shop.* TO shop@'%'",
        )
        .await
        .unwrap();
    }
    let place = Place::new(&turn);
    let wish = Wish { looks: 4, look_pause: Duration::from_millis(150), ..Wish::default() };
    let stop = Arc::new(AtomicBool::new(false));
    let (pair, ends) = (Arc::clone(&turn.pair), Arc::clone(&stop));
    let late = Duration::from_millis(30);
    let writing =
        tokio::spawn(async move { write(&pair, Source, &ends, Some((Target, late))).await });
    roots[1]
        .run("SET sql_log_bin = 0; UPDATE shop.big SET v = 'x' WHERE id = 30000")
        .await
        .unwrap();
    let told = place.verify(&wish).await.unwrap();
    stop.store(true, Ordering::SeqCst);
    assert!(writing.await.unwrap() > 10);
    assert!(!told.one_moment && told.moments.iter().all(|seen| seen.place.is_empty()), "{told:?}");
    assert_eq!(told.worth_knowing, ["login `'shop'@'%'`: open at both sides"]);
    assert_eq!(told.differences.len(), 1, "{told:?}");
    assert_eq!(named(&told.differences[0]), [vec![], vec![], vec!["30000".to_owned()]]);
    // The row that is written all the time may be other at each look, and then is not judged.
    assert!(
        told.undecided.iter().all(|text| text.contains("`big`") || text.contains("`audit`")),
        "{told:?}"
    );
}

#[tokio::test]
async fn refuses_a_login_that_does_not_see_everything() {
    let turn = Turn::take().await;
    let _run = following(&turn, &[]).await;
    let mut place = Place::new(&turn);
    let mut root = turn.root(Target).await;
    root.run(
        "SET sql_log_bin = 0; CREATE USER reader@'%' IDENTIFIED BY 'admin-secret'; \
         GRANT SELECT, SHOW VIEW, EVENT ON shop.* TO reader@'%'; \
         GRANT SELECT ON mysql.* TO reader@'%'; GRANT PROCESS ON *.* TO reader@'%'",
    )
    .await
    .unwrap();
    place.plan.servers.target.admin = "reader".into();
    let fault = place.verify(&Wish::default()).await.unwrap_err();
    assert_eq!(
        (fault.code.as_str(), fault.cause.as_str()),
        ("SG0290", "login `reader` lacks: TRIGGER on `shop`")
    );
    root.run("GRANT TRIGGER ON shop.* TO reader@'%'").await.unwrap();
    let told = place.verify(&Wish::default()).await.unwrap();
    assert_eq!((told.differences, told.one_moment), (vec![], true), "with nothing more than that");
}

#[tokio::test]
async fn logins_sequences_and_counters_are_compared_too() {
    let turn = Turn::take().await;
    let more = [
        "CREATE TABLE numbered (id INT PRIMARY KEY AUTO_INCREMENT)",
        "INSERT INTO numbered VALUES (9)",
    ];
    let _run = following(&turn, &more).await;
    let place = Place::new(&turn);
    let told = place.verify(&Wish::default()).await.unwrap();
    assert_eq!((told.differences, told.worth_knowing), (vec![], vec![]));
    for side in [Source, Target] {
        let mut root = vandal(&turn, side).await;
        root.run("CREATE SEQUENCE ticket START WITH 5 NOCACHE").await.unwrap();
    }
    assert_eq!(place.verify(&Wish::default()).await.unwrap().differences, vec![]);
    let mut target = vandal(&turn, Target).await;
    target
        .run(
            "ALTER USER shop@'%' IDENTIFIED BY 'another'; ALTER USER shop@'%' ACCOUNT UNLOCK; \
             REVOKE DELETE ON shop.* FROM shop@'%'; DO NEXTVAL(ticket)",
        )
        .await
        .unwrap();
    // A number that was given and taken back leaves no row and no trace in the log.
    let mut source = vandal(&turn, Source).await;
    source.run("BEGIN; INSERT INTO numbered VALUES (NULL), (NULL); ROLLBACK").await.unwrap();
    let told = place.verify(&Wish::default()).await.unwrap();
    let found: Vec<(&str, &str)> =
        told.differences.iter().map(|d| (d.object.as_str(), d.what.as_str())).collect();
    assert_eq!(
        found,
        [("login `'shop'@'%'`", "definition"), ("sequence `ticket`", "definition or next value")]
    );
    let shown = serde_json::to_string(&told).unwrap();
    assert!(shown.contains("GRANT SELECT, INSERT"), "its rights: {shown}");
    for root in [&mut source, &mut target] {
        let create: String = root.one("SHOW CREATE USER shop@'%'").await.unwrap();
        let stored = create.split('\'').find(|part| part.starts_with('*')).unwrap();
        assert!(!shown.contains(stored), "no stored form of a password: {shown}");
    }
    let [open, behind] = told.worth_knowing.as_slice() else { panic!("{told:?}") };
    assert_eq!(open, "login `'shop'@'%'`: open at both sides");
    assert!(behind.contains("`numbered`: AUTO_INCREMENT is 12"), "{behind}");
    let only = Wish { tables: vec!["numbered".into()], ..Wish::default() };
    let told = place.verify(&only).await.unwrap();
    assert_eq!((told.tables, told.rows, told.differences.len()), (1, 1, 0), "what was asked for");
    let nowhere = Wish { tables: vec!["nowhere".into()], ..Wish::default() };
    assert_eq!(place.verify(&nowhere).await.unwrap_err().code, "SG0291");
}

#[tokio::test]
async fn begins_anew_what_does_not_hold_any_more_and_says_so() {
    let turn = Turn::take().await;
    let _run = following(&turn, &[BIG]).await;
    let mut place = Place::new(&turn);
    broken_off(&place).await;
    let kept = std::fs::read(place.notes()).unwrap();
    for side in [Source, Target] {
        vandal(&turn, side).await.run("ALTER TABLE big ADD COLUMN w INT").await.unwrap();
    }
    let told = place.verify(&Wish::default()).await.unwrap();
    assert_eq!(told.said, ["table `big` is begun anew: it was altered"]);
    assert_eq!((told.resumed, told.rows, told.differences.len()), (true, 200_012, 0));

    place.bound = "plan-2";
    std::fs::write(place.notes(), &kept).unwrap();
    let told = place.verify(&Wish::default()).await.unwrap();
    assert_eq!(told.said, ["begun anew: the plan is another one than that of the kept part"]);
    assert!(!told.resumed && told.moments.len() == 1, "{told:?}");

    place.bound = "plan-1";
    std::fs::write(place.notes(), &kept).unwrap();
    let told = place.verify(&Wish { again: true, ..Wish::default() }).await.unwrap();
    assert!(!told.resumed && told.said.is_empty(), "{told:?}");
}

#[tokio::test]
async fn waits_while_a_server_has_much_to_do() {
    let turn = Turn::take().await;
    let _run = following(&turn, &[]).await;
    let place = Place::new(&turn);
    let mut root = turn.root(Source).await;
    let (_, idle): (String, u64) =
        root.one("SHOW GLOBAL STATUS LIKE 'Threads_running'").await.unwrap();
    let reports = Reports::default();
    for _ in 0..2 {
        let mut session = turn.root(Source).await;
        tokio::spawn(async move { session.run("DO SLEEP(1.5)").await.unwrap() });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    let wish = Wish { most_running: Some(idle + 1), ..Wish::default() };
    let told = place.tell(&wish, &reports).await.unwrap();
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(told.tables, 5);
    let waits =
        reports.all.lock().unwrap().iter().filter(|p| p.what.starts_with("wait for")).count();
    assert!(waits >= 2, "{waits}");
}
