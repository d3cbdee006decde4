//! The merge of two providers' records, and the notes: both without a server.

use super::facts::Fact;
use super::look::MadeUp;
use super::merge::{Base, Merge, Merging, parts};
use super::notes::Notes;
use super::{Wish, keys};
use crate::message::Soa;
use crate::sets::{Owner, RecordSet, SetKey, owner, parse_provider};
use crate::zone::Contents;
use domain::base::Rtype;
use segue_model::plan::{AuthorityPlan, ProviderPlan, SigningWish, ZoneMove};
use segue_model::{Side, Sides};
use std::collections::BTreeSet;
use std::str::FromStr;

fn apex() -> Owner {
    owner("example.test").unwrap()
}

fn set(name: &str, rtype: &str, ttl: u32, data: &[&str]) -> RecordSet {
    let name = if name == "@" { "example.test".into() } else { format!("{name}.example.test") };
    let key = SetKey { name: owner(&name).unwrap(), rtype: Rtype::from_str(rtype).unwrap() };
    let data: Vec<String> = data.iter().map(|text| (*text).to_owned()).collect();
    parse_provider(&key, ttl, &data).unwrap()
}

fn contents(sets: &[RecordSet]) -> Contents {
    let soa = set("@", "SOA", 60, &["a.test. b.test. 1 60 60 60 60"]);
    let soa = Soa::of(60, soa.data.first().unwrap()).unwrap();
    let kept = sets.iter().filter(|set| set.exists());
    Contents { soa, sets: kept.map(|set| (set.key.clone(), set.clone())).collect() }
}

struct Case {
    contents: Sides<Contents>,
    ttl_min_s: Sides<u32>,
    base: Option<Base>,
    to: Side,
    replace: bool,
    names: BTreeSet<Owner>,
    apart: Vec<MadeUp>,
}

impl Case {
    fn of(source: &[RecordSet], target: &[RecordSet]) -> Self {
        Self {
            contents: Sides { source: contents(source), target: contents(target) },
            ttl_min_s: Sides { source: 0, target: 0 },
            base: None,
            to: Side::Target,
            replace: false,
            names: BTreeSet::new(),
            apart: Vec::new(),
        }
    }

    /// The same move, later: both were alike as `self` is, and have this now.
    fn later(&self, source: &[RecordSet], target: &[RecordSet]) -> Self {
        let base = Some(self.merging().base());
        let ttl_min_s = self.ttl_min_s.clone();
        Self { base, ttl_min_s, ..Self::of(source, target) }
    }

    fn merging(&self) -> Merging<'_> {
        // The name lives as long as the program.
        let apex: &'static Owner = Box::leak(Box::new(apex()));
        Merging {
            apex,
            contents: Sides { source: &self.contents.source, target: &self.contents.target },
            ttl_min_s: self.ttl_min_s.clone(),
            base: self.base.as_ref(),
            to: self.to,
            name_servers: &self.names,
            apart: self.apart.iter().collect(),
            replace: self.replace,
        }
    }

    fn merge(&self) -> Merge {
        self.merging().merge()
    }
}

fn www(last: u8) -> RecordSet {
    set("www", "A", 300, &[&format!("192.0.2.{last}")])
}

#[test]
fn the_first_copy_brings_all_but_what_each_provider_makes_for_itself() {
    let own = [
        set("@", "NS", 60, &["ns1.source.test."]),
        set("@", "DNSKEY", 60, &["257 3 13 aaaa"]),
        set("@", "CDS", 60, &["0 0 0 00"]),
        set("@", "TYPE65534", 60, &["\\# 5 0D00010001"]),
    ];
    let ds = format!("1 13 2 {}", "ab".repeat(32));
    let sub = [set("sub", "NS", 60, &["ns.else.test."]), set("sub", "DS", 60, &[&ds])];
    let mut source = own.to_vec();
    source.extend(sub.clone());
    source.push(www(1));
    let merge = Case::of(&source, &[set("@", "NS", 60, &["ns1.target.test."])]).merge();
    let to_target: Vec<_> = merge.changes.target.iter().map(|(_, wanted)| wanted.clone()).collect();
    assert_eq!(to_target.len(), 3, "{to_target:?}");
    for wanted in [&sub[0], &sub[1], &www(1)] {
        assert!(to_target.contains(wanted), "{wanted}");
    }
    assert!(merge.changes.source.is_empty() && merge.extra.is_empty());
}

