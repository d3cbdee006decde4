//! The corpus and mutations of it, against BIND's reading of the same text.

use super::{Remark, ZoneFile, read};
use crate::sets::Data;
use domain::base::Rtype;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CORPUS: &str = include_str!("../../tests/zonefile.corpus");
const HEAD: &str = "@ 600 IN SOA ns.example.org. host 7 1h 15m 30d 1h\n@ 600 NS ns.example.org.\n";
const PARTS: [(&str, &str); 2] = [
    ("part.zone", "inc 60 A 192.0.2.7\n$ORIGIN inner\ndeep 60 A 192.0.2.8\n"),
    ("ttl.zone", "$TTL 4711\ninc A 192.0.2.7\n"),
];
/// Fewest constructs that are compared.
const AT_LEAST: usize = 150;

/// A zone as octets: owner in lower case and type, then TTL and data.
type Wire = BTreeMap<(Vec<u8>, u16), (u32, BTreeSet<Vec<u8>>)>;

/// A case of the corpus.
struct Case {
    name: String,
    text: Vec<u8>,
}

fn corpus() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in CORPUS.lines() {
        if let Some(name) = line.strip_prefix("--- ") {
            let head = if name.starts_with("whole") { "" } else { HEAD };
            cases.push(Case { name: name.to_owned(), text: head.into() });
        } else if let Some(case) = cases.last_mut() {
            match line.strip_prefix('%') {
                Some(coded) => case.text.extend(decoded(coded)),
                None => case.text.extend(format!("{line}\n").bytes()),
            }
        }
    }
    cases
}

/// Reads `%0d` as an octet and `%{x*255}` as a repetition.
fn decoded(coded: &str) -> Vec<u8> {
    let (mut octets, mut rest) = (Vec::new(), coded);
    while let Some(place) = rest.find('%') {
        octets.extend(rest[..place].bytes());
        rest = &rest[place + 1..];
        if let Some(inside) = rest.strip_prefix('{') {
            let (inside, after) = inside.split_once('}').unwrap();
            let (text, times) = inside.split_once('*').unwrap();
            octets.extend(text.repeat(times.parse().unwrap()).bytes());
            rest = after;
        } else {
            octets.push(u8::from_str_radix(&rest[..2], 16).unwrap());
            rest = &rest[2..];
        }
    }
    octets.extend(rest.bytes());
    octets
}

fn ours(text: &[u8]) -> Result<ZoneFile, Vec<Remark>> {
    read("example.test", "zone", text, &mut |name| {
        let part = PARTS.iter().find(|(part, _)| *part == name);
        part.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| "no such file".to_owned())
    })
}

fn wire_of(zone: &ZoneFile) -> Wire {
    let mut wire = Wire::new();
    let octets = |data: &Data| data.wire.to_vec();
    for set in zone.contents.sets.values() {
        let key = (set.key.name.as_slice().to_vec(), set.key.rtype.to_int());
        wire.insert(key, (set.ttl, set.data.iter().map(octets).collect()));
    }
    let soa = &zone.contents.soa;
    let apex = crate::sets::owner("example.test").unwrap().as_slice().to_vec();
    wire.insert((apex, Rtype::SOA.to_int()), (soa.ttl, [octets(&soa.data)].into()));
    wire
}

/// BIND, as the oracle.
struct Oracle {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Oracle {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in PARTS {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let folders = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
        let mut places = folders.iter().map(|folder| Path::new(folder).join("named-compilezone"));
        let program = places.find(|place| place.is_file());
        let program = program.expect("named-compilezone: run `apt-get install bind9-utils`");
        Self { program, folder }
    }

