//! Claims about the report, on journals made by hand.

use crate::{RunOutcome, build, html};
use segue_model::event::{Actor, Attempt, Event, Phase, Record, UnitEntry};
use segue_model::{RunId, UnitName};
use serde_json::json;

fn journal(events: Vec<Event>) -> Vec<Record> {
    let mut all = vec![Event::RunStarted {
        run: RunId::from("run-1"),
        name: "plan".into(),
        plan_hash: "abc".into(),
        units: vec![UnitEntry { unit: UnitName::from("<shop>"), plan_hash: "own".into(), wave: 1 }],
        by: Actor::Person("ada".into()),
    }];
    all.extend(events);
    (1_u64..)
        .zip(all)
        .map(|(seq, event)| {
            let unit = (seq > 1).then(|| UnitName::from("<shop>"));
            Record { seq, at_ms: seq * 1_000, boot_ms: seq * 10, unit, event }
        })
        .collect()
}

fn started(phase: Phase, number: u32) -> Event {
    Event::AttemptStarted {
        attempt: Attempt { phase, number },
        by: Actor::Controller,
        because: String::new(),
    }
}

fn outcome(events: Vec<Event>) -> RunOutcome {
    build(&journal(events), Vec::new()).unwrap().outcome
}

#[test]
fn the_last_word_of_the_journal_is_the_outcome() {
    let there = [started(Phase::Cutover, 1), Event::AttemptCompleted];
    let back = [started(Phase::Failback, 2), Event::AttemptCompleted];
    let settled = [started(Phase::Settle, 3), Event::AttemptCompleted];
    assert_eq!(outcome(there.to_vec()), RunOutcome::Running);
    assert_eq!(outcome([there.clone(), back].concat()), RunOutcome::WentBack);
    assert_eq!(outcome([there, settled].concat()), RunOutcome::Settled);
    let gave_up = [started(Phase::Cutover, 1), Event::AttemptWithdrawn];
    assert_eq!(outcome(gave_up.to_vec()), RunOutcome::Withdrawn);
    let refused = Event::FailbackRefused { because: "gone".into(), way_out: Vec::new() };
    assert_eq!(outcome(vec![refused]), RunOutcome::Stuck);
}

#[test]
fn what_was_never_measured_is_unknown_and_not_zero() {
    let report = build(&journal(Vec::new()), Vec::new()).unwrap();
    assert_eq!(report.summary.requests, None);
    assert_eq!(report.summary.failed_requests, None);
    assert_eq!(report.summary.write_pause_ms, None);
    assert!(report.not_provable.iter().any(|line| line.contains("no probe ran")));
    let page = html(&report, &|ms| ms.to_string());
    assert!(page.contains("unknown"), "{page}");
}

#[test]
fn the_probes_own_requests_are_not_the_visitors() {
    let measured = |what: &str, detail| Event::Measured { what: what.into(), detail };
    let report = build(
        &journal(vec![
            measured(
                "traffic",
                json!({ "requests": 100, "failed": 7, "probes": { "requests": 40, "failed": 2 } }),
            ),
            measured("probe", json!({ "since": 1, "sent": 10, "failed": 0, "longest_ms": 3.0 })),
            measured("probe", json!({ "since": 1, "sent": 20, "failed": 2, "longest_ms": 12.5 })),
            measured("probe", json!({ "since": 9, "sent": 15, "failed": 0, "longest_ms": 4.0 })),
        ]),
        Vec::new(),
    )
    .unwrap();
    assert_eq!(report.summary.requests, Some(60));
    assert_eq!(report.summary.failed_requests, Some(5));
    assert_eq!(report.summary.longest_request_ms, Some(12.5), "also before a restart");
    assert_eq!((&report.probe["sent"], &report.probe["failed"]), (&json!(35), &json!(2)));
}

#[test]
fn the_pause_of_an_attempt_is_the_longest_of_its_holds() {
    let hold = |id: &str, began: u64, released: Option<u64>| json!({ "hold_id": id, "began_ms": began, "released_ms": released });
    let report = build(
        &journal(vec![
            started(Phase::Cutover, 3),
            Event::Measured {
                what: "traffic".into(),
                detail: json!({ "requests": 1, "failed": 0, "holds": [
                    hold("run-1-cutover-3", 100, Some(190)),
                    hold("run-1-cutover-3", 100, Some(220)),
                    hold("run-1-cutover-13", 100, Some(900)),
                ] }),
            },
        ]),
        Vec::new(),
    )
    .unwrap();
    assert_eq!(report.attempts[0].pause_ms, Some(120.0));
}

