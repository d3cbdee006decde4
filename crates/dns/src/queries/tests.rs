//! Claims about the readers, on text and octets as servers wrote them.

use super::dnstap::Frames;
use super::tail::{PIECE, Tail};
use super::{Query, QueryLogs, Time, bind};
use segue_model::Sides;
use segue_model::plan::{AuthorityPlan, OwnedSet, QueryLogFormat, QueryLogPlan, ZonePlan};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Lines that BIND 9.18 writes, with and without what its channel adds.
const LINES: [&str; 4] = [
    "30-Nov-2026 03:44:50.123 queries: info: client @0x7f12aa 192.0.2.7#4242/key k (A.test): view v: query: A.Test IN A -E(0)K (192.0.2.53)",
    "2026-11-30T03:44:50.123 client @0x7f12aa 2001:db8::7#4242 (a.test): query: a.test IN AAAA -E(0)DC (2001:db8::53)",
    "2026-11-30T03:44:50.123Z queries: client 192.0.2.7#4242 (a\\032b.test): query: a\\032b.test IN TXT + (192.0.2.53)",
    "client @0x7f12aa 192.0.2.7#4242 (a.test): query: a.test IN A - (192.0.2.53)",
];
/// That moment by the clock of 1970, milliseconds.
const MOMENT: u64 = 1_796_010_290_123;

#[test]
fn reads_the_lines_of_binds_query_log() {
    let read: Vec<Query> = LINES.iter().map(|line| bind::query(line).unwrap()).collect();
    let brief: Vec<_> = read.iter().map(|q| (q.name.as_str(), q.rtype.as_str(), q.at)).collect();
    assert_eq!(brief[0], ("a.test", "A", Time::Local(MOMENT)));
    assert_eq!(brief[1], ("a.test", "AAAA", Time::Local(MOMENT)));
    assert_eq!(brief[2], ("a\\032b.test", "TXT", Time::Utc(MOMENT)));
    assert_eq!(brief[3], ("a.test", "A", Time::Unknown));
    assert_eq!(read[0].from.to_string(), "192.0.2.7");
    assert_eq!(read[1].from.to_string(), "2001:db8::7");
    for other in [
        "30-Nov-2026 03:44:50.123 general: info: running",
        "client @0x1 192.0.2.7#1 (version.bind): query: version.bind CH TXT + (192.0.2.53)",
        "client @0x1 nobody#1 (a.test): query: a.test IN A - (192.0.2.53)",
        "client @0x1 192.0.2.7#1 (a.test): query: a.test",
        "",
    ] {
        assert_eq!(bind::query(other), None, "{other}");
    }
}

#[test]
fn what_is_no_dnstap_file_is_refused_and_not_kept() {
    let mut none = |_: Query| panic!("there is no query in it");
    let text = "30-Nov-2026 a text".repeat(10_000);
    assert!(Frames::default().feed(text.as_bytes(), &mut none).is_err());
    // A data frame before the stream began.
    assert!(Frames::default().feed(&[0, 0, 0, 1, 9], &mut none).is_err());
    // Another kind of stream.
    let mut other = vec![0, 0, 0, 0, 0, 0, 0, 15, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3];
    other.extend_from_slice(b"xyz");
    assert!(Frames::default().feed(&other, &mut none).is_err());
    // Broken off in the middle there is more to come, and nothing is wrong.
    assert!(Frames::default().feed(&other[..10], &mut none).is_ok());
}

#[test]
fn a_file_is_followed_while_it_is_renamed_cut_off_and_missing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut tail = Tail::new(&path, true);
    assert!(tail.read().is_err(), "it is not there yet");
    let mut first = File::create(&path).unwrap();
    first.write_all(b"one").unwrap();
    let piece = tail.read().unwrap();
    assert_eq!((piece.bytes.as_slice(), piece.fresh, piece.more), (&b"one"[..], true, false));
    // What is written after the rename, before the new file is there, is not lost.
    fs::rename(&path, dir.path().join("log.0")).unwrap();
    first.write_all(b"two").unwrap();
    assert_eq!(tail.read().unwrap().bytes, b"two");
    first.write_all(b"three").unwrap();
    fs::write(&path, "four").unwrap();
    let mut read = Vec::new();
    for _ in 0..4 {
        let piece = tail.read().unwrap();
        read.push((String::from_utf8(piece.bytes).unwrap(), piece.fresh));
        if !piece.more {
            break;
        }
    }
    assert_eq!(read, [("three".to_owned(), false), ("four".to_owned(), true)]);
    fs::write(&path, "5").unwrap();
    let piece = tail.read().unwrap();
    assert_eq!((piece.bytes.as_slice(), piece.fresh), (&b"5"[..], true), "it was cut off");
}

#[test]
fn of_a_long_text_only_the_end_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let octets = usize::try_from(PIECE).unwrap() + 100;
    fs::write(&path, vec![b'x'; octets]).unwrap();
    let piece = Tail::new(&path, true).read().unwrap();
    assert!(piece.skipped && piece.bytes.len() as u64 == PIECE);
    let whole = Tail::new(&path, false).read().unwrap();
    assert!(!whole.skipped && whole.more);
}

