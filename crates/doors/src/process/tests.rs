//! Needs `sh`, `sleep` and `cat` only.

use super::marks::leads_group;
use super::{Invocation, Marked, end_marked, find_program};
use segue_model::{EffectLeft, FaultKind};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(20);

fn sh(script: &str, limit: Duration) -> Invocation {
    Invocation::new("sh", limit).args(["-c", script])
}

/// Returns a mark no other test run uses.
fn own_mark(name: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("test-{}-{}/{name}/", std::process::id(), now.as_nanos())
}

fn alive(pid: i32) -> bool {
    // A zombie is dead; only its parent has not asked yet.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.contains(") Z "))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn numbers(path: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(own_mark(name).replace('/', "-"));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn returns_status_and_both_streams() {
    let done = sh("cat; echo bad >&2; exit 3", LONG).stdin(b"hello".to_vec()).run().await.unwrap();
    assert_eq!(done.code(), Some(3));
    assert_eq!(done.stdout, b"hello");
    assert!(done.last_words().ends_with(": bad"), "{}", done.last_words());
}

#[tokio::test]
async fn keeps_only_the_end_of_a_long_stream() {
    let done = sh("i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done", LONG)
        .keep(100)
        .run()
        .await
        .unwrap();
    assert!(done.stdout.len() <= 100);
    assert!(done.stdout.ends_with(b"line 4999\n"));
}

#[tokio::test]
async fn reports_lines_that_end_with_a_carriage_return() {
    let mut lines = Vec::new();
    sh(r"printf '10%%\r20%%\rdone\nlast'", LONG)
        .run_reporting(&mut |line| lines.push(line.to_owned()))
        .await
        .unwrap();
    assert_eq!(lines, ["10%", "20%", "done", "last"]);
}

#[tokio::test]
async fn refuses_a_missing_program_by_name_only() {
    let secret = "do-not-show";
    let fault = Invocation::new("no-such-program-here", LONG).arg(secret).run().await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("SG0881", FaultKind::NotFound));
    assert_eq!(fault.effect, EffectLeft::None);
    assert!(!format!("{fault:?}").contains(secret));
    assert!(fault.cause.ends_with("in PATH"), "{fault}");
    assert!(find_program("sh").is_some());
    // A whole path is not looked for in PATH.
    let fault = Invocation::new("/no/such/program", LONG).run().await.unwrap_err();
    assert_eq!(fault.code, "SG0881");
    assert!(!format!("{fault} {}", fault.hint).contains("PATH"), "{fault}");
}

#[tokio::test]
async fn hands_no_variable_on_that_may_be_a_secret() {
    // Cargo sets this one for every test; any variable that is not listed stands for a secret.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let done = Invocation::new("env", LONG).run().await.unwrap();
    let seen = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(seen.contains("PATH="), "{seen}");
    assert!(!seen.contains("CARGO_MANIFEST_DIR"), "{seen}");
}

#[tokio::test]
async fn kills_the_whole_group_when_the_time_is_over() {
    let scratch = Scratch::new("group");
    let pids = scratch.0.join("pids");
    let script = format!("sleep 60 & echo $$ $! > {}; wait", pids.display());
    let fault = sh(&script, Duration::from_millis(400)).run().await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("SG0883", FaultKind::Timeout));
    assert_eq!(fault.effect, EffectLeft::Maybe);
    let started = numbers(&pids);
    assert_eq!(started.len(), 2, "the script wrote its ids");
    until("the group is gone", || started.iter().all(|&pid| !alive(pid))).await;
}

#[tokio::test]
async fn kills_the_whole_group_when_its_future_is_dropped() {
    let scratch = Scratch::new("drop");
    let pids = scratch.0.join("pids");
    let script = format!("sleep 60 & echo $$ $! > {}; wait", pids.display());
    let task = tokio::spawn(sh(&script, LONG).run());
    until("the script runs", || numbers(&pids).len() == 2).await;
    task.abort();
    let started = numbers(&pids);
    until("the group is gone", || started.iter().all(|&pid| !alive(pid))).await;
}

#[tokio::test]
async fn does_not_wait_for_a_daemon_that_keeps_the_pipe() {
    let scratch = Scratch::new("daemon");
    let pids = scratch.0.join("pids");
    let begin = Instant::now();
    let done = sh(&format!("setsid sleep 60 & echo $! > {}; echo up", pids.display()), LONG);
    let done = done.run().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert_eq!(done.stdout, b"up\n");
    let pid = numbers(&pids)[0];
    assert!(alive(pid), "a daemon outlives its start command");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
}

#[tokio::test]
async fn ends_what_carries_the_mark_and_nothing_else() {
    let (mine, other) = (own_mark("mine"), own_mark("other"));
    let scratch = Scratch::new("marks");
    let [a, b] = ["a", "b"].map(|n| scratch.0.join(n));
    let script = |p: &Path| format!("sleep 60 & echo $$ $! > {}; wait", p.display());
    let first = tokio::spawn(sh(&script(&a), LONG).mark(format!("{mine}7")).run());
    let second = tokio::spawn(sh(&script(&b), LONG).mark(format!("{other}7")).run());
    until("both run", || numbers(&a).len() == 2 && numbers(&b).len() == 2).await;
    let ended = end_marked(&mine, |_| true, Duration::from_secs(5)).await.unwrap();
    assert_eq!(ended, 2, "the shell and its child");
    assert!(numbers(&a).iter().all(|&pid| !alive(pid)));
    assert!(numbers(&b).iter().all(|&pid| alive(pid)));
    assert_eq!(first.await.unwrap().unwrap().status.signal(), Some(9));
    let left = end_marked(&other, |m: &Marked| m.command, Duration::from_secs(5)).await.unwrap();
    assert_eq!(left, 1, "only the command itself was chosen");
    second.await.unwrap().unwrap();
    assert_eq!(end_marked(&other, |_| true, Duration::from_secs(5)).await.unwrap(), 1);
}

#[test]
fn tells_a_command_from_its_stat_line_also_in_a_container() {
    let stat = |group: i32, session: i32| format!("7 (a) (b) S 1 {group} {session} 0 -1 4194560");
    assert!(leads_group(7, &stat(7, 5)));
    assert!(leads_group(7, &stat(7, 0)), "the session's leader is outside the namespace");
    assert!(!leads_group(7, &stat(7, 7)), "a daemon leads its session");
    assert!(!leads_group(7, &stat(5, 5)), "a child of the command");
    assert!(!leads_group(7, &stat(0, 0)) && !leads_group(7, "7 (cut off"));
}

/// Not a test of its own: the controller that `children_die_with_a_killed_controller` kills.
#[tokio::test]
async fn controller_to_be_killed() {
    if let Some(pids) = std::env::var_os("SEGUE_TEST_PIDS") {
        let script = format!("echo $$ > {}; exec sleep 60", Path::new(&pids).display());
        let _ = sh(&script, LONG).run().await;
    }
}

#[tokio::test]
async fn children_die_with_a_killed_controller() {
    if find_program("setpriv").is_none() {
        return; // Without it the mark is the only way; tested above.
    }
    let scratch = Scratch::new("parent");
    let pids = scratch.0.join("pids");
    let mut controller = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::tests::controller_to_be_killed"])
        .env("SEGUE_TEST_PIDS", &pids)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("its child runs", || numbers(&pids).len() == 1).await;
    let child = numbers(&pids)[0];
    assert!(alive(child));
    controller.kill().unwrap();
    controller.wait().unwrap();
    until("the child is gone", || !alive(child)).await;
}