#[test]
fn what_the_target_had_of_its_own_is_replaced_only_if_that_is_meant() {
    let more = set("more", "TXT", 60, &["\"x\""]);
    let mut case = Case::of(&[www(1)], &[www(2), more.clone()]);
    let merge = case.merge();
    assert_eq!(merge.extra.len(), 2, "{merge:?}");
    assert!(merge.changes.target.is_empty());
    case.replace = true;
    let merge = case.merge();
    assert!(merge.extra.is_empty());
    let absent = RecordSet::absent(more.key.clone());
    assert!(merge.changes.target.contains(&(more, absent)), "{merge:?}");
    assert!(merge.changes.target.contains(&(www(2), www(1))));
}

#[test]
fn an_edit_at_either_side_goes_to_the_other_and_two_different_ones_are_a_conflict() {
    let start = Case::of(&[www(1)], &[www(1)]);
    let mail = set("mail", "A", 60, &["192.0.2.9"]);
    let edited = start.later(&[www(2)], &[www(1), mail.clone()]).merge();
    assert_eq!(edited.changes.target, [(www(1), www(2))]);
    assert_eq!(edited.changes.source, [(RecordSet::absent(mail.key.clone()), mail)]);
    assert!(edited.conflicts.is_empty());
    let gone = start.later(&[www(1)], &[]).merge();
    assert_eq!(gone.changes.source, [(www(1), RecordSet::absent(www(1).key))]);
    let both = start.later(&[www(2)], &[www(3)]).merge();
    assert_eq!(both.conflicts.len(), 1);
    assert!(both.changes.source.is_empty() && both.changes.target.is_empty());
    let same = start.later(&[www(2)], &[www(2)]).merge();
    assert!(same.is_empty(), "{same:?}");
}

#[test]
fn a_floor_for_ttls_is_no_difference_and_no_edit() {
    let low = www(1).with_ttl(30);
    let mut case = Case::of(std::slice::from_ref(&low), &[www(1).with_ttl(60)]);
    case.ttl_min_s.target = 60;
    assert!(case.merge().is_empty());
    let edited = case.later(&[www(2).with_ttl(30)], &[www(1).with_ttl(60)]).merge();
    assert!(edited.conflicts.is_empty(), "{edited:?}");
    assert_eq!(edited.changes.target, [(www(1).with_ttl(60), www(2).with_ttl(60))]);
}

#[test]
fn addresses_of_name_servers_within_the_zone_come_from_either_side() {
    let glue = set("ns1", "A", 60, &["192.0.2.53"]);
    let mut case = Case::of(&[www(1)], &[www(1), glue.clone()]);
    case.names = BTreeSet::from([glue.key.name.clone()]);
    let merge = case.merge();
    assert!(merge.extra.is_empty(), "{merge:?}");
    assert_eq!(merge.changes.source, [(RecordSet::absent(glue.key.clone()), glue)]);
}

/// An alias of a provider stands for addresses; what else has its name is copied.
#[test]
fn what_a_provider_makes_up_is_left_to_each_and_nothing_else_of_its_name() {
    let mail = set("www", "MX", 60, &["10 mail.example.test."]);
    let mut case = Case::of(std::slice::from_ref(&mail), &[www(1)]);
    let name = www(1).key.name;
    case.apart = vec![MadeUp { name, types: vec![Rtype::A, Rtype::AAAA], text: String::new() }];
    let merge = case.merge();
    assert_eq!(merge.changes.target, [(RecordSet::absent(mail.key.clone()), mail)], "{merge:?}");
    assert!(merge.changes.source.is_empty() && merge.extra.is_empty(), "{merge:?}");
}