    /// Lets BIND compile the zone, and reads what it wrote; `None` if it refuses.
    fn reads(&self, text: &[u8]) -> Option<Wire> {
        let (zone, out) = (self.folder.path().join("zone"), self.folder.path().join("out"));
        std::fs::write(&zone, text).unwrap();
        let _ = std::fs::remove_file(&out);
        let lenient =
            ["-i", "none", "-k", "ignore", "-m", "ignore", "-n", "ignore", "-r", "ignore"];
        let more = ["-M", "ignore", "-S", "ignore", "-T", "ignore", "-W", "ignore"];
        let done = Command::new(&self.program)
            .current_dir(self.folder.path())
            .args(lenient)
            .args(more)
            .args(["-q", "-F", "raw", "-o", "out", "example.test", "zone"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        done.success().then(|| raw(&std::fs::read(&out).unwrap()))
    }
}

/// Reads BIND's raw zone format (`lib/dns/masterdump.c`, version 1).
fn raw(octets: &[u8]) -> Wire {
    let mut at = 0;
    let mut take = |length: usize| {
        at += length;
        &octets[at - length..at]
    };
    let number = |octets: &[u8]| octets.iter().fold(0_usize, |n, o| n << 8 | usize::from(*o));
    assert_eq!(number(take(4)), 2, "raw format");
    let version = number(take(4));
    take(if version == 0 { 4 } else { 16 });
    let mut wire = Wire::new();
    let mut left = octets.len() - if version == 0 { 12 } else { 24 };
    while left > 0 {
        let total = number(take(4));
        left -= total;
        take(2);
        let rtype = number(take(2)) as u16;
        take(2);
        let (ttl, count) = (number(take(4)) as u32, number(take(4)));
        let length = number(take(2));
        let name = take(length).to_ascii_lowercase();
        let mut data = BTreeSet::new();
        for _ in 0..count {
            let length = number(take(2));
            data.insert(take(length).to_vec());
        }
        wire.insert((name, rtype), (ttl, data));
    }
    wire
}

/// Returns what is not alike, if anything is.
fn compared(ours: &Result<ZoneFile, Vec<Remark>>, bind: Option<&Wire>) -> Option<String> {
    match (ours, bind) {
        (Ok(zone), Some(bind)) if wire_of(zone) == *bind => None,
        (Ok(zone), Some(bind)) => {
            let ours = wire_of(zone);
            let odd = |a: &Wire, b: &Wire| {
                let odd = a.iter().filter(|(key, set)| b.get(*key) != Some(*set));
                odd.map(|((name, rtype), (ttl, data))| {
                    let data: Vec<_> = data.iter().map(|d| d.escape_ascii().to_string()).collect();
                    format!("{} {rtype} {ttl} {data:?}", name.escape_ascii())
                })
                .collect::<Vec<_>>()
            };
            Some(format!(
                "other records\n  ours {:#?}\n  BIND {:#?}",
                odd(&ours, bind),
                odd(bind, &ours)
            ))
        }
        (Err(_), None) => None,
        (Ok(_), None) => Some("taken, and BIND refuses it".into()),
        (Err(faults), Some(_)) => Some(format!("refused, and BIND takes it: {}", faults[0])),
    }
}

#[test]
fn every_construct_is_read_as_bind_reads_it() {
    let oracle = Oracle::new();
    let cases = corpus();
    assert!(cases.len() >= AT_LEAST, "{} constructs", cases.len());
    let (mut taken, mut wrong) = (0, Vec::new());
    for Case { name, text } in &cases {
        let (ours, bind) = (ours(text), oracle.reads(text));
        taken += usize::from(bind.is_some());
        let stricter = name.contains("stricter") && ours.is_err() && bind.is_some();
        // It reads them, and then refuses what they mean.
        let meaning = name.contains("meaning") && ours.is_ok() && bind.is_none();
        if let Some(what) = compared(&ours, bind.as_ref()).filter(|_| !stricter && !meaning) {
            wrong.push(format!("{name}: {what}"));
        }
    }
    println!(
        "{} constructs, {taken} of them taken by BIND, {} not alike",
        cases.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(taken * 2 > cases.len(), "most are legal");
}

#[test]
fn every_refusal_names_file_and_line() {
    let faults = ours(format!("{HEAD}a 60 A 192.0.2.1\nb 60 A nowhere\nc 60 FOO x\n").as_bytes());
    let lines: Vec<_> = faults.unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("zone:4: "), "{}", lines[0]);
    assert!(lines[1].starts_with("zone:5: `FOO`"), "{}", lines[1]);
}

/// Mutations of the corpus: none makes the reader panic, and what it takes is what BIND takes.
/// `SEGUE_FUZZ_SECONDS` says for how long; `SEGUE_FUZZ_SEED` begins elsewhere.
#[test]
fn mutations_are_refused_or_read_as_bind_reads_them() {
    let of = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let end = Instant::now() + Duration::from_secs(of("SEGUE_FUZZ_SECONDS").unwrap_or(3));
    let mut dice = Dice(of("SEGUE_FUZZ_SEED").unwrap_or(1) | 1);
    let (oracle, cases) = (Oracle::new(), corpus());
    let (mut read, mut asked) = (0_u64, 0_u64);
    while Instant::now() < end {
        // Many are only read, so that a panic is found soon.
        for _ in 0..50 {
            let _ = ours(&mutated(&cases, &mut dice));
            read += 1;
        }
        let text = mutated(&cases, &mut dice);
        if let Some(zone) = ours(&text).ok().filter(|zone| !is_judged(zone)) {
            asked += 1;
            let bind = oracle.reads(&text);
            let what = compared(&Ok(zone), bind.as_ref());
            assert!(what.is_none(), "{}\n{}", what.unwrap_or_default(), text.escape_ascii());
        }
    }
    println!("{read} mutations read, {asked} compared with BIND");
    assert!(read > 100 && asked > 0);
}

/// Whether it has what BIND reads and then judges by its meaning: keys that the parent shall
/// know (they must be in the zone), expressions, and the values of service parameters.
fn is_judged(zone: &ZoneFile) -> bool {
    let judged = [Rtype::CDS, Rtype::CDNSKEY, Rtype::SVCB, Rtype::HTTPS, Rtype::NAPTR];
    zone.contents.sets.keys().any(|key| judged.contains(&key.rtype))
}

/// Numbers that a seed decides (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

/// Some cases after one another, with some octets changed, gone, doubled or exchanged.
fn mutated(cases: &[Case], dice: &mut Dice) -> Vec<u8> {
    let mut text = HEAD.as_bytes().to_vec();
    for _ in 0..=dice.below(3) {
        let case = &cases[dice.below(cases.len())];
        text.extend(case.text.strip_prefix(HEAD.as_bytes()).unwrap_or(&case.text));
    }
    let telling = b"\\\"();@$.\n\t 0:/{}*-,=#%aZ\xff";
    for _ in 0..dice.below(4) {
        let place = HEAD.len() + dice.below(text.len() - HEAD.len());
        if place >= text.len() {
            continue;
        }
        match dice.below(4) {
            0 => text[place] = telling[dice.below(telling.len())],
            1 => drop(text.remove(place)),
            2 => text.insert(place, telling[dice.below(telling.len())]),
            _ => {
                let end = (place + dice.below(12)).min(text.len());
                let piece = text[place..end].to_vec();
                let to = HEAD.len() + dice.below(text.len() - HEAD.len());
                text.splice(to..to, piece);
            }
        }
    }
    // BIND reads a last line without its end, but for `$GENERATE`.
    text.push(b'\n');
    text
}
