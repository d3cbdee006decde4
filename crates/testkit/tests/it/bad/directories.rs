//! Run directories that cannot be trusted or used.

use super::change::Said;
use super::desk::Desk;
use super::table::{Kind, Row};
use segue_testkit::stage::Segue;
use segue_testkit::world::Side;
use std::path::Path;
use std::time::Instant;

/// A run directory with a journal, of a run that has begun and holds nothing.
struct Begun<'a> {
    desk: &'a mut Desk,
    segue: Segue,
    hash: String,
}

pub(super) fn play(desk: &mut Desk) {
    without_a_run(desk);
    let segue = desk.segue.beside(&desk.dir.path().join("run"));
    std::fs::write(segue.plan_file(), &desk.sound).unwrap();
    let hash = segue.plan().unwrap();
    let mut begun = Begun { desk, segue, hash };
    begun.commands();
    begun.files();
}

/// Directories in which no run can begin.
fn without_a_run(desk: &mut Desk) {
    let sound = desk.sound.clone();
    let name = "a run directory that is a file";
    desk.case(Kind::Environment, name, "--dir names a file", "SG0805", |desk| {
        let file = desk.dir.path().join("file");
        std::fs::write(&file, "mine").unwrap();
        std::fs::write(desk.segue.plan_file(), &sound).unwrap();
        let plan = desk.segue.plan_file().display().to_string();
        let said = Said::by(&mut desk.segue.beside(&file).command(&["plan", "--offline", &plan]));
        if std::fs::read_to_string(&file).unwrap() != "mine" {
            return Err("the file was touched".into());
        }
        said.refuses(1, "SG0805")
    });
    let name = "a run directory whose path is too long for a socket";
    desk.case(Kind::Environment, name, "a --dir of 150 characters", "SG0810", |desk| {
        let deep = desk.dir.path().join("d".repeat(150));
        let said = Said::by(&mut desk.segue.beside(&deep).command(&["sync", "0123456789"]));
        said.refuses(1, "SG0810")
    });
}

impl Begun<'_> {
    fn row(
        &mut self,
        name: &str,
        done: &str,
        code: &str,
        play: impl FnOnce(&Segue, &str) -> Result<String, String>,
    ) {
        let began = Instant::now();
        let seen = play(&self.segue, &self.hash);
        let seen = seen.and_then(|seen| self.nothing_was_moved().map(|()| seen));
        self.desk.rows.push(Row::new(Kind::Environment, (name, done, code), seen, began));
    }

    /// No schema at the target, no front.
    fn nothing_was_moved(&self) -> Result<(), String> {
        let query = "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name IN ('shop', 'segue')";
        let count: Option<u64> = self.desk.runtime.block_on(async {
            let mut conn = crate::admin(self.desk.description(), Side::Target).await;
            mysql_async::prelude::Queryable::query_first(&mut conn, query).await.unwrap()
        });
        if count != Some(0) {
            return Err(format!("{count:?} schemas stand at the target"));
        }
        Ok(())
    }

    /// Commands that do not fit.
    fn commands(&mut self) {
        for (name, args, code) in [
            ("a hash that nobody approved", &["sync", "0123456789ab"][..], "SG0806"),
            ("a hash of four letters", &["sync", "HASH4"], "SG0806"),
            ("a cutover before there is a run", &["cutover", "HASH"], "SG0815"),
            ("a settle before there is a run", &["settle", "HASH"], "SG0815"),
            (
                "a command about a unit that is not there",
                &["confirm", "--unit", "nobody"],
                "SG0815",
            ),
            ("a way back of a wave that is not there", &["rollback", "--wave", "7"], "SG0815"),
        ] {
            self.row(name, &format!("segue {}", args.join(" ")), code, |segue, hash| {
                let args: Vec<String> = args
                    .iter()
                    .map(|arg| arg.replace("HASH4", &hash[..4]).replace("HASH", hash))
                    .collect();
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                Said::by(&mut segue.command(&args)).refuses(1, code)
            });
        }
        let name = "a second controller in one run directory";
        self.row(name, "segue controller beside a running one", "SG0610", |segue, _| {
            Said::by(&mut segue.command(&["controller"])).refuses(1, "SG0610")
        });
    }

    /// Files of a run whose controller was stopped: it closed them before it ended.
    fn files(&mut self) {
        let began = Instant::now();
        let exit = Said::by(&mut self.segue.command(&["stop"])).exit;
        let took = began.elapsed();
        assert_eq!(exit, 0);
        println!("`segue stop` of an idle controller took {} ms", took.as_millis());
        assert!(took.as_millis() < 1_000, "an idle controller ends at once: {took:?}");
        for log in ["journal.db-wal", "samples.db-wal"] {
            let left = std::fs::metadata(self.segue.dir().join(log)).map_or(0, |about| about.len());
            assert_eq!(left, 0, "{log} is empty or gone once `segue stop` returned");
        }
        let journal = self.segue.dir().join("journal.db");
        let head = self.segue.dir().join("journal.head");
        let sound = std::fs::read(&journal).unwrap();
        let kept = std::fs::read(&head).unwrap();
        let broken: [(&str, &str, &str, &dyn Fn()); 5] = [
            ("a journal that is none", "journal.db is text", "SG0602", &|| {
                put(&journal, b"this is no database, and much too short for one");
            }),
            ("half a journal", "journal.db is cut in the middle", "SG0602", &|| {
                put(&journal, &sound[..sound.len() / 2]);
            }),
            ("a journal's head that is garbage", "journal.head is sevens", "SG0602", &|| {
                put(&head, &vec![7; kept.len()]);
            }),
            ("a journal without its head", "journal.head is gone", "SG0605", &|| {
                std::fs::remove_file(&head).unwrap();
            }),
            ("a head without its journal", "journal.db is gone", "SG0605", &|| {
                std::fs::remove_file(&journal).unwrap();
            }),
        ];
        for (name, done, code, break_it) in broken {
            put(&journal, &sound);
            put(&head, &kept);
            break_it();
            self.row(name, done, code, |segue, _| {
                Said::by(&mut segue.command(&["resume"])).refuses(1, code)
            });
        }
        put(&journal, &sound);
        put(&head, &kept);
        let name = "an approved plan that was edited by hand";
        self.row(name, "one byte of the stored plan", "SG0807", |segue, hash| {
            edit_plan(segue.dir());
            let said = Said::by(&mut segue.command(&["sync", hash]));
            let _ = Said::by(&mut segue.command(&["stop"]));
            said.refuses(1, "SG0807")
        });
    }
}

fn put(file: &Path, content: &[u8]) {
    std::fs::write(file, content).unwrap();
}

/// Changes a number in every stored plan, so that it can still be read.
pub(super) fn edit_plan(dir: &Path) {
    for plan in std::fs::read_dir(dir.join("plans")).unwrap().flatten() {
        let text = std::fs::read_to_string(plan.path()).unwrap();
        let edited = text.replacen("\"stable_for_s\":3", "\"stable_for_s\":4", 1);
        assert_ne!(edited, text, "the plan has the number");
        std::fs::write(plan.path(), edited).unwrap();
    }
}