#[test]
fn a_side_that_was_emptied_does_not_empty_the_other() {
    let many: Vec<RecordSet> =
        (0..12).map(|n| set(&format!("n{n}"), "A", 60, &["192.0.2.1"])).collect();
    let start = Case::of(&many, &many);
    for left in [0, 1, 8] {
        let merge = start.later(&many, &many[..left]).merge();
        assert_eq!(merge.conflicts.len(), 1, "{left}: {merge:?}");
        assert!(merge.conflicts[0].contains("the target has lost"), "{merge:?}");
        assert!(merge.changes.source.is_empty() && merge.changes.target.is_empty());
    }
    let mut meant = start.later(&many, &many[..8]);
    meant.replace = true;
    assert_eq!(meant.merge().changes.source.len(), 4);
    // An edit is one.
    assert_eq!(start.later(&many, &many[..9]).merge().changes.source.len(), 3);
    let two = Case::of(&many[..2], &many[..2]);
    assert_eq!(two.later(&[], &many[..2]).merge().conflicts.len(), 1);
}

#[test]
fn sets_of_one_name_stay_in_one_part_and_no_part_is_too_big() {
    let mut pairs = Vec::new();
    for number in 0..500 {
        for rtype in ["A", "TXT"] {
            let data = if rtype == "A" { "192.0.2.1".to_owned() } else { "\"x\"".to_owned() };
            let wanted = set(&format!("n{number}"), rtype, 60, &[&data]);
            pairs.push((RecordSet::absent(wanted.key.clone()), wanted));
        }
    }
    let parts = parts(pairs);
    assert!(parts.iter().all(|part| part.len() <= 90), "{}", parts.len());
    assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 1000);
    let mut seen = BTreeSet::new();
    for part in &parts {
        let names: BTreeSet<_> = part.iter().map(|(former, _)| former.key.name.clone()).collect();
        assert!(names.iter().all(|name| seen.insert(name.clone())), "a name in two parts");
    }
}

#[test]
fn a_ds_names_the_key_that_it_was_made_of() {
    // RFC 4034 section 5.4, RFC 4509 section 2.3: the same key, digests SHA-1 and SHA-256.
    let apex = owner("dskey.example.com").unwrap();
    let key = SetKey { name: apex.clone(), rtype: Rtype::DNSKEY };
    let text = "256 3 5 AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMzNXxeYCmZ\
                DRD99WYwYqUSdjMmmAphXdvxegXd/M5+X7OrzKBaMbCVdFLUUh6DhweJBjEVv5f2wwjM9XzcnOf+EPbt\
                G9DMBmADjFDc2w/rljwvFw==";
    let keys_set = parse_provider(&key, 60, &[text.to_owned()]).unwrap();
    let dnskey = keys_set.data.first().unwrap();
    let ds_key = SetKey { name: apex.clone(), rtype: Rtype::DS };
    for (text, fits) in [
        ("60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118", true),
        ("60485 5 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A", true),
        ("60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292119", false),
        ("60485 5 250 2BB183AF5F22588179A53B0A98631FAD1A292118", false),
    ] {
        let ds = parse_provider(&ds_key, 60, &[text.to_owned()]).unwrap();
        assert_eq!(keys::names_key(&apex, ds.data.first().unwrap(), dnskey), fits, "{text}");
    }
    let own = keys::ds_text(&apex, dnskey).unwrap();
    assert!(own.starts_with("60485 5 2 D4B7D520"), "{own}");
}