#[test]
fn a_rehearsal_is_a_forecast_and_no_proof() {
    let rehearsed = Event::UnitRehearsed {
        plan_hash: "own".into(),
        passed: true,
        pause_ms: Some(613.0),
        took_ms: 9_000,
        detail: json!({ "not_rehearsed": ["worker `cron`"], "visitors": { "requests": 500 } }),
    };
    let report = build(&journal(vec![rehearsed]), Vec::new()).unwrap();
    assert_eq!(report.summary.write_pause_ms, None, "nothing was cut over");
    assert_eq!(report.summary.requests, None, "no visitor came");
    assert_eq!(report.units[0].write_pause_ms, None);
    assert_eq!(report.outcome, RunOutcome::Running);
    assert_eq!(report.forecasts[0].pause_ms, Some(613.0));
    let page = html(&report, &|ms| ms.to_string());
    let (proven, forecast) = page.split_once("Forecast by rehearsal").unwrap();
    assert!(forecast.contains("613") && forecast.contains("worker `cron`"), "{forecast}");
    assert!(!proven.contains("613"), "{proven}");
}

#[test]
fn names_from_outside_cannot_become_markup() {
    let page = html(&build(&journal(Vec::new()), Vec::new()).unwrap(), &|ms| ms.to_string());
    assert!(page.contains("&lt;shop&gt;") && !page.contains("<shop>"), "{page}");
}

#[test]
fn a_journal_without_a_run_has_no_report() {
    assert!(build(&[], Vec::new()).is_none());
}

/// A look at a publish by a controller that asked from `from_ms` on.
fn look(from_ms: Option<u64>, after_ms: Option<u64>, at_ms: u64) -> Event {
    let sets = json!([{
        "name": "<a.test>", "type": "A", "former_ttl_s": 60, "asked": 4, "there": 3,
        "reached": [
            { "percent": 50, "after_ms": after_ms },
            { "percent": 95, "after_ms": null },
            { "percent": 99, "after_ms": null },
        ],
        "resolvers": [{ "resolver": "192.0.2.9:53", "verdict": "overstaying", "by_s": 3 }],
    }]);
    Event::Measured {
        what: "spread".into(),
        detail: json!({
            "at_ms": at_ms, "to": "target", "published_at_ms": 500,
            "resolvers": [{ "watched_from_ms": from_ms, "sets": sets }],
            "resolvers_former_percent": 25.0,
            "flush": [{ "command": "1: rndc", "runs": 1, "failed": 1, "left_out": 0, "why": "no <key>" }],
            "queries": null,
            "fronts": { "left": "source", "requests_per_second": 2.0, "percent": null },
        }),
    }
}

