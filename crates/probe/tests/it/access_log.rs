use futures_util::future::BoxFuture;
use segue_model::What;
use segue_port::Sampler;
use segue_probe::{AccessLogSampler, Passed, Passing};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const FRONT: &str = "127.0.0.250";

struct Log {
    dir: tempfile::TempDir,
    sampler: Arc<AccessLogSampler>,
}

impl Log {
    /// A log that already holds direct requests of former days, and a line half written.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        fs::write(&path, format!("{}203.0.113.7 - - [half", line("203.0.113.9").repeat(100)))
            .unwrap();
        let sampler = AccessLogSampler::new(&path, vec![FRONT.parse().unwrap()]);
        assert!(sampler.sample(1).await.unwrap().is_empty(), "there is no interval yet");
        Self { dir, sampler }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("access.log")
    }

    fn append(&self, text: &str) {
        let mut file = File::options().append(true).create(true).open(self.path()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Direct requests and all requests of the interval.
    async fn sample(&self) -> (f64, u64) {
        let samples = self.sampler.sample(1).await.unwrap();
        assert_eq!(samples[0].what, What::DirectRequests);
        (samples[0].value, samples[0].count)
    }
}

fn line(from: &str) -> String {
    format!("{from} - - [21/Nov/2026:01:00:00 +0000] \"GET / HTTP/1.1\" 200 12 \"-\" \"x\"\n")
}

#[tokio::test]
async fn counts_only_new_lines_that_do_not_come_from_the_front() {
    let log = Log::new().await;
    log.append(" line] ends\n");
    assert_eq!(log.sample().await, (0.0, 0), "what began before is not counted");
    log.append(&format!("{}{}{}", line(FRONT), line("203.0.113.7"), line("::ffff:127.0.0.250")));
    assert_eq!(log.sample().await, (1.0, 3));
    assert_eq!(log.sample().await, (0.0, 0));
    let whole = line("2001:db8::1");
    log.append(&whole[..20]);
    assert_eq!(log.sample().await, (0.0, 0), "a line counts when it is whole");
    log.append(&whole[20..]);
    assert_eq!(log.sample().await, (1.0, 1));
}

#[tokio::test]
async fn a_log_of_clients_is_compared_with_what_fronts_passed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let append = |lines: &[String]| {
        let mut file = File::options().append(true).create(true).open(&path).unwrap();
        file.write_all(lines.concat().as_bytes()).unwrap();
    };
    append(&[line("203.0.113.9")]);
    let count = Arc::new(AtomicU64::new(100));
    let passed = {
        let count = count.clone();
        Arc::new(move || -> BoxFuture<'static, Result<Option<u64>, String>> {
            let now = count.load(Ordering::SeqCst);
            Box::pin(async move { Ok((now < 1_000).then_some(now)) })
        })
    };
    let front = Passing::only([FRONT.parse().unwrap()]);
    let sampler = AccessLogSampler::counted(&path, front, vec!["/healthz".into()], passed);
    for _ in 0..2 {
        assert!(sampler.sample(1).await.unwrap().is_empty(), "there is no interval yet");
    }
    let health = line(FRONT).replace("GET / ", "GET /healthz ");
    let mut found = 0.0;
    for second in 0..20 {
        count.fetch_add(3, Ordering::SeqCst);
        let mut lines = vec![line("198.51.100.1"), health.clone(), line("198.51.100.2")];
        lines.push(line("198.51.100.3"));
        if second == 7 {
            lines.extend([line("203.0.113.7"), line("203.0.113.8")]);
        }
        append(&lines);
        let samples = sampler.sample(1).await.unwrap();
        if second < 4 {
            assert!(samples.is_empty(), "a difference has to stay");
            continue;
        }
        found += samples[0].value;
        assert_eq!(samples[0].count, lines.len() as u64);
    }
    assert_eq!(found, 2.0, "two lines more than fronts passed, whoever is in them");
    count.store(1_000, Ordering::SeqCst);
    assert!(sampler.sample(1).await.unwrap().is_empty(), "a front that does not answer");
}

