#![allow(clippy::unwrap_used)]

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

fn head(generation: u64) -> Head {
    Head { claim: Some("run-1".into()), epoch: Epoch(3), generation }
}

fn unit(number: usize, sealed: Option<bool>) -> (UnitName, SavedUnit) {
    let route = SavedUnit {
        generation: number as u64,
        sites: vec![SiteRoute {
            hosts: vec![format!("acc{number}.example.test")],
            backends: Sides {
                source: "127.0.0.2:80".parse().unwrap(),
                target: "127.0.0.3:80".parse().unwrap(),
            },
            reach: None,
        }],
        policy: crate::control::HoldPolicy::default(),
        split: None,
        mirror: None,
        write_side: Side::Source,
        concurrency: Sides { source: 8, target: 8 },
        hold: sealed.map(|sealed| SavedHold {
            id: "h".into(),
            sealed,
            lease_ms: 1,
            age_max_ms: 2,
            count_max: 3,
            began_ms: 4,
        }),
    };
    (format!("acc{number}").as_str().into(), route)
}

fn change(generation: u64, units: impl IntoIterator<Item = (UnitName, SavedUnit)>) -> Change {
    Change { head: head(generation), units: units.into_iter().collect(), ..Change::default() }
}

/// A journal, and the state that it should hold.
struct Place {
    folder: TempDir,
    journal: Journal,
    saved: Saved,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let (journal, saved) = Journal::open(folder.path().join("s.json")).unwrap();
        Self { folder, journal, saved }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("s.json")
    }

    async fn write(&mut self, change: Change) {
        self.journal.write(&self.saved, &change, Haste::Pause).await.unwrap();
        self.saved.apply(change);
    }

    fn read(&self) -> Saved {
        Journal::open(self.path()).unwrap().1
    }

    fn code(&self) -> String {
        Journal::open(self.path()).map(|_| ()).unwrap_err().code
    }
}

#[tokio::test]
async fn comes_back_after_every_kind_of_change() {
    let mut place = Place::new();
    assert!(!has_route(&place.path(), &"acc1".into()), "no file, no route");
    place.write(Change { head: head(0), ..Change::default() }).await;
    place.write(change(1, (1..600).map(|n| unit(n, None)))).await;
    place.write(change(2, [unit(1, Some(true))])).await;
    let left = [("acc2".into(), 9)].into();
    place.write(Change { head: head(3), left, ..Change::default() }).await;
    assert_eq!(place.read(), place.saved);
    assert!(place.saved.units[&"acc1".into()].hold.as_ref().unwrap().sealed);
    assert_eq!((place.saved.units.len(), place.saved.left.len()), (598, 1));
    assert!(has_route(&place.path(), &"acc1".into()));
    assert!(!has_route(&place.path(), &"acc2".into()));
    assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o600);
    // Without a claim nobody's former units count any more.
    place.write(Change::default()).await;
    assert_eq!(place.read(), place.saved);
    assert!(place.saved.left.is_empty());
    // A state of several lines comes back from the file that has nothing else.
    fs::remove_file(place.path()).unwrap();
    place.write(change(4, [])).await;
    assert_eq!(place.read(), place.saved);
    assert!(
        fs::read_to_string(place.path()).unwrap().starts_with("{\"segue_front\":3,\"whole\":3}")
    );
}

#[tokio::test]
async fn a_crash_at_any_byte_leaves_the_state_before_or_after() {
    let mut place = Place::new();
    place.write(change(1, [unit(1, None), unit(2, None)])).await;
    place.write(change(2, [unit(1, Some(false))])).await;
    let (before, length) = (place.saved.clone(), fs::read(place.path()).unwrap().len());
    place.write(change(3, [unit(1, Some(true)), unit(2, Some(true))])).await;
    let whole = fs::read(place.path()).unwrap();
    for end in length..whole.len() {
        fs::write(place.path(), &whole[..end]).unwrap();
        assert_eq!(place.read(), before, "{end}");
        // A page that did not reach the disk reads as zeros.
        let mut zeros = whole.clone();
        zeros[length..=end].fill(0);
        fs::write(place.path(), &zeros).unwrap();
        assert_eq!(place.read(), before, "zeros up to {end}");
        if end % 16 != 0 {
            continue;
        }
        // The next change does not stand behind the torn one.
        let (mut journal, saved) = Journal::open(place.path()).unwrap();
        journal.write(&saved, &change(3, [unit(7, None)]), Haste::Pause).await.unwrap();
        let mut after = before.clone();
        after.apply(change(3, [unit(7, None)]));
        assert_eq!(place.read(), after, "{end}");
    }
    // While the file is written anew, the old one has its name.
    fs::write(place.path(), &whole).unwrap();
    fs::write(place.folder.path().join("s.json.next"), &whole[..40]).unwrap();
    assert_eq!(place.read(), place.saved);
}