#[test]
fn the_spread_is_the_last_look_with_the_earliest_moments() {
    let looks = vec![
        look(Some(600), Some(1_200), 2_000),
        look(Some(9_000), Some(8_600), 9_500),
        look(None, None, 10_000),
    ];
    let report = build(&journal(looks), Vec::new()).unwrap();
    assert_eq!(report.spread.len(), 1, "one publish");
    let last = &report.spread[0];
    assert_eq!(last["at_ms"], 10_000);
    let reached = &last["resolvers"][0]["sets"][0]["reached"];
    assert_eq!(reached[0]["after_ms"], 1_200, "a later controller saw it later");
    assert_eq!(reached[1]["after_ms"], json!(null));
    let page = html(&report, &|ms| ms.to_string());
    for wanted in [
        "&lt;a.test&gt; A",
        "after 1.2 s",
        "not seen",
        "3 of 4",
        "192.0.2.9:53 overstaying",
        "1 failed, 0 left out: no &lt;key&gt;",
        "unknown of all; former answers at resolvers: 25.0 %",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
}

#[test]
fn a_publish_that_nobody_was_asked_about_is_told_as_unknown() {
    let intended = Event::StepIntended {
        step: "publish".into(),
        prepared: json!(null),
        epoch: segue_model::Epoch(1),
    };
    let publish = |status: Event| vec![started(Phase::Cutover, 1), intended.clone(), status];
    let done = Event::StepDone { step: "publish".into(), output: json!({}) };
    let said = |events: Vec<Event>| {
        let report = build(&journal(events), Vec::new()).unwrap();
        report.not_provable.iter().any(|line| line.contains("came at resolvers"))
    };
    assert!(said(publish(done.clone())));
    assert!(!said([publish(done), vec![look(Some(600), None, 2_000)]].concat()));
    assert!(!said(Vec::new()), "nothing was published");
}

fn noted(since: u64, tried: u64, lost: u64, first: u64, last: u64) -> Event {
    let front = |name: &str| json!({ "front": name, "tried": tried, "lost": lost, "first_boot_ms": first, "last_boot_ms": last });
    let site = json!({
        "site": "shop", "verdict": "survive", "because": "sessions <move>",
        "fronts": [front("source"), front("target")],
    });
    let other =
        json!({ "site": "other", "verdict": "again", "because": "memcached", "fronts": null });
    Event::Measured {
        what: "sessions".into(),
        detail: json!({ "since": since, "sites": [site, other] }),
    }
}

#[test]
fn a_login_is_proven_only_by_tries_before_and_after_the_switch() {
    let route = Event::StepDone { step: "route".into(), output: json!({}) };
    let cutover = |number| vec![started(Phase::Cutover, number), route.clone()];
    let report = |events: Vec<Event>| build(&journal(events), Vec::new()).unwrap();
    let unproven = |report: &crate::Report| {
        let of = |site: &str| {
            let said = format!("`{site}` stayed logged in");
            report.not_provable.iter().any(|line| line.contains(&said))
        };
        (of("shop"), of("other"))
    };
    // The route's record is the third: 30 ms by the boot clock.
    let before = report([cutover(1), vec![noted(1, 3, 0, 5, 20)]].concat());
    assert!(!before.sessions[0].tries.as_ref().unwrap().through_switch);
    assert_eq!(unproven(&before), (true, false));
    let mut events = cutover(1);
    events.extend([noted(1, 2, 0, 5, 20), noted(1, 3, 0, 5, 21), noted(9, 4, 1, 31, 50)]);
    let both = report(events);
    let tries = both.sessions[0].tries.as_ref().unwrap();
    assert_eq!((tries.tried, tries.lost, tries.through_switch), (14, 2, true));
    assert_eq!(both.sessions[1].tries, None);
    assert_eq!(unproven(&both), (true, false), "a login that was lost proves nothing");
    let mut kept = cutover(1);
    kept.extend([noted(1, 2, 0, 5, 20), noted(9, 4, 0, 31, 50)]);
    assert_eq!(unproven(&report(kept)), (false, false));
    // What another table routes is no switch.
    let back = vec![started(Phase::Failback, 1), route.clone(), noted(1, 3, 0, 5, 50)];
    assert!(!report(back).sessions[0].tries.as_ref().unwrap().through_switch);
    let page = html(&both, &|ms| ms.to_string());
    for wanted in [
        "one login, 14 times, through the switch: not known 2 times",
        "sessions &lt;move&gt;",
        "log in again",
        "no login was tried",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
}

#[test]
fn a_front_that_did_not_answer_is_not_one_that_nobody_comes_to() {
    let look = |fronts: serde_json::Value| Event::Measured {
        what: "stragglers".into(),
        detail: json!({ "at_ms": 1, "fronts": fronts }),
    };
    let nobody = json!([{ "front": "source", "clients": 0, "latest": [] }]);
    let silent = json!([{ "front": "source", "clients": null }]);
    for (fronts, known) in [(nobody, true), (silent, false)] {
        let report = build(&journal(vec![look(fronts)]), Vec::new()).unwrap();
        let page = html(&report, &|_| String::new());
        assert_eq!(page.contains("former address<"), !known, "{page}");
        assert_eq!(page.contains("<td>source<td class=\"n unknown\">unknown<"), !known, "{page}");
        let said = report.not_provable.iter().any(|line| line.contains("still comes"));
        assert_eq!(said, !known, "{:?}", report.not_provable);
    }
}

#[test]
fn stragglers_are_those_of_the_last_look() {
    let look = |at_ms: u64, client: &str, clients: u64| Event::Measured {
        what: "stragglers".into(),
        detail: json!({ "at_ms": at_ms, "fronts": [{
            "front": "source", "clients": clients,
            "latest": [{ "client": client, "count": 3, "last_at_ms": 77_000 }],
        }] }),
    };
    let events = vec![look(1, "192.0.2.7", 9), look(2, "192.0.2.8", 41)];
    let report = build(&journal(events), Vec::new()).unwrap();
    assert_eq!(report.stragglers.len(), 1);
    assert_eq!(
        (&report.stragglers[0]["at_ms"], &report.stragglers[0]["unit"]),
        (&json!(2), &json!("<shop>"))
    );
    let page = html(&report, &|ms| format!("at {ms}"));
    assert!(
        page.contains("192.0.2.8") && page.contains("41") && page.contains("at 77000"),
        "{page}"
    );
    assert!(!page.contains("192.0.2.7"), "{page}");
    let none = build(&journal(Vec::new()), Vec::new()).unwrap();
    assert!(
        none.stragglers.is_empty() && !html(&none, &|_| String::new()).contains("former address<")
    );
}

/// A front of a look at copies.
fn copied(name: &str, asked: u64, same: u64) -> serde_json::Value {
    json!({
        "front": name, "dropped": 31, "ended": 2,
        "compared": {
            "asked": asked, "same": same, "noisy": 17, "time_ratio": 1.25,
            "differences": [{
                "kind": "status", "text": "200 at the source, 404 at the <target>", "count": 5,
                "examples": ["/a/1", "/a/2", "/a/3", "/a/4"],
            }],
        },
    })
}

/// The report after looks at copies, the n-th at n.
fn after_copies(looks: Vec<serde_json::Value>) -> crate::Report {
    let look = |(at_ms, fronts): (u64, serde_json::Value)| Event::Measured {
        what: "mirror".into(),
        detail: json!({ "at_ms": at_ms, "fronts": fronts }),
    };
    build(&journal((1..).zip(looks).map(look).collect()), Vec::new()).unwrap()
}

/// What the report says of copies that nobody can prove.
fn unproven(report: &crate::Report) -> Vec<&str> {
    let lines = report.not_provable.iter().map(String::as_str);
    let claim = "that the target answers users' requests of `<shop>` as the source does: ";
    lines.filter_map(|line| line.strip_prefix(claim)).collect()
}

#[test]
fn copies_are_told_with_what_differs_and_unknown_where_none_was_compared() {
    let report = after_copies(vec![json!([]), json!([copied("source", 120, 115)])]);
    assert_eq!(report.mirror.len(), 1);
    let kept = &report.mirror[0];
    assert_eq!((&kept["at_ms"], &kept["unit"]), (&json!(2), &json!("<shop>")));
    assert_eq!(unproven(&report), [] as [&str; 0]);
    let page = html(&report, &|ms| format!("at {ms}"));
    for wanted in [
        "seen last at 2<",
        "<td>source<td class=\"n\">120<td class=\"n\">115<td class=\"n bad\">5<td class=\"n\">17<td class=\"n\">31<td class=\"n\">2<td class=\"n\">1.25</tr>",
        "404 at the &lt;target&gt;<td class=\"n\">5<td>/a/1<br>/a/2<br>/a/3</tr>",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    let report = after_copies(vec![json!([])]);
    let page = html(&report, &|ms| ms.to_string());
    assert_eq!(unproven(&report), ["no copy was compared"]);
    assert!(page.contains("unknown</span>, none was compared"), "{page}");
    let none = build(&journal(Vec::new()), Vec::new()).unwrap();
    assert!(none.mirror.is_empty() && unproven(&none).is_empty(), "nobody asked for copies");
    assert!(!html(&none, &|_| String::new()).contains("Copies of users"));
}

#[test]
fn copies_are_added_up_over_processes_and_fronts() {
    let report = after_copies(vec![
        json!([copied("one", 100, 95), copied("two", 10, 10)]),
        // The first was started again, the other one is not in the look.
        json!([copied("one", 3, 3)]),
        json!([copied("one", 9, 8), { "front": "two", "silent": true }, copied("three", 0, 0)]),
    ]);
    let fronts = report.mirror[0]["fronts"].as_array().unwrap();
    let of = |n: usize| (&fronts[n]["front"], &fronts[n]["compared"], &fronts[n]["at_ms"]);
    let (name, all, at_ms) = of(0);
    assert_eq!((name, at_ms), (&json!("one"), &json!(3)));
    assert_eq!(
        (&all["asked"], &all["same"], &all["noisy"]),
        (&json!(109), &json!(103), &json!(34))
    );
    assert_eq!((&fronts[0]["dropped"], &fronts[0]["ended"]), (&json!(62), &json!(4)));
    let differences = all["differences"].as_array().unwrap();
    assert_eq!((differences.len(), &differences[0]["count"]), (1, &json!(10)));
    let (name, all, at_ms) = of(1);
    assert_eq!((name, &all["asked"], at_ms), (&json!("two"), &json!(10), &json!(1)), "it is kept");
    assert_eq!(
        unproven(&report),
        ["front `two` did not answer in the end", "at front `three` no copy was compared"]
    );
    let page = html(&report, &|ms| format!("at {ms}"));
    for wanted in [
        "<td>one<td class=\"n\">109<td class=\"n\">103<td class=\"n bad\">6<",
        "<td>two <span class=\"unknown\">silent since at 1</span><td class=\"n\">10<td class=\"n\">10<td class=\"n good\">0<",
        "<td>three<td class=\"n\">0<td class=\"n\">0<td class=\"n unknown\">unknown<",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    // One that never answered is told as well.
    let report =
        after_copies(vec![json!([copied("one", 1, 1), { "front": "two", "silent": true }])]);
    let page = html(&report, &|ms| ms.to_string());
    assert!(page.contains("<td>two <span class=\"unknown\">it never answered</span>"), "{page}");
    assert_eq!(unproven(&report), ["at front `two` no copy was compared"]);
}