fn plan() -> ZoneMove {
    let provider = |name: &str| ProviderPlan {
        name: name.into(),
        name_servers: vec![format!("ns1.{name}.test")],
        servers: Vec::new(),
        authority: AuthorityPlan::Command { command: vec![format!("/bin/{name}")] },
    };
    ZoneMove {
        zone: "example.test".into(),
        providers: Sides { source: provider("source"), target: provider("target") },
        dnssec: SigningWish::Keep,
        lowered_ttl_s: 60,
        resolvers: Vec::new(),
        parents: Vec::new(),
        replace: false,
    }
}

#[test]
fn two_processes_do_not_work_on_one_zone_and_who_looks_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("moves");
    let looked = Notes::open(&place, &plan(), Wish::Look).unwrap();
    assert!(!place.exists());
    drop(looked);
    let first = Notes::open(&place, &plan(), Wish::Forward).unwrap();
    let second = Notes::open(&place, &plan(), Wish::Forward).unwrap_err();
    assert_eq!(second.code, "SG0331", "{second}");
    Notes::open(&place, &plan(), Wish::Look).unwrap();
    drop(first.written());
    Notes::open(&place, &plan(), Wish::Back).unwrap();
}

/// However often somebody turns round: what resolvers may still know is waited for.
#[test]
fn turning_round_forgets_no_wait_and_adds_none() {
    let mut notes = Notes::nowhere(&plan());
    let (there, back) = (Side::Target, Side::Source);
    // The first look: all is as it always was.
    notes.see(back, Fact::Delegated, Some(true), 1000, true);
    notes.see(there, Fact::Delegated, Some(false), 1000, true);
    notes.turn(back);
    assert_eq!(notes.since(Fact::Delegated), Some(0), "nobody learned of anything else");
    // The registrar names the target.
    notes.see(back, Fact::Delegated, Some(false), 2000, false);
    notes.see(there, Fact::Delegated, Some(true), 2000, false);
    for _ in 0..2 {
        notes.turn(back);
        assert_eq!(notes.since(Fact::Delegated), None);
        notes.turn(there);
        assert_eq!(notes.since(Fact::Delegated), Some(2000));
    }
    // Somebody does not answer: what was noted stays.
    notes.see(there, Fact::Delegated, None, 3000, false);
    notes.see(there, Fact::Delegated, Some(true), 4000, false);
    assert_eq!(notes.since(Fact::Delegated), Some(2000));
    // The clock was set back: no wait is over sooner than by the clock that is.
    notes.see(there, Fact::Delegated, Some(true), 500, false);
    assert_eq!(notes.since(Fact::Delegated), Some(500));
}

#[test]
fn notes_of_another_move_and_a_way_back_from_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let fault = Notes::open(folder.path(), &plan(), Wish::Back).unwrap_err();
    assert!(fault.cause.contains("nothing was begun"), "{fault}");
    drop(Notes::open(folder.path(), &plan(), Wish::Forward).unwrap().written());
    Notes::open(folder.path(), &plan(), Wish::Back).unwrap();
    let mut other = plan();
    other.providers.target.authority =
        AuthorityPlan::Command { command: vec!["/bin/third".into()] };
    let fault = Notes::open(folder.path(), &other, Wish::Forward).unwrap_err();
    assert!(fault.cause.contains("between other providers"), "{fault}");
    assert!(fault.hint.contains("example.test.*"), "{fault}");
}

#[test]
fn a_change_is_written_behind_one_that_was_torn() {
    let folder = tempfile::tempdir().unwrap();
    let notes = Notes::open(folder.path(), &plan(), Wish::Forward).unwrap();
    let change =
        crate::change::Change { former: vec![www(1)], wanted: vec![www(2)], minimum: None };
    notes.intend("copy", Side::Target, &change).unwrap();
    let file = folder.path().join("example.test.changes.jsonl");
    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{whole}{{\"at_ms\":17")).unwrap();
    notes.intend("copy", Side::Target, &change).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for line in [lines[0], lines[2]] {
        let change: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(change["former"][0]["data"][0], "192.0.2.1");
    }
}
