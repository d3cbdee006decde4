//! Logs as they may be, event by event.

use super::*;
use segue_doors::sql::log::HEADER;

fn event(kind: u8, body: &[u8]) -> LogEvent {
    let mut bytes = vec![0; HEADER];
    bytes[4] = kind;
    bytes.extend_from_slice(body);
    LogEvent { kind, server_id: 1, bytes }
}

fn gtid(sequence: u64, flags: u8) -> LogEvent {
    let mut body = sequence.to_le_bytes().to_vec();
    body.extend([1, 0, 0, 0, flags, 0, 0, 0, 0, 0, 0]);
    event(kind::GTID, &body)
}

fn map(id: u8, schema: &str) -> LogEvent {
    map_of(id, schema, "t")
}

fn map_of(id: u8, schema: &str, table: &str) -> LogEvent {
    let mut body = vec![id, 0, 0, 0, 0, 0, 0, 0];
    for name in [schema, table] {
        body.push(u8::try_from(name.len()).unwrap());
        body.extend_from_slice(name.as_bytes());
        body.push(0);
    }
    event(kind::TABLE_MAP, &body)
}

fn rows(id: u8, last: bool) -> LogEvent {
    event(kind::WRITE_ROWS, &[id, 0, 0, 0, 0, 0, u8::from(last), 0, 1, 0xff, 0, id])
}

fn query(schema: &str, text: &str) -> LogEvent {
    let mut body = vec![0; 8];
    body.extend([u8::try_from(schema.len()).unwrap(), 0, 0, 0, 0]);
    body.extend_from_slice(schema.as_bytes());
    body.push(0);
    body.extend_from_slice(text.as_bytes());
    event(kind::QUERY, &body)
}

fn end() -> LogEvent {
    event(kind::XID, &[0; 8])
}

/// Reads a log of which `one` and `two` are followed, `two` from transaction 5 of domain 1.
fn read(events: Vec<LogEvent>) -> (Vec<Step>, Outcome<()>) {
    read_of(events, None)
}

/// The same, of which only what `origin` wrote first counts.
fn read_of(events: Vec<LogEvent>, origin: Option<u32>) -> (Vec<Step>, Outcome<()>) {
    let followed = [("one", "1-1-1"), ("two", "1-1-5")].map(|(schema, has)| Followed {
        schema: schema.into(),
        beside: vec![("segue".into(), format!("{schema}_heartbeat"))],
        has: has.parse().unwrap(),
    });
    let mut assembler = Assembler::new(followed.into(), "1-1-1".parse().unwrap(), origin);
    let mut steps = Vec::new();
    let ended = events.into_iter().try_for_each(|event| assembler.take(event, &mut steps));
    (steps, ended)
}

fn code(outcome: Outcome<()>) -> String {
    outcome.unwrap_err().code
}

#[test]
fn a_statement_over_two_schemas_is_divided_and_strangers_are_left_out() {
    let (steps, ended) = read(vec![
        gtid(6, 0),
        map(1, "one"),
        map(2, "two"),
        map(3, "stranger"),
        rows(1, false),
        rows(2, false),
        rows(3, false),
        rows(1, true),
        end(),
    ]);
    ended.unwrap();
    let [Step::Piece(0, one), Step::Piece(1, two), Step::End(touched)] = &steps[..] else {
        panic!("{steps:?}")
    };
    assert_eq!(touched, &[0, 1]);
    let (maps, row) = (map(1, "one").bytes.len(), rows(1, true).bytes.len());
    assert_eq!(one.len(), maps + 2 * row);
    assert_eq!(two[..maps], map(2, "two").bytes, "nothing but its own");
    assert_eq!(two[maps..], rows(2, true).bytes, "whose last rows end the statement");
}

