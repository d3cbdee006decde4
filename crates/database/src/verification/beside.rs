//! What the comparison of a run leaves out: sequences, which a copy refuses; counters that are
//! behind, which a cutover raises; and what is open at both sides of a copy that is another's.

use crate::counters;
use crate::definitions;
use crate::difference::Difference;
use crate::fault::Explain;
use crate::link::{Link, Wire};
use segue_doors::sql::Row;
use segue_port::Outcome;
use std::collections::{BTreeMap, BTreeSet};

/// Compares sequences: how they are made, and the value that comes next.
pub(super) async fn sequences(
    link: &Link,
    source: &mut Wire,
    target: &mut Wire,
) -> Outcome<Vec<Difference>> {
    let at_source = sequences_of(link, source).await?;
    let at_target = sequences_of(link, target).await?;
    let names: BTreeSet<&String> = at_source.keys().chain(at_target.keys()).collect();
    let text = |side: Option<&String>| side.cloned().unwrap_or_default();
    let differs = |name: &&String| at_source.get(*name) != at_target.get(*name);
    let difference = |name: &String| {
        let (here, there) = (at_source.get(name), at_target.get(name));
        let what = match (here, there) {
            (Some(_), None) => "missing at target",
            (None, _) => "missing at source",
            _ => "definition or next value",
        };
        Difference {
            object: format!("sequence `{name}`"),
            what: what.into(),
            source: text(here),
            target: text(there),
            ..Difference::default()
        }
    };
    Ok(names.into_iter().filter(differs).map(difference).collect())
}

async fn sequences_of(link: &Link, wire: &mut Wire) -> Outcome<BTreeMap<String, String>> {
    let op = format!("read the sequences of schema `{}` at the {}", link.names.schema, wire.side());
    let names: Vec<String> = wire
        .rows(format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = {} AND TABLE_TYPE = 'SEQUENCE'",
            link.names.schema_literal()
        ))
        .await
        .reading(&op)?;
    let mut all = BTreeMap::new();
    for name in names {
        let table = link.names.table(&name);
        let made: Row = wire.one(format!("SHOW CREATE SEQUENCE {table}")).await.reading(&op)?;
        let made = made.get_opt::<String, _>(1).and_then(Result::ok).unwrap_or_default();
        let next: String = wire
            .one(format!("SELECT CAST(next_not_cached_value AS CHAR) FROM {table}"))
            .await
            .reading(&op)?;
        all.insert(name, format!("{made}; next value {next}"));
    }
    Ok(all)
}

/// Returns a sentence for each login and event that is open at both sides, and for each table
/// whose counter is behind at the target: a number that was given once, to a row that is gone,
/// would be given again.
pub(super) async fn worth_knowing(
    link: &Link,
    source: &mut Wire,
    target: &mut Wire,
) -> Outcome<Vec<String>> {
    let open = definitions::open_at_both(link, source, target).await?;
    let at_source = counters::read(link, source).await?;
    let at_target = counters::read(link, target).await?;
    let behind = |(table, here): (&String, &u64)| {
        let there = at_target.get(table)?;
        (there < here).then(|| {
            format!(
                "table `{table}`: AUTO_INCREMENT is {here} at the source and {there} at the \
                 target; a number of a row that is gone would be given again"
            )
        })
    };
    let open = open.into_iter().map(|found| format!("{}: {}", found.object, found.what));
    Ok(open.chain(at_source.iter().filter_map(behind)).collect())
}