#[tokio::test]
async fn damage_is_never_taken_for_an_end() {
    let mut place = Place::new();
    place.write(change(1, [unit(1, Some(true))])).await;
    let state = fs::read(place.path()).unwrap();
    place.write(change(2, [unit(2, None)])).await;
    place.write(change(3, [unit(3, None)])).await;
    let good = fs::read(place.path()).unwrap();
    let last = good[..good.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for at in 0..last {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(place.path(), &bad).unwrap();
        // The number of lines that cannot be torn may be too small, if nothing is torn.
        match Journal::open(place.path()) {
            Ok((_, saved)) => assert_eq!(saved, place.saved, "byte {at}"),
            Err(fault) => assert_eq!(fault.code, "SG0120", "byte {at}"),
        }
    }
    // The whole state was there when the file got its name: it cannot be torn.
    for end in 0..state.len() {
        fs::write(place.path(), &state[..end]).unwrap();
        assert_eq!(place.code(), "SG0120", "cut at {end}");
        assert!(has_route(&place.path(), &"acc9".into()), "unknown is not none");
    }
    for wrong in ["", "\n", "{}", "{\"segue_front\":4,\"whole\":0}\n", "{\"version\":1,"] {
        fs::write(place.path(), wrong).unwrap();
        assert_eq!(place.code(), "SG0120", "{wrong:?}");
    }
}

#[tokio::test]
async fn the_form_before_is_read_and_replaced_by_the_first_change() {
    let place = Place::new();
    let former = r#"{"version":2,"claim":"run-1","epoch":3,"generation":7,"left":{"old":2},
        "units":{"acc1":{"generation":1,"sites":[{"hosts":["acc1.example.test"],
        "backends":{"source":"127.0.0.2:80","target":"127.0.0.3:80"}}],"write_side":"source",
        "concurrency":{"source":8,"target":8},"hold":{"id":"h","sealed":true,"lease_ms":1,
        "age_max_ms":2,"count_max":3,"began_ms":4}}}}"#;
    fs::write(place.path(), former).unwrap();
    let (mut journal, mut saved) = Journal::open(place.path()).unwrap();
    let expected = Saved {
        head: head(7),
        left: [("old".into(), 2)].into(),
        units: [unit(1, Some(true))].into(),
    };
    assert_eq!(saved, expected);
    assert_eq!(fs::read_to_string(place.path()).unwrap(), former, "reading changes nothing");
    let next = change(8, [unit(2, None)]);
    journal.write(&saved, &next, Haste::None).await.unwrap();
    saved.apply(next);
    assert_eq!(place.read(), saved);
}

#[tokio::test]
async fn the_file_grows_with_what_changed_and_stays_bounded() {
    let mut place = Place::new();
    place.write(change(1, (0..2_000).map(|n| unit(n, None)))).await;
    let size = |place: &Place| fs::metadata(place.path()).unwrap().len();
    let whole = size(&place);
    place.write(change(2, [unit(5, Some(true))])).await;
    assert!(size(&place) - whole < 600, "one unit's change writes one unit");
    let (mut largest, mut smallest) = (0, u64::MAX);
    let some = |generation: u64| (0..40).map(move |n| unit(n, Some(generation.is_multiple_of(2))));
    for generation in 3..300 {
        let next = change(generation, some(generation));
        place.journal.write(&place.saved, &next, Haste::None).await.unwrap();
        place.saved.apply(next);
        largest = largest.max(size(&place));
        smallest = smallest.min(size(&place));
    }
    assert!(largest < 2 * whole + 20_000 && smallest < whole + 20_000, "{smallest} {largest}");
    assert_eq!(place.read(), place.saved);
    // In a pause nobody waits for it to be written anew.
    for generation in 300..400 {
        place.write(change(generation, some(generation))).await;
    }
    assert!(size(&place) > 2 * whole, "{} of {whole}", size(&place));
    assert_eq!(place.read(), place.saved);
}

#[tokio::test]
async fn what_could_not_be_written_is_there_with_the_next_change() {
    let mut place = Place::new();
    place.write(change(1, [unit(1, None)])).await;
    // Somebody puts a folder there: nothing can take its name.
    fs::remove_file(place.path()).unwrap();
    fs::create_dir(place.path()).unwrap();
    let next = change(2, [unit(1, Some(true))]);
    let fault = place.journal.write(&place.saved, &next, Haste::Pause).await.unwrap_err();
    assert_eq!(fault.code, "SG0120");
    place.saved.apply(next);
    fs::remove_dir(place.path()).unwrap();
    place.write(change(3, [unit(2, None)])).await;
    assert_eq!(place.read(), place.saved, "both are there");
    // A file that somebody exchanged or shortened is not added to.
    for spoil in [b"other".as_slice(), b""] {
        fs::write(place.path(), spoil).unwrap();
        place.write(change(4, [unit(3, None)])).await;
        assert_eq!(place.read(), place.saved);
        let copy = fs::read(place.path()).unwrap();
        fs::remove_file(place.path()).unwrap();
        fs::write(place.path(), copy).unwrap();
        place.write(change(5, [unit(4, None)])).await;
        assert_eq!(place.read(), place.saved);
    }
    // A write that is given up half-way leaves no doubt behind.
    let next = change(6, [unit(5, None)]);
    {
        let write = place.journal.write(&place.saved, &next, Haste::Pause);
        let mut write = std::pin::pin!(write);
        let waker = futures_util::task::noop_waker();
        assert!(write.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    }
    place.write(change(7, [unit(6, None)])).await;
    assert_eq!(place.read(), place.saved, "whether or not it was written");
}