#[test]
fn what_a_schema_has_is_not_delivered_again_nor_refused() {
    let (steps, ended) = read(vec![
        gtid(2, 0),
        map(2, "two"),
        rows(2, true),
        end(),
        gtid(4, 1),
        query("two", "DROP TABLE t"),
        gtid(5, 0),
        map(2, "two"),
        rows(2, true),
        end(),
        gtid(6, 0),
        map(2, "two"),
        rows(2, true),
        end(),
    ]);
    ended.unwrap();
    let shown: Vec<String> = steps
        .iter()
        .map(|step| match step {
            Step::Piece(number, _) => format!("piece {number}"),
            Step::End(touched) => format!("end {touched:?}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(shown, ["end []", "end []", "end []", "piece 1", "end [1]"]);
}

#[test]
fn a_transaction_that_was_taken_back_is_refused_to_whom_it_touches() {
    for taken_back in ["ROLLBACK", "ROLLBACK TO `a`"] {
        let (steps, _) =
            read(vec![gtid(6, 0), map(1, "one"), rows(1, true), query("one", taken_back)]);
        let Some(Step::Refuse(0, fault)) = steps.first() else { panic!("{steps:?}") };
        assert_eq!(fault.code, "SG0283");
    }
    let (steps, ended) = read(vec![
        gtid(6, 0),
        map(3, "stranger"),
        rows(3, true),
        query("stranger", "ROLLBACK TO `a`"),
        end(),
        gtid(7, 0),
    ]);
    ended.unwrap();
    assert!(matches!(&steps[..], [Step::End(touched)] if touched.is_empty()), "{steps:?}");
}

#[test]
fn nothing_that_is_not_understood_is_passed_over() {
    for (events, wanted) in [
        (vec![event(164, &[])], "SG0272"),
        (vec![event(30, &[])], "SG0272"),
        (vec![event(200, &[])], "SG0272"),
        (vec![event(165, &[])], "SG0274"),
        (vec![event(168, &[])], "SG0274"),
        (vec![gtid(6, 0), event(5, &[0; 9])], "SG0273"),
        (vec![gtid(6, 0), query("x", "CALL p()")], "SG0273"),
        (vec![event(26, &[1, 0])], "SG0281"),
        (vec![gtid(1, 0)], "SG0281"),
        (vec![gtid(6, 0), gtid(7, 0)], "SG0281"),
        (vec![gtid(6, 0), rows(9, true)], "SG0281"),
        (vec![map(1, "one"), rows(1, true)], "SG0281"),
        (vec![gtid(6, 0), map(1, "one"), event(kind::WRITE_ROWS, &[1, 0])], "SG0281"),
        (vec![end()], "SG0281"),
    ] {
        let shown = format!("{events:?}");
        assert_eq!(code(read(events).1), wanted, "{shown}");
    }
}

#[test]
fn a_long_transaction_comes_in_pieces() {
    let long = |id: u8| {
        let mut long = rows(id, false);
        long.bytes.resize(super::super::piece::PIECE / 2, 7);
        long
    };
    let (steps, _) = read(vec![gtid(6, 0), map(1, "one"), long(1), long(1), long(1)]);
    assert_eq!(steps.len(), 2, "each before the next one comes");
    let Step::Piece(0, piece) = &steps[1] else { panic!("{steps:?}") };
    assert!(piece.starts_with(&map(1, "one").bytes), "each with its maps");
}

#[test]
fn tables_beside_a_schema_travel_with_it() {
    let (steps, ended) = read(vec![
        gtid(6, 0),
        map_of(1, "segue", "one_heartbeat"),
        map_of(2, "segue", "three_heartbeat"),
        rows(1, false),
        rows(2, true),
        end(),
    ]);
    ended.unwrap();
    let [Step::Piece(0, piece), Step::End(touched)] = &steps[..] else { panic!("{steps:?}") };
    assert_eq!(touched, &[0]);
    assert!(piece.starts_with(&map_of(1, "segue", "one_heartbeat").bytes));
}

#[test]
fn what_came_from_another_server_is_left_out_where_only_the_own_counts() {
    let strange = |mut event: LogEvent| {
        event.server_id = 2;
        event
    };
    let events = || {
        vec![
            gtid(6, 0),
            strange(map(1, "one")),
            strange(rows(1, true)),
            map(2, "two"),
            rows(2, true),
            end(),
            gtid(7, 1),
            strange(query("one", "DROP TABLE t")),
        ]
    };
    let (steps, ended) = read_of(events(), Some(1));
    ended.unwrap();
    let [Step::Piece(1, _), Step::End(own), Step::End(none)] = &steps[..] else {
        panic!("{steps:?}")
    };
    assert_eq!((own, none), (&vec![1], &vec![]));
    let (steps, _) = read_of(events(), None);
    assert!(matches!(steps[0], Step::Piece(0, _)), "{steps:?}");
    assert!(steps.iter().any(|step| matches!(step, Step::Define(0, _))), "{steps:?}");
}

#[test]
fn a_definition_is_carried_over_where_it_begins_its_transaction() {
    let (steps, ended) = read(vec![gtid(6, 1), query("one", "TRUNCATE t")]);
    ended.unwrap();
    let [Step::Define(0, change), Step::End(touched)] = &steps[..] else { panic!("{steps:?}") };
    assert_eq!((change.gtid.as_str(), change.shown.as_str()), ("1-1-6", "TRUNCATE TABLE of `t`"));
    assert_eq!(touched, &[0], "its checkpoint moves");
    let (steps, _) =
        read(vec![gtid(6, 0), map(1, "one"), rows(1, true), query("one", "TRUNCATE t")]);
    let Some(Step::Refuse(0, fault)) = steps.first() else { panic!("{steps:?}") };
    assert_eq!(fault.code, "SG0276");
    let (steps, _) = read(vec![gtid(6, 1), query("one", "CREATE TABLE two.x LIKE one.t")]);
    let refused = |step: &Step| matches!(step, Step::Refuse(_, fault) if fault.code == "SG0276");
    assert_eq!(steps.iter().filter(|step| refused(step)).count(), 2, "{steps:?}");
}

#[test]
fn a_transaction_that_a_crash_cut_off_never_happened() {
    let (steps, ended) = read(vec![
        gtid(6, 0),
        map(1, "one"),
        rows(1, true),
        event(kind::ROTATE, &[]),
        event(kind::FORMAT, &[]),
        gtid(6, 0),
        map(2, "two"),
        rows(2, true),
        end(),
    ]);
    ended.unwrap();
    let [Step::Abandon(cut), Step::Format(_), Step::Piece(1, _), Step::End(touched)] = &steps[..]
    else {
        panic!("{steps:?}")
    };
    assert_eq!((cut, touched), (&vec![0], &vec![1]));
    // What a definition did is done.
    let (steps, ended) =
        read(vec![gtid(6, 0), query("one", "CREATE TABLE t (a INT)"), event(kind::FORMAT, &[])]);
    ended.unwrap();
    let [Step::Define(0, _), Step::Refuse(0, fault), Step::Abandon(_), Step::Format(_)] =
        &steps[..]
    else {
        panic!("{steps:?}")
    };
    assert_eq!(fault.code, "SG0276");
}

#[test]
fn who_has_more_than_was_read_keeps_it() {
    let followed = [("one", "1-1-9,2-2-5"), ("two", "1-1-1,2-2-50")].map(|(schema, has)| {
        Followed { schema: schema.into(), beside: Vec::new(), has: has.parse().unwrap() }
    });
    let begin = Position::earliest(followed.iter().map(|followed| &followed.has));
    let mut assembler = Assembler::new(followed.into(), begin, None);
    let mut steps = Vec::new();
    for event in [gtid(6, 0), map(2, "two"), rows(2, true), end()] {
        assembler.take(event, &mut steps).unwrap();
    }
    assert_eq!(assembler.reached(0).to_string(), "1-1-9,2-2-5");
    assert_eq!(assembler.reached(1).to_string(), "1-1-6,2-2-50");
}

#[test]
fn a_map_that_comes_late_is_not_left_out() {
    let (steps, ended) =
        read(vec![gtid(6, 0), map(1, "one"), rows(1, false), map(2, "one"), rows(2, true), end()]);
    ended.unwrap();
    let Step::Piece(0, piece) = &steps[0] else { panic!("{steps:?}") };
    let (maps, row) = (map(1, "one").bytes.len(), rows(1, true).bytes.len());
    assert_eq!(piece.len(), 3 * maps + 2 * row, "the second part begins with both");
}