#[tokio::test]
async fn misses_nothing_across_rotation_and_truncation() {
    let log = Log::new().await;
    log.append(" end\n");
    log.append(&line("203.0.113.1"));
    fs::rename(log.path(), log.dir.path().join("access.log.1")).unwrap();
    assert_eq!(log.sample().await, (1.0, 1), "the last lines of the renamed file");
    log.append(&line("203.0.113.2").repeat(2));
    assert_eq!(log.sample().await, (2.0, 2), "the new file from its start");
    File::options().write(true).open(log.path()).unwrap().set_len(0).unwrap();
    log.append(&line("203.0.113.3"));
    assert_eq!(log.sample().await, (1.0, 1), "the truncated file from its start");
}

#[tokio::test]
async fn refuses_to_guess_from_a_log_it_cannot_read() {
    let log = Log::new().await;
    log.append(" end\nclient.example.test - - [x]\n");
    assert_eq!(log.sampler.sample(1).await.unwrap_err().code, "SG0522");
    fs::remove_file(log.path()).unwrap();
    let mut codes = Vec::new();
    for _ in 0..5 {
        codes.extend(log.sampler.sample(1).await.err().map(|f| f.code));
    }
    assert!(codes.contains(&"SG0521".to_owned()), "a log that stays away is a fault: {codes:?}");
}

/// What fronts say that they passed on.
type Says = Result<Option<u64>, String>;

/// A log, and what fronts say.
fn told(passed: Says) -> (Log, Arc<Mutex<Says>>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    fs::write(&path, "").unwrap();
    let says = Arc::new(Mutex::new(passed));
    let passed: Passed = {
        let says = says.clone();
        Arc::new(move || {
            let now = says.lock().unwrap().clone();
            Box::pin(async move { now })
        })
    };
    let front = Passing::only([FRONT.parse().unwrap()]);
    let sampler = AccessLogSampler::counted(&path, front, vec!["/healthz".into()], passed);
    (Log { dir, sampler }, says)
}

#[tokio::test]
async fn where_numbers_say_nothing_the_address_of_the_connection_does() {
    let (log, _) = told(Err("front `source` serves other units as well".into()));
    assert!(log.sampler.sample(1).await.unwrap().is_empty());
    // Nobody came, and the log is written.
    log.append(&line(FRONT).replace("GET / ", "GET /healthz "));
    assert_eq!(log.sample().await, (0.0, 1));
    assert!(log.sampler.sample(1).await.unwrap().is_empty(), "or is it?");
    log.append(&line("198.51.100.1"));
    let fault = log.sampler.sample(1).await.unwrap_err();
    assert_eq!(fault.code, "SG0540");
    assert!(fault.cause.contains("serves other units"), "{fault}");
    let peer = |visitor: &str, peer: &str| line(visitor).replace('\n', &format!(" peer={peer}\n"));
    log.append(&peer("198.51.100.1", FRONT));
    log.append(&peer("198.51.100.2", FRONT));
    log.append(&peer("198.51.100.3", "198.51.100.3"));
    assert_eq!(log.sample().await, (1.0, 3));
    assert_eq!(log.sample().await, (0.0, 0));
}

#[tokio::test]
async fn a_look_of_segues_own_makes_no_visitor_one_who_came_around() {
    let (log, says) = told(Ok(Some(0)));
    for _ in 0..2 {
        assert!(log.sampler.sample(1).await.unwrap().is_empty());
    }
    let mut passed = 0;
    let mut around = Vec::new();
    for second in 0..180 {
        passed += 2;
        *says.lock().unwrap() = Ok(Some(passed));
        log.append(&line("198.51.100.1").repeat(2));
        match second {
            // `segue compare` as the combined format has it, and as a shorter one.
            10 => log.append(&line(FRONT).replace("\"x\"", "\"segue-look\"").repeat(5)),
            20 => {
                let whole = line(FRONT);
                let short = whole.split(" \"-\"").next().unwrap();
                log.append(&format!("{short}\n").repeat(5));
            }
            160 => log.append(&line("203.0.113.9")),
            _ => {}
        }
        let samples = log.sampler.sample(1).await.unwrap();
        around.push(samples.first().map(|sample| sample.value));
    }
    assert!(around[10..20].iter().all(|one| *one == Some(0.0)), "{:?}", &around[..30]);
    assert!(around[150..160].iter().all(|one| *one == Some(0.0)), "for good: {around:?}");
    let found: f64 = around[150..].iter().flatten().sum();
    assert_eq!(found, 1.0, "the one who did come around: {around:?}");
}
