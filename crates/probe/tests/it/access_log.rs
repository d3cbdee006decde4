use segue_model::What;
use segue_port::Sampler;
use segue_probe::AccessLogSampler;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

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