fn zone(provider: &str, logs: &[&Path]) -> ZonePlan {
    let log =
        |file: &&Path| QueryLogPlan { format: QueryLogFormat::Bind, file: file.to_path_buf() };
    ZonePlan {
        parents: Vec::new(),
        zone: "example.test".into(),
        provider: Some(provider.into()),
        authority: AuthorityPlan::Command { command: Vec::new() },
        servers: vec!["127.0.0.1:53".parse().unwrap()],
        records: vec![OwnedSet {
            name: "shop.example.test".into(),
            rtype: "A".into(),
            data: Sides { source: vec!["192.0.2.1".into()], target: vec!["192.0.2.2".into()] },
        }],
        lowered_ttl_s: 60,
        lowered_other_ttl_s: 300,
        allow: Vec::new(),
        query_logs: logs.iter().map(log).collect(),
    }
}

/// Writes lines as a server whose clock is five and a half hours ahead does, now.
fn lines(asked: &[(&str, &str, &str)]) -> String {
    let ahead = jiff::SignedDuration::from_secs(5 * 3600 + 1800);
    let at = (jiff::Timestamp::now() + ahead).strftime("%d-%b-%Y %H:%M:%S%.3f").to_string();
    let line = |(from, name, rtype): &(&str, &str, &str)| {
        format!("{at} client @0x1 {from}#1 ({name}): query: {name} IN {rtype} - (192.0.2.53)\n")
    };
    asked.iter().map(line).collect()
}

#[test]
fn shares_are_of_the_last_minute_and_of_resolvers_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    fs::write(
        &source,
        lines(&[
            ("192.0.2.1", "SHOP.example.test", "A"),
            ("192.0.2.2", "other.example.test", "A"),
            ("192.0.2.3", "shop.example.test.evil.test", "A"),
            ("192.0.2.3", "notexample.test", "A"),
            ("192.0.2.4", "example.test", "SOA"),
            ("127.0.0.1", "shop.example.test", "A"),
        ]),
    )
    .unwrap();
    let watched = ["192.0.2.1:53".parse().unwrap()];
    let plans = [zone("source", &[&source]), zone("target", &[&target])];
    let mut logs = QueryLogs::of(&plans, &watched).unwrap();
    logs.read();
    let told = logs.told();
    let here = &told[0].authorities[0];
    assert_eq!((here.queries, here.zone_queries, here.resolvers), (Some(1), Some(2), Some(2)));
    assert_eq!(here.own_queries, 1, "{here:?}");
    assert!(here.asking.iter().any(|a| a.watched && a.resolver == watched[0].ip()));
    // The other side's log is not there: no share of anything is known.
    assert_eq!((here.queries_percent, here.resolvers_percent), (None, None));
    assert_eq!(told[0].authorities[1].queries, None);
    assert!(!told[0].authorities[1].unknown.is_empty());

    let mut file = File::create(&target).unwrap();
    let asked = [("192.0.2.1", "shop.example.test", "A"); 3];
    std::thread::sleep(std::time::Duration::from_millis(20));
    file.write_all(lines(&asked).as_bytes()).unwrap();
    // A line of which only a part is there counts once it is whole.
    let half = lines(&[("192.0.2.9", "shop.example.test", "A")]);
    file.write_all(&half.as_bytes()[..half.len() / 2]).unwrap();
    logs.read();
    let told = logs.told();
    let [source, target] = told[0].authorities.as_slice() else { panic!("{told:?}") };
    assert_eq!((source.queries_percent, target.queries_percent), (Some(25.0), Some(75.0)));
    // One of the two resolvers has gone over to the target.
    assert_eq!((source.resolvers_percent, target.resolvers_percent), (Some(50.0), Some(50.0)));
    file.write_all(&half.as_bytes()[half.len() / 2..]).unwrap();
    logs.read();
    assert_eq!(logs.told()[0].authorities[1].queries, Some(4));
    assert!(QueryLogs::of(&[zone("source", &[])], &[]).is_none());
}

#[test]
fn what_is_long_ago_is_in_no_share() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let old = lines(&[("192.0.2.1", "shop.example.test", "A")]);
    // An hour earlier, by the same clock.
    let hour = &old[12..14];
    let earlier = format!("{:02}", (hour.parse::<u32>().unwrap() + 23) % 24);
    let earlier = old.replacen(&format!(" {hour}:"), &format!(" {earlier}:"), 1);
    fs::write(&path, earlier + &lines(&[("192.0.2.2", "shop.example.test", "A")])).unwrap();
    let mut logs = QueryLogs::of(&[zone("only", &[&path])], &[]).unwrap();
    logs.read();
    let told = logs.told();
    let here = &told[0].authorities[0];
    assert_eq!((here.queries, here.resolvers), (Some(1), Some(1)), "{here:?}");
    assert_eq!(here.asking.len(), 2, "who asked earlier is remembered");
}
